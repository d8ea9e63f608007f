"""What the policy's head has and the shared head W has not, as terms of the policy's logits.

    z = h_p W^T + features weight^T + token_logits (in the columns token_ids)

LoRA on the head is the first (features = scaling * A h_p, weight = B), trained token rows of the
head the second (h_p times what was added to those rows). The reference has neither, so both enter
delta = z_p - z_q as they enter z. Features and token logits are made outside, so that autograd leads
their gradients on to A, the rows and h_p; the loss gives d loss/d features, weight and token_logits.

Legend: N positions, R rows (positions) of a chunk, H hidden, V vocabulary, r rank, K tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stylellm.errors import StyleLLMError


class HeadTerms(NamedTuple):
    """Each pair is given or None as one.

    Attributes:
        features: [N, r]; of a chunk [R, r].
        weight: [V, r].
        token_ids: [K] rows of the head, each once.
        token_logits: [N, K]; of a chunk [R, K].
    """

    features: Tensor | None = None
    weight: Tensor | None = None
    token_ids: Tensor | None = None
    token_logits: Tensor | None = None

    def at(self, rows: Tensor) -> HeadTerms:
        """The same for some positions."""
        return self._replace(
            features=None if self.features is None else self.features[rows],
            token_logits=None if self.token_logits is None else self.token_logits[rows],
        )

    def to(self, dtype: torch.dtype) -> HeadTerms:
        """Without history, the floating-point parts in one dtype."""
        parts = (self.features, self.weight, self.token_logits)
        features, weight, logits = (None if x is None else x.detach().to(dtype) for x in parts)
        return HeadTerms(features, weight, self.token_ids, logits)

    def add_to(self, *logits: Tensor) -> None:
        """Add the terms of a chunk to each of logits [R, V], in place."""
        for buffer in logits:
            if self.features is not None and self.weight is not None:
                buffer.addmm_(self.features, self.weight.T)
            if self.token_ids is not None and self.token_logits is not None:
                buffer.index_add_(1, self.token_ids, self.token_logits)


def check_head_terms(
    hidden_policy: Tensor,
    head_weight: Tensor,
    low_rank: tuple[Tensor, Tensor] | None,
    token_logits: tuple[Tensor, Tensor] | None,
) -> HeadTerms:
    """Check the shapes of both pairs against hidden_policy [N, H] and head_weight [V, H].

    Raises:
        StyleLLMError: shapes that do not fit, a token id outside the head or given twice.
    """
    n, v = len(hidden_policy), len(head_weight)
    terms = HeadTerms()
    if low_rank is not None:
        features, weight = low_rank
        fits = features.dim() == weight.dim() == 2 and features.shape[1] == weight.shape[1]
        if not fits or len(features) != n or len(weight) != v:
            raise StyleLLMError(
                f"low_rank is of shapes {list(features.shape)} and {list(weight.shape)}",
                f"[{n}, r] and [{v}, r]",
            )
        terms = terms._replace(features=features, weight=weight)
    if token_logits is not None:
        ids, logits = token_logits
        if ids.dim() != 1 or ids.is_floating_point() or logits.shape != (n, len(ids)):
            raise StyleLLMError(
                f"token_logits are of shapes {list(ids.shape)} and {list(logits.shape)}",
                f"ids [K] and logits [{n}, K]",
            )
        ids = ids.to(head_weight.device, torch.int64)
        if len(ids.unique()) != len(ids) or bool(((ids < 0) | (ids >= v)).any()):
            raise StyleLLMError(
                f"the ids of token_logits are {ids.tolist()}", f"each once, within 0 to {v - 1}"
            )
        terms = terms._replace(token_ids=ids, token_logits=logits)
    return terms
