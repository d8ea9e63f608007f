"""The strength dial: exact at both ends, a straight line between them; authors mixed by weights."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stylellm.errors import ModelError, StyleLLMError
from stylellm.generation.strength import (
    authors,
    current_strength,
    load_authors,
    mix_authors,
    parse_mixture,
    set_strength,
    strength,
    use_author,
)
from stylellm.model.reference import adapter_off

HEAD = {"target_modules": ["q_proj", "lm_head"]}
ROWS = {"trained_tokens": [7, 11]}


def logits(policy: Any) -> torch.Tensor:
    ids = torch.tensor([[5, 7, 11, 30, 7, 2]])
    with torch.no_grad():
        return policy(input_ids=ids).logits


def base_logits(policy: Any) -> torch.Tensor:
    with adapter_off(policy):
        return logits(policy)


def move_rows(policy: Any) -> None:
    """Trained rows that differ from the base's."""
    with torch.no_grad():
        for name, rows in policy.named_parameters():
            if "trainable_tokens_delta" in name:
                rows.add_(torch.randn(rows.shape, generator=torch.Generator().manual_seed(3)))


@pytest.mark.parametrize("options", [{}, HEAD, ROWS, {"use_rslora": True}, {"r": 3, "alpha": 5}])
def test_both_ends_are_exact_and_return(make_policy: Any, options: dict[str, Any]) -> None:
    policy = make_policy(trained=True, **options)
    move_rows(policy)
    base, trained = base_logits(policy), logits(policy)
    assert not torch.equal(base, trained)
    for value in (0.0, 0.4, 0.0, 1.0, 2.0, 1.0):
        set_strength(policy, value)
        assert current_strength(policy) == value
        if value in (0.0, 1.0):
            assert torch.equal(logits(policy), base if value == 0 else trained)
        assert torch.equal(base_logits(policy), base)


@pytest.mark.parametrize("value", [0.3, 0.85, 1.2, 2.0])
def test_between_the_ends_weights_are_interpolated(make_policy: Any, value: float) -> None:
    """Against a base whose weights were moved by hand, in float64."""
    policy = make_policy(trained=True, double=True)
    expected = make_policy(trained=True, double=True)
    for module in expected.modules():
        if hasattr(module, "lora_A") and "default" in module.lora_A:
            delta = module.get_delta_weight("default")
            with torch.no_grad():
                module.get_base_layer().weight += value * delta
    set_strength(policy, value)
    torch.testing.assert_close(logits(policy), base_logits(expected), rtol=1e-10, atol=1e-10)


def test_trained_rows_go_the_same_way(make_policy: Any) -> None:
    policy = make_policy(trained=True, **ROWS)
    move_rows(policy)
    (rows,) = [p for n, p in policy.named_parameters() if "trainable_tokens_delta" in n]
    trained = rows.detach().clone()
    base = policy.get_input_embeddings().original_module.weight[ROWS["trained_tokens"]].detach()
    set_strength(policy, 0.25)
    torch.testing.assert_close(rows.detach(), base + 0.25 * (trained - base))


def test_the_block_restores_what_was_set(make_policy: Any) -> None:
    policy = make_policy(trained=True)
    set_strength(policy, 0.5)
    half = logits(policy)
    with strength(policy, 0.0):
        at_zero = logits(policy)
    assert torch.equal(at_zero, base_logits(policy))
    assert current_strength(policy) == 0.5
    assert torch.equal(logits(policy), half)
    seen = []
    with contextlib.suppress(KeyboardInterrupt), strength(policy, 2.0):
        seen.append(current_strength(policy))
        raise KeyboardInterrupt
    assert seen == [2.0] and current_strength(policy) == 0.5


@pytest.mark.parametrize("value", [-0.1, 2.1, float("nan")])
def test_values_outside_are_refused(make_policy: Any, value: float) -> None:
    policy = make_policy(trained=True)
    with pytest.raises(StyleLLMError, match="strength"):
        set_strength(policy, value)


def test_dora_is_refused_with_the_reason(make_policy: Any) -> None:
    policy = make_policy(trained=True, use_dora=True)
    set_strength(policy, 1.0)
    with pytest.raises(ModelError, match="norm depends on the whole weight"):
        set_strength(policy, 0.5)


@pytest.fixture
def two_authors(make_policy: Any, tmp_path: Path) -> Any:
    """A policy with its own adapter and two more, of other ranks and targets."""
    policy = make_policy(trained=True)
    other = {"甲": {"r": 4, "seed": 1}, "乙": {"r": 2, "seed": 2, "target_modules": ["q_proj"]}}
    for name, options in other.items():
        make_policy(trained=True, **options).save_pretrained(str(tmp_path / name))
    load_authors(policy, {name: tmp_path / name for name in other})
    return policy


def weight_change(policy: Any, weights: dict[str, float]) -> dict[str, torch.Tensor]:
    """The sum of the authors' changes, computed adapter by adapter."""
    found = {}
    for path, module in policy.named_modules():
        if hasattr(module, "lora_A"):
            parts = [
                w * module.get_delta_weight(n) for n, w in weights.items() if n in module.lora_A
            ]
            if parts:
                found[path] = sum(parts)
    return found


@pytest.mark.parametrize("value", [1.0, 0.5])
def test_a_mixture_is_the_weighted_sum(two_authors: Any, value: float) -> None:
    policy = two_authors
    weights = {"甲": 0.7, "乙": 0.3}
    expected = weight_change(policy, weights)
    set_strength(policy, value)
    mix_authors(policy, weights)
    found = weight_change(policy, {"mix": 1.0})
    assert set(found) == set(expected)
    for path, change in expected.items():
        torch.testing.assert_close(found[path], value * change, rtol=1e-5, atol=1e-6)
    assert authors(policy) == ["default", "甲", "乙"]
    mix_authors(policy, {"甲": 0.2, "default": 0.5})  # again, with others
    set_strength(policy, 0.0)
    assert torch.equal(logits(policy), base_logits(policy))


def test_switching_authors(two_authors: Any, make_policy: Any) -> None:
    policy = two_authors
    own = logits(policy)
    use_author(policy, "甲")
    assert torch.equal(logits(policy), logits(make_policy(trained=True, seed=1)))
    mix_authors(policy, {"甲": 0.5, "乙": 0.5})
    use_author(policy, "default")
    assert torch.equal(logits(policy), own)
    mix_authors(policy, {"甲": 1.0})
    assert policy.active_adapters == ["甲"]


def test_wrong_authors_are_refused(two_authors: Any, make_policy: Any, tmp_path: Path) -> None:
    for call in (
        lambda: use_author(two_authors, "丙"),
        lambda: mix_authors(two_authors, {"丙": 1}),
    ):
        with pytest.raises(StyleLLMError, match="default or 甲 or 乙"):
            call()
    with pytest.raises(StyleLLMError, match="two authors"):
        load_authors(two_authors, {"甲": tmp_path / "甲"})
    with pytest.raises(StyleLLMError, match="without a dot"):
        load_authors(two_authors, {"a.b": tmp_path / "甲"})
    with pytest.raises(ModelError, match="holds no adapter"):
        load_authors(two_authors, {"丙": tmp_path / "无"})
    make_policy(trained=True, base_name="another/base").save_pretrained(str(tmp_path / "他"))
    with pytest.raises(ModelError, match="another/base"):
        load_authors(two_authors, {"他": tmp_path / "他"})
    with_rows = make_policy(trained=True, **ROWS)
    with pytest.raises(ModelError, match="trained rows"):
        mix_authors(with_rows, {"default": 0.5})


def test_mixtures_are_read() -> None:
    assert parse_mixture("古龙=0.7,金庸=0.3") == {"古龙": 0.7, "金庸": 0.3}
    assert parse_mixture(" 古龙 ， 金庸=.5") == {"古龙": 1.0, "金庸": 0.5}


@given(st.text(max_size=12))
def test_any_mixture_is_read_or_refused(text: str) -> None:
    try:
        weights = parse_mixture(text)
    except StyleLLMError:
        return
    assert weights and all(name and weight > 0 for name, weight in weights.items())
