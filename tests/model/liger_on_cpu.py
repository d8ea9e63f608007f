"""Liger's kernels on a CPU, through Triton's interpreter: states and gradients with and without them.

Run as a script in a process of its own, as Triton reads TRITON_INTERPRET when it is imported:

    TRITON_INTERPRET=1 python liger_on_cpu.py MODEL_FOLDER

Prints the largest difference of the states, of a gradient relative to its largest entry, and the
classes of the norms and MLPs that ran.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
import triton.language as tl
import triton.runtime.interpreter as interpreter
from transformers.integrations.liger import apply_liger_kernel

from stylellm.config.arguments import LIGER
from stylellm.model.load import load_base
from stylellm.model.policy import add_lora, backbone_of, policy_hidden
from stylellm.model.reference import reference_hidden

plain_conversion = interpreter._implicit_cvt


def conversion(value):
    """The compiler hands a kernel its numbers as scalars of Triton, the interpreter as Python's."""
    if isinstance(value, float):
        handle = interpreter.TensorHandle(np.array([value], dtype=np.float32), tl.float32)
        return tl.tensor(handle, tl.float32)
    return plain_conversion(value)


def prepare_interpreter():
    import liger_kernel.ops.rms_norm as rms_norm

    interpreter._implicit_cvt = conversion
    rms_norm.rsqrt = lambda x: tl.rsqrt(x)  # libdevice's has no meaning on a CPU


def run(folder, liger):
    base = load_base(folder)
    torch.manual_seed(0)
    policy = add_lora(base, base_name="x", r=4, dropout=0.0)
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    if liger:
        apply_liger_kernel(policy, dict(LIGER))
    ids = torch.arange(26).reshape(2, 13) * 37 % 490
    hidden = policy_hidden(policy, policy, ids)
    reference = reference_hidden(policy, ids)
    (hidden.cos() * (1 + reference)).sum().backward()
    grads = {n: w.grad for n, w in policy.named_parameters() if w.grad is not None}
    return torch.cat([hidden.detach(), reference]), grads, policy


def main():
    prepare_interpreter()
    states, grads, _ = run(sys.argv[1], liger=False)
    with_liger, found, policy = run(sys.argv[1], liger=True)
    assert grads.keys() == found.keys()
    worst = max((found[n] - g).abs().max() / g.abs().max() for n, g in grads.items())
    layer = backbone_of(policy).layers[0]
    ran = [layer.input_layernorm.forward, layer.mlp.forward]
    print((with_liger - states).abs().max().item(), worst.item())
    print(*[function.__func__.__qualname__ for function in ran])
    print(policy.get_base_model().forward.__func__.__qualname__)


if __name__ == "__main__":
    main()
