"""The elementwise part of the loss in passes that a compiler makes one loop each.

What `elementwise.loss_rows` keeps in buffers of [R, V] is computed anew here in every pass: each
function reads z and delta in their own 16 bits and returns columns, the last one writes d loss/dz
over z. Compiled as one function they would be given float32 buffers of [R, V] between the loops:
several times the traffic and the memory. `compiled.py` compiles and runs them.

Legend: R rows (positions), V vocabulary; a column is of shape [R, 1].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from stylellm.objective.elementwise import excess, far_from
from stylellm.objective.inputs import accumulation_dtype


class Policy(NamedTuple):
    """P = exp(z - peak) / total, and E_P[delta], as columns."""

    peak: Tensor
    total: Tensor
    mean: Tensor


class Reference(NamedTuple):
    """Q = P exp(v) / total with v = E_P[delta] - delta, and E_Q[v], as columns."""

    total: Tensor
    mean: Tensor


def policy_of(
    z: Tensor, delta: Tensor | None, labels: Tensor
) -> tuple[Policy, Tensor, Tensor | None]:
    """What describes P, the nll, and which rows are far (only log space serves those), as columns."""
    wide = _wide(z)
    peak = wide.amax(1, keepdim=True)
    weight = (wide - peak).exp()
    total = weight.sum(1, keepdim=True)
    nll = total.log() + peak - z.gather(1, labels)
    if delta is None:
        return Policy(peak, total, torch.zeros_like(total)), nll, None
    d = _wide(delta)
    mean = (weight * d).sum(1, keepdim=True) / total
    far = d.amax(1, keepdim=True) - d.amin(1, keepdim=True) > far_from(d.dtype)
    return Policy(peak, total, mean), nll, far


def reference_of(z: Tensor, delta: Tensor, p: Policy) -> Reference:
    v = p.mean - _wide(delta)
    weight = _probs(z, p) * v.exp()
    total = weight.sum(1, keepdim=True)
    return Reference(total, (weight * v).sum(1, keepdim=True) / total)


def divergence(z: Tensor, delta: Tensor, p: Policy, q: Reference | None) -> Tensor:
    """KL(P||Q) as a column, or KL(Q||P) where q is given."""
    probs = _probs(z, p)
    if q is None:
        u = _wide(delta) - p.mean
    else:
        v = p.mean - _wide(delta)
        probs = probs * v.exp() / q.total
        u = v - q.mean
    return (probs * excess(u)).sum(1, keepdim=True).clamp(min=0).log1p()


def write_gradient(
    z: Tensor,
    delta: Tensor | None,
    labels: Tensor,
    per_nll: Tensor,
    per_kl: Tensor,
    far: Tensor | None,
    p: Policy,
    q: Reference | None,
    kl: Tensor | None,
) -> None:
    """z becomes d loss/dz in its own dtype, 0 in far rows."""
    factor = per_nll
    if delta is not None:
        if q is None or kl is None:
            slope = _wide(delta) - p.mean
        else:
            slope = -(p.mean - _wide(delta) - q.mean + kl).expm1()
        factor = slope * per_kl + per_nll
    # A comparison with every column fuses with its neighbours, a scatter would not.
    is_label = torch.arange(z.shape[1], device=z.device) == labels
    gradient = (_probs(z, p) * factor - torch.where(is_label, per_nll, 0.0)).to(z.dtype)
    z.copy_(gradient if far is None else gradient.masked_fill(far, 0.0))


def _wide(x: Tensor) -> Tensor:
    return x.to(accumulation_dtype(x.dtype))


def _probs(z: Tensor, p: Policy) -> Tensor:
    return (_wide(z) - p.peak).exp() / p.total
