"""Held-out text that stands in training text, too, is cut out there (found by `heldout`)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from stylellm.corpus.chunk import sentences
from stylellm.corpus.heldout import MIN_RUN, HeldOut, Leak
from stylellm.corpus.split import TRAIN, Section

__all__ = [
    "MIN_RUN",
    "Cut",
    "Enforced",
    "HeldOut",
    "Leak",
    "enforce",
    "find_leaks",
    "without_leaks",
]

_LONG_SENTENCE = 400
"""Of a longer sentence (a text without full stops) only the shared characters are cut out."""


@dataclass(frozen=True)
class Cut:
    """What `without_leaks` left of a training section, and why."""

    sections: tuple[Section, ...]
    leaks: tuple[Leak, ...]
    removed: int


@dataclass
class Enforced:
    """Sections of which training ones share no long run with others.

    Attributes:
        sections: in order; a training section may have become several, or none.
        leaks: what was found.
        removed: (work, chapter) -> characters cut out of it.
        removed_by_source: number of the file -> characters cut out of it.
        dropped: (work, chapter) of sections of which nothing was left.
    """

    sections: list[Section] = field(default_factory=list)
    leaks: list[Leak] = field(default_factory=list)
    removed: dict[tuple[str, str], int] = field(default_factory=dict)
    removed_by_source: dict[int, int] = field(default_factory=dict)
    dropped: list[tuple[str, str]] = field(default_factory=list)


def find_leaks(
    train: Iterable[tuple[str, str]], held: Iterable[tuple[str, str]], n: int = MIN_RUN
) -> list[Leak]:
    """All stretches of training text whose runs of n characters stand in held-out text.

    Args:
        train: (name, text); read once, one at a time.
        held: (name, text); kept in memory.
        n: characters, white space and marks counted.
    """
    index = HeldOut(held, n)
    return [leak for name, text in train for leak in index.leaks(name, text)]


def enforce(
    sections: Sequence[Section], *, train: Collection[str] = (TRAIN,), n: int = MIN_RUN
) -> Enforced:
    """Cut out of the training sections what shares n characters with any other section.

    Args:
        sections: of all splits.
        train: names of the splits to train on; all others count as held out.
        n: characters.
    """
    index = HeldOut(
        ((f"{s.work} {s.chapter}", s.text) for s in sections if s.split not in train), n
    )
    result = Enforced()
    for section in sections:
        if section.split not in train:
            result.sections.append(section)
            continue
        cut = without_leaks(section, index)
        result.sections += cut.sections
        if cut.removed:
            place = section.work, section.chapter
            result.leaks += cut.leaks
            result.removed[place] = result.removed.get(place, 0) + cut.removed
            before = result.removed_by_source.get(section.source, 0)
            result.removed_by_source[section.source] = before + cut.removed
            if not cut.sections:
                result.dropped.append(place)
    return result


def without_leaks(section: Section, held: HeldOut) -> Cut:
    """Cut a training section wherever it shares a run with held-out text.

    The sentences that a shared run touches go, and so do remnants shorter than that run; where less
    than half of the section would be left, all of it goes. What is left on either side of a cut
    becomes a section of its own, so that no window joins what did not stand together; only what
    reaches the section's end ends a document.

    Raises:
        AssertionError: a shared run was left; cannot happen.
    """
    text = section.text
    leaks = tuple(held.leaks(f"{section.work} {section.chapter}", text))
    if not leaks:
        return Cut((section,), (), 0)
    pieces = _pieces(text, leaks, held.n)
    if 2 * sum(end - start for start, end in pieces) < len(text):
        pieces = []
    sections = tuple(_piece(section, start, end, k, len(pieces))
                     for k, (start, end) in enumerate(pieces, start=1))  # fmt: skip
    if any(held.leaks("", piece.text) for piece in sections):
        raise AssertionError(f"{section.work} {section.chapter} still shares text")
    return Cut(sections, leaks, len(text) - sum(piece.characters for piece in sections))


def _pieces(text: str, leaks: Iterable[Leak], shortest: int) -> list[tuple[int, int]]:
    """[start, end) of what stays of a text."""
    shared = np.zeros(len(text) + 1, dtype=bool)
    for leak in leaks:
        shared[leak.start : leak.start + leak.length] = True
    start = 0
    for sentence in sentences(text):
        end = start + len(sentence)
        if end - start <= _LONG_SENTENCE and shared[start:end].any():
            shared[start:end] = True
        start = end
    shared[-1] = True
    borders = np.flatnonzero(np.diff(shared, prepend=True)).tolist()
    pairs = zip(borders[::2], borders[1::2], strict=True)
    return [(start, end) for start, end in pairs if end - start >= shortest]


def _piece(section: Section, start: int, end: int, number: int, count: int) -> Section:
    name = f"{section.chapter} ({number}/{count})" if count > 1 else section.chapter
    ends = section.ends_document and end == section.characters
    return replace(section, chapter=name, text=section.text[start:end], ends_document=ends)
