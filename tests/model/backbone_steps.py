"""A forward and backward pass through a policy's decoder, and how far one is from another."""

from __future__ import annotations

import torch

from stylellm.model.policy import backbone_of


def step(policy, ids, *, compute=None, seed=3):
    """Hidden states and all gradients in float64 of a forward and backward pass."""
    policy.zero_grad()
    torch.manual_seed(seed)
    with torch.autocast("cpu", compute or torch.bfloat16, enabled=compute is not None):
        hidden = backbone_of(policy)(input_ids=ids, use_cache=False).last_hidden_state
    (hidden.double() ** 3).mean().backward()
    gradients = [w.grad.double().flatten() for w in policy.parameters() if w.grad is not None]
    return hidden.detach().double(), torch.cat(gradients)


def distance(found, wanted):
    return ((found - wanted).norm() / wanted.norm()).item()


def mixed(policy, base):
    """In training mode, the base in one number format, the adapter in float32 (float64 beside
    float64): the same numbers, which bfloat16 can hold, in every format."""
    policy.to(torch.bfloat16).to(base)
    for name, weight in policy.named_parameters():
        if "lora_" in name and base != torch.float64:
            weight.data = weight.data.float()
    return policy.train()
