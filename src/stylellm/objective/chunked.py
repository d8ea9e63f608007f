"""The loss of StyleLLM in chunks over positions: exact, small, accurate in bf16.

Policy and reference share one frozen head W, so the KL needs only the difference of their hidden
states: z = h_p W^T gives P, delta = (h_p - h_q) W^T gives the rest (`elementwise.py`). Rounding z
to 16 bits then moves P a little, where two sets of full logits would drown a small KL in noise.
The gradient with respect to h_p, (d loss/dz) W, is made in the forward pass, chunk by chunk over
the positions in some set; nothing of size [N, V] is kept, and the frozen head gets no gradient.
What the policy's head has beyond W (LoRA, trained token rows) is added to z and delta alike
(`head_terms.py`).

`dense.py` is the readable definition of the same loss.

Legend: N positions, R rows (positions) of one chunk or block, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stylellm.errors import StyleLLMError
from stylellm.objective.chunking import Buffers, blocks, chosen_chunk_size, chunks
from stylellm.objective.compiled import compiled_rows, wanted
from stylellm.objective.elementwise import Terms, loss_rows
from stylellm.objective.gradients import Gradients
from stylellm.objective.head_terms import HeadTerms, check_head_terms
from stylellm.objective.inputs import LossInputs, StyleLoss, accumulation_dtype, check_inputs


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
    low_rank: tuple[Tensor, Tensor] | None = None,
    token_logits: tuple[Tensor, Tensor] | None = None,
    compile: bool | None = None,
) -> StyleLoss:
    """Reconstruction plus KL to the reference, in nats.

        loss = sum_t label_weight_t * -log P_t(label_t) / num_labels
             + kl_beta * sum_t kl_weight_t * KL_t / num_kl

    KL_t is KL(P_t || Q_t) for `policy_ref` and KL(Q_t || P_t) for `ref_policy`. A term whose
    count is 0 is 0. Sets with their own beta share one call as kl_weight = beta / count per
    position with kl_beta = num_kl = 1.

    The matrix products run in the dtype of head_weight whatever autocast says, everything else
    in float32 (float64 for a float64 head). Gradients that nobody needs are not made: without
    gradient mode none, for a hidden_policy that needs none not its product. Second derivatives are
    not available.

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
        chunk_size: positions per chunk; 0 = as many as fill 64 MiB with logits (8 to 128 MiB on a
            GPU, by its free memory), at least 16.
        label_weight: [N] >= 0, weights of the cross-entropy (all 1 unless given).
        low_rank: features [N, r] and weight [V, r]; features @ weight.T is added to the policy's
            logits (LoRA on the head). Both may need gradients.
        token_logits: ids [K] and logits [N, K], added to the policy's logits of these tokens
            (trained rows of the head). The logits may need a gradient.
        compile: the elementwise part through torch.compile: True, False, or None for where it pays
            (CUDA; training on a CPU with a large vocabulary and batch). Without a working compiler
            the eager form runs, and the reason is logged.

    Raises:
        StyleLLMError: a negative chunk_size, a compile that is no switch, head terms of other
            shapes; else see `stylellm.objective.inputs.check_inputs`.
    """
    if chunk_size < 0:
        raise StyleLLMError(
            f"chunk_size is {chunk_size}", "0 (chosen) or more", "Set objective.chunk_size."
        )
    if compile not in (None, True, False):
        raise StyleLLMError(
            f"compile is {compile!r}", "True, False or None", "Set objective.compile."
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
    terms = check_head_terms(hidden_policy, head_weight, low_rank, token_logits)
    trained = (hidden_policy, terms.features, terms.weight, terms.token_logits)
    training = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in trained)
    active = int(((inputs.label_weight > 0) | (inputs.kl_weight > 0)).sum())
    scan = _Scan(
        hidden_reference,
        head_weight,
        inputs,
        terms.to(head_weight.dtype),
        kl_direction,
        chunk_size or chosen_chunk_size(head_weight),
        wanted(compile, head_weight, active, training),
    )
    if training:
        loss, nll, kl = _ChunkedLoss.apply(scan, *trained)
    else:
        nll, kl, _ = _run(scan, hidden_policy, (False,) * len(trained))
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


class _Scan(NamedTuple):
    """What one pass over the positions needs besides hidden_policy."""

    hidden_reference: Tensor | None
    head_weight: Tensor
    inputs: LossInputs
    terms: HeadTerms
    kl_direction: str
    chunk_size: int
    compiled: bool


class _ChunkedLoss(torch.autograd.Function):
    """Loss, nll [N] and kl [N]; keeps only the finished gradients for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, scan: _Scan, hidden_policy: Tensor, *trained: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        nll, kl, gradients = _run(scan, hidden_policy, ctx.needs_input_grad[1:])
        ctx.save_for_backward(*gradients.parts())
        ctx.dtypes = [None if x is None else x.dtype for x in (hidden_policy, *trained)]
        ctx.mark_non_differentiable(nll, kl)
        return _total(scan.inputs, nll, kl), nll, kl

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        parts = zip(ctx.saved_tensors, ctx.dtypes, strict=True)
        return None, *(None if x is None else (x * grad_loss).to(dtype) for x, dtype in parts)


def _total(inputs: LossInputs, nll: Tensor, kl: Tensor) -> Tensor:
    reconstruction = inputs.label_scale * (inputs.label_weight * nll).sum()
    return reconstruction + inputs.kl_scale * (inputs.kl_weight * kl).sum()


@torch.no_grad()
def _run(
    scan: _Scan, hidden_policy: Tensor, needed: Sequence[bool]
) -> tuple[Tensor, Tensor, Gradients]:
    """All chunks: nll [N], kl [N] and the needed gradients."""
    head = scan.head_weight
    nll = torch.zeros(
        len(hidden_policy), dtype=accumulation_dtype(head.dtype), device=hidden_policy.device
    )
    kl = torch.zeros_like(nll)
    gradients = Gradients(hidden_policy, scan.terms, head.dtype, needed)
    far = torch.zeros_like(nll, dtype=torch.bool)
    parts = list(_chunks(scan))
    most = max((len(rows) for rows, _ in parts), default=0)
    buffers = Buffers(most)

    def run(rows: Tensor, with_kl: bool, compiled: bool) -> None:
        at = scan.terms.at(rows)
        reference = scan.hidden_reference if with_kl else None
        logits, delta = _logits(hidden_policy, reference, head, rows, at, buffers)
        nll[rows], kl[rows], far[rows], scale = _chunk(
            logits, delta, _terms(scan.inputs, rows), scan.kl_direction, gradients.any(), compiled
        )
        gradients.add(rows, logits, scale, head, at)

    with torch.autocast(hidden_policy.device.type, enabled=False):
        for rows, with_kl in parts:
            run(rows, with_kl, scan.compiled)
        if scan.compiled and bool(far.any()):  # asked once, when all is on its way
            for rows in chunks(far.nonzero().squeeze(1), most):
                run(rows, True, False)
    return nll.masked_fill_(scan.inputs.label_weight == 0, 0.0), kl, gradients


def _chunks(scan: _Scan) -> Iterator[tuple[Tensor, bool]]:
    """Indices of the active rows, and whether they have a KL.

    Rows without KL come first and by themselves, so that their chunks skip the delta product.
    """
    has_kl = scan.inputs.kl_weight > 0
    no_kl = (scan.inputs.label_weight > 0) & ~has_kl
    for members, with_kl in ((no_kl, False), (has_kl, True)):
        for rows in chunks(members.nonzero().squeeze(1), scan.chunk_size):
            yield rows, with_kl


def _terms(inputs: LossInputs, rows: Tensor) -> Terms:
    return Terms(
        inputs.labels[rows, None],
        inputs.label_weight[rows, None] * inputs.label_scale,
        inputs.kl_weight[rows, None] * inputs.kl_scale,
    )


def _logits(
    policy: Tensor,
    reference: Tensor | None,
    head: Tensor,
    rows: Tensor,
    at: HeadTerms,
    buffers: Buffers,
) -> tuple[Tensor, Tensor | None]:
    """z and delta [R, V] of some rows of the hidden states [N, H], in the head's dtype."""
    chosen = policy[rows]
    logits = buffers.product("logits", chosen.to(head.dtype), head)
    if reference is None:
        at.add_to(logits)
        return logits, None
    dtype = accumulation_dtype(head.dtype)  # subtracted before anything is rounded to the head's
    difference = (chosen.to(dtype) - reference[rows].to(dtype)).to(head.dtype)
    delta = buffers.product("delta", difference, head)
    at.add_to(logits, delta)
    return logits, delta


def _chunk(
    logits: Tensor,
    delta: Tensor | None,
    terms: Terms,
    kl_direction: str,
    with_gradient: bool,
    compiled: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """nll [R], kl [R] and which rows compiled code cannot serve [R] of one chunk; d loss/dz is then
    logits times the column [R, 1] returned."""
    nll, kl, scale = (torch.ones_like(terms.per_nll) for _ in range(3))
    far = torch.zeros_like(terms.per_nll, dtype=torch.bool)
    # Compiled code reads and writes 16 bits itself; float16 must be scaled before it is rounded.
    direct = compiled and logits.dtype != torch.float16
    dtype = logits.dtype if direct else terms.per_nll.dtype
    for block in blocks(logits, compiled=compiled):
        z = logits[block].to(dtype)
        d = None if delta is None else delta[block].to(dtype)
        arguments = (z, d, terms.at(block), kl_direction, with_gradient)
        if compiled:
            nll[block], kl[block], found = compiled_rows(*arguments)
            if found is not None:
                far[block] = found
        else:
            nll[block], kl[block] = loss_rows(*arguments)
        if with_gradient and dtype != logits.dtype:
            scale[block] = _fit_(z, logits.dtype)
            logits[block] = z
    return nll.squeeze(1), kl.squeeze(1), far.squeeze(1), scale


def _fit_(z: Tensor, dtype: torch.dtype) -> Tensor | float:
    """Scale the rows of z to a largest entry of 1 for float16, whose range ends near 1e-7.

    Returns the factor that undoes it, a column or 1.0.
    """
    if dtype != torch.float16:
        return 1.0
    largest = z.abs().amax(1, keepdim=True).clamp_(min=torch.finfo(z.dtype).tiny)
    z.div_(largest)
    return largest
