from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.corpus.chunk import cut_windows, sentences, token_counter
from stylellm.errors import DataError

PROSE = st.text(
    alphabet=st.sampled_from("剑光一闪，人已倒地。！？…“”‘’（）—：；a1 .!?\n\u3000𠮷é\u0301"),
    max_size=300,
)


def count_bytes(texts: Sequence[str]) -> list[int]:
    return [len(text.encode("utf-8")) for text in texts]


def count_characters(texts: Sequence[str]) -> list[int]:
    return [len(text) for text in texts]


def test_closing_quotes_stay_with_their_sentence() -> None:
    text = "他喝道：“住手！”众人一惊。“你……你是谁？”那人不答……转身便走！\n"
    text += "第二段没有句号\n\n3.5两银子?Yes!no."
    assert sentences(text) == [
        "他喝道：“住手！”",
        "众人一惊。",
        "“你……你是谁？”",
        "那人不答……转身便走！\n",
        "第二段没有句号\n\n",
        "3.5两银子?Yes!no.",
    ]


@given(st.one_of(PROSE, st.text(max_size=200)))
@settings(max_examples=100)
def test_sentences_join_to_the_text(text: str) -> None:
    assert "".join(sentences(text)) == text
    assert all(sentences(text))


@pytest.mark.parametrize("text", ["?.", "他?.", "…a?", "!…？a!", "甲!乙?b…"])
def test_a_stop_that_ends_nothing_is_not_lost(text: str) -> None:
    """Python before 3.11.5 lost it, with a possessive repeat around alternatives."""
    assert "".join(sentences(text)) == text


@pytest.mark.parametrize("text", ["…" * 100_000, "无" * 1_000_000, "“" * 100_000, "！" * 100_000])
def test_sentences_of_degenerate_texts_take_linear_time(text: str) -> None:
    assert "".join(sentences(text)) == text


@given(PROSE, st.integers(20, 120), st.integers(0, 8), st.booleans())
@settings(max_examples=100, deadline=None)
def test_windows_join_to_the_text_and_fit(text: str, size: int, reserve: int, ends: bool) -> None:
    windows = cut_windows(text, count_bytes, size, reserve=reserve, ends_document=ends)
    assert "".join(window.text for window in windows) == text
    assert all(window.text for window in windows)
    for index, window in enumerate(windows):
        eos = 1 if ends and index == len(windows) - 1 else 0
        assert window.num_tokens == len(window.text.encode("utf-8")) + eos
        assert window.num_tokens <= size - reserve


def test_windows_end_at_sentence_ends_and_are_full() -> None:
    text = "这是一句十个字的话吧。" * 40
    windows = cut_windows(text, count_characters, 64, reserve=8, ends_document=False)
    assert all(window.text.endswith("。") for window in windows)
    assert all(window.num_tokens >= 44 for window in windows[:-2])  # 55 fit, a sentence has 11


def test_a_long_sentence_is_cut_at_clauses_then_at_characters() -> None:
    clauses = "一二三四五六七八九，" * 10
    windows = cut_windows(clauses, count_characters, 34, reserve=0)
    assert all(window.text.endswith("，") for window in windows)
    unbroken = cut_windows("剑" * 100, count_characters, 34, reserve=0)
    assert max(window.num_tokens for window in unbroken) <= 34
    assert sum(len(window.text) for window in unbroken) == 100


def test_a_short_tail_shares_with_the_window_before_it() -> None:
    text = "十个字的一句话在此。" * 11  # 110 characters; windows of at most 100
    windows = cut_windows(text, count_characters, 101, reserve=0, ends_document=False)
    assert [window.num_tokens for window in windows] in ([50, 60], [60, 50])


def test_no_room_for_one_character_is_an_error() -> None:
    with pytest.raises(DataError, match="max_length"):
        cut_windows("剑光一闪", count_bytes, 3, reserve=1)


def test_joined_windows_are_counted_again() -> None:
    """A counter for which joining costs tokens: the sum over sentences is too small."""

    def superadditive(texts: Sequence[str]) -> list[int]:
        return [len(text) + len(text) // 20 for text in texts]

    text = "十个字的一句话在此。" * 30
    windows = cut_windows(text, superadditive, 60, reserve=0, ends_document=False)
    assert "".join(window.text for window in windows) == text
    assert all(superadditive([w.text]) == [w.num_tokens] and w.num_tokens <= 59 for w in windows)


def test_a_real_tokenizer_is_counted_exactly(tokenizer: Any, make_book: Any) -> None:
    text = make_book(chapters=2, seed=3)
    windows = cut_windows(text, token_counter(tokenizer), 128)
    assert "".join(window.text for window in windows) == text
    for window in windows[:-1]:
        ids = tokenizer(window.text, add_special_tokens=False)["input_ids"]
        assert window.num_tokens == len(ids) <= 128 - 8 - 1
        assert tokenizer.decode(ids) == window.text
    last = tokenizer(windows[-1].text, add_special_tokens=False)["input_ids"]
    assert windows[-1].num_tokens == len(last) + 1


def test_nothing_gives_nothing() -> None:
    assert cut_windows("", count_bytes, 100) == []
    assert sentences("") == []
