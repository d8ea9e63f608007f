"""What both forms of the loss take and return: checked arguments, positions, weights and counts.

Legend: N positions, H hidden, V vocabulary.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from stylellm.errors import StyleLLMError

UNSCORED = -100
DIRECTIONS = ("policy_ref", "ref_policy")


class StyleLoss(NamedTuple):
    """The loss of one micro-batch, and the sums and counts it was made of.

    Attributes:
        loss: scalar, the only differentiable part; float32 for 16-bit heads, else the head's dtype.
        nll_sum: scalar, weighted sum of -log P(label) over the scored positions, in nats.
        kl_sum: scalar, weighted sum of the KL over its positions, in nats.
        num_labels: what nll_sum was divided by: scored positions as counted, or as given.
        num_kl: what kl_sum was divided by: KL positions as counted, or as given.
        nll: [N] -log P(label), unweighted; 0 where no label is scored.
        kl: [N] KL, unweighted; 0 where the position has no KL weight.
    """

    loss: Tensor
    nll_sum: Tensor
    kl_sum: Tensor
    num_labels: float
    num_kl: float
    nll: Tensor
    kl: Tensor


class LossInputs(NamedTuple):
    """Checked arguments; weights are 0 at positions that are in no set.

    Attributes:
        labels: [N] int64, 0 where unscored (so that it can index).
        label_weight: [N] >= 0, in the accumulation dtype.
        kl_weight: [N] >= 0, in the accumulation dtype.
        label_scale: 1 / num_labels, or 0.
        kl_scale: kl_beta / num_kl, or 0.
    """

    labels: Tensor
    label_weight: Tensor
    kl_weight: Tensor
    num_labels: float
    num_kl: float
    label_scale: float
    kl_scale: float


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """float64 for float64, float32 for everything else."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def check_inputs(
    hidden_policy: Tensor,
    hidden_reference: Tensor | None,
    head_weight: Tensor,
    labels: Tensor,
    kl_weight: Tensor,
    kl_beta: float,
    *,
    kl_direction: str,
    num_labels: float | None,
    num_kl: float | None,
    label_weight: Tensor | None,
) -> LossInputs:
    """Check every argument of `style_alignment_loss` and turn the sets into weights.

    Without hidden_reference no KL can be measured: that is allowed where none is asked for
    (kl_beta is 0, or no position has a KL weight), and num_kl then counts no position.

    Raises:
        StyleLLMError: shapes or devices that do not fit, a label outside the vocabulary, a
            weight, count or kl_beta that is negative or not finite, an unknown direction, a
            trainable head, or a missing reference.
    """
    _check_settings(kl_direction, kl_beta, head_weight)
    _check_shapes(hidden_policy, hidden_reference, head_weight)
    dtype = accumulation_dtype(head_weight.dtype)
    labels = _labels(labels, hidden_policy, head_weight.shape[0])
    scored = labels != UNSCORED
    weights = _weights("label_weight", label_weight, hidden_policy, dtype) * scored
    kl_weights = _weights("kl_weight", kl_weight, hidden_policy, dtype)
    if hidden_reference is None:
        if kl_beta != 0 and bool(kl_weights.any()):
            raise StyleLLMError(
                "hidden_reference is None, but kl_beta and some kl_weight are not zero",
                "the reference's hidden states [N, H]",
            )
        kl_weights = torch.zeros_like(kl_weights)
    num_labels = _count("num_labels", num_labels, weights)
    num_kl = _count("num_kl", num_kl, kl_weights)
    return LossInputs(
        labels=labels.masked_fill(~scored, 0),
        label_weight=weights,
        kl_weight=kl_weights,
        num_labels=num_labels,
        num_kl=num_kl,
        label_scale=1.0 / num_labels if num_labels else 0.0,
        kl_scale=float(kl_beta) / num_kl if num_kl else 0.0,
    )


def _check_settings(kl_direction: str, kl_beta: float, head_weight: Tensor) -> None:
    if kl_direction not in DIRECTIONS:
        raise StyleLLMError(
            f"kl_direction is {kl_direction!r}",
            " or ".join(DIRECTIONS),
            "Set objective.kl_direction.",
        )
    if not math.isfinite(kl_beta) or kl_beta < 0:
        raise StyleLLMError(
            f"kl_beta is {float(kl_beta)}", "a finite number >= 0", "Set objective.kl_beta."
        )
    if head_weight.requires_grad:
        raise StyleLLMError(
            "head_weight requires a gradient",
            "a frozen head, shared by policy and reference (no gradient is made for it)",
            "Take the head out of the trained modules or call head_weight.requires_grad_(False).",
        )


def _check_shapes(hidden: Tensor, reference: Tensor | None, head: Tensor) -> None:
    if hidden.dim() != 2 or head.dim() != 2 or hidden.shape[1] != head.shape[1]:
        raise StyleLLMError(
            f"hidden_policy is {list(hidden.shape)} and head_weight is {list(head.shape)}",
            "[N, H] and [V, H]",
        )
    if reference is not None and reference.shape != hidden.shape:
        raise StyleLLMError(
            f"hidden_reference is {list(reference.shape)}",
            f"{list(hidden.shape)} like hidden_policy",
        )
    devices = {tensor.device for tensor in (hidden, reference, head) if tensor is not None}
    if len(devices) > 1:
        raise StyleLLMError(
            f"hidden states and head_weight lie on {', '.join(sorted(map(str, devices)))}",
            "one device",
        )


def _labels(labels: Tensor, hidden: Tensor, vocabulary: int) -> Tensor:
    """[N] int64 on the device of hidden, each UNSCORED or inside the vocabulary."""
    if labels.shape != hidden.shape[:1] or labels.is_floating_point():
        raise StyleLLMError(
            f"labels are {labels.dtype} of shape {list(labels.shape)}",
            f"token ids of shape [{hidden.shape[0]}]",
        )
    labels = labels.to(hidden.device, torch.int64)
    bad = (labels != UNSCORED) & ((labels < 0) | (labels >= vocabulary))
    if bool(bad.any()):
        raise StyleLLMError(
            f"label {int(labels[bad][0])} at position {int(bad.nonzero()[0])}",
            f"{UNSCORED} (unscored) or 0 to {vocabulary - 1}, the rows of the head",
            "Check that the tokenizer belongs to the model.",
        )
    return labels


def _weights(name: str, weight: Tensor | None, hidden: Tensor, dtype: torch.dtype) -> Tensor:
    """[N] weights on the device of hidden; all 1 where none are given."""
    if weight is None:
        return torch.ones(hidden.shape[0], dtype=dtype, device=hidden.device)
    if weight.shape != hidden.shape[:1]:
        raise StyleLLMError(
            f"{name} is of shape {list(weight.shape)}", f"[{hidden.shape[0]}], one per position"
        )
    weight = weight.detach().to(hidden.device, dtype)
    bad = ~(torch.isfinite(weight) & (weight >= 0))
    if bool(bad.any()):
        raise StyleLLMError(
            f"{name} is {float(weight[bad][0])} at position {int(bad.nonzero()[0])}",
            "a finite weight >= 0",
        )
    return weight


def _count(name: str, given: float | None, weights: Tensor) -> float:
    if given is None:
        return int(torch.count_nonzero(weights))
    if not math.isfinite(given) or given < 0:
        raise StyleLLMError(f"{name} is {float(given)}", "a finite count >= 0")
    return given
