from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.corpus.split import Chapter, Section, Work, chapters, split_works
from stylellm.errors import DataError


def make_work(title: str, count: int, size: int = 1000) -> Work:
    """Chapters of `size` characters in ten paragraphs each."""
    paragraph = "剑" * (size // 10 - 2) + "。"
    return Work(title, tuple(Chapter(f"第{n}回", (paragraph,) * 10) for n in range(1, count + 1)))


def splits_of(sections: list[Section]) -> dict[str, list[str]]:
    """Split -> chapters in it."""
    found: dict[str, list[str]] = {}
    for section in sections:
        found.setdefault(section.split, []).append(f"{section.work} {section.chapter}")
    return found


def share(sections: list[Section], split: str) -> float:
    total = sum(len(section.text) for section in sections)
    return sum(len(section.text) for section in sections if section.split == split) / total


def test_chapters_of_a_clean_text() -> None:
    text = "开头一段。\n又一段。\n\n第一章 雨\n\n甲。\n乙。\n\n卷二\n\n第二章 雪\n\n丙。"
    assert chapters(text) == [
        Chapter("", ("开头一段。", "又一段。")),
        Chapter("第一章 雨", ("甲。", "乙。")),
        Chapter("卷二\n第二章 雪", ("丙。",)),
    ]
    assert chapters(text)[1].text == "第一章 雨\n甲。\n乙。"
    assert chapters("") == []


@given(st.text(alphabet="甲乙。\n第一回 章x", max_size=80))
@settings(max_examples=80)
def test_chapters_lose_only_line_breaks(text: str) -> None:
    joined = "".join(chapter.text for chapter in chapters(text))
    assert joined.replace("\n", "") == text.replace("\n", "")


def test_one_book_is_split_by_chapter() -> None:
    sections = split_works([make_work("甲", 40)], validation_fraction=0.05, test_fraction=0.1)
    counts = {split: len(found) for split, found in splits_of(sections).items()}
    assert counts == {"train": 34, "validation": 2, "test": 4}
    tests = [i for i, section in enumerate(sections) if section.split == "test"]
    assert [i // 10 for i in tests] == [0, 1, 2, 3]  # spread over the book


def test_the_last_of_a_book_is_held_out() -> None:
    sections = split_works(
        [make_work("甲", 30)], validation_fraction=0.1, test_fraction=1 / 3, held_out="last"
    )
    order = [section.split for section in sections]
    assert order == ["train"] * 17 + ["validation"] * 3 + ["test"] * 10


def test_several_works_are_split_by_work() -> None:
    works = [make_work(title, 10) for title in "甲乙丙丁戊己庚辛壬癸"]
    sections = split_works(works, validation_fraction=0.1, test_fraction=0.2)
    by_split = {
        split: {name.split()[0] for name in found} for split, found in splits_of(sections).items()
    }
    assert {split: len(found) for split, found in by_split.items()} == {
        "train": 7,
        "validation": 1,
        "test": 2,
    }
    assert not by_split["train"] & (by_split["test"] | by_split["validation"])


def test_two_works_are_split_by_chapter_unless_told_otherwise() -> None:
    works = [make_work("甲", 20), make_work("乙", 20)]
    by_chapter = splits_of(split_works(works))
    assert {name.split()[0] for name in by_chapter["test"]} == {"甲", "乙"}
    by_work = splits_of(split_works(works, split_by="work"))
    assert len({name.split()[0] for name in by_work["test"]}) == 1
    assert by_work["validation"]  # by chapter, of the work that is left


def test_named_works_are_the_test() -> None:
    works = [make_work(title, 10) for title in "甲乙丙丁戊"]
    sections = split_works(works, held_out_works=["丙"], validation_fraction=0.1)
    found = splits_of(sections)
    assert {name.split()[0] for name in found["test"]} == {"丙"}
    assert len(found["test"]) == 10
    assert {name.split()[0] for name in found["validation"]} == {"甲", "乙", "丁", "戊"}


def test_a_book_without_chapters_is_cut_at_paragraph_ends() -> None:
    text = "\n".join(f"这是第{n}段，说的是一件往事，说完便罢了。" for n in range(200))
    work = Work("甲", (Chapter("", tuple(text.split("\n"))),))
    for held_out in ("spread", "last"):
        sections = split_works(
            [work], validation_fraction=0.1, test_fraction=0.2, held_out=held_out
        )
        assert "".join(section.text for section in sections) == text
        assert share(sections, "test") == pytest.approx(0.2, abs=0.05)
        assert share(sections, "validation") == pytest.approx(0.1, abs=0.05)
        assert all(section.text.endswith("。\n") for section in sections[:-1])
        assert [section.ends_document for section in sections] == [False] * (len(sections) - 1) + [
            True
        ]


def test_the_seed_decides_and_nothing_else() -> None:
    works = [make_work("甲", 100)]
    assert split_works(works, seed=1) == split_works(works, seed=1)
    assert split_works(works, seed=1) != split_works(works, seed=2)


def test_chapter_names_are_unique_within_a_work() -> None:
    work = Work("甲", (Chapter("序", ("一。",)), Chapter("", ("二。",)), Chapter("序", ("三。",))))
    sections = split_works([work], validation_fraction=0, test_fraction=0)
    assert [section.chapter for section in sections] == ["序", "2", "序 [2]"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split_by": "page"}, "auto, work or chapter"),
        ({"held_out": "first"}, "spread or last"),
        ({"validation_fraction": 0.5, "test_fraction": 0.5}, "leave something to train on"),
        ({"test_fraction": -0.1}, "fractions of at least 0"),
        ({"held_out_works": ["丁"]}, "丁.*甲"),
        ({"held_out_works": ["甲"]}, "at least one work left"),
        ({"split_by": "work"}, "two works or more"),
    ],
)
def test_impossible_splits_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        split_works([make_work("甲", 10)], **options)


@given(
    st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=12), min_size=1, max_size=6),
    st.sampled_from([0.0, 0.05, 0.3]),
    st.sampled_from([0.0, 0.1, 0.4]),
    st.sampled_from(["spread", "last"]),
    st.sampled_from(["auto", "chapter"]),
    st.integers(0, 3),
)
@settings(max_examples=80, deadline=None)
def test_every_character_is_in_one_split_and_training_is_never_empty(
    shape: list[list[int]], validation: float, test: float, held_out: str, split_by: str, seed: int
) -> None:
    works = [
        Work(
            f"书{i}",
            tuple(
                Chapter(f"第{j}回", tuple(f"书{i}回{j}段{k}。" for k in range(size)))
                for j, size in enumerate(sizes, start=1)
            ),
        )
        for i, sizes in enumerate(shape)
    ]
    sections = split_works(
        works,
        split_by=split_by,
        validation_fraction=validation,
        test_fraction=test,
        held_out=held_out,
        seed=seed,
    )
    text = "".join(chapter.text for work in works for chapter in work.chapters)
    assert "".join(section.text for section in sections) == text
    assert any(section.split == "train" for section in sections)
    ends = sum(section.ends_document for section in sections)
    assert ends == sum(len(work.chapters) for work in works)
    if test == 0:
        assert all(section.split != "test" for section in sections)


class _Stored:
    """A chapter that counts how often its text is read."""

    def __init__(self, text: str) -> None:
        self.title, self.characters, self._text, self.reads = "", len(text), text, 0

    @property
    def text(self) -> str:
        self.reads += 1
        return self._text


def test_a_shelf_is_split_without_holding_its_text() -> None:
    stored = [_Stored(f"第{n}章的文字。" * 9) for n in range(20)]
    work = Work("书", tuple(stored), 3)  # type: ignore[arg-type]
    sections = split_works([work], split_by="chapter", validation_fraction=0.1, test_fraction=0.2)
    moved = [section.placed("elsewhere") for section in sections]
    assert [section.characters for section in moved] == [one.characters for one in stored]
    assert sum(one.reads for one in stored) == 0
    assert [section.text for section in sections] == [one.text for one in stored]
    assert {section.split for section in sections} == {"train", "validation", "test"}
    assert {section.split for section in moved} == {"elsewhere"}


def test_parts_of_a_stored_chapter_are_those_of_one_in_memory() -> None:
    text = "\n".join(f"第{n}段。" * 20 for n in range(60))
    held = Work("书", (Chapter("", tuple(text.split("\n"))),))
    stored = _Stored(text)
    lazy = Work("书", (stored,))  # type: ignore[arg-type]
    options = {"split_by": "chapter", "validation_fraction": 0.1, "test_fraction": 0.2}
    one, other = (split_works([work], **options) for work in (held, lazy))  # type: ignore[arg-type]
    assert len(one) > 5 and one == other
    assert "".join(section.text for section in other) == text
    before = stored.reads
    assert [len(section.text) for section in other] == [section.characters for section in other]
    assert stored.reads <= before + 1
