"""The elementwise part of the chunked loss: z and delta of a few rows in, nll, KL, d loss/dz out.

With P = softmax(z), Q = softmax(z - delta), u = delta - E_P[delta] and u' = delta - E_Q[delta]:

    KL(P||Q) = log1p(sum P (expm1(-u) + u))        dKL(P||Q)/dz = P u
    KL(Q||P) = log1p(sum Q (expm1(u') - u'))       dKL(Q||P)/dz = P - Q = -P expm1(KL(Q||P) - u')

since u' - KL(Q||P) = log P/Q. No difference of near-equal numbers is taken. `loss_rows` works in
place, for buffers that stay in cache; `fused.py` is the same for a compiler.

Legend: R rows (positions), V vocabulary; a column is of shape [R, 1].
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

# Below this |u| the series of four terms is nearer to expm1(-u) + u than the direct form is.
SERIES_BELOW = {torch.float32: 0.1, torch.float64: 0.003}


class Terms(NamedTuple):
    """Per row, as columns: its label, and how much its nll and its KL count in the loss."""

    labels: Tensor
    per_nll: Tensor
    per_kl: Tensor

    def at(self, rows: slice | Tensor) -> Terms:
        return Terms(self.labels[rows], self.per_nll[rows], self.per_kl[rows])


def loss_rows(
    z: Tensor, delta: Tensor | None, terms: Terms, kl_direction: str, with_gradient: bool
) -> tuple[Tensor, Tensor]:
    """nll and KL of each row, as columns, from z [R, V] and delta [R, V] (None: no KL).

    z becomes d loss/dz (P without with_gradient) and delta is used up.
    """
    if delta is None:
        probs, nll = _softmax_(z, terms.labels)
        kl = torch.zeros_like(nll)
        if with_gradient:
            probs.mul_(terms.per_nll)
    else:
        probs, nll, kl = _with_kl(z, delta, terms, kl_direction, with_gradient)
    if with_gradient:
        at_label = probs.gather(1, terms.labels)
        probs.scatter_(1, terms.labels, at_label - terms.per_nll)
    return nll, kl


def _softmax_(z: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """softmax of z in its own memory, and -log P(label) as a column."""
    peak = z.amax(1, keepdim=True)
    below = peak - z.gather(1, labels)
    total = z.sub_(peak).exp_().sum(1, keepdim=True)
    return z.div_(total), total.log() + below


def _with_kl(
    z: Tensor, delta: Tensor, terms: Terms, kl_direction: str, with_gradient: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """z turned into the gradient but for the label's own entry, nll and KL."""
    spread = (delta.amax(1) - delta.amin(1)).nan_to_num_()  # bounds |u| and |u'|
    widest = float(spread.max())
    limit = far_from(z.dtype)
    far = None
    if widest > limit:
        rows = (spread > limit).nonzero().squeeze(1)
        far = rows, z[rows], delta[rows]

    probs, nll = _softmax_(z, terms.labels)
    divergence = _policy_ref if kl_direction == "policy_ref" else _ref_policy
    kl, slope = divergence(probs, delta, widest < SERIES_BELOW[z.dtype])
    if with_gradient:
        probs.mul_(slope.mul_(terms.per_kl).add_(terms.per_nll))
    if far is not None:
        rows, far_z, far_delta = far
        kl[rows], gradient = _in_log_space(far_z, far_delta, terms.at(rows), kl_direction)
        if with_gradient:
            probs[rows] = gradient
    return probs, nll, kl


def far_from(dtype: torch.dtype) -> float:
    """The spread of delta from which exp(|u|) could overflow, or P underflow where Q does not."""
    return -0.5 * math.log(torch.finfo(dtype).tiny)


def _policy_ref(probs: Tensor, delta: Tensor, small: bool) -> tuple[Tensor, Tensor]:
    """KL(P||Q) as a column, and its slope in delta's memory: dKL/dz = P * slope."""
    u = delta.sub_(_dot(probs, delta))
    return _log1p(_dot(probs, excess(u, small=small))), u


def _ref_policy(probs: Tensor, delta: Tensor, small: bool) -> tuple[Tensor, Tensor]:
    """KL(Q||P) as a column, and its slope in delta's memory: dKL/dz = P * slope."""
    minus_u = delta.neg_()
    minus_u.sub_(_dot(probs, minus_u))
    reference = minus_u.exp().mul_(probs)
    reference.div_(reference.sum(1, keepdim=True))
    minus_u.sub_(_dot(reference, minus_u))
    kl = _log1p(_dot(reference, excess(minus_u, small=small)))
    return kl, minus_u.add_(kl).expm1_().neg_()


def excess(u: Tensor, *, small: bool = False) -> Tensor:
    """expm1(-u) + u >= 0 without cancellation; small: every |u| is known to suit the series."""
    series = u.mul(-1 / 120).add_(1 / 24).mul_(u).sub_(1 / 6).mul_(u).add_(1 / 2)
    series.mul_(u).mul_(u)
    if small:
        return series
    direct = u.neg().expm1_().add_(u)
    # A mask of 0.0 and 1.0: on a CPU torch.where costs more than all the rest of this function.
    is_direct = u.abs().ge_(SERIES_BELOW[u.dtype])
    return series.lerp_(direct, is_direct)


def _in_log_space(
    z: Tensor, delta: Tensor, terms: Terms, kl_direction: str
) -> tuple[Tensor, Tensor]:
    """KL as a column and the gradient but for the label's own entry, safe at any distance.

    Its error is the rounding of the log-sum-exp: absolute, nothing beside a KL of such rows.
    """
    log_p, log_q = z.log_softmax(1), (z - delta).log_softmax(1)
    ratio = log_p - log_q
    p, q = log_p.exp(), log_q.exp()
    if kl_direction == "policy_ref":
        kl = _dot(p, ratio).clamp_(min=0)
        slope = p * (ratio - kl)
    else:
        kl = _dot(q, -ratio).clamp_(min=0)
        slope = p - q
    return kl, p.mul_(terms.per_nll).add_(slope.mul_(terms.per_kl))


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """Row-wise sum of products as a column; sum is pairwise, a BLAS dot is not."""
    return (x * y).sum(1, keepdim=True)


def _log1p(excess: Tensor) -> Tensor:
    return excess.clamp_(min=0).log1p_()
