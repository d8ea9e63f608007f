"""Which parts of a base an adapter may be put on, and how it may start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from stylellm.errors import ModelError

# Starts of an adapter that peft pays for by changing the base: with the adapter off the model would
# then be another one, and the KL would be measured against that. (Prefixes: pissa_niter_16.)
CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


def check_start(init_lora_weights: Any) -> None:
    """Refuses a start of the adapter that changes the base."""
    if str(init_lora_weights).lower().startswith(CHANGE_THE_BASE):
        raise ModelError(
            f"the adapter's start {init_lora_weights} changes the base weights, so that with the "
            "adapter off the model is no longer the base",
            "a start that leaves the base alone (init_lora_weights: true)",
        )


def without_dropout(model: Any) -> None:
    """Sets the base's own dropout to 0: drawn anew in each pass, it would be measured as KL."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name in ("attention_dropout", "dropout"):  # a number that the layer hands to a function
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)


def check_tokens(model: Any, tokens: Sequence[int]) -> None:
    """Refuses token ids without a row in the embedding, or given twice."""
    rows = model.get_input_embeddings().weight.shape[0]
    wrong = [int(token) for token in tokens if not 0 <= token < rows]
    if wrong or len(set(tokens)) != len(tokens):
        raise ModelError(
            f"the tokens to be trained are {[int(token) for token in tokens]}",
            f"ids of 0 to {rows - 1}, each once",
        )


def within_layers(model: Any, targets: str | Sequence[str], layers: Sequence[int]) -> list[str]:
    """Full names of the linear layers of some decoder layers that ``targets`` means."""
    stack = model.get_decoder().layers
    if not layers or not all(0 <= number < len(stack) for number in layers):
        raise ModelError(f"layers {list(layers)} for the adapter", f"some of 0 to {len(stack) - 1}")
    if isinstance(targets, str) and targets != "all-linear":
        raise ModelError(
            f"lora.target_modules {targets!r} with some layers only",
            "all-linear, or a list of names",
        )
    chosen = {id(module) for number in layers for module in stack[number].modules()}
    names = [
        name
        for name, module in model.named_modules()
        if id(module) in chosen
        and isinstance(module, torch.nn.Linear)
        and (targets == "all-linear" or any(f".{name}".endswith(f".{end}") for end in targets))
    ]
    ends = [] if isinstance(targets, str) else targets
    missing = [end for end in ends if not any(f".{name}".endswith(f".{end}") for name in names)]
    if missing or not names:
        raise ModelError(
            f"lora.target_modules names {', '.join(missing)}, which layers {list(layers)} do not have",
            "all-linear, or names of linear layers such as q_proj, v_proj",
        )
    return names


def unmatched_targets(policy: Any, targets: Sequence[str]) -> list[str]:
    """The names that no layer with an adapter bears (the last parts of its dotted name)."""
    layers = [f".{name}" for name in policy.base_model.targeted_module_names]
    return [target for target in targets if not any(n.endswith(f".{target}") for n in layers)]
