"""The lean forward of LoRA layers is peft's, value and gradients, and leaves what it does not know to it."""

from __future__ import annotations

import copy

import pytest
import torch
from backbone_steps import distance, mixed, step

from stylellm.model import lean_lora
from stylellm.model.lean_lora import use_lean_lora
from stylellm.model.reference import adapter_off


@pytest.fixture
def ids():
    return torch.arange(5, 53).reshape(2, 24)


@pytest.fixture
def calls(monkeypatch):
    """How often the lean product ran."""
    seen = []
    apply = lean_lora._AddLora.apply
    monkeypatch.setattr(
        lean_lora._AddLora, "apply", lambda *args: (seen.append(1), apply(*args))[1]
    )
    return seen


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_it_is_pefts_value_and_gradient(make_policy, ids, calls, double, dropout, checkpointing):
    options = {"trained": True, "double": double, "dropout": dropout, "alpha": 7}
    wanted = step(make_policy(**options).train(), ids)
    policy = make_policy(**options).train()
    layers = use_lean_lora(policy)
    if checkpointing:
        policy.get_base_model().gradient_checkpointing_enable()
    found = step(policy, ids)
    assert len(calls) == layers * (1 + checkpointing)
    for ours, theirs in zip(found, wanted, strict=True):
        assert distance(ours, theirs) < (1e-13 if double else 1e-6)


@pytest.mark.parametrize("base", [torch.float32, torch.bfloat16])
def test_under_autocast_it_is_no_further_from_float64_than_peft(make_policy, ids, calls, base):
    truth = step(mixed(make_policy(trained=True), torch.float64), ids)
    theirs = step(mixed(make_policy(trained=True), base), ids, compute=torch.bfloat16)
    lean = mixed(make_policy(trained=True), base)
    use_lean_lora(lean)
    ours = step(lean, ids, compute=torch.bfloat16)
    assert calls
    for mine, other, exact in zip(ours, theirs, truth, strict=True):
        assert 0 < distance(mine, exact) < 1.15 * distance(other, exact)


def test_dropout_drops_and_rests_in_eval(make_policy, ids):
    policy = make_policy(trained=True, dropout=0.5)
    use_lean_lora(policy)
    whole = step(policy.eval(), ids)[0]
    assert torch.equal(step(policy, ids, seed=4)[0], whole)
    one, two = (step(policy.train(), ids, seed=seed)[0] for seed in (3, 4))
    assert distance(one, whole) > 1e-3 and distance(one, two) > 1e-3


@pytest.mark.parametrize("case", ["DoRA", "two adapters", "16 bits without autocast", "merged"])
def test_what_is_not_plain_lora_is_left_to_peft(make_policy, ids, calls, case):
    def policy():
        found = make_policy(trained=True, use_dora=case == "DoRA")
        if case == "two adapters":
            found.add_adapter("other", make_policy(seed=1).peft_config["default"])
            found.base_model.set_adapter(["default", "other"])
        if case == "merged":
            found.merge_adapter()
        if case.startswith("16 bits"):
            for weight in found.parameters():
                weight.data = weight.data if weight.requires_grad else weight.data.bfloat16()
        return found

    wanted, lean = policy(), policy()
    assert use_lean_lora(lean) > 0
    with torch.no_grad():
        assert torch.equal(lean(input_ids=ids).logits, wanted(input_ids=ids).logits)
    assert not calls


def test_off_it_is_the_base_and_copying_and_merging_are_pefts(make_policy, ids):
    plain, lean = make_policy(trained=True), make_policy(trained=True)
    use_lean_lora(lean)
    assert use_lean_lora(lean) == 0  # once is enough
    other = copy.deepcopy(lean)
    for weight in other.parameters():
        weight.data.zero_()
    with torch.no_grad():
        assert torch.equal(lean(input_ids=ids).logits, plain(input_ids=ids).logits)
        assert not other(input_ids=ids).logits.any()  # a copy has its own weights
        with adapter_off(lean), adapter_off(plain):
            assert torch.equal(lean(input_ids=ids).logits, plain(input_ids=ids).logits)
        assert lean.state_dict().keys() == plain.state_dict().keys()
        merged = [policy.merge_and_unload()(input_ids=ids).logits for policy in (lean, plain)]
    assert torch.equal(*merged)
