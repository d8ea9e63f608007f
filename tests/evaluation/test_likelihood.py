"""Likelihood against transformers' own loss, drift against torch's kl_div, suffix gain by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stylellm.errors import StyleLLMError
from stylellm.evaluation.likelihood import suffix_gain, window_likelihood
from stylellm.masking.plan import MaskSettings, plan_mask, window_rng
from stylellm.model.load import load_base
from stylellm.model.policy import add_lora
from stylellm.model.reference import adapter_off


@pytest.fixture(scope="module")
def policy(make_policy):
    return make_policy(trained=True)


@pytest.fixture(scope="module")
def windows(story):
    pieces = [story[:50], story[50:58], story[60:140], "😀" + story[140:170], story[170:172]]
    return [{"text": text, "ends_document": i % 2 == 0} for i, text in enumerate(pieces)]


def ids_of(tokenizer, window):
    ids = tokenizer(window["text"], add_special_tokens=False)["input_ids"]
    return torch.tensor([ids + [tokenizer.eos_token_id] * window["ends_document"]])


def own_loss(model, ids):
    """The summed loss that transformers computes by itself, and its number of tokens."""
    count = ids.shape[1] - 1
    with torch.no_grad():
        return model(input_ids=ids, labels=ids).loss.item() * count, count


def log_probabilities(policy, ids):
    with torch.no_grad():
        return policy(input_ids=ids).logits[0].double().log_softmax(-1)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_likelihood_equals_transformers_own_loss(
    policy, tiny_tokenizer, tiny_model_dir, windows, batch_size
):
    found = window_likelihood(policy, tiny_tokenizer, windows, batch_size=batch_size)
    base = load_base(str(tiny_model_dir)).eval()
    for i, window in enumerate(windows):
        ids = ids_of(tiny_tokenizer, window)
        nll, count = own_loss(policy, ids)
        assert found.tokens[i] == count
        assert found.nll_policy[i] == pytest.approx(nll, rel=1e-5)
        assert found.nll_reference[i] == pytest.approx(own_loss(base, ids)[0], rel=1e-5)
    assert not np.allclose(found.nll_policy, found.nll_reference, rtol=1e-2)


def test_kl_equals_torchs_kl_div_on_full_logits(policy, tiny_tokenizer, windows):
    found = window_likelihood(policy, tiny_tokenizer, windows)
    for i, window in enumerate(windows):
        ids = ids_of(tiny_tokenizer, window)
        p = log_probabilities(policy, ids)[:-1]
        with adapter_off(policy):
            q = log_probabilities(policy, ids)[:-1]
        kl = torch.nn.functional.kl_div(q, p, reduction="sum", log_target=True).item()
        assert kl > 0.1
        assert found.kl[i] == pytest.approx(kl, rel=1e-4)


def test_kl_of_an_untouched_adapter_is_exactly_zero(make_policy, tiny_tokenizer, windows):
    found = window_likelihood(make_policy(), tiny_tokenizer, windows)
    assert (found.kl == 0).all()
    assert (found.nll_policy == found.nll_reference).all()


def test_summary_is_per_token_and_per_predicted_character(policy, tiny_tokenizer, windows):
    found = window_likelihood(policy, tiny_tokenizer, windows)
    nll, tokens, characters = 0.0, 0, 0
    for window in windows:
        ids = ids_of(tiny_tokenizer, window)
        loss, count = own_loss(policy, ids)
        first = tiny_tokenizer.decode(ids[0, :1])
        nll, tokens = nll + loss, tokens + count
        characters += len(window["text"]) - len(first)
    summary = found.summary("policy")
    assert summary["nll_per_token"] == pytest.approx(nll / tokens, rel=1e-5)
    assert summary["perplexity"] == pytest.approx(math.exp(nll / tokens), rel=1e-4)
    assert summary["bits_per_character"] == pytest.approx(nll / characters / math.log(2), rel=1e-5)
    assert found.kl_per_token == pytest.approx(found.kl.sum() / tokens)


def test_characters_not_predicted_are_those_of_the_first_token(policy, tiny_tokenizer):
    """A token may hold two characters, or a part of one."""
    texts = ["剑光一闪", "少年道", "😀笑", "ab"]
    windows = [{"text": text, "ends_document": False} for text in texts]
    found = window_likelihood(policy, tiny_tokenizer, windows)
    for text, characters in zip(texts, found.characters, strict=True):
        first = tiny_tokenizer.convert_ids_to_tokens(tiny_tokenizer(text)["input_ids"])[0]
        in_bytes = len(first)  # byte-level tokens are spelled with one letter a byte
        given = min(k for k in range(9) if len(text[:k].encode("utf-8")) >= in_bytes)
        assert characters == len(text) - given


def test_text_that_predicts_nothing_is_an_error_not_a_crash(policy, tiny_tokenizer):
    for windows in ([], [{"text": "剑", "ends_document": False}]):
        found = window_likelihood(policy, tiny_tokenizer, windows)
        with pytest.raises(StyleLLMError, match="token"):
            found.summary("policy")
        with pytest.raises(StyleLLMError, match="token"):
            _ = found.kl_per_token


# Suffix gain.


@pytest.fixture(scope="module")
def long_windows(story):
    return [{"text": story[i : i + 60], "ends_document": True} for i in range(0, 180, 30)]


def nll_of(policy, context, middle):
    """-log P(middle | context) from full logits, in float64."""
    ids = torch.tensor([context + middle])
    logits = log_probabilities(policy, ids)[len(context) - 1 : -1]
    return -logits.gather(1, torch.tensor(middle)[:, None]).sum().item()


def by_hand(policy, tokenizer, windows, order):
    def encode(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    names = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
    pre, suf, mid = tokenizer.convert_tokens_to_ids(names)
    infill = plain = count = 0
    for index, window in enumerate(windows):
        text = window["text"]
        [(a, b)] = plan_mask(text, "span", window_rng(0, 0, index), MaskSettings()).spans
        prefix, middle, suffix = encode(text[:a]), encode(text[a:b]), encode(text[b:])
        lead = [pre] if order == "native" else []
        infill += nll_of(policy, [*lead, *prefix, suf, *suffix, mid], middle)
        plain += nll_of(policy, prefix, middle)
        count += len(middle)
    return plain / count, infill / count, count


@pytest.mark.parametrize("order", ["prefix_first", "native"])
def test_suffix_gain_against_a_direct_computation(policy, tiny_tokenizer, long_windows, order):
    found = suffix_gain(policy, tiny_tokenizer, long_windows, order=order, batch_size=4)
    plain, infill, count = by_hand(policy, tiny_tokenizer, long_windows, order)
    assert found["n"] == count
    assert found["policy"]["nll_prefix_only"] == pytest.approx(plain, rel=1e-5)
    assert found["policy"]["nll_infill"] == pytest.approx(infill, rel=1e-5)
    assert found["policy"]["suffix_gain"] == pytest.approx(plain - infill, abs=1e-4)
    with adapter_off(policy):
        plain, infill, _ = by_hand(policy, tiny_tokenizer, long_windows, order)
    assert found["base"]["suffix_gain"] == pytest.approx(plain - infill, abs=1e-4)


def test_suffix_gain_leaves_out_what_does_not_fit(policy, tiny_tokenizer, long_windows):
    whole = suffix_gain(policy, tiny_tokenizer, long_windows)
    longest = suffix_gain(policy, tiny_tokenizer, long_windows, max_length=250)
    assert longest == whole
    fewer = suffix_gain(policy, tiny_tokenizer, long_windows, max_length=56)
    assert 0 < fewer["n"] < whole["n"]


def test_suffix_gain_without_a_window_to_score_is_empty(policy, tiny_tokenizer):
    short = [{"text": "剑光", "ends_document": False}]
    assert suffix_gain(policy, tiny_tokenizer, short) == {}


def test_an_adapter_on_the_head_and_trained_rows_count(tiny_model_dir, tiny_tokenizer, windows):
    torch.manual_seed(1)
    policy = add_lora(
        load_base(str(tiny_model_dir)), base_name="tiny", r=4,
        target_modules=["q_proj", "lm_head"], trained_tokens=[3, 5],
    ).eval()  # fmt: skip
    for name, weight in policy.named_parameters():
        if weight.requires_grad and "lora_A" not in name:
            torch.nn.init.normal_(weight, std=0.3)
    found = window_likelihood(policy, tiny_tokenizer, windows)
    for i, window in enumerate(windows):
        ids = ids_of(tiny_tokenizer, window)
        assert found.nll_policy[i] == pytest.approx(own_loss(policy, ids)[0], rel=1e-4)
        on = log_probabilities(policy, ids)
        with adapter_off(policy):
            off = log_probabilities(policy, ids)
        kl = torch.nn.functional.kl_div(off, on, log_target=True, reduction="none").sum(1)[:-1]
        assert found.kl[i] == pytest.approx(kl.sum().item(), rel=1e-4)
