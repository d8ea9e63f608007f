"""The reference: the same weights with the adapter off. Never a second copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch

from stylellm.model.policy import backbone_of, run_backbone

# For each policy: the names of its adapters when its modules were looked through, and what was found.
_switches: WeakKeyDictionary[Any, tuple[tuple[str, ...], list[Any]]] = WeakKeyDictionary()


@contextmanager
def adapter_off(policy: Any) -> Iterator[None]:
    """Within the block the policy's weights are the base's; dropout inside the adapter is off too.

    peft's own `disable_adapter` also inspects every module and turns `requires_grad` off and on,
    which for 24 layers takes as long as a tenth of a training step on a fast GPU. This only turns
    the switch of each layer.
    """
    switches = _switches_of(policy)
    before = [module._disable_adapters for module in switches]
    try:
        for module in switches:
            module._disable_adapters = True
        yield
    finally:
        for module, was_off in zip(switches, before, strict=True):
            module._disable_adapters = was_off


def _switches_of(policy: Any) -> list[Any]:
    """The modules that have an adapter to switch off."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    names = tuple(policy.peft_config)
    known = _switches.get(policy)
    if known is None or known[0] != names:
        kinds = (BaseTunerLayer, AuxiliaryTrainingWrapper)
        known = names, [module for module in policy.modules() if isinstance(module, kinds)]
        _switches[policy] = known
    return known[1]


@torch.no_grad()
def reference_hidden(
    policy: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
) -> torch.Tensor:
    """Last hidden states of the reference after the final norm, [B, T, H], without gradients."""
    with adapter_off(policy):
        return run_backbone(backbone_of(policy), input_ids, attention_mask)
