"""Chapters, and which of them train, validate and test: decided before any window is cut."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from stylellm.corpus.chunk import sentences
from stylellm.corpus.headings import is_heading_line
from stylellm.errors import DataError

TRAIN, VALIDATION, TEST = "train", "validation", "test"

MIN_WORKS = 4
"""With fewer works, "auto" splits by chapter: a whole work is too large a share to hold out."""
MIN_CHAPTERS = 8
"""A book with fewer chapters is cut at paragraph ends instead."""
_SECTIONS = 20
_MAX_TITLE = 60


@dataclass(frozen=True)
class Chapter:
    """A heading (may be empty, may be two lines) and its paragraphs."""

    title: str
    paragraphs: tuple[str, ...]

    @property
    def text(self) -> str:
        """Heading and paragraphs, a line each."""
        return "\n".join((self.title, *self.paragraphs) if self.title else self.paragraphs)

    @property
    def characters(self) -> int:
        """Length of the text."""
        return len(self.text)


@dataclass(frozen=True)
class Work:
    """One book, or one document of a .jsonl file.

    Attributes:
        title: of the file.
        chapters: in order.
        source: the number of the file it came from.
        label: tells the documents of one file apart.
        author: who wrote it; "" where nobody says.
    """

    title: str
    chapters: tuple[Chapter, ...]
    source: int = 0
    label: str = ""
    author: str = ""

    @property
    def num_characters(self) -> int:
        return sum(chapter.characters for chapter in self.chapters)


@dataclass(frozen=True)
class Stretch:
    """Characters [start, end) of a chapter that is read anew whenever its text is asked for."""

    chapter: Any
    start: int
    end: int

    def read(self) -> str:
        """The text; parts of one chapter, asked for in a row, read it once."""
        if self.start == 0 and self.end == self.chapter.characters:
            return str(self.chapter.text)
        return _text_of(self.chapter)[self.start : self.end]


@lru_cache(maxsize=1)
def _text_of(chapter: Any) -> str:
    return str(chapter.text)


class _Text:
    """The attribute that gives a section's text, whether it is held or read."""

    def __get__(self, section: Any, owner: Any = None) -> str:
        if section is None:
            raise AttributeError("text")  # so the dataclass sees no default
        held = section.__dict__["_text"]
        return held.read() if isinstance(held, Stretch) else held

    def __set__(self, section: Any, value: str | Stretch) -> None:
        section.__dict__["_text"] = value


@dataclass(frozen=True)
class Section:
    """A chapter, or a stretch of one, that is wholly in one split.

    The texts of a chapter's sections, joined, are the chapter's text. A shelf's text need not be in
    memory: a section made of a `Stretch` reads it whenever `text` is asked for.
    """

    work: str
    chapter: str
    if TYPE_CHECKING:
        text: str
    else:
        text: str = _Text()
    ends_document: bool
    split: str = TRAIN
    source: int = 0
    author: str = ""

    @property
    def characters(self) -> int:
        """Length of the text, without reading it where it is not held."""
        held = self.__dict__["_text"]
        return held.end - held.start if isinstance(held, Stretch) else len(held)

    def placed(self, split: str) -> Section:
        """The same section in a split; its text is not read."""
        other = copy.copy(self)
        object.__setattr__(other, "split", split)
        return other


def chapters(text: str) -> list[Chapter]:
    """The chapters of a cleaned text, in which headings stand alone between blank lines.

    What stands before the first heading becomes a chapter without a title. Nothing but line breaks
    is lost.
    """
    found: list[tuple[list[str], list[str]]] = []
    for block in text.strip("\n").split("\n\n"):
        block = block.lstrip("\n")
        if not block:
            continue
        lines = block.split("\n")
        if len(lines) == 1 and _is_title(block):
            if found and not found[-1][1]:
                found[-1][0].append(block)
            else:
                found.append(([block], []))
        else:
            if not found:
                found.append(([], []))
            found[-1][1].extend(lines)
    return [Chapter("\n".join(titles), tuple(paragraphs)) for titles, paragraphs in found]


def _is_title(line: str) -> bool:
    return is_heading_line(line) or (
        len(line) <= _MAX_TITLE and line[-1] not in "。！？”，；：…!?,;:"
    )


def split_works(
    works: Sequence[Work],
    *,
    split_by: str = "auto",
    validation_fraction: float = 0.05,
    test_fraction: float = 0.1,
    held_out: str = "spread",
    held_out_works: Sequence[str] = (),
    seed: int = 42,
) -> list[Section]:
    """Assign every chapter to a split. The same arguments give the same result.

    Args:
        works: the author's works, in order.
        split_by: "work" (whole works are held out), "chapter" (chapters of each work), or "auto"
            (by work where there are at least four).
        validation_fraction: share of the characters for validation.
        test_fraction: share for the test.
        held_out: by chapter, "spread" over each work at random places, or the "last" of each work,
            validation just before the test.
        held_out_works: titles of works that are the test, whatever `test_fraction`.
        seed: of the random choice.

    Raises:
        DataError: an unknown option or title, fractions of 1 or more, or works too few to hold out.
    """
    _check(works, split_by, validation_fraction, test_fraction, held_out, held_out_works)
    assigned = dict.fromkeys(range(len(works)), TRAIN)
    if held_out_works:
        assigned |= {i: TEST for i, work in enumerate(works) if work.title in held_out_works}
        test_fraction = 0.0
    elif split_by == "work" or (split_by == "auto" and len(works) >= MIN_WORKS):
        assigned = _assign_works(works, validation_fraction, test_fraction, seed)
        test_fraction = 0.0
        if VALIDATION in assigned.values():
            validation_fraction = 0.0
    sections: list[Section] = []
    for index, work in enumerate(works):
        if assigned[index] != TRAIN:
            sections += [section.placed(assigned[index]) for section in _sections(work, False)]
        else:
            sections += _split_chapters(work, validation_fraction, test_fraction, held_out, seed)
    return sections


def _check(
    works: Sequence[Work],
    split_by: str,
    validation_fraction: float,
    test_fraction: float,
    held_out: str,
    held_out_works: Sequence[str],
) -> None:
    if split_by not in ("auto", "work", "chapter"):
        raise DataError(
            f"split_by is {split_by!r}", "auto, work or chapter", "Change data.split_by."
        )
    if held_out not in ("spread", "last"):
        raise DataError(f"held_out is {held_out!r}", "spread or last", "Change data.held_out.")
    if min(validation_fraction, test_fraction) < 0 or validation_fraction + test_fraction >= 1:
        raise DataError(
            f"validation_fraction {validation_fraction} and test_fraction {test_fraction}",
            "fractions of at least 0 that leave something to train on",
            "Change data.validation_fraction or data.test_fraction.",
        )
    titles = [work.title for work in works]
    unknown = [title for title in held_out_works if title not in titles]
    if unknown:
        raise DataError(
            f"held_out_works names {', '.join(unknown)}",
            f"titles among {', '.join(titles[:20])}",
            "Change data.held_out_works.",
        )
    if held_out_works and set(titles) <= set(held_out_works):
        raise DataError("held_out_works names every work", "at least one work left to train on")
    if split_by == "work" and len(works) < 2 and test_fraction + validation_fraction > 0:
        raise DataError(
            f"one work ({', '.join(titles)}) cannot be split by work", "two works or more",
            "Set data.split_by to chapter.",
        )  # fmt: skip


def _assign_works(
    works: Sequence[Work], validation_fraction: float, test_fraction: float, seed: int
) -> dict[int, str]:
    """Whole works to splits. Validation gets works only where three are left for training."""
    assigned = dict.fromkeys(range(len(works)), TRAIN)
    order = list(range(len(works)))
    random.Random(f"{seed}:works").shuffle(order)
    total = sum(work.num_characters for work in works)
    for split, fraction in ((TEST, test_fraction), (VALIDATION, validation_fraction)):
        free = [index for index in order if assigned[index] == TRAIN]
        if fraction <= 0 or len(free) < 2 or (split == VALIDATION and len(free) < MIN_WORKS):
            continue
        for index in _nearest(free, works, fraction * total):
            assigned[index] = split
    return assigned


def _nearest(free: list[int], works: Sequence[Work], target: float) -> list[int]:
    """Works in the given order while they come nearer to the target; at least one, never all."""
    chosen: list[int] = []
    characters = 0
    for index in free:
        size = works[index].num_characters
        if characters + size / 2 <= target and len(chosen) < len(free) - 1:
            chosen.append(index)
            characters += size
    return chosen or [min(free, key=lambda index: works[index].num_characters)]


def _split_chapters(
    work: Work, validation_fraction: float, test_fraction: float, held_out: str, seed: int
) -> list[Section]:
    """The sections of one work, some of them held out."""
    divided = validation_fraction + test_fraction > 0
    sections = _sections(work, divided and len(work.chapters) < MIN_CHAPTERS)
    sizes = [section.characters for section in sections]
    if held_out == "last":
        splits = _last(sizes, validation_fraction, test_fraction)
    else:
        splits = _spread(len(sizes), validation_fraction, test_fraction, f"{seed}:{work.title}")
    return [section.placed(split) for section, split in zip(sections, splits, strict=True)]


def _spread(count: int, validation_fraction: float, test_fraction: float, seed: str) -> list[str]:
    """One section at random out of each of k equal stretches, k being the fraction of the count."""
    generator = random.Random(seed)
    splits = [TRAIN] * count
    for split, fraction in ((TEST, test_fraction), (VALIDATION, validation_fraction)):
        free = [index for index in range(count) if splits[index] == TRAIN]
        wanted = min(max(1, round(fraction * count)), len(free) - 1) if fraction > 0 else 0
        for k in range(wanted):
            low, high = k * len(free) // wanted, (k + 1) * len(free) // wanted
            splits[free[generator.randrange(low, high)]] = split
    return splits


def _last(sizes: list[int], validation_fraction: float, test_fraction: float) -> list[str]:
    """By where the middle of each section lies; at least one section per wanted split."""
    total = sum(sizes)
    test_start = (1 - test_fraction) * total
    validation_start = test_start - validation_fraction * total
    splits, position = [], 0.0
    for size in sizes:
        middle = position + size / 2
        position += size
        splits.append(TEST if middle >= test_start and test_fraction > 0
                      else VALIDATION if middle >= validation_start and validation_fraction > 0
                      else TRAIN)  # fmt: skip
    if test_fraction > 0 and len(splits) > 1:
        splits[-1] = TEST
    if validation_fraction > 0 and VALIDATION not in splits and splits.count(TRAIN) > 1:
        splits[splits.count(TRAIN) - 1] = VALIDATION
    return splits


def _sections(work: Work, divide: bool) -> list[Section]:
    """A section a chapter; with `divide`, about twenty a work, cut at paragraph ends."""
    size = work.num_characters / _SECTIONS
    sections = []
    used: Counter[str] = Counter()
    for number, chapter in enumerate(work.chapters, start=1):
        label = _label(work, chapter, number, used)
        ends = _ends(chapter.text, size) if divide else [chapter.characters]
        for index, (start, end) in enumerate(zip([0, *ends], ends, strict=False), start=1):
            name = f"{label} ({index}/{len(ends)})" if len(ends) > 1 else label
            text: Any = Stretch(chapter, start, end)
            if isinstance(chapter, Chapter):  # it is in memory in any case
                text = text.read()
            last = index == len(ends)
            sections.append(
                Section(work.title, name, text, last, source=work.source, author=work.author)
            )
    return sections


def _label(work: Work, chapter: Chapter, number: int, used: Counter[str]) -> str:
    """A name for the chapter that no other chapter of the work has."""
    label = chapter.title.replace("\n", " ") or str(number)
    if work.label:
        label = work.label if len(work.chapters) == 1 else f"{work.label} {label}"
    used[label] += 1
    return label if used[label] == 1 else f"{label} [{used[label]}]"


def _ends(text: str, size: float) -> list[int]:
    """Where the parts of `_divide` end."""
    return list(accumulate(map(len, _divide(text, size))))


def _divide(text: str, size: float) -> list[str]:
    """Stretches of about `size` characters that end where paragraphs, or sentences, end."""
    pieces = text.splitlines(keepends=True)
    if len(pieces) < 2 * len(text) / max(size, 1):
        pieces = sentences(text)
    parts, current = [], ""
    for piece in pieces:
        current += piece
        if len(current) >= size:
            parts.append(current)
            current = ""
    if current and parts and len(current) * 2 < size:
        parts[-1] += current
    elif current:
        parts.append(current)
    return parts
