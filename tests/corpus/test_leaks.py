from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.corpus import heldout
from stylellm.corpus.leaks import HeldOut, enforce, find_leaks, without_leaks
from stylellm.corpus.split import Section
from stylellm.errors import DataError

LONG = "话说天下大势分久必合合久必分周末七国分争并入于秦及秦灭之后楚汉分争又并入于汉"


def text_of(start: int, length: int) -> str:
    """Characters of which no two stretches are alike."""
    return "".join(chr(0x4E00 + (start + k) % 20000) for k in range(length))


def shared(train: str, held: list[str], n: int) -> list[int]:
    """Where runs of n characters begin that a held-out text holds, by looking."""
    return [k for k in range(len(train) - n + 1) if any(train[k : k + n] in text for text in held)]


def train(text: str, chapter: str = "一", **options: object) -> Section:
    return Section("书", chapter, text, True, "train", **options)  # type: ignore[arg-type]


few_letters = st.text(alphabet="甲乙。\n", max_size=40)


@settings(max_examples=300)
@given(few_letters, st.lists(few_letters, max_size=3), st.integers(1, 9))
def test_every_shared_run_is_found_and_no_other(text: str, held: list[str], n: int) -> None:
    found = HeldOut([(f"测{k}", one) for k, one in enumerate(held)], n).leaks("训", text)
    starts = [leak.start + k for leak in found for k in range(leak.length - n + 1)]
    assert starts == shared(text, held, n)
    for leak in found:
        assert text[leak.start : leak.start + leak.length] == leak.text
        assert leak.text[:n] in held[int(leak.held[1:])]


@pytest.mark.parametrize("length", [29, 30, 31, 45])
@pytest.mark.parametrize("offset", range(17))
def test_runs_of_thirty_at_every_offset(length: int, offset: int) -> None:
    run = text_of(5000, length)
    held = text_of(0, 100 + offset) + run + text_of(9000, 50)
    body = text_of(12000, 77) + run + text_of(15000, 40)
    found = find_leaks([("训", body)], [("别的", text_of(18000, 300)), ("测", held)])
    assert [(leak.held, leak.train, leak.text) for leak in found] == (
        [("测", "训", run)] if length >= 30 else []
    )


def test_a_run_across_two_texts_is_none() -> None:
    run = text_of(0, 40)
    assert not find_leaks([("训", run)], [("甲", run[:20]), ("乙", run[20:]), ("丙", run[:29])])


def test_blocks_hide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [("甲", text_of(0, 700)), ("乙", text_of(3000, 55))]
    body = text_of(9000, 100) + text_of(133, 400) + text_of(7000, 3) + text_of(3010, 40)
    whole = find_leaks([("训", body)], held)
    assert [(leak.held, leak.start, leak.length) for leak in whole] == [
        ("甲", 100, 400),
        ("乙", 503, 40),
    ]
    for size in (16, 37, 64):
        monkeypatch.setattr(heldout, "_BLOCK", size)
        assert find_leaks([("训", body)], held) == whole


def test_one_letter_a_hundred_thousand_times_over() -> None:
    (leak,) = find_leaks([("训", "啊" * 100_000)], [("测", "啊" * 100_000)])
    assert leak.length == 100_000


def test_the_sentences_that_leak_are_cut_out() -> None:
    before, after = text_of(0, 40) + "。", text_of(500, 50) + "。\n"
    section = train(before + f"有诗云：{LONG}。" + after + before, source=3)
    cut = without_leaks(section, HeldOut([("测", f"却道{LONG[:35]}也")]))
    assert [(piece.chapter, piece.text, piece.ends_document) for piece in cut.sections] == [
        ("一 (1/2)", before, False),
        ("一 (2/2)", after + before, True),
    ]
    assert [(leak.train, leak.text) for leak in cut.leaks] == [("书 一", LONG[:35])]
    assert cut.removed == len(f"有诗云：{LONG}。")


def test_short_remnants_go_too_and_the_end_of_a_chapter_needs_its_end() -> None:
    before = text_of(0, 80) + "。"
    section = train(before + LONG + "。" + "罢了。")
    cut = without_leaks(section, HeldOut([("测", LONG)]))
    assert [(piece.chapter, piece.text, piece.ends_document) for piece in cut.sections] == [
        ("一", before, False)
    ]
    assert cut.removed == len(LONG) + 4


def test_of_an_endless_sentence_only_the_shared_part_is_cut() -> None:
    section = train(text_of(0, 500) + LONG + text_of(1000, 500))
    cut = without_leaks(section, HeldOut([("测", LONG)]))
    assert [piece.text for piece in cut.sections] == [text_of(0, 500), text_of(1000, 500)]


def test_a_section_that_is_mostly_held_out_goes_as_a_whole() -> None:
    section = train(text_of(0, 100) + "。" + text_of(500, 120) + "。", source=2)
    held = Section("书", "二", text_of(500, 120), True, "test", 2)
    clean = train(text_of(2000, 60), "三")
    result = enforce([section, held, clean])
    assert result.sections == [held, clean]
    assert result.removed == {("书", "一"): len(section.text)}
    assert result.removed_by_source == {2: len(section.text)}
    assert result.dropped == [("书", "一")]
    assert [leak.held for leak in result.leaks] == ["书 二"]


@settings(max_examples=150)
@given(
    st.lists(st.tuples(st.text(alphabet="甲乙丙。\n", max_size=60), st.booleans()), max_size=6),
    st.integers(2, 8),
)
def test_after_enforcing_nothing_is_shared_and_every_character_accounted_for(
    texts: list[tuple[str, bool]], n: int
) -> None:
    sections = [
        Section("书", str(k), text, True, "test" if held else "train", source=k)
        for k, (text, held) in enumerate(texts)
    ]
    result = enforce(sections, n=n)
    held = [text for text, is_held in texts if is_held]
    kept: Counter[int] = Counter()
    for section in result.sections:
        if section.split == "train":
            assert not shared(section.text, held, n)
        assert section.text in texts[section.source][0]
        kept[section.source] += len(section.text)
    for k, (text, _) in enumerate(texts):
        assert kept[k] + result.removed_by_source.get(k, 0) == len(text)
    ends = [section for section in result.sections if section.ends_document]
    assert all(texts[section.source][0].endswith(section.text) for section in ends)


def test_other_splits_can_be_trained_on_too() -> None:
    sections = [
        Section("书", "一", LONG, True, "train"),
        Section("杂", "二", LONG, True, "general_train"),
        Section("杂", "三", text_of(0, 90), True, "general_test"),
    ]
    assert enforce(sections, train=("train", "general_train")).sections == sections
    assert len(enforce(sections).sections) == 2


def test_runs_of_no_length_are_refused() -> None:
    with pytest.raises(DataError, match="1 or more"):
        HeldOut([], 0)
