"""4-bit and 8-bit bases by bitsandbytes, which runs them on a CPU as well (its `gpu` extra)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stylellm.errors import ModelError
from stylellm.model.head import head_terms, output_weight
from stylellm.model.lean_lora import use_lean_lora
from stylellm.model.load import load_base
from stylellm.model.policy import add_lora, policy_hidden
from stylellm.model.reference import adapter_off, reference_hidden
from stylellm.objective import chunked, dense

bnb = pytest.importorskip("bitsandbytes")


@pytest.fixture
def no_packing(monkeypatch):
    """Without the layout that bitsandbytes gives weights for inference on some CPUs."""
    monkeypatch.setattr(bnb.nn.modules, "has_avx512bf16", lambda: False)


pytestmark = pytest.mark.usefixtures("no_packing")


def quantised_head(linear, bits):
    """The same layer with its weight quantised."""
    v, h = linear.weight.shape
    if bits == 4:
        new = bnb.nn.Linear4bit(
            h,
            v,
            bias=False,
            compute_dtype=torch.float32,
            quant_type="nf4",
            quant_storage=torch.uint8,
        )
        new.weight = bnb.nn.Params4bit(
            linear.weight.detach().clone(), requires_grad=False, quant_type="nf4"
        ).to("cpu")
    else:
        new = bnb.nn.Linear8bitLt(h, v, bias=False, has_fp16_weights=False)
        weight = bnb.nn.Int8Params(linear.weight.detach().clone(), requires_grad=False)
        new.weight = weight.to("cpu")
    return new


@pytest.fixture(scope="module")
def untied_dir(tmp_path_factory):
    from tiny_models import save_tiny_model, save_tiny_tokenizer

    folder = tmp_path_factory.mktemp("model") / "untied"
    save_tiny_tokenizer(folder)
    save_tiny_model(folder, tie_word_embeddings=False, hidden_size=64)
    return folder


def policy_on(base, **options):
    torch.manual_seed(0)
    policy = add_lora(base, base_name="x", r=3, dropout=0.0, **options).eval()
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.1)
    return policy


def check_against_peft(policy, tolerance):
    """Our loss and gradients beside those of the quantised model's own logits."""
    ids = torch.arange(2 * 13).reshape(2, 13) * 37 % 490
    mask, labels = torch.ones_like(ids), ids.roll(-1, 1).flatten()
    truth = policy(input_ids=ids, attention_mask=mask).logits.flatten(0, 1).double()
    with torch.no_grad(), adapter_off(policy):
        base = policy(input_ids=ids, attention_mask=mask).logits.flatten(0, 1).double()
    kl = dense.kl_divergence(truth.log_softmax(1), base.log_softmax(1), "policy_ref").mean()
    expected = nn.functional.cross_entropy(truth, labels) + 0.5 * kl
    expected.backward()
    gradients = {n: w.grad.clone() for n, w in policy.named_parameters() if w.grad is not None}
    policy.zero_grad()
    hidden = policy_hidden(policy, policy, ids, mask).flatten(0, 1)
    result = chunked.style_alignment_loss(
        hidden,
        reference_hidden(policy, ids, mask).flatten(0, 1),
        output_weight(policy),
        labels,
        torch.ones(26),
        0.5,
        **head_terms(policy, hidden),
    )
    result.loss.backward()
    assert kl > 1e-3
    assert result.loss.item() == pytest.approx(expected.item(), rel=tolerance)
    for name, gradient in gradients.items():
        found = dict(policy.named_parameters())[name].grad
        assert (found - gradient).norm() <= 10 * tolerance * gradient.norm(), name


@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "lm_head"]])
def test_a_4_bit_head_is_dequantised(untied_dir, targets):
    base = load_base(str(untied_dir))
    exact = base.lm_head.weight.detach().clone()
    base.lm_head = quantised_head(base.lm_head, 4)
    policy = policy_on(base, target_modules=targets)
    weight = output_weight(policy)
    assert weight.shape == exact.shape
    assert weight.dtype == torch.float32
    assert not weight.requires_grad
    assert 0.01 < (weight - exact).norm() / exact.norm() < 0.2  # four bits, not more
    check_against_peft(policy, 1e-5)


def test_an_8_bit_head_is_dequantised(untied_dir):
    base = load_base(str(untied_dir))
    exact = base.lm_head.weight.detach().clone()
    base.lm_head = quantised_head(base.lm_head, 8)
    policy = policy_on(base)
    weight = output_weight(policy)
    assert weight.dtype == torch.float32
    assert 1e-4 < (weight - exact).norm() / exact.norm() < 0.02
    check_against_peft(policy, 0.02)  # the layer itself rounds its input to 8 bits too


def test_a_4_bit_base_keeps_its_head_and_trains(untied_dir):
    base = load_base(str(untied_dir), load_in_4bit=True, dtype="float32")
    policy = policy_on(base)
    assert type(base.model.layers[0].mlp.up_proj.base_layer.weight).__name__ == "Params4bit"
    assert type(base.lm_head.weight) is nn.Parameter
    check_against_peft(policy, 1e-5)


def test_a_head_packed_for_inference_is_refused(untied_dir):
    """Its bytes no longer lie in the order in which they are dequantised."""
    base = load_base(str(untied_dir))
    base.lm_head = quantised_head(base.lm_head, 4)
    policy = policy_on(base)
    base.lm_head.weight.quant_state.packing_format_for_cpu = True
    with pytest.raises(ModelError, match="packed"):
        output_weight(policy)


def test_the_lean_adapter_beside_4_bits_is_pefts(untied_dir):
    ids = torch.arange(2 * 13).reshape(2, 13) * 37 % 490

    def step(lean):
        policy = policy_on(load_base(str(untied_dir), load_in_4bit=True, dtype="bfloat16"))
        if lean:
            assert use_lean_lora(policy) == 14
        with torch.autocast("cpu", torch.bfloat16):
            hidden = policy_hidden(policy, policy, ids)
        (hidden.float() ** 3).mean().backward()
        gradients = [w.grad.double().flatten() for w in policy.parameters() if w.grad is not None]
        return hidden.detach().double().flatten(), torch.cat(gradients)

    for found, wanted in zip(step(True), step(False), strict=True):
        assert 0 < (found - wanted).norm() < 0.08 * wanted.norm()  # bfloat16, rounded elsewhere
