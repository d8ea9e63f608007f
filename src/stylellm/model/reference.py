"""The reference: the same weights with the adapter off. Never a second copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from stylellm.model.policy import backbone_of, run_backbone


@contextmanager
def adapter_off(policy: Any) -> Iterator[None]:
    """Within the block the policy's weights are the base's; dropout inside the adapter is off too."""
    with policy.disable_adapter():
        yield


@torch.no_grad()
def reference_hidden(
    policy: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Last hidden states of the reference after the final norm, [B, T, H], without gradients."""
    with adapter_off(policy):
        return run_backbone(backbone_of(policy), input_ids, attention_mask)
