"""Products with frozen 16-bit matrices on a CPU, in the number format in which it multiplies faster.

Many processors multiply 16-bit numbers slower than float32: those without instructions for them
imitate each one, and on some that have them a float32 product is still twice as fast. There a matrix
is widened a block at a time, multiplied in float32 and the result rounded once. That is what a 16-bit
product computes anyway (it adds up in float32), but for the order of the additions; the matrix itself
stays in 16 bits in memory. Which is faster is tried out once, on a small product.

Legend: R rows, I inputs and O outputs of a matrix [O, I].
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

HALF = (torch.bfloat16, torch.float16)
# Fewer rows do not pay for widening the matrix.
MIN_ROWS = 64
# Elements of a block of the matrix and rows multiplied at a time: what is wide at once stays below
# some 30 MiB, near the processor's caches.
BLOCK_ELEMENTS = 2**21
BLOCK_ROWS = 1024
# Widening must gain this much, so that two runs on one machine agree.
GAIN = 1.2
TRIAL = (256, 1024, 1024)


def widened(dtype: torch.dtype, device: torch.device, rows: int) -> bool:
    """Whether products of so many rows in this number format go through float32."""
    return dtype in HALF and device.type == "cpu" and rows >= MIN_ROWS and wide_is_faster(dtype)


@functools.cache
def wide_is_faster(dtype: torch.dtype) -> bool:
    """Whether this processor multiplies a widened matrix clearly faster; tried out once a process."""
    rows, outputs, inputs = TRIAL
    x, weight = torch.ones(rows, inputs, dtype=dtype), torch.ones(outputs, inputs, dtype=dtype)
    with _float32():
        plain, wide = _fastest(lambda: x @ weight.T, lambda: _wide_product(x, weight, dtype))
    return wide * GAIN < plain


def _fastest(*functions: Callable[[], Any]) -> list[float]:
    """The shortest of some seconds of each, taken in turns: other work on the machine only adds."""
    best = [float("inf")] * len(functions)
    for _ in range(6):
        for number, function in enumerate(functions):
            start = time.perf_counter()
            function()
            best[number] = min(best[number], time.perf_counter() - start)
    return best


def product(x: Tensor, weight: Tensor, *, out: Tensor | None = None) -> Tensor:
    """x [R, I] @ weight.T for weight [O, I], both in one number format, in ``out`` [R, O] if given."""
    if widened(weight.dtype, x.device, len(x)):
        return _wide_product(x, weight, weight.dtype, out)
    return torch.mm(x, weight.T, out=out)


def product_back(gradient: Tensor, weight: Tensor) -> Tensor:
    """gradient [R, O] @ weight [O, I], both in one number format."""
    if widened(weight.dtype, gradient.device, len(gradient)):
        return _wide_product_back(gradient, weight, weight.dtype)
    return gradient @ weight


def number_format(x: Tensor, weight: Tensor) -> torch.dtype | None:
    """The one in which torch multiplies x by a weight: autocast's, or their own where it is the same.

    None: they are of two, or of float64 under autocast, which leaves it alone, or the weight is not
    here as a plain tensor (sharded, quantised).
    """
    if type(weight.data) is not Tensor:
        return None
    device = x.device.type
    if torch.is_autocast_enabled(device):
        wide = torch.float64 in (x.dtype, weight.dtype)
        return None if wide else torch.get_autocast_dtype(device)
    return x.dtype if x.dtype == weight.dtype else None


def _wide_product(
    x: Tensor,
    weight: Tensor,
    dtype: torch.dtype,
    out: Tensor | None = None,
    bias: Tensor | None = None,
) -> Tensor:
    if out is None:
        out = x.new_empty(len(x), len(weight), dtype=dtype)
    with _float32():
        for rows, part in zip(x.split(BLOCK_ROWS), out.split(BLOCK_ROWS), strict=True):
            wide = rows.to(dtype).float()
            results = wide.new_empty(len(rows), _step(weight))
            for block, matrix in _wide_blocks(weight, dtype):
                result = torch.mm(wide, matrix.T, out=results[:, : len(matrix)])
                part[:, block] = result if bias is None else result.add_(bias[block].to(dtype))
    return out


def _wide_product_back(gradient: Tensor, weight: Tensor, dtype: torch.dtype) -> Tensor:
    out = gradient.new_empty(len(gradient), weight.shape[1], dtype=dtype)
    with _float32():
        for rows, part in zip(gradient.split(BLOCK_ROWS), out.split(BLOCK_ROWS), strict=True):
            total = torch.zeros(len(rows), weight.shape[1])
            for block, matrix in _wide_blocks(weight, dtype):
                total.addmm_(rows[:, block].to(dtype).float(), matrix)
            part.copy_(total)
    return out


def _float32() -> Any:
    """Without autocast, which would make 16 bits of the widened factors again."""
    return torch.autocast("cpu", enabled=False)


def _wide_blocks(weight: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """Rows of a matrix, rounded to ``dtype`` and widened, each in the memory of the one before."""
    step = _step(weight)
    wide = torch.empty(step, weight.shape[1])
    for start in range(0, len(weight), step):
        block = slice(start, min(start + step, len(weight)))
        yield block, wide[: block.stop - start].copy_(weight[block].to(dtype))


def _step(weight: Tensor) -> int:
    """Rows of a block, about the same in all."""
    count = max(1, -(-weight.numel() // BLOCK_ELEMENTS))
    return max(1, -(-len(weight) // count))


class FrozenLinear(torch.nn.Linear):
    """A linear layer whose weight has no gradient, with the products of this module."""

    def forward(self, x: Tensor) -> Tensor:
        trained = self.weight.requires_grad or (self.bias is not None and self.bias.requires_grad)
        if trained or torch.compiler.is_compiling():
            return super().forward(x)
        dtype = number_format(x, self.weight)
        if dtype is None or not widened(dtype, x.device, x.shape[:-1].numel()):
            return super().forward(x)
        return _FrozenProduct.apply(x, self.weight, self.bias, dtype)


class _FrozenProduct(torch.autograd.Function):
    """x [..., I] times a frozen weight [O, I], plus bias [O]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, dtype: torch.dtype
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.dtypes = x.dtype, dtype
        # Of its last shape from the start: a view could not be written over by the adapter.
        result = x.new_empty(*x.shape[:-1], len(weight), dtype=dtype)
        _wide_product(x.reshape(-1, x.shape[-1]), weight, dtype, result.view(-1, len(weight)), bias)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weight,) = ctx.saved_tensors
        outer, dtype = ctx.dtypes
        flat = grad.reshape(-1, grad.shape[-1])
        grad_x = _wide_product_back(flat, weight, dtype).to(outer)
        return grad_x.view(*grad.shape[:-1], -1), None, None, None


def use_fast_products(model: Any) -> int:
    """Gives the frozen linear layers of a model on a CPU the products of this module; how many."""
    found = [
        layer
        for layer in model.modules()
        if type(layer) is torch.nn.Linear
        and layer.weight.device.type == "cpu"
        and not layer.weight.requires_grad
    ]
    for layer in found:
        layer.__class__ = FrozenLinear
    return len(found)
