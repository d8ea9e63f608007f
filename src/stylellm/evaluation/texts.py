"""The texts that are compared: the author's books as chapters, and four rows of equal shape.

Style depends on how much text is looked at, and on how it is cut. So the rows of real text are cut
into stretches of exactly the lengths of the generated ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stylellm.corpus.script import comparable
from stylellm.masking.collate import Window
from stylellm.stylometry.text import without_whitespace

ROWS = ("base", "policy", "other_author", "held_out_author")


class Place(NamedTuple):
    """A chapter of a work."""

    work: str
    chapter: str


@dataclass(frozen=True)
class Texts:
    """What is measured: windows of the splits of a prepared folder.

    `author_train` may also be one text, which is then one work of one chapter.
    """

    author_train: str | Sequence[Window]
    author_test: Sequence[Window]
    general_test: Sequence[Window] = ()
    other_test: Sequence[Window] = ()
    general_train: Sequence[Window] = ()


def join(windows: str | Sequence[Window]) -> str:
    """The text of windows in order."""
    return windows if isinstance(windows, str) else "".join(window["text"] for window in windows)


def spread(windows: Sequence[Window], count: int) -> list[Window]:
    """At most ``count`` windows, evenly spaced over all of them (0: all)."""
    total = len(windows)
    if not count or total <= count:
        return [windows[i] for i in range(total)]
    return [windows[i * total // count] for i in range(count)]


def chapters(windows: str | Sequence[Window]) -> dict[Place, str]:
    """The text of each chapter in order, made comparable; a text is one work without chapters."""
    if isinstance(windows, str):
        return {Place("", ""): comparable(windows)}
    pieces: dict[Place, list[str]] = {}
    for window in windows:
        place = Place(str(window.get("work") or ""), str(window.get("chapter") or ""))
        pieces.setdefault(place, []).append(window["text"])
    return {place: comparable("".join(texts)) for place, texts in pieces.items()}


def works(parts: dict[Place, str]) -> dict[str, str]:
    """The text of each work, its chapters joined."""
    found: dict[str, list[str]] = {}
    for place, text in parts.items():
        found.setdefault(place.work, []).append(text)
    return {work: "\n".join(texts) for work, texts in found.items()}


def stretches(text: str, lengths: Sequence[int]) -> list[str]:
    """Stretches of these many non-whitespace characters, in order and spread over the text.

    Where the text is too short for all of them there are fewer, and the last is shorter.
    """
    ink = [i for i, character in enumerate(text) if not character.isspace()]
    gap = max(len(ink) - sum(lengths), 0) / max(len(lengths), 1)
    pieces, done = [], 0
    for number, length in enumerate(lengths):
        begin = done + int(number * gap)
        if begin >= len(ink):
            break
        end = min(begin + length, len(ink))
        if length:
            pieces.append(text[ink[begin] : ink[end - 1] + 1])
        done += length
    return pieces


def rows_of(base: Sequence[str], policy: Sequence[str], texts: Texts) -> dict[str, list[str]]:
    """The four rows as comparable texts; a row without any character is left out.

    Args:
        base, policy: generated texts, one of each a prompt.
        texts: where the two rows of real text come from.
    """
    rows = {
        "base": [comparable(text) for text in base],
        "policy": [comparable(text) for text in policy],
    }
    lengths = [len(without_whitespace(text)) for text in rows["policy"]]
    rows["other_author"] = stretches(comparable(join(texts.other_test)), lengths)
    rows["held_out_author"] = stretches(comparable(join(texts.author_test)), lengths)
    return {name: pieces for name, pieces in rows.items() if "".join(pieces).strip()}
