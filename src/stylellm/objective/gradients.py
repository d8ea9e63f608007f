"""The gradients that the chunked loss gathers while it goes over the positions.

Legend: N positions, R rows (positions) of a chunk, H hidden, V vocabulary, r rank, K tokens.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stylellm.model.products import product_back
from stylellm.objective.head_terms import HeadTerms
from stylellm.objective.inputs import accumulation_dtype


class Gradients:
    """d loss with respect to hidden states, features, weight and token logits; None = not wanted.

    Args:
        hidden: [N, H].
        terms: of all positions.
        dtype: the head's; its accumulation dtype holds the small ones, and all for float16, which
            would underflow here: the loss scale arrives only with the backward pass.
        wanted: for each of hidden, features, weight, token_logits.
    """

    def __init__(
        self, hidden: Tensor, terms: HeadTerms, dtype: torch.dtype, wanted: Sequence[bool]
    ) -> None:
        wide = accumulation_dtype(dtype)
        kept = wide if hidden.dtype == torch.float16 else hidden.dtype
        sources = (hidden, terms.features, terms.weight, terms.token_logits)
        dtypes = (kept, wide, wide, wide)
        self.hidden, self.features, self.weight, self.token_logits = (
            torch.zeros_like(source, dtype=kind) if want and source is not None else None
            for source, kind, want in zip(sources, dtypes, wanted, strict=True)
        )

    def any(self) -> bool:
        return any(part is not None for part in self.parts())

    def parts(self) -> tuple[Tensor | None, ...]:
        """In the order of ``wanted``."""
        return self.hidden, self.features, self.weight, self.token_logits

    def add(self, rows: Tensor, slope: Tensor, scale: Tensor, head: Tensor, at: HeadTerms) -> None:
        """One chunk: slope [R, V] times scale [R, 1] is d loss/dz of the positions ``rows``.

        ``at`` holds the terms of these positions, in the dtype of head and slope.
        """
        if self.hidden is not None:
            self.hidden[rows] = (product_back(slope, head) * scale).to(self.hidden.dtype)
        if self.features is not None and at.weight is not None:
            self.features[rows] = (slope @ at.weight) * scale
        if self.weight is not None and at.features is not None:
            top = scale.max().clamp(min=torch.finfo(scale.dtype).tiny)
            scaled = (at.features * (scale / top)).to(slope.dtype)
            self.weight += (slope.T @ scaled).to(scale.dtype) * top
        if self.token_logits is not None and at.token_ids is not None:
            self.token_logits[rows] = slope[:, at.token_ids] * scale
