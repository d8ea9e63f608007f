"""A small tokenizer, and small books written for these tests."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

_WHO = ["林远山", "沈三娘", "老道人", "那白衣少年", "镖头赵虎", "店小二"]
_WHERE = ["破庙之中", "渡口边上", "客栈楼头", "雪岭之下", "竹林深处", "长街尽头"]
_DID = ["按剑不语", "纵身跃起", "仰天大笑", "低声叹息", "拱手作礼", "拔刀出鞘"]
_SAID = ["此事与你无干", "且慢动手", "江湖路远，就此别过", "这柄剑你从何处得来", "我等你三年了"]
_SKY = ["月色如霜", "风雪正紧", "细雨如丝", "暮色四合", "残阳如血"]


def _paragraph(generator: random.Random) -> str:
    """Numbers stand so close that no two paragraphs share a run of 30 characters."""
    choose = generator.choice

    def number() -> str:
        return "".join(generator.choices("零一二三四五六七八九", k=8))

    return (
        f"{choose(_SKY)}，{choose(_WHO)}在{choose(_WHERE)}{choose(_DID)}，隔着{number()}步，"
        f"忽听{choose(_WHO)}道：“{choose(_SAID)}！”{choose(_WHO)}与{number()}人{choose(_DID)}，"
        f"一时间{choose(_WHERE)}静得出奇，只余第{number()}声更鼓。"
    )


def _write(chapters: int = 12, paragraphs: int = 6, seed: int = 0) -> str:
    generator = random.Random(seed)
    parts = []
    for number in range(1, chapters + 1):
        body = "\n".join(_paragraph(generator) for _ in range(paragraphs))
        parts.append(f"第{number}回 {generator.choice(_WHO)}{generator.choice(_DID)}\n\n{body}")
    return "\n\n".join(parts)


@pytest.fixture(scope="session")
def make_book() -> Callable[..., str]:
    """`make_book(chapters, paragraphs, seed)`: a small clean novel, every paragraph unique."""
    return _write


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """A byte-level BPE tokenizer of some 600 tokens, with an end-of-text token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    model = Tokenizer(models.BPE())
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator([_write(seed=99)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=model, eos_token="<|endoftext|>")
