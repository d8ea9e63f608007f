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

from stylellm.errors import first_line
from stylellm.objective import fused
from stylellm.objective.elementwise import Terms, loss_rows

# On a CPU compiling takes as long as it saves over some ten thousand positions of a large
# vocabulary: training gets there, scoring a few texts does not.
CPU_VOCABULARY = 2**15
CPU_ELEMENTS = 2**25

logger = logging.getLogger(__name__)
_failed = False
_marked: set[tuple[Any, ...]] = set()


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
) -> tuple[Tensor, Tensor, Tensor | None]:
    """As `loss_rows`, for z and delta in any dtype: z becomes d loss/dz, delta is left alone.

    Also which rows are far, as a column: their KL means nothing, their gradient is 0, and the caller
    has them computed in log space by `loss_rows`. Asking here would have the device wait.
    """
    global _failed
    if not _failed and len(z) > 1:  # a single row would be compiled for itself
        try:
            return _in_passes(z, delta, terms, kl_direction, with_gradient)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a missing or broken compiler raises
            _failed = True
            logger.info(
                "torch.compile cannot be used here, the loss runs without it: %s", first_line(error)
            )
    nll, kl = _eager(z, delta, terms, kl_direction, with_gradient)
    return nll, kl, None


def _in_passes(
    z: Tensor, delta: Tensor | None, terms: Terms, kl_direction: str, with_gradient: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    kind = (z.dtype, z.shape[1], z.device, delta is None, kl_direction, with_gradient)
    mark = kind not in _marked  # marking costs more than a call, and the first one settles it
    _any_rows(mark, z, delta, *terms)
    p, nll, far = _compiled(fused.policy_of)(z, delta, terms.labels)
    q = kl = None
    if delta is not None:
        _any_rows(mark, *p)
        if kl_direction == "ref_policy":
            q = _compiled(fused.reference_of)(z, delta, p)
            _any_rows(mark, *q)
        kl = _compiled(fused.divergence)(z, delta, p, q)
    if with_gradient:
        _any_rows(mark, *p, far, kl)
        _compiled(fused.write_gradient)(z, delta, *terms, far, p, q, kl)
    _marked.add(kind)
    return nll, torch.zeros_like(nll) if kl is None else kl, far


def _any_rows(mark: bool, *tensors: Tensor | None) -> None:
    """Has what is compiled for these tensors serve any number of rows."""
    for tensor in tensors:
        if mark and tensor is not None:
            torch._dynamo.maybe_mark_dynamic(tensor, 0)


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return torch.compile(function)


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
