"""The strength dial: a factor on the adapter at inference, and several authors in one model.

With LoRA a layer computes ``x W + s * scaling * x A B``: s = 0 is the base exactly, s = 1 the trained
policy exactly, and between them the weights are interpolated (WiSE-FT, Wortsman et al. 2022); above 1
they are extrapolated. Trained token rows go the same way from the base's row to the trained one. DoRA
divides by a norm of the sum, so that no factor leads back to the base; it is refused.

Authors are mixed by weights, ``sum_i w_i scaling_i B_i A_i``, which is exact when the low-rank parts are
put side by side (peft's combination "cat"), whatever their ranks are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from stylellm.errors import ModelError, StyleLLMError, first_line

MIX = "mix"
"""Name of the adapter that a mixture makes."""
DEFAULT = "default"
LARGEST = 2.0


def current_strength(policy: Any) -> float:
    """The strength that was set last; 1 for a policy as it was loaded."""
    return float(getattr(policy, "stylellm_strength", 1.0))


def set_strength(policy: Any, value: float) -> None:
    """Scales the active adapter: 0 is the base, 1 the trained policy, both exactly.

    Args:
        policy: a peft model with LoRA adapters, for inference (trained rows are written in place).
        value: from 0 to 2.

    Raises:
        StyleLLMError: a value outside.
        ModelError: an adapter for which no factor leads back to the base (DoRA).
    """
    from peft.tuners.lora import LoraLayer

    check_strength(value)
    if value != 1:
        _refuse_dora(policy)
    for module in policy.modules():
        if isinstance(module, LoraLayer):
            for adapter in module.active_adapters:
                module.set_scale(adapter, value)
    _scale_rows(policy, value)
    policy.stylellm_strength = float(value)


@contextmanager
def strength(policy: Any, value: float) -> Iterator[None]:
    """Within the block the policy has this strength, after it the one it had."""
    before = current_strength(policy)
    set_strength(policy, value)
    try:
        yield
    finally:
        set_strength(policy, before)


def load_authors(policy: Any, folders: Mapping[str, Path | str]) -> None:
    """Loads more adapters of the same base beside the policy's own.

    Args:
        policy: a peft model.
        folders: author -> adapter folder.

    Raises:
        ModelError: a folder without an adapter, or with one for another base.
        StyleLLMError: a name that cannot be one.
    """
    for name, folder in folders.items():
        check_name(policy, name)
        _check_base(policy, name, Path(folder))
        try:
            policy.load_adapter(str(folder), adapter_name=name, is_trainable=False)
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise ModelError(
                f"the adapter {name} in {folder} is damaged or does not fit ({first_line(error)})",
                "an adapter trained on the same base",
            ) from error
    policy.eval()


def authors(policy: Any) -> list[str]:
    """Names that can be used or mixed."""
    return [name for name in policy.peft_config if name != MIX]


def use_author(policy: Any, name: str) -> None:
    """Switches to one author's adapter, at the strength that is set.

    Raises:
        StyleLLMError: no such author.
    """
    check_known(policy, name)
    value = current_strength(policy)
    set_strength(policy, 1.0)
    policy.set_adapter(name)
    policy.eval()
    set_strength(policy, value)


def mix_authors(policy: Any, weights: Mapping[str, float]) -> None:
    """Switches to a mixture of authors, at the strength that is set.

    Args:
        policy: a peft model.
        weights: author -> weight; they need not add up to 1.

    Raises:
        StyleLLMError: an unknown author, or weights that are no numbers above 0.
        ModelError: adapters that cannot be mixed exactly (DoRA, trained token rows).
    """
    for name, weight in weights.items():
        check_known(policy, name)
        if not 0 < weight <= LARGEST:
            raise StyleLLMError(f"the weight {weight:g} of {name}", "above 0, at most 2")
    if len(weights) == 1 and set(weights.values()) == {1.0}:
        use_author(policy, next(iter(weights)))
        return
    value = current_strength(policy)
    set_strength(policy, 1.0)
    for name in weights:
        _check_mixable(policy, name)
    if MIX in policy.peft_config:
        policy.set_adapter(next(iter(weights)))
        policy.delete_adapter(MIX)
    policy.add_weighted_adapter(
        list(weights), list(weights.values()), adapter_name=MIX, combination_type="cat"
    )
    policy.set_adapter(MIX)
    policy.eval()
    set_strength(policy, value)


def parse_mixture(text: str) -> dict[str, float]:
    """``古龙=0.7,金庸=0.3``; a name alone has the weight 1.

    Raises:
        StyleLLMError: something else.
    """
    weights: dict[str, float] = {}
    for part in text.replace("，", ",").split(","):
        name, _, number = part.strip().partition("=")
        try:
            weight = float(number) if number else 1.0
        except ValueError:
            weight = -1.0
        if not name.strip() or not weight > 0 or name.strip() in weights:
            raise StyleLLMError(
                f"the authors {text!r}", "names with weights, such as 古龙=0.7,金庸=0.3"
            )
        weights[name.strip()] = weight
    return weights


def check_name(policy: Any, name: str) -> None:
    """Refuses a name that a module of torch cannot have, or that is taken."""
    if not name or "." in name or name == MIX:
        raise StyleLLMError(
            f"the author's name {name!r}", f"a name without a dot, other than {MIX!r}"
        )
    if name in policy.peft_config:
        raise StyleLLMError(f"two authors are called {name}", "a name of its own for each")


def check_strength(value: float) -> None:
    """Refuses a strength outside 0 to 2."""
    if not 0 <= value <= LARGEST:
        raise StyleLLMError(
            f"a strength of {value:g}", "0 (the base) to 2; 1 is the style as trained"
        )


def check_known(policy: Any, name: str) -> None:
    """Refuses an author who is not loaded."""
    if name not in authors(policy):
        raise StyleLLMError(
            f"no author {name!r} is loaded",
            " or ".join(authors(policy)),
            "Load another with --authors NAME=DIR.",
        )


def _check_base(policy: Any, name: str, folder: Path) -> None:
    from peft import PeftConfig

    try:
        config = PeftConfig.from_pretrained(str(folder))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"the folder {folder} of the author {name} holds no adapter",
            "adapter_config.json and adapter_model.safetensors",
        ) from error
    mine = policy.peft_config[next(iter(policy.peft_config))].base_model_name_or_path
    if config.base_model_name_or_path != mine:
        raise ModelError(
            f"the adapter {name} was trained on {config.base_model_name_or_path}, the loaded base is "
            f"{mine}",
            "adapters of one and the same base",
        )


def _check_mixable(policy: Any, name: str) -> None:
    config = policy.peft_config[name]
    if config.use_dora:
        raise ModelError(
            f"the adapter {name} is a DoRA adapter, which cannot be mixed by weights", "LoRA"
        )
    if config.trainable_token_indices:
        raise ModelError(
            f"the adapter {name} trained rows of the embedding, which cannot be mixed by weights",
            "adapters trained with lora.train_sentinels: false",
            f"Use it alone: --author {name}",
        )


def _refuse_dora(policy: Any) -> None:
    dora = [name for name in policy.active_adapters if policy.peft_config[name].use_dora]
    if dora:
        raise ModelError(
            f"the adapter {dora[0]} is a DoRA adapter: its norm depends on the whole weight, so no "
            "factor leads back to the base",
            "strength 1 (or train with lora.use_dora: false)",
            "Mix logits instead: --strength_method logits",
        )


@torch.no_grad()
def _scale_rows(policy: Any, value: float) -> None:
    """Sets trained token rows between the base's (0) and the trained ones (1)."""
    from peft.tuners.trainable_tokens import TrainableTokensLayer

    for module in policy.modules():
        if not isinstance(module, TrainableTokensLayer) or module.tied_adapter is not None:
            continue
        trained = module.__dict__.setdefault("stylellm_trained_rows", {})
        for adapter in module.active_adapters:
            rows = module.trainable_tokens_delta[adapter]
            kept = trained.setdefault(adapter, rows.detach().clone())
            weight: Any = module.base_layer.weight
            base = weight[module.token_indices[adapter]].to(kept)
            # Both ends are copied, not computed: they must be exact.
            new = kept if value == 1 else base if value == 0 else base + value * (kept - base)
            rows.data.copy_(new)
