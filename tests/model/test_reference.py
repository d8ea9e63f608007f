"""The reference is the base: what adapter_off switches off is what peft's disable_adapter does."""

from __future__ import annotations

import pytest
import torch

from stylellm.model.reference import adapter_off, reference_hidden

KINDS = {
    "plain": {},
    "DoRA": {"use_dora": True},
    "trained tokens": {"trained_tokens": [5, 6]},
    "LoRA on the head": {"target_modules": ["q_proj", "lm_head"]},
}


@pytest.fixture
def ids():
    return torch.arange(5, 29).reshape(2, 12)


def logits(policy, ids):
    with torch.no_grad():
        return policy(input_ids=ids).logits


@pytest.mark.parametrize("kind", KINDS)
def test_off_is_what_peft_calls_disabled(make_policy, ids, kind):
    policy = make_policy(trained=True, **KINDS[kind])
    for name, weight in policy.named_parameters():
        if "trainable_tokens_delta" in name:
            weight.data.normal_()
    on = logits(policy, ids)
    trained = {n for n, w in policy.named_parameters() if w.requires_grad}
    with policy.disable_adapter():
        wanted = logits(policy, ids)
    with adapter_off(policy):
        assert torch.equal(logits(policy, ids), wanted)
    assert not torch.allclose(on, wanted)
    assert torch.equal(logits(policy, ids), on)
    assert {n for n, w in policy.named_parameters() if w.requires_grad} == trained


def test_blocks_nest_and_an_error_switches_on_again(make_policy, ids):
    policy = make_policy(trained=True)
    on = logits(policy, ids)
    with adapter_off(policy):
        off = logits(policy, ids)
        with adapter_off(policy):
            pass
        assert torch.equal(logits(policy, ids), off)
    with pytest.raises(ZeroDivisionError), adapter_off(policy):
        raise ZeroDivisionError
    assert torch.equal(logits(policy, ids), on)


def test_layers_of_an_adapter_added_later_are_switched_too(make_policy, ids):
    policy = make_policy(target_modules=["q_proj"])
    base = reference_hidden(policy, ids)
    later = make_policy(target_modules=["down_proj"]).peft_config["default"]
    policy.add_adapter("later", later)
    policy.set_adapter("later")
    for name, weight in policy.named_parameters():
        if "lora_B.later" in name:
            weight.data.normal_()
    assert torch.equal(reference_hidden(policy, ids), base)
