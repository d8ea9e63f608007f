"""Sampling: seeded, batched without the batch mattering, free of control tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from stylellm.errors import StyleLLMError
from stylellm.generation.sampler import Sampling, control_token_ids, generate
from stylellm.model.load import load_base

PROMPTS = ["剑光一闪", "风从山口吹来，店里的灯忽明忽暗。", "他", "少年道：“你既然来了", ""]
DRAWN = Sampling(max_new_tokens=12)
GREEDY = Sampling(max_new_tokens=12, do_sample=False, repetition_penalty=1.0)


@pytest.fixture(scope="module")
def policy(make_policy):
    return make_policy(trained=True)


@pytest.fixture
def sample(policy, tiny_tokenizer):
    def draw(prompts=PROMPTS, sampling=DRAWN, seed=3, **options):
        return generate(policy, tiny_tokenizer, prompts, sampling, seed=seed, **options)

    return draw


def test_the_same_seed_gives_the_same_texts(sample):
    first = sample()
    assert len(first) == len(PROMPTS)
    assert all(first)
    assert sample() == first
    assert sample(seed=4) != first


def test_the_order_of_calls_does_not_matter(sample):
    one, two = sample(seed=1), sample(seed=2)
    assert sample(seed=2) == two
    assert sample(seed=1) == one


def test_the_global_random_state_is_left_alone(sample):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    text = sample()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(8)
    assert sample() == text


def test_equal_prompts_in_one_batch_and_in_the_next_differ(sample):
    texts = sample(["剑光一闪"] * 8, batch_size=4)
    assert len(set(texts)) == 8


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_a_batch_of_different_lengths_equals_each_prompt_alone(sample, penalty):
    """Greedy, so that only the padding could make a difference."""
    sampling = replace(GREEDY, repetition_penalty=penalty, max_new_tokens=30)
    together = sample(sampling=sampling)
    alone = [sample([prompt], sampling)[0] for prompt in PROMPTS]
    assert together == alone
    assert sample(sampling=sampling, batch_size=2) == alone


@pytest.fixture
def fond_of(make_policy):
    """A policy that gives a few tokens high logits, whatever stands before."""

    def make(logits):
        fond = make_policy()
        bias = torch.zeros(fond.get_output_embeddings().weight.shape[0])
        for token, logit in logits.items():
            bias[token] = logit
        fond.get_output_embeddings().register_forward_hook(lambda _m, _a, out: 0 * out + bias)
        return fond

    return make


@pytest.fixture
def word(tiny_tokenizer):
    [found] = tiny_tokenizer("剑", add_special_tokens=False)["input_ids"]
    return found


def test_control_tokens_are_never_produced(fond_of, tiny_tokenizer, word):
    control = control_token_ids(tiny_tokenizer)
    names = ["<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"]
    assert control == sorted(tiny_tokenizer.convert_tokens_to_ids(names))
    fond = fond_of({**dict.fromkeys(control, 90.0), word: 50.0})
    for sampling in (GREEDY, DRAWN):
        assert generate(fond, tiny_tokenizer, ["风"], sampling, seed=0) == ["剑" * 12]


def test_the_end_of_text_ends_a_text_and_is_not_shown(fond_of, tiny_tokenizer):
    fond = fond_of({tiny_tokenizer.eos_token_id: 50.0})
    assert generate(fond, tiny_tokenizer, ["风", "剑光一闪"], GREEDY, seed=0) == ["", ""]


def test_min_new_tokens_holds_the_end_of_text_back(fond_of, tiny_tokenizer, word):
    fond = fond_of({tiny_tokenizer.eos_token_id: 50.0, word: 40.0})
    sampling = replace(GREEDY, min_new_tokens=5)
    assert generate(fond, tiny_tokenizer, ["风"], sampling, seed=0) == ["剑" * 5]


def test_padding_does_not_count_as_repetition(fond_of, tiny_tokenizer, word):
    """The end-of-text token pads short prompts; a penalty on it would keep them from ending."""
    fond = fond_of({tiny_tokenizer.eos_token_id: 50.0, word: 45.0})
    sampling = replace(GREEDY, repetition_penalty=1.3)
    assert generate(fond, tiny_tokenizer, ["风", "剑光一闪"], sampling, seed=0) == ["", ""]


def test_without_adapter_it_is_the_bases_own_generate(sample, tiny_model_dir, tiny_tokenizer):
    base = load_base(str(tiny_model_dir)).eval()
    prompt = PROMPTS[1]
    ids = torch.tensor([tiny_tokenizer(prompt)["input_ids"]])
    own = base.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=12,
        do_sample=False,
        suppress_tokens=control_token_ids(tiny_tokenizer),
    )
    wanted = tiny_tokenizer.decode(own[0, ids.shape[1] :], skip_special_tokens=True).rstrip(
        "\ufffd"
    )
    assert sample([prompt], GREEDY, use_adapter=False) == [wanted]
    assert sample([prompt], GREEDY) != [wanted]


def test_sampling_without_adapter_leaves_it_on_afterwards(sample):
    before = sample(sampling=GREEDY)
    sample(use_adapter=False)
    assert sample(sampling=GREEDY) == before


def test_dropout_of_a_policy_in_training_is_off_while_sampling(make_policy, tiny_tokenizer):
    policy = make_policy(trained=True, dropout=0.5)
    quiet = generate(policy, tiny_tokenizer, PROMPTS, GREEDY, seed=0)
    policy.train()
    assert generate(policy, tiny_tokenizer, PROMPTS, GREEDY, seed=0) == quiet
    assert policy.training


@pytest.mark.parametrize("new_tokens", [256, 250])
def test_a_prompt_that_leaves_no_room_is_refused(sample, new_tokens):
    with pytest.raises(StyleLLMError) as raised:
        sample([PROMPTS[1]], replace(DRAWN, max_new_tokens=new_tokens))
    assert "256" in str(raised.value)
    assert "--max_new_tokens" in str(raised.value)


def test_no_prompts_give_no_texts(sample):
    assert sample([]) == []


def test_sampling_follows_the_temperature(sample):
    cold = sample(["剑光一闪"] * 6, replace(DRAWN, temperature=0.01, repetition_penalty=1.0))
    hot = sample(["剑光一闪"] * 6, replace(DRAWN, temperature=3.0, top_p=1.0))
    assert len(set(cold)) == 1
    assert len(set(hot)) == 6


def test_top_k_one_is_greedy(sample):
    only_best = replace(DRAWN, top_k=1, repetition_penalty=1.0)
    assert sample(sampling=only_best) == sample(sampling=GREEDY)
