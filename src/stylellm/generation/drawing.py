"""What happens to the logits before a token is chosen, and the choice itself.

All of it is the library's own processors in the library's order; only the draw is ours: the likeliest
token of logits plus Gumbel noise, which is a draw from their softmax (Gumbel 1954), with a generator for
each text. So a text depends on its prompt and its seed, not on the texts that are drawn beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from stylellm.model.reference import adapter_off


class GumbelDraw:
    """Adds noise to the logits, so that the likeliest token is a draw from their softmax.

    Args:
        seeds: one of each text.
        device: of the logits.
    """

    def __init__(self, seeds: Sequence[int], device: Any) -> None:
        self.generators = [torch.Generator(device).manual_seed(seed) for seed in seeds]

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        noise = torch.empty_like(scores, dtype=torch.float32)
        for row, generator in zip(noise, self.generators, strict=True):
            row.exponential_(generator=generator)
        return scores.float() - noise.log()


class LogitMix:
    """z = z_base + s (z_policy - z_base): the second strength dial, for any adapter.

    The base runs beside the policy over a cache of its own, so each token costs two passes.

    Args:
        policy: a peft model, its adapter on.
        factor: s; 0 gives the base's logits, 1 the policy's, both exactly.
        attention_mask: [B, T] of the prompts, padded on the left.
    """

    def __init__(self, policy: Any, factor: float, attention_mask: torch.Tensor) -> None:
        self.policy, self.factor, self.mask = policy, factor, attention_mask
        self.cache: Any = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self.factor == 1:
            return scores
        base = self._base_logits(input_ids).to(scores)
        return base if self.factor == 0 else base + self.factor * (scores - base)

    def _base_logits(self, input_ids: torch.Tensor) -> torch.Tensor:
        from transformers import DynamicCache

        new = input_ids
        if self.cache is None:
            self.cache = DynamicCache()
        else:
            new = input_ids[:, -1:]
            self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], 1)
        places = (self.mask.cumsum(1) - 1).clamp(min=0)[:, -new.shape[1] :]
        with adapter_off(self.policy):
            output = self.policy(
                input_ids=new, attention_mask=self.mask, position_ids=places,
                past_key_values=self.cache, use_cache=True, logits_to_keep=1,
            )  # fmt: skip
        return output.logits[:, -1]


def processors(
    sampling: Any,
    *,
    suppress: Sequence[int],
    eos: int,
    prompt_length: int,
    seeds: Sequence[int],
    device: Any,
    first: Sequence[Any] = (),
    guards: Sequence[Any] = (),
) -> Any:
    """The list of processors of a batch.

    Args:
        sampling: a `Sampling`.
        suppress: ids that are never drawn.
        eos: the end-of-text token.
        prompt_length: tokens of the prompts, padding counted.
        seeds: one of each text.
        device: of the logits.
        first: run before all others, on the model's own logits.
        guards: run after penalties and before the warpers; their ``after_draw``, if any, at the end.
    """
    from transformers import LogitsProcessorList
    from transformers.generation import (
        MinNewTokensLengthLogitsProcessor,
        MinPLogitsWarper,
        NoRepeatNGramLogitsProcessor,
        RepetitionPenaltyLogitsProcessor,
        SuppressTokensLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    found = [*first]
    if sampling.repetition_penalty != 1:
        found.append(RepetitionPenaltyLogitsProcessor(float(sampling.repetition_penalty)))
    if sampling.no_repeat_ngram_size:
        found.append(NoRepeatNGramLogitsProcessor(sampling.no_repeat_ngram_size))
    if suppress:
        found.append(SuppressTokensLogitsProcessor(list(suppress), device=device))
    if sampling.min_new_tokens:
        found.append(
            MinNewTokensLengthLogitsProcessor(
                prompt_length, sampling.min_new_tokens, eos, device=device
            )
        )
    found += guards
    if sampling.do_sample:
        found.append(TemperatureLogitsWarper(float(sampling.temperature)))
        if sampling.top_k:
            found.append(TopKLogitsWarper(sampling.top_k))
        if sampling.top_p < 1:
            found.append(TopPLogitsWarper(float(sampling.top_p)))
        if sampling.min_p:
            found.append(MinPLogitsWarper(float(sampling.min_p)))
        found.append(GumbelDraw(seeds, device))
    found += [guard.after_draw for guard in guards if hasattr(guard, "after_draw")]
    return LogitsProcessorList(found)
