"""`torch.compile` for the elementwise part of the loss, and the way back where it cannot be had.

The compiler turns some twenty passes over the logits into one for each function of `fused.py`: on a
GPU through Triton, on a CPU through a C++ compiler. Where there is none, the first attempt fails, the
reason is logged once, and the process goes on with the eager form, which needs nothing.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from stylellm.objective import fused
from stylellm.objective.elementwise import Terms, loss_rows

RowsFunction = Callable[[Tensor, Tensor | None, Terms, str, bool], tuple[Tensor, Tensor]]

# On a CPU compiling takes as long as it saves over some ten thousand positions of a large
# vocabulary: training gets there, scoring a few texts does not.
CPU_VOCABULARY = 2**15
CPU_ELEMENTS = 2**25

logger = logging.getLogger(__name__)
_failed = False


def wanted(switch: bool | None, head_weight: Tensor, rows: int, training: bool) -> bool:
    """Whether a call of so many rows with head_weight [V, H] should run compiled.

    Args:
        switch: True and False decide; None: on CUDA, and on a CPU where the work is large.
        training: whether gradients are made.
    """
    if _failed or switch is False or torch.compiler.is_compiling():
        return False
    if switch or head_weight.is_cuda:
        return True
    vocabulary = len(head_weight)
    return (
        training
        and head_weight.device.type == "cpu"
        and vocabulary >= CPU_VOCABULARY
        and rows * vocabulary >= CPU_ELEMENTS
    )


def compiled_rows(
    z: Tensor, delta: Tensor | None, terms: Terms, kl_direction: str, with_gradient: bool
) -> tuple[Tensor, Tensor]:
    """As `loss_rows`, for z and delta in any dtype: z becomes d loss/dz, delta is left alone."""
    global _failed
    if not _failed and len(z) > 1:  # a single row would be compiled for itself
        try:
            nll, kl, far = _in_passes(z, delta, terms, kl_direction, with_gradient)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a missing or broken compiler raises
            _failed = True
            reason = (str(error).strip().splitlines() or [repr(error)])[0][:200]
            logger.info("torch.compile cannot be used here, the loss runs without it: %s", reason)
        else:
            return _with_far_rows(z, delta, terms, kl_direction, with_gradient, (nll, kl, far))
    return _eager(z, delta, terms, kl_direction, with_gradient)


def _in_passes(
    z: Tensor, delta: Tensor | None, terms: Terms, kl_direction: str, with_gradient: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    """nll, KL and which rows are far, as columns; z becomes the gradient but for those."""
    p, nll, far = _compiled(fused.policy_of)(*_any_rows(z, delta, terms.labels))
    q = kl = None
    if delta is not None:
        if kl_direction == "ref_policy":
            q = _compiled(fused.reference_of)(z, delta, fused.Policy(*_any_rows(*p)))
        kl = _compiled(fused.divergence)(z, delta, fused.Policy(*_any_rows(*p)), q)
    if with_gradient:
        _any_rows(*terms)
        _compiled(fused.write_gradient)(z, delta, *terms, far, fused.Policy(*_any_rows(*p)), q, kl)
    return nll, torch.zeros_like(nll) if kl is None else kl, far


def _any_rows(*tensors: Any) -> tuple[Any, ...]:
    """The same, marked to be compiled for any number of rows."""
    for tensor in tensors:
        if tensor is not None:
            torch._dynamo.maybe_mark_dynamic(tensor, 0)
    return tensors


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function)


def _with_far_rows(
    z: Tensor,
    delta: Tensor | None,
    terms: Terms,
    kl_direction: str,
    with_gradient: bool,
    found: tuple[Tensor, Tensor, Tensor | None],
) -> tuple[Tensor, Tensor]:
    """nll and KL, with the rows that the compiled part left out computed in log space."""
    nll, kl, far = found
    if delta is not None and far is not None and bool(far.any()):
        rows = far.squeeze(1).nonzero().squeeze(1)
        part = z[rows]
        nll[rows], kl[rows] = _eager(part, delta[rows], terms.at(rows), kl_direction, with_gradient)
        z[rows] = part
    return nll, kl


def _eager(
    z: Tensor, delta: Tensor | None, terms: Terms, kl_direction: str, with_gradient: bool
) -> tuple[Tensor, Tensor]:
    """`loss_rows` on copies in the accumulation dtype, its result written back to z."""
    dtype = terms.per_nll.dtype
    wide = z.to(dtype)
    d = None if delta is None else delta.to(dtype, copy=True)
    nll, kl = loss_rows(wide, d, terms, kl_direction, with_gradient)
    if with_gradient and wide.dtype != z.dtype:
        z.copy_(wide)
    return nll, kl
