"""Samples continuations from the policy or the reference, seeded and batched."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch

from stylellm.errors import StyleLLMError
from stylellm.model.reference import adapter_off
from stylellm.progress import track


@dataclass(frozen=True)
class Sampling:
    """How texts are drawn; names and meanings are those of ``transformers.GenerationConfig``."""

    max_new_tokens: int = 200
    do_sample: bool = True
    temperature: float = 0.9
    top_p: float = 0.9
    top_k: int = 0
    repetition_penalty: float = 1.05
    min_new_tokens: int = 0


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
    seed: int,
    use_adapter: bool = True,
    batch_size: int = 8,
    progress: str | None = None,
) -> list[str]:
    """Continues each prompt; returns the continuations without the prompts.

    The global random state is left as it was, so that sampling during training changes nothing. The
    same prompts, seed and batch size give the same texts on the same machine.

    Args:
        policy: a peft model.
        tokenizer: its tokenizer.
        prompts: texts; an empty one starts from the end-of-text token.
        sampling: how to draw.
        seed: the seed of the first batch; the following ones use the next seeds.
        use_adapter: False samples from the reference.
        batch_size: prompts drawn together.
        progress: name of the work in its progress bar; None shows none.

    Raises:
        StyleLLMError: a prompt leaves no room for new tokens.
    """
    starts = range(0, len(prompts), batch_size)
    texts: list[str] = []
    was_training = policy.training
    policy.eval()
    with torch.random.fork_rng(), nullcontext() if use_adapter else adapter_off(policy):
        for start in track(starts, progress, "batch"):
            torch.manual_seed(seed + start)
            batch = prompts[start : start + batch_size]
            texts.extend(_generate_batch(policy, tokenizer, batch, sampling))
    policy.train(was_training)
    return texts


@torch.inference_mode()
def _generate_batch(
    policy: Any, tokenizer: Any, prompts: Sequence[str], sampling: Sampling
) -> list[str]:
    ids = [
        tokenizer(prompt, add_special_tokens=False)["input_ids"] or [tokenizer.eos_token_id]
        for prompt in prompts
    ]
    longest = max(map(len, ids))
    _check_room(policy, longest, sampling.max_new_tokens)
    device = policy.get_input_embeddings().weight.device
    # Not every transformers 5 keeps padding out of the repetition penalty. End-of-text tokens would
    # then be penalised in short prompts alone; a token that is never drawn does no harm.
    pad = next(iter(control_token_ids(tokenizer)), tokenizer.pad_token_id)
    inputs = torch.tensor([[pad] * (longest - len(row)) + row for row in ids], device=device)
    lengths = torch.tensor([len(row) for row in ids], device=device)
    mask = (torch.arange(longest, device=device)[None] >= longest - lengths[:, None]).long()
    output = policy.generate(
        input_ids=inputs, attention_mask=mask, generation_config=_config(tokenizer, sampling)
    )
    return tokenizer.batch_decode(output[:, longest:], skip_special_tokens=True)


def _check_room(policy: Any, prompt_tokens: int, new_tokens: int) -> None:
    positions = getattr(policy.config, "max_position_embeddings", None)
    if positions is not None and prompt_tokens + new_tokens > positions:
        raise StyleLLMError(
            f"a prompt of {prompt_tokens} tokens and {new_tokens} new ones need "
            f"{prompt_tokens + new_tokens} positions, the model has {positions}",
            f"at most {positions} together",
            "Shorten the prompt or lower --max_new_tokens.",
        )


def _config(tokenizer: Any, sampling: Sampling) -> Any:
    from transformers import GenerationConfig

    options = asdict(sampling)
    if not sampling.do_sample:  # greedy: the library warns about options that would do nothing
        for name in ("temperature", "top_p", "top_k"):
            del options[name]
    if not sampling.min_new_tokens:
        del options["min_new_tokens"]
    return GenerationConfig(
        **options,
        suppress_tokens=control_token_ids(tokenizer) or None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
