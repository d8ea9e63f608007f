"""Samples continuations from the policy or the reference, seeded and batched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch

from stylellm.errors import StyleLLMError
from stylellm.generation.drawing import LogitMix, processors
from stylellm.generation.endings import Stream, TextCriteria, cut
from stylellm.model.reference import adapter_off
from stylellm.progress import track

StrengthMethod = Literal["adapter", "logits"]


@dataclass(frozen=True)
class Sampling:
    """How texts are drawn; names and meanings are those of ``transformers.GenerationConfig``.

    ``max_chars`` counts characters, ``sentence_end`` leaves nothing after the last whole sentence, and
    ``stop`` holds strings before which a text ends.
    """

    max_new_tokens: int = 200
    do_sample: bool = True
    temperature: float = 0.9
    top_p: float = 0.9
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.05
    no_repeat_ngram_size: int = 0
    min_new_tokens: int = 0
    max_chars: int | None = None
    sentence_end: bool = False
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Written:
    """A drawn text.

    Attributes:
        text: cut to its end, without the prompt.
        tokens: how many were drawn, an end-of-text token counted.
        ended: the text came to an end by itself or at a stop string; else its length ran out.
    """

    text: str
    tokens: int
    ended: bool


def control_token_ids(tokenizer: Any) -> list[int]:
    """Ids of the control tokens that no text contains (sentinels), the end-of-text token excepted."""
    special = set(tokenizer.all_special_ids)
    added = tokenizer.get_added_vocab().items()
    special |= {i for token, i in added if token.startswith("<") and token.endswith(">")}
    return sorted(special - {tokenizer.eos_token_id})


def generate(
    policy: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    sampling: Sampling,
    *,
    seed: int | Sequence[int],
    use_adapter: bool = True,
    batch_size: int = 8,
    progress: str | None = None,
    logit_strength: float | None = None,
    guards: Callable[[Sequence[str]], Sequence[Any]] | None = None,
    on_text: Callable[[str], None] | None = None,
) -> list[str]:
    """Continues each prompt; returns the continuations without the prompts.

    The global random state is left as it was, so that sampling during training changes nothing. A text
    depends on its prompt and its seed, not on the others or the batch size (but for the last bits of
    the arithmetic, which depend on a batch's shape).

    Args:
        policy: a peft model.
        tokenizer: its tokenizer.
        prompts: texts; an empty one starts from the end-of-text token.
        sampling: how to draw.
        seed: the seed of the first prompt, the following ones use the next seeds; or one for each.
        use_adapter: False samples from the reference.
        batch_size: prompts drawn together.
        progress: name of the work in its progress bar; None shows none.
        logit_strength: mixes the logits of base and policy by this factor; None does not.
        guards: prompts of a batch -> logits processors of that batch, such as a `CopyGuard`.
        on_text: called with each piece of text as it grows; only for a single prompt.

    Raises:
        StyleLLMError: a prompt leaves no room for new tokens.
    """
    ids = [
        tokenizer(prompt, add_special_tokens=False)["input_ids"] or [tokenizer.eos_token_id]
        for prompt in prompts
    ]
    seeds = [seed + i for i in range(len(prompts))] if isinstance(seed, int) else list(seed)
    if on_text is not None and len(prompts) > 1:
        raise ValueError("on_text follows a single prompt")
    starts = range(0, len(prompts), batch_size)
    texts: list[str] = []
    was_training = policy.training
    policy.eval()
    try:
        with nullcontext() if use_adapter else adapter_off(policy):
            for start in track(starts, progress, "batch"):
                part = slice(start, start + batch_size)
                texts += generate_ids(
                    policy, tokenizer, ids[part], sampling,
                    seeds=seeds[part],
                    logit_strength=logit_strength,
                    guards=guards(prompts[part]) if guards else (),
                    on_text=on_text,
                )  # fmt: skip
    finally:
        policy.train(was_training)
    return texts


def generate_ids(
    policy: Any, tokenizer: Any, ids: Sequence[Sequence[int]], sampling: Sampling, **options: Any
) -> list[str]:
    """The texts of `draw`."""
    return [found.text for found in draw(policy, tokenizer, ids, sampling, **options)]


@torch.inference_mode()
def draw(
    policy: Any,
    tokenizer: Any,
    ids: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    seeds: Sequence[int],
    logit_strength: float | None = None,
    guards: Sequence[Any] = (),
    on_text: Callable[[str], None] | None = None,
    extra_ends: Sequence[int] = (),
) -> list[Written]:
    """Continues sequences of token ids as one batch; see `generate`.

    Args:
        ids: the prompts.
        extra_ends: more tokens that end a text, allowed although they are control tokens.

    Raises:
        StyleLLMError: a prompt leaves no room for new tokens.
    """
    longest = max(map(len, ids))
    _check_room(policy, longest, sampling.max_new_tokens)
    device = policy.get_input_embeddings().weight.device
    # Not every transformers 5 keeps padding out of the repetition penalty. End-of-text tokens would
    # then be penalised in short prompts alone; a token that is never drawn does no harm.
    control = control_token_ids(tokenizer)
    pad = next(iter(control), tokenizer.pad_token_id)
    inputs = torch.tensor([[pad] * (longest - len(row)) + list(row) for row in ids], device=device)
    lengths = torch.tensor([len(row) for row in ids], device=device)
    mask = (torch.arange(longest, device=device)[None] >= longest - lengths[:, None]).long()
    ends = [tokenizer.eos_token_id, *extra_ends]
    decode = _decoder(tokenizer, ends)
    stream = None
    if on_text:
        stream = Stream(decode, on_text, lambda text: _cut(text, sampling, finished=False))
    first = [] if logit_strength is None else [LogitMix(policy, logit_strength, mask)]
    output = policy.generate(
        input_ids=inputs,
        attention_mask=mask,
        generation_config=_config(tokenizer, sampling, ends),
        logits_processor=processors(
            sampling,
            suppress=[token for token in control if token not in extra_ends],
            eos=tokenizer.eos_token_id,
            prompt_length=longest,
            seeds=seeds,
            device=device,
            first=first,
            guards=guards,
        ),
        stopping_criteria=_criteria(sampling, decode, longest),
        streamer=stream,
    )
    written = [
        _written(row[longest:].tolist(), ends, tokenizer.pad_token_id, decode, sampling)
        for row in output
    ]
    if stream:
        stream.finish(written[0].text)
    return written


def _written(
    row: list[int], ends: Sequence[int], pad: int, decode: Any, sampling: Sampling
) -> Written:
    """One row of a batch; it was padded from where it ended, by itself or by its words."""
    whole = decode(row)
    most = sampling.max_chars
    stopped = any(word in whole for word in sampling.stop if word)
    by_words = stopped or (most is not None and len(whole) >= most)
    end = next((i for i, token in enumerate(row) if token in ends or token == pad), None)
    finished = end is not None and not by_words and row[end] in ends
    tokens = len(row) if end is None else end + finished
    text = _cut(whole, sampling, finished=finished)
    return Written(text, tokens, finished or stopped)


def _decoder(tokenizer: Any, ends: Sequence[int]) -> Callable[[list[int]], str]:
    """Ids up to the first end -> text."""

    def decode(ids: list[int]) -> str:
        stop = next((i for i, token in enumerate(ids) if token in ends), len(ids))
        return tokenizer.decode(ids[:stop], skip_special_tokens=True)

    return decode


def _cut(text: str, sampling: Sampling, *, finished: bool) -> str:
    return cut(
        text,
        max_chars=sampling.max_chars,
        sentence_end=sampling.sentence_end,
        stop=sampling.stop,
        finished=finished,
    )


def _criteria(sampling: Sampling, decode: Any, prompt_length: int) -> Any:
    from transformers import StoppingCriteriaList

    if sampling.max_chars is None and not sampling.stop:
        return StoppingCriteriaList([])
    criteria: Any = TextCriteria(decode, prompt_length, sampling.max_chars, sampling.stop)
    return StoppingCriteriaList([criteria])


def _check_room(policy: Any, prompt_tokens: int, new_tokens: int) -> None:
    positions = getattr(policy.config, "max_position_embeddings", None)
    if positions is not None and prompt_tokens + new_tokens > positions:
        raise StyleLLMError(
            f"a prompt of {prompt_tokens} tokens and {new_tokens} new ones need "
            f"{prompt_tokens + new_tokens} positions, the model has {positions}",
            f"at most {positions} together",
            "Shorten the prompt or lower --max_new_tokens.",
        )


def _config(tokenizer: Any, sampling: Sampling, ends: Sequence[int]) -> Any:
    """Greedy over the processors' logits: the draw is the last of them (see `drawing`)."""
    from transformers import GenerationConfig

    return GenerationConfig(
        max_new_tokens=sampling.max_new_tokens,
        do_sample=False,
        eos_token_id=list(ends),
        pad_token_id=tokenizer.pad_token_id,
    )
