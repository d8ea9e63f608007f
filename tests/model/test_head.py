"""What an adapter does to the head, against peft's own logits and plain autograd."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from stylellm.errors import ModelError
from stylellm.model.attention import FLASH
from stylellm.model.head import check_head_adapter, check_logits, head_terms, output_weight
from stylellm.model.load import load_base
from stylellm.model.policy import add_lora, load_policy, policy_hidden
from stylellm.model.reference import adapter_off, reference_hidden
from stylellm.objective import chunked, dense

TOKENS = [7, 300, 491]
HEADS = {
    "bare": {},
    "LoRA": {"target_modules": ["q_proj", "lm_head"]},
    "LoRA alone": {"target_modules": ["lm_head"], "use_rslora": True},
    "tokens": {"trained_tokens": TOKENS},
    "LoRA and tokens": {"target_modules": ["v_proj", "lm_head"], "trained_tokens": TOKENS},
    "DoRA inside": {"target_modules": ["q_proj"], "use_dora": True},
}


@pytest.fixture(scope="module")
def untied_dir(tmp_path_factory):
    from tiny_models import save_tiny_model, save_tiny_tokenizer

    folder = tmp_path_factory.mktemp("model") / "untied"
    save_tiny_tokenizer(folder)
    save_tiny_model(folder, tie_word_embeddings=False)
    return folder


@pytest.fixture(params=["tied", "untied"])
def make(request, tiny_model_dir, untied_dir):
    """A factory of policies in float64 whose adapter does something everywhere."""
    folder = tiny_model_dir if request.param == "tied" else untied_dir

    def policy_of(**options):
        base = load_base(str(folder))
        assert base.config.tie_word_embeddings == (request.param == "tied")
        torch.manual_seed(0)
        policy = add_lora(base, base_name=str(folder), **{"r": 3, "dropout": 0.0, **options})
        stir(policy)
        return policy.double().eval()

    return policy_of


def stir(policy):
    for name, weight in policy.named_parameters():
        if "lora_B" in name or "trainable_tokens_delta" in name:
            with torch.no_grad():
                weight += 0.1 * torch.randn_like(weight)


@pytest.fixture(scope="module")
def batch():
    ids = torch.arange(2 * 13).reshape(2, 13) * 37 % 490
    ids[0, 3], ids[1, 5] = TOKENS[:2]  # trained tokens also go in
    labels = ids.roll(-1, 1)
    labels[:, -1] = -100
    labels[0, 4] = TOKENS[2]
    return ids, torch.ones_like(ids), labels.flatten(), torch.arange(26) % 3 != 0


def by_peft(policy, batch, direction):
    """Loss and gradients with peft's own logits, log-softmax and autograd."""
    ids, mask, labels, kl_weight = batch
    policy.zero_grad()
    ours = policy(input_ids=ids, attention_mask=mask).logits.flatten(0, 1).log_softmax(1)
    with torch.no_grad(), adapter_off(policy):
        base = policy(input_ids=ids, attention_mask=mask).logits.flatten(0, 1).log_softmax(1)
    nll = nn.functional.nll_loss(ours, labels)
    kl = dense.kl_divergence(ours, base, direction)[kl_weight].mean()
    (nll + 0.7 * kl).backward()
    return (nll + 0.7 * kl).item(), kl.item(), gradients(policy)


def by_us(form, policy, batch, direction, **options):
    ids, mask, labels, kl_weight = batch
    policy.zero_grad()
    hidden = policy_hidden(policy, policy, ids, mask).flatten(0, 1)
    result = form.style_alignment_loss(
        hidden,
        reference_hidden(policy, ids, mask).flatten(0, 1),
        output_weight(policy),
        labels,
        kl_weight,
        0.7,
        kl_direction=direction,
        chunk_size=5,
        **head_terms(policy, hidden),
        **options,
    )
    result.loss.backward()
    return result.loss.item(), (result.kl_sum / result.num_kl).item(), gradients(policy)


def gradients(policy):
    return {n: w.grad.clone() for n, w in policy.named_parameters() if w.grad is not None}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("direction", ["policy_ref", "ref_policy"])
def test_loss_and_gradients_are_those_of_pefts_logits(make, batch, head, direction):
    policy = make(**HEADS[head])
    loss, kl, expected = by_peft(policy, batch, direction)
    assert kl > 1e-4
    for form in (dense, chunked):
        value, measured, found = by_us(form, policy, batch, direction)
        assert value == pytest.approx(loss, rel=1e-10)
        assert measured == pytest.approx(kl, rel=1e-8)
        assert found.keys() == expected.keys()
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-7, atol=1e-11, msg=name)
    trained = {name for name, weight in policy.named_parameters() if weight.requires_grad}
    assert expected.keys() == trained
    if "trained_tokens" in HEADS[head]:
        assert any("trainable_tokens_delta" in name for name in trained)


def test_head_terms_are_there_where_the_adapter_has_them(make, batch):
    ids, mask, *_ = batch
    for head, expected in [("bare", set()), ("LoRA", {"low_rank"})]:
        policy = make(**HEADS[head])
        hidden = policy_hidden(policy, policy, ids, mask).flatten(0, 1)
        assert head_terms(policy, hidden).keys() == expected
        with adapter_off(policy):
            assert head_terms(policy, hidden) == {}
    policy = make(**HEADS["tokens"])
    with adapter_off(policy):
        assert head_terms(policy, hidden) == {}
    tied = policy.get_base_model().config.tie_word_embeddings
    assert head_terms(policy, hidden).keys() == ({"token_logits"} if tied else set())


def test_the_shared_weight_is_the_bases_own(make, tiny_model_dir, untied_dir):
    for head, options in HEADS.items():
        policy = make(**options)
        tied = policy.get_base_model().config.tie_word_embeddings
        base = load_base(str(tiny_model_dir if tied else untied_dir))
        assert torch.equal(output_weight(policy), base.get_output_embeddings().weight.double()), (
            head
        )
        assert not output_weight(policy).requires_grad


def test_before_the_first_step_the_kl_is_exactly_zero(tiny_model_dir, batch):
    for options in HEADS.values():
        base = load_base(str(tiny_model_dir))
        policy = add_lora(base, base_name="x", r=3, dropout=0.0, **options).eval()
        _, kl, _ = by_us(chunked, policy, batch, "policy_ref")
        # DoRA divides by a norm that it has just computed: the same, but for a rounding.
        assert kl == 0.0 or (options.get("use_dora") and kl < 1e-10)


def test_dropout_of_the_head_is_drawn_once_for_the_call(tiny_model_dir, batch):
    base = load_base(str(tiny_model_dir))
    policy = add_lora(base, base_name="x", r=3, dropout=0.5, target_modules=["lm_head"])
    stir(policy)
    hidden = torch.randn(40, 32)
    noisy = [head_terms(policy.train(), hidden)["low_rank"][0] for _ in range(2)]
    assert not torch.equal(*noisy)
    quiet = [head_terms(policy.eval(), hidden)["low_rank"][0] for _ in range(2)]
    assert torch.equal(*quiet)


def test_the_head_of_a_16_bit_base_keeps_the_digits_of_its_adapter(tiny_model_dir, batch):
    """peft holds the adapter in float32; features must not come out of 16-bit products."""
    base = load_base(str(tiny_model_dir), dtype="bfloat16")
    policy = add_lora(base, base_name="x", r=3, dropout=0.0, target_modules=["lm_head"])
    hidden = torch.randn(40, 32).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features, weight = head_terms(policy, hidden)["low_rank"]
    layer = policy.get_output_embeddings()
    exact = hidden.double() @ layer.lora_A["default"].weight.double().T * layer.scaling["default"]
    torch.testing.assert_close(features.double(), exact, rtol=1e-5, atol=1e-5)
    assert weight.dtype == torch.float32
    assert output_weight(policy).dtype == torch.bfloat16


@pytest.mark.parametrize("head", ["LoRA", "tokens", "LoRA and tokens"])
def test_a_saved_head_loads_as_the_same_policy(make, batch, head, tmp_path):
    policy = make(**HEADS[head]).float()
    policy.save_pretrained(str(tmp_path))
    loaded, _ = load_policy(tmp_path)
    with torch.no_grad():
        expected = policy(input_ids=batch[0]).logits
        torch.testing.assert_close(loaded(input_ids=batch[0]).logits, expected, rtol=0, atol=1e-6)
        hidden = policy_hidden(loaded, loaded, *batch[:2]).flatten(0, 1)
        result = chunked.style_alignment_loss(
            hidden, None, output_weight(loaded), batch[2], torch.zeros(26), 0.0,
            **head_terms(loaded, hidden),
        )  # fmt: skip
    truth = nn.functional.cross_entropy(expected.flatten(0, 1), batch[2])
    assert result.loss.item() == pytest.approx(truth.item(), rel=1e-5)


# What the objective has no term for.


def refusal(function, *args, **options):
    with pytest.raises(ModelError) as raised:
        function(*args, **options)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_dora_on_the_head_is_refused(make):
    message = refusal(make, target_modules=["lm_head"], use_dora=True)
    assert "Dora" in message
    assert "lora.target_modules" in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"modules_to_save": ["lm_head"], "target_modules": ["q_proj"]}, "as a whole"),
        ({"lora_bias": True, "target_modules": ["lm_head"]}, "has a bias"),
    ],
)
def test_other_adapters_on_the_head_are_refused(untied_dir, options, message):
    from peft import LoraConfig, get_peft_model

    policy = get_peft_model(load_base(str(untied_dir)), LoraConfig(**options))
    assert message in refusal(check_head_adapter, policy)


def test_another_method_on_the_head_is_refused(untied_dir):
    from peft import IA3Config, get_peft_model

    config = IA3Config(target_modules=["lm_head"], feedforward_modules=[])
    assert "Linear" in refusal(
        check_head_adapter, get_peft_model(load_base(str(untied_dir)), config)
    )


def test_a_plain_head_passes(tiny_model_dir):
    check_logits(load_base(str(tiny_model_dir)), "tiny")


def test_a_model_with_flash_attention_is_tried_before_it_is_on_its_gpu(tiny_model_dir):
    base = load_base(str(tiny_model_dir))
    base.config._attn_implementation = FLASH
    check_logits(base, "tiny")
    assert base.config._attn_implementation == FLASH


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_scale_under_any_name_is_found(tiny_model_dir, where):
    base = load_base(str(tiny_model_dir))

    class Scaled(type(base)):
        def forward(self, *args, **kwargs):
            output = super().forward(*args, **kwargs)
            if where == "before":
                output.logits = self.lm_head(self.model(*args, **kwargs).last_hidden_state / 2)
                return output
            output.logits = output.logits / 2
            return output

    base.__class__ = Scaled
    assert "scales or caps" in refusal(add_lora, base, base_name="mine")


def test_cohere_scales_its_logits_and_is_refused(tmp_path):
    from transformers import CohereConfig, CohereForCausalLM

    config = CohereConfig(
        vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, logit_scale=0.0625,
    )  # fmt: skip
    model = CohereForCausalLM(config)
    assert "scales or caps" in refusal(check_logits, model, "cohere")
    model.save_pretrained(str(tmp_path / "cohere"))
    assert "logit_scale=0.0625" in refusal(load_base, str(tmp_path / "cohere"))
