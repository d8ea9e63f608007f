"""The loss of StyleLLM in chunks over positions: exact, small, accurate in bf16.

Policy and reference share one frozen head W, so the KL needs only the difference of their hidden
states: z = h_p W^T gives P, delta = (h_p - h_q) W^T gives the rest (`elementwise.py`). Rounding z
to 16 bits then moves P a little, where two sets of full logits would drown a small KL in noise.
The gradient with respect to h_p, (d loss/dz) W, is made in the forward pass, chunk by chunk over
the positions in some set; nothing of size [N, V] is kept, and the frozen head gets no gradient.

`dense.py` is the readable definition of the same loss.

Legend: N positions, R rows (positions) of one chunk or block, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stylellm.errors import StyleLLMError
from stylellm.objective.elementwise import Terms, loss_rows
from stylellm.objective.inputs import LossInputs, StyleLoss, accumulation_dtype, check_inputs

CHUNK_BYTES = 64 * 2**20  # of one [R, V] buffer when the chunk size is chosen; there are two
MIN_CHUNK = 16
# Elements of a block: the rows of a chunk whose elementwise part runs together. On a CPU the
# buffers of a block stay in cache over some twenty passes; a GPU wants few launches.
BLOCK_ELEMENTS_CPU = 2**18
BLOCK_ELEMENTS = 2**23


def style_alignment_loss(
    hidden_policy: Tensor,
    hidden_reference: Tensor | None,
    head_weight: Tensor,
    labels: Tensor,
    kl_weight: Tensor,
    kl_beta: float,
    *,
    kl_direction: str = "policy_ref",
    num_labels: float | None = None,
    num_kl: float | None = None,
    chunk_size: int = 0,
    label_weight: Tensor | None = None,
) -> StyleLoss:
    """Reconstruction plus KL to the reference, in nats.

        loss = sum_t label_weight_t * -log P_t(label_t) / num_labels
             + kl_beta * sum_t kl_weight_t * KL_t / num_kl

    KL_t is KL(P_t || Q_t) for `policy_ref` and KL(Q_t || P_t) for `ref_policy`. A term whose
    count is 0 is 0. Sets with their own beta share one call as kl_weight = beta / count per
    position with kl_beta = num_kl = 1.

    The matrix products run in the dtype of head_weight whatever autocast says, everything else
    in float32 (float64 for a float64 head). Without gradient mode, or with a hidden_policy that
    needs none, the gradient product is skipped. Second derivatives are not available.

    Args:
        hidden_policy: [N, H] after the final norm, adapter on.
        hidden_reference: [N, H] after the final norm, adapter off; no gradient flows into it.
            None where no KL is asked for.
        head_weight: [V, H], frozen, shared by both.
        labels: [N] token ids, already shifted; -100 = unscored.
        kl_weight: [N] bool or >= 0; 0 = no KL at this position.
        kl_beta: weight of the KL term, >= 0.
        num_labels, num_kl: what the sums are divided by; the positions of non-zero weight in
            this call unless given (a trainer gives the totals of the optimizer step).
        chunk_size: positions per chunk; 0 = as many as fill 64 MiB with logits, at least 16.
        label_weight: [N] >= 0, weights of the cross-entropy (all 1 unless given).

    Raises:
        StyleLLMError: a negative chunk_size; else see `stylellm.objective.inputs.check_inputs`.
    """
    if chunk_size < 0:
        raise StyleLLMError(
            f"chunk_size is {chunk_size}", "0 (chosen) or more", "Set objective.chunk_size."
        )
    inputs = check_inputs(
        hidden_policy,
        hidden_reference,
        head_weight,
        labels,
        kl_weight,
        kl_beta,
        kl_direction=kl_direction,
        num_labels=num_labels,
        num_kl=num_kl,
        label_weight=label_weight,
    )
    scan = _Scan(
        hidden_reference,
        head_weight,
        inputs,
        kl_direction,
        chunk_size or chosen_chunk_size(head_weight),
    )
    if torch.is_grad_enabled() and hidden_policy.requires_grad:
        loss, nll, kl = _ChunkedLoss.apply(hidden_policy, scan)
    else:
        nll, kl, _ = _run(hidden_policy, scan, with_gradient=False)
        loss = _total(inputs, nll, kl)
    return StyleLoss(
        loss=loss,
        nll_sum=(inputs.label_weight * nll).sum(),
        kl_sum=(inputs.kl_weight * kl).sum(),
        num_labels=inputs.num_labels,
        num_kl=inputs.num_kl,
        nll=nll,
        kl=kl,
    )


def chosen_chunk_size(head_weight: Tensor) -> int:
    """Positions whose logits, in the dtype of the head [V, H], fill CHUNK_BYTES; at least 16."""
    return max(MIN_CHUNK, CHUNK_BYTES // (head_weight.itemsize * len(head_weight)))


class _Scan(NamedTuple):
    """What one pass over the positions needs besides hidden_policy."""

    hidden_reference: Tensor | None
    head_weight: Tensor
    inputs: LossInputs
    kl_direction: str
    chunk_size: int


class _ChunkedLoss(torch.autograd.Function):
    """Loss, nll [N] and kl [N]; keeps only the finished gradient [N, H] for the backward pass."""

    @staticmethod
    def forward(ctx: Any, hidden_policy: Tensor, scan: _Scan) -> tuple[Tensor, Tensor, Tensor]:
        nll, kl, gradient = _run(hidden_policy, scan, with_gradient=True)
        ctx.save_for_backward(gradient)
        ctx.dtype = hidden_policy.dtype
        ctx.mark_non_differentiable(nll, kl)
        return _total(scan.inputs, nll, kl), nll, kl

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * grad_loss).to(ctx.dtype), None


def _total(inputs: LossInputs, nll: Tensor, kl: Tensor) -> Tensor:
    reconstruction = inputs.label_scale * (inputs.label_weight * nll).sum()
    return reconstruction + inputs.kl_scale * (inputs.kl_weight * kl).sum()


@torch.no_grad()
def _run(
    hidden_policy: Tensor, scan: _Scan, *, with_gradient: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """All chunks: nll [N], kl [N] and d loss / d hidden_policy [N, H] (None if not asked for)."""
    dtype = accumulation_dtype(scan.head_weight.dtype)
    nll = torch.zeros(len(hidden_policy), dtype=dtype, device=hidden_policy.device)
    kl = torch.zeros_like(nll)
    # float16 would underflow here: the loss scale arrives only with the backward pass.
    kept = dtype if hidden_policy.dtype == torch.float16 else hidden_policy.dtype
    gradient = torch.zeros_like(hidden_policy, dtype=kept) if with_gradient else None
    with torch.autocast(hidden_policy.device.type, enabled=False):
        for rows, reference in _chunks(scan):
            terms = _terms(scan.inputs, rows)
            nll[rows], kl[rows], part = _chunk(
                hidden_policy[rows], reference, terms, scan, with_gradient
            )
            if gradient is not None and part is not None:
                gradient[rows] = part.to(kept)
    return nll.masked_fill_(scan.inputs.label_weight == 0, 0.0), kl, gradient


def _chunks(scan: _Scan) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Indices of the active rows with their reference [R, H]; None for rows without KL.

    Rows without KL come first and by themselves, so that their chunks skip the delta product.
    """
    has_kl = scan.inputs.kl_weight > 0
    no_kl = (scan.inputs.label_weight > 0) & ~has_kl
    for members, reference in ((no_kl, None), (has_kl, scan.hidden_reference)):
        for rows in members.nonzero().squeeze(1).split(scan.chunk_size):
            if len(rows):  # splitting nothing yields one empty part
                yield rows, None if reference is None else reference[rows]


def _terms(inputs: LossInputs, rows: Tensor) -> Terms:
    return Terms(
        inputs.labels[rows, None],
        inputs.label_weight[rows, None] * inputs.label_scale,
        inputs.kl_weight[rows, None] * inputs.kl_scale,
    )


def _chunk(
    policy: Tensor,
    reference: Tensor | None,
    terms: Terms,
    scan: _Scan,
    with_gradient: bool,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """nll [R], kl [R] and d loss/d policy [R, H] of one chunk [R, H].

    d loss/dz replaces the logits in their own buffer.
    """
    head = scan.head_weight
    dtype = accumulation_dtype(head.dtype)
    logits = policy.to(head.dtype) @ head.T
    delta = None
    if reference is not None:  # subtracted before anything is rounded to the head's dtype
        delta = (policy.to(dtype) - reference.to(dtype)).to(head.dtype) @ head.T

    nll, kl, scale = (torch.ones_like(terms.per_nll) for _ in range(3))
    for block in _blocks(logits):
        z = logits[block].to(dtype)
        d = None if delta is None else delta[block].to(dtype)
        nll[block], kl[block] = loss_rows(z, d, terms.at(block), scan.kl_direction, with_gradient)
        if with_gradient and z.dtype != logits.dtype:
            scale[block] = _fit_(z, logits.dtype)
            logits[block] = z
    gradient = (logits @ head) * scale if with_gradient else None
    return nll.squeeze(1), kl.squeeze(1), gradient


def _blocks(logits: Tensor) -> Iterator[slice]:
    """Slices of a few rows of a chunk."""
    rows, vocabulary = logits.shape
    elements = BLOCK_ELEMENTS_CPU if logits.device.type == "cpu" else BLOCK_ELEMENTS
    step = max(1, elements // vocabulary)
    for start in range(0, rows, step):
        yield slice(start, start + step)


def _fit_(z: Tensor, dtype: torch.dtype) -> Tensor | float:
    """Scale the rows of z to a largest entry of 1 for float16, whose range ends near 1e-7.

    Returns the factor that undoes it, a column or 1.0.
    """
    if dtype != torch.float16:
        return 1.0
    largest = z.abs().amax(1, keepdim=True).clamp_(min=torch.finfo(z.dtype).tiny)
    z.div_(largest)
    return largest
