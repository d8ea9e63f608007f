"""Policy and reference: one set of weights, the adapter on or off."""

from __future__ import annotations

import json

import pytest
import torch

from stylellm.errors import ModelError
from stylellm.model.load import load_base
from stylellm.model.policy import (
    backbone_of,
    load_policy,
    output_weight,
    policy_hidden,
)
from stylellm.model.reference import adapter_off, reference_hidden
from stylellm.objective.dense import style_alignment_loss


@pytest.fixture(scope="module")
def batch():
    """Two sequences, the second padded on the right."""
    ids = torch.arange(2 * 17).reshape(2, 17) * 13 % 500
    mask = torch.ones_like(ids)
    mask[1, 11:] = 0
    return ids, mask


class Wrapper(torch.nn.Module):
    """What a data-parallel wrapper does: its own forward around the module's."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.calls = 0

    def forward(self, *args, **kwargs):
        self.calls += 1
        return self.module(*args, **kwargs)


def lora_weights(policy):
    return {name: weight for name, weight in policy.named_parameters() if "lora_" in name}


# Reference and policy.


def test_reference_equals_the_bare_base_exactly(make_policy, tiny_model_dir, batch):
    policy = make_policy(trained=True)
    base = load_base(str(tiny_model_dir)).eval()
    with torch.no_grad():
        bare = base.get_decoder()(input_ids=batch[0], attention_mask=batch[1]).last_hidden_state
        assert torch.equal(reference_hidden(policy, *batch), bare)
        assert not torch.equal(policy_hidden(policy, policy, *batch), bare)


def test_reference_is_free_of_the_adapters_dropout(make_policy, tiny_model_dir, batch):
    policy = make_policy(trained=True, dropout=0.5).train()
    quiet = reference_hidden(policy.eval(), *batch)
    noisy = policy.train()
    assert torch.equal(reference_hidden(noisy, *batch), quiet)
    hidden = [policy_hidden(noisy, noisy, *batch) for _ in range(2)]
    assert not torch.equal(*hidden)  # the policy does train with dropout


def test_reference_makes_no_graph_and_leaves_the_adapter_on(make_policy, batch):
    policy = make_policy(trained=True)
    before = policy_hidden(policy, policy, *batch)
    assert not reference_hidden(policy, *batch).requires_grad
    assert torch.equal(policy_hidden(policy, policy, *batch), before)
    with pytest.raises(RuntimeError, match="inside"), adapter_off(policy):
        raise RuntimeError("inside")
    assert torch.equal(policy_hidden(policy, policy, *batch), before)


@pytest.mark.parametrize("direction", ["policy_ref", "ref_policy"])
def test_policy_equals_reference_before_the_first_step(make_policy, batch, direction):
    policy = make_policy()
    with torch.no_grad():
        hidden = policy_hidden(policy, policy, *batch)
        reference = reference_hidden(policy, *batch)
    assert torch.equal(hidden, reference)
    from stylellm.objective import chunked

    for form in (style_alignment_loss, chunked.style_alignment_loss):
        result = form(
            hidden.flatten(0, 1),
            reference.flatten(0, 1),
            output_weight(policy),
            batch[0].flatten(),
            batch[1].flatten(),
            0.1,
            kl_direction=direction,
        )
        assert result.kl_sum == 0.0
        assert not result.kl.any()


def test_hidden_states_are_what_the_head_turns_into_logits(make_policy, batch):
    policy = make_policy(trained=True)
    ids, mask = batch
    with torch.no_grad():
        hidden = policy_hidden(policy, policy, ids, mask)
        logits = policy(input_ids=ids, attention_mask=mask).logits
    torch.testing.assert_close(hidden @ output_weight(policy).T, logits, rtol=0, atol=1e-5)
    assert hidden.shape == (2, 17, 32)


def test_padding_does_not_change_the_hidden_states(make_policy, batch):
    policy = make_policy(trained=True)
    ids, mask = batch
    with torch.no_grad():
        together = policy_hidden(policy, policy, ids, mask)[1, :11]
        alone = policy_hidden(policy, policy, ids[1:, :11], mask[1:, :11])[0]
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


# The two ways through the model.


def gradients(policy, model, batch):
    policy.zero_grad()
    hidden = policy_hidden(model, policy, *batch)
    direction = torch.linspace(-1, 1, hidden.numel(), dtype=hidden.dtype).reshape(hidden.shape)
    (hidden * direction).sum().backward()
    return hidden.detach(), {name: w.grad.clone() for name, w in lora_weights(policy).items()}


def test_through_a_wrapper_hidden_states_and_gradients_are_the_same(make_policy, batch):
    policy = make_policy(trained=True)
    wrapper = Wrapper(policy)
    hidden, grads = gradients(policy, policy, batch)
    assert wrapper.calls == 0
    wrapped_hidden, wrapped_grads = gradients(policy, wrapper, batch)
    assert wrapper.calls == 1
    assert torch.equal(hidden, wrapped_hidden)
    assert any(g.abs().max() > 0.1 for g in grads.values())
    for name, grad in grads.items():
        assert torch.equal(grad, wrapped_grads[name]), name


def test_the_wrappers_hook_is_removed_even_after_an_error(make_policy, batch):
    policy = make_policy()

    class Broken(Wrapper):
        def forward(self, *args, **kwargs):
            raise RuntimeError("broken")

    hooks = backbone_of(policy)._forward_hooks
    with pytest.raises(RuntimeError, match="broken"):
        policy_hidden(Broken(policy), policy, *batch)
    policy_hidden(Wrapper(policy), policy, *batch)
    assert not hooks


def test_activation_checkpointing_changes_no_gradient(make_policy, batch):
    policy = make_policy(trained=True)
    _, plain = gradients(policy, policy, batch)
    policy.train()
    policy.gradient_checkpointing_enable({"use_reentrant": False})
    _, checkpointed = gradients(policy, policy, batch)
    for name, grad in plain.items():
        torch.testing.assert_close(checkpointed[name], grad, rtol=1e-5, atol=1e-6)


# The adapter.


def test_only_the_adapter_is_trained(make_policy):
    policy = make_policy()
    trained = {name for name, weight in policy.named_parameters() if weight.requires_grad}
    assert trained == set(lora_weights(policy))
    assert not output_weight(policy).requires_grad


def test_all_linear_means_every_linear_layer_but_the_head(make_policy):
    names = {name.split(".lora_")[0].split(".")[-1] for name in lora_weights(make_policy())}
    assert names == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def test_rank_and_targets_are_those_asked_for(make_policy):
    weights = lora_weights(make_policy(r=3, target_modules=["q_proj", "v_proj"]))
    assert len(weights) == 2 * 2 * 2  # layers, targets, A and B
    assert {min(weight.shape) for weight in weights.values()} == {3}


@pytest.mark.parametrize(("rslora", "scale"), [(False, 16 / 4), (True, 16 / 4**0.5)])
def test_scale_of_the_adapter(make_policy, rslora, scale):
    layer = backbone_of(make_policy(r=4, alpha=16, use_rslora=rslora)).layers[0].mlp.up_proj
    assert layer.scaling["default"] == pytest.approx(scale)


@pytest.mark.parametrize(
    "targets",
    [
        ["no_such_layer"],
        "no_such_layer",
        ["input_layernorm"],
        ["q_proj", "no_such_layer"],
        ["proj"],
    ],
)
def test_unknown_target_modules_are_refused(make_policy, targets):
    with pytest.raises(ModelError) as raised:
        make_policy(target_modules=targets)
    assert "target_modules" in str(raised.value)
    assert "all-linear" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("targets", [["mlp.up_proj"], ["layers.1.self_attn.q_proj"]])
def test_targets_may_be_named_by_several_parts(make_policy, targets):
    assert all(targets[0] in name for name in lora_weights(make_policy(target_modules=targets)))


@pytest.mark.parametrize(
    "start", ["pissa", "pissa_niter_4", "PiSSA", "olora", "corda", "loftq", "lora_ga"]
)
def test_a_start_that_changes_the_base_is_refused(make_policy, start):
    with pytest.raises(ModelError, match="changes the base weights") as raised:
        make_policy(init_lora_weights=start)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("start", [True, "gaussian", "orthogonal"])
def test_other_starts_leave_policy_and_reference_equal(make_policy, batch, start):
    policy = make_policy(init_lora_weights=start)
    hidden = policy_hidden(policy, policy, *batch)
    torch.testing.assert_close(hidden, reference_hidden(policy, *batch), rtol=0, atol=1e-5)


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "mlp.down_proj"]])
def test_the_adapter_on_some_layers_only(make_policy, batch, targets):
    whole = {
        name for name in lora_weights(make_policy(target_modules=targets)) if ".layers.1." in name
    }
    policy = make_policy(target_modules=targets, layers=[1], trained=True)
    assert set(lora_weights(policy)) == whole
    hidden = policy_hidden(policy, policy, *batch)
    assert not torch.equal(hidden, reference_hidden(policy, *batch))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": [2]}, "some of 0 to 1"),
        ({"layers": []}, "some of 0 to 1"),
        ({"layers": [0], "target_modules": ["nothing"]}, "nothing"),
        ({"layers": [0], "target_modules": "q_proj"}, "a list of names"),
        ({"trained_tokens": [3, 100000]}, r"100000\]; expected ids of 0 to"),
        ({"trained_tokens": [3, 3]}, "each once"),
    ],
)
def test_layers_and_tokens_that_do_not_exist(make_policy, options, message):
    with pytest.raises(ModelError, match=message):
        make_policy(**options)


# Saving and loading.


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [("init_lora_weights", "pissa", "changes the base"), ("bias", "all", "trained biases")],
)
def test_a_saved_adapter_without_its_base_is_refused(make_policy, tmp_path, key, value, message):
    make_policy().save_pretrained(str(tmp_path))
    file = tmp_path / "adapter_config.json"
    saved = json.loads(file.read_text(encoding="utf-8")) | {key: value}
    file.write_text(json.dumps(saved), encoding="utf-8")
    assert message in refusal(tmp_path)


def test_a_saved_adapter_loads_as_the_same_policy(make_policy, tiny_model_dir, tmp_path, batch):
    policy = make_policy(trained=True)
    policy.save_pretrained(str(tmp_path))
    saved = json.loads((tmp_path / "adapter_config.json").read_text(encoding="utf-8"))
    assert saved["base_model_name_or_path"] == str(tiny_model_dir)
    loaded, tokenizer = load_policy(tmp_path)
    assert tokenizer.eos_token == "<|endoftext|>"
    assert not loaded.training
    assert not any(weight.requires_grad for weight in loaded.parameters())
    with torch.no_grad():
        assert torch.equal(
            policy_hidden(loaded, loaded, *batch), policy_hidden(policy, policy, *batch)
        )


def test_a_trainable_adapter_stays_trainable(make_policy, tmp_path):
    make_policy().save_pretrained(str(tmp_path))
    loaded, _ = load_policy(tmp_path, trainable=True)
    assert all(weight.requires_grad for weight in lora_weights(loaded).values())


def refusal(folder, **options):
    with pytest.raises(ModelError) as raised:
        load_policy(folder, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_an_adapter_folder_that_does_not_exist(tmp_path):
    assert "stylellm train" in refusal(tmp_path / "none")


def test_a_folder_without_adapter(tmp_path):
    assert "adapter_config.json" in refusal(tmp_path)


@pytest.mark.parametrize("content", ["{ not json", "[]", "{}"])
def test_a_damaged_adapter_config(tmp_path, content):
    (tmp_path / "adapter_config.json").write_text(content, encoding="utf-8")
    assert "adapter_config.json" in refusal(tmp_path)


def test_damaged_adapter_weights(make_policy, tmp_path):
    make_policy().save_pretrained(str(tmp_path))
    (tmp_path / "adapter_model.safetensors").write_bytes(b"cut off")
    assert str(tmp_path) in refusal(tmp_path)


def test_missing_adapter_weights(make_policy, tmp_path):
    make_policy().save_pretrained(str(tmp_path))
    (tmp_path / "adapter_model.safetensors").unlink()
    assert str(tmp_path) in refusal(tmp_path)


def test_an_adapter_of_another_base(make_policy, tiny_model_dir, tmp_path):
    from tiny_models import save_tiny_model, save_tiny_tokenizer

    make_policy().save_pretrained(str(tmp_path / "adapter"))
    save_tiny_tokenizer(tmp_path / "wider")
    save_tiny_model(tmp_path / "wider", hidden_size=64)
    message = refusal(tmp_path / "adapter", base=str(tmp_path / "wider"))
    assert "does not fit the base" in message


def test_an_adapter_whose_base_is_gone(make_policy, tmp_path):
    make_policy(base_name="/moved/away").save_pretrained(str(tmp_path))
    assert "/moved/away does not exist" in refusal(tmp_path)
