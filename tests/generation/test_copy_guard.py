"""No forbidden run is ever completed; runs that stand in the books are named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from stylellm.generation.copy_guard import CopyWatch, comparable, guard_maker
from stylellm.generation.sampler import Sampling, generate

GREEDY = Sampling(max_new_tokens=40, do_sample=False, repetition_penalty=1.0)
PROMPTS = ["剑光一闪", "他", "风从山口吹来，"]


@pytest.fixture(scope="module")
def policy(make_policy: Any) -> Any:
    return make_policy(trained=True)


@pytest.fixture
def parrot(make_policy: Any, tiny_tokenizer: Any) -> Any:
    """A policy that recites one text token by token, whatever it is asked."""

    def make(text: str) -> Any:
        ids = [
            *tiny_tokenizer(text, add_special_tokens=False)["input_ids"],
            tiny_tokenizer.eos_token_id,
        ]
        policy = make_policy()
        state = {"step": 0}

        def recite(_m: Any, _a: Any, out: torch.Tensor) -> torch.Tensor:
            fixed = torch.zeros_like(out)
            fixed[..., ids[min(state["step"], len(ids) - 1)]] = 30.0
            state["step"] += 1
            return fixed

        policy.get_output_embeddings().register_forward_hook(recite)
        return policy

    return make


@pytest.mark.parametrize("limit", [2, 5, 8])
def test_a_reciting_model_is_held_back(
    parrot: Any, tiny_tokenizer: Any, story: str, limit: int
) -> None:
    """The story has characters of several byte-level tokens, so runs end inside and between tokens."""
    book = story[:60]
    watch = CopyWatch({"书": book})
    (free,) = generate(
        parrot(book), tiny_tokenizer, [""], replace(GREEDY, max_new_tokens=90), seed=0
    )
    assert watch.index.longest_copy(comparable(free)).length >= 40
    guards = guard_maker(watch, limit, tiny_tokenizer)
    sampling = replace(GREEDY, max_new_tokens=90)
    (held,) = generate(parrot(book), tiny_tokenizer, [""], sampling, seed=0, guards=guards)
    assert 0 < watch.index.longest_copy(comparable(held)).length < limit


@pytest.mark.parametrize("seed", range(3))
def test_no_text_of_a_batch_holds_a_forbidden_run(
    policy: Any, tiny_tokenizer: Any, seed: int
) -> None:
    drawn = Sampling(max_new_tokens=40, temperature=0.7)
    free = generate(policy, tiny_tokenizer, PROMPTS, drawn, seed=seed)
    watch = CopyWatch({"书": "。".join(free)})
    guards = guard_maker(watch, 4, tiny_tokenizer)
    held = generate(policy, tiny_tokenizer, PROMPTS, drawn, seed=seed, guards=guards)
    for prompt, text in zip(PROMPTS, held, strict=True):
        assert watch.index.longest_copy(comparable(text)).length < 4
        joined = comparable(prompt)[-3:] + comparable(text)
        assert watch.index.longest_copy(joined).length < 4


def test_texts_without_copies_are_left_alone(policy: Any, tiny_tokenizer: Any) -> None:
    watch = CopyWatch({"书": "天地玄黄宇宙洪荒"})
    guards = guard_maker(watch, 8, tiny_tokenizer)
    drawn = Sampling(max_new_tokens=30)
    assert generate(policy, tiny_tokenizer, PROMPTS, drawn, seed=1, guards=guards) == generate(
        policy, tiny_tokenizer, PROMPTS, drawn, seed=1
    )


def test_runs_are_named() -> None:
    watch = CopyWatch(
        {"甲书": "风从山口吹来，店里的灯忽明忽暗。", "乙书": "老人放下酒杯，却不说话。"}
    )
    (run,) = watch.runs("他说：老人放下酒杯，却不走。", 6)
    assert (run.length, run.text, run.source, run.offset) == (9, "老人放下酒杯，却不", "乙书", 0)
    (traditional,) = watch.runs("風從山口\n吹來", 6)
    assert (traditional.length, traditional.source) == (6, "甲书")
    assert watch.runs("他说：老人放下酒杯，却不走。", 10) == []
