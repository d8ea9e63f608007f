"""The forward pass of LoRA layers in training, with half of peft's work around the products.

peft computes ``base(x) + B(A(dropout(x))) * scaling`` operation by operation: beside 16-bit weights
x becomes float32, is dropped, becomes 16-bit again, the product with B is scaled, added and cast, and
autograd keeps a copy of x for each layer. Here it is one `torch.autograd.Function`: the product with B
is scaled and added to the base's result by the matrix product itself, and what is kept is x (which
layers that read the same x share), one byte an element for dropout's mask, and A's output. The weights
stay peft's own, and so do saving, merging and switching off; whatever is not plain LoRA goes to peft's
forward. In 16 bits results differ from peft's by a rounding; the demo's training is bit for bit the same.

Legend: N positions, I inputs and O outputs of a layer, r rank.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stylellm.model.products import FrozenLinear, number_format


def use_lean_lora(policy: Any) -> int:
    """Gives the LoRA layers of a peft model the forward pass of this module; how many there are."""
    from peft.tuners.lora import layer

    count = 0
    for module in policy.modules():
        kind: Any = type(module)
        plain = kind is layer.Linear and type(module.base_layer) in (torch.nn.Linear, FrozenLinear)
        quantised = isinstance(module, layer.LoraLayer) and kind.__name__ == "Linear4bit"
        if plain or quantised:
            module.__class__ = _lean(kind, quantised)
            count += 1
    return count


@functools.cache
def _lean(kind: type, quantised: bool) -> type:
    """peft's layer class with the lean forward; its objects are copied and saved as peft's are."""
    return type(f"Lean{kind.__name__}", (_LeanForward, kind), {"quantised": quantised})


class _LeanForward:
    """The forward pass of one layer, [..., I] -> [..., O].

    It runs a few hundred times a step, and where the device is faster than Python its look-ups are
    what a step waits for; so they go past the properties of peft and torch.
    """

    quantised: bool
    training: bool
    merged_adapters: list[str]
    active_adapters: list[str]
    lora_variant: Any
    scaling: dict[str, float]
    _modules: dict[str, Any]
    _disable_adapters: bool

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        parts = self._modules
        if args or kwargs or self.merged_adapters or torch.compiler.is_compiling():
            return super().forward(x, *args, **kwargs)  # type: ignore[misc]
        if self._disable_adapters:
            return parts["base_layer"](x)
        names = [name for name in self.active_adapters if name in parts["lora_A"]]
        if not names:
            return parts["base_layer"](x)
        name = names[0]
        down, up = parts["lora_A"][name].weight, parts["lora_B"][name]
        dtype = _dtype_for(x, down, self.quantised)
        if len(names) > 1 or dtype is None or name in self.lora_variant or up.bias is not None:
            return super().forward(x)  # type: ignore[misc]
        x = x.to(dtype)
        rate = getattr(parts["lora_dropout"][name], "p", 0.0) if self.training else 0.0
        result = parts["base_layer"](x)
        if result._is_view() or not result.is_contiguous():  # not ours to be written over
            result = result.clone(memory_format=torch.contiguous_format)
        return _AddLora.apply(result, x, down, up.weight, self.scaling[name], rate)


def _dtype_for(x: Tensor, weight: Tensor, quantised: bool) -> torch.dtype | None:
    """The number format of the products, as peft's forward has it under autocast or where all are of
    one format; None: peft's forward does something else, or the weight is not here as a matrix."""
    if weight.dim() != 2 or not weight.numel():
        return None  # sharded
    dtype = number_format(x, weight)
    if quantised and not (torch.is_autocast_enabled(x.device.type) and x.dtype == dtype):
        return None
    return dtype


class _AddLora(torch.autograd.Function):
    """result + scaling * dropout(x) A^T B^T, written over ``result`` [..., O]."""

    @staticmethod
    def forward(
        ctx: Any, result: Tensor, x: Tensor, a: Tensor, b: Tensor, scaling: float, rate: float
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        dropped, mask = (flat, None) if rate == 0 else torch.native_dropout(flat, rate, True)
        a16, b16 = a.to(x.dtype), b.to(x.dtype)
        low = dropped @ a16.T
        result.view(-1, result.shape[-1]).addmm_(low, b16.T, alpha=scaling)
        ctx.mark_dirty(result)
        ctx.save_for_backward(x, mask, low, a16, b16)
        ctx.scaling, ctx.keep, ctx.dtypes = scaling, 1 - rate, (a.dtype, b.dtype)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, mask, low, a16, b16 = ctx.saved_tensors
        _, wants_x, wants_a, wants_b, *_ = ctx.needs_input_grad
        scale = 1 / ctx.keep if ctx.keep else 0.0
        flat_grad = grad.reshape(-1, grad.shape[-1])
        low_grad = (flat_grad @ b16) * ctx.scaling
        grad_x = grad_a = grad_b = None
        if wants_b:
            grad_b = ((flat_grad.T @ low) * ctx.scaling).to(ctx.dtypes[1])
        if wants_a:
            grad_a = (low_grad.T @ _drop(x.reshape(-1, x.shape[-1]), mask, scale)).to(ctx.dtypes[0])
        if wants_x:
            grad_x = _drop(low_grad @ a16, mask, scale).view(x.shape)
        return grad, grad_x, grad_a, grad_b, None, None


def _drop(x: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """x [N, I] under a mask that was drawn before."""
    if mask is None:
        return x
    return torch.ops.aten.native_dropout_backward(x, mask, scale)
