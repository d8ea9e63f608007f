"""The draw follows the softmax, a text its own seed; logits mixed against a dense computation."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from stylellm.generation.drawing import GumbelDraw
from stylellm.generation.sampler import Sampling, generate
from stylellm.generation.strength import set_strength
from stylellm.model.reference import adapter_off

PROMPTS = ["剑光一闪", "风从山口吹来，店里的灯忽明忽暗。", "他", "少年道：“你既然来了", ""]
DRAWN = Sampling(max_new_tokens=12)
GREEDY = Sampling(max_new_tokens=12, do_sample=False, repetition_penalty=1.0)


@pytest.fixture(scope="module")
def policy(make_policy: Any) -> Any:
    return make_policy(trained=True)


def test_draws_follow_the_softmax() -> None:
    """Chi-square of 20,000 draws over six tokens, one of them impossible; 99.9% bound at 4 degrees."""
    logits = torch.tensor([0.0, 1.0, 2.0, -1.0, float("-inf"), 0.5])
    count = 20_000
    draw = GumbelDraw(list(range(count)), "cpu")
    tokens = draw(torch.zeros(count, 1), logits.expand(count, -1)).argmax(-1)
    observed = torch.bincount(tokens, minlength=6).double()
    expected = count * torch.softmax(logits.double(), -1)
    assert observed[4] == 0
    live = expected > 0
    assert float(((observed - expected)[live] ** 2 / expected[live]).sum()) < 18.5


def test_a_text_depends_on_its_seed_alone(policy: Any, tiny_tokenizer: Any) -> None:
    together = generate(policy, tiny_tokenizer, PROMPTS, DRAWN, seed=3)
    for batch_size in (1, 2):
        assert (
            generate(policy, tiny_tokenizer, PROMPTS, DRAWN, seed=3, batch_size=batch_size)
            == together
        )
    backwards = generate(policy, tiny_tokenizer, PROMPTS[::-1], DRAWN, seed=[7, 6, 5, 4, 3])
    assert backwards == together[::-1]


def test_the_models_own_defaults_change_nothing(make_policy: Any, tiny_tokenizer: Any) -> None:
    plain = generate(make_policy(trained=True), tiny_tokenizer, PROMPTS, DRAWN, seed=3)
    instruct = make_policy(trained=True)
    config = instruct.get_base_model().generation_config
    config.do_sample, config.temperature, config.top_p, config.top_k = True, 0.1, 0.5, 2
    config.repetition_penalty = 1.9
    assert generate(instruct, tiny_tokenizer, PROMPTS, DRAWN, seed=3) == plain


@pytest.mark.parametrize("change", [{"min_p": 1.0}, {"top_k": 1}])
def test_warpers_that_leave_the_best_alone_are_greedy(
    policy: Any, tiny_tokenizer: Any, change: dict[str, Any]
) -> None:
    only_best = replace(GREEDY, do_sample=True, **change)
    assert generate(policy, tiny_tokenizer, PROMPTS, only_best, seed=0) == generate(
        policy, tiny_tokenizer, PROMPTS, GREEDY, seed=0
    )


def test_no_ngram_twice(policy: Any, tiny_tokenizer: Any) -> None:
    long = replace(GREEDY, max_new_tokens=60)
    (free,) = generate(policy, tiny_tokenizer, ["剑光一闪"], long, seed=0)
    (text,) = generate(
        policy, tiny_tokenizer, ["剑光一闪"], replace(long, no_repeat_ngram_size=2), seed=0
    )

    def repeats(text: str) -> bool:
        ids = tiny_tokenizer(text, add_special_tokens=False)["input_ids"]
        pairs = list(pairwise(ids))
        return len(set(pairs)) < len(pairs)

    assert repeats(free) and text != free


def test_mixed_logits_at_the_ends(policy: Any, tiny_tokenizer: Any) -> None:
    def draw(**options: Any) -> list[str]:
        return generate(policy, tiny_tokenizer, PROMPTS, DRAWN, seed=3, **options)

    assert draw(logit_strength=0.0) == draw(use_adapter=False)
    assert draw(logit_strength=1.0) == draw()
    assert draw(logit_strength=0.5) not in (draw(), draw(use_adapter=False))


@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_mixed_logits_against_the_dense_computation(
    make_policy: Any, tiny_tokenizer: Any, factor: float
) -> None:
    policy = make_policy(trained=True, double=True)
    (text,) = generate(policy, tiny_tokenizer, ["剑光一闪"], GREEDY, seed=0, logit_strength=factor)
    ids = torch.tensor([tiny_tokenizer("剑光一闪", add_special_tokens=False)["input_ids"]])
    start = ids.shape[1]
    control = [
        i for i in tiny_tokenizer.get_added_vocab().values() if i != tiny_tokenizer.eos_token_id
    ]
    with torch.no_grad():
        for _ in range(12):  # no cache, no processors
            mine = policy(input_ids=ids).logits[0, -1]
            with adapter_off(policy):
                base = policy(input_ids=ids).logits[0, -1]
            mixed = base + factor * (mine - base)
            mixed[control] = float("-inf")
            ids = torch.cat([ids, mixed.argmax().view(1, 1)], 1)
    assert text == tiny_tokenizer.decode(ids[0, start:], skip_special_tokens=True)


def test_both_dials_at_once(policy: Any, tiny_tokenizer: Any) -> None:
    set_strength(policy, 0.0)
    try:
        zero = generate(policy, tiny_tokenizer, PROMPTS, DRAWN, seed=3)
    finally:
        set_strength(policy, 1.0)
    assert zero == generate(policy, tiny_tokenizer, PROMPTS, DRAWN, seed=3, use_adapter=False)
