"""Zeta: the words an author prefers and avoids, against others.

The texts of both sides are cut into slices of equal length; p1 and p2 are the shares of the
author's and of the others' slices that hold an item at all. Zeta so finds words of middling
frequency that are spread over a work, where Delta looks at the most frequent ones.

Sources: Burrows (2007), "All the way through"; Craig and Kinney (2009), "Shakespeare, Computers,
and the Mystery of Authorship", p1 + (1 - p2); Eder's variant as in the R package stylo
(Eder, Rybicki and Kestemont 2016), (p1 - p2) / (p1 + p2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stylellm.errors import DataError
from stylellm.stylometry.delta import Unit, is_mark, tokens

Formula = Literal["craig", "eder"]
SLICE = 1000


@dataclass(frozen=True)
class Preference:
    """One item: its zeta, and the shares of slices that hold it."""

    item: str
    zeta: float
    author: float
    others: float


@dataclass(frozen=True)
class Zeta:
    """All items, most preferred first.

    Attributes:
        items: sorted by zeta from high to low, ties by the author's share, then code point.
        author_slices, other_slices: how many slices there were.
        neutral: the zeta of an item that both sides use alike: 1 (Craig) or 0 (Eder).
    """

    items: tuple[Preference, ...]
    author_slices: int
    other_slices: int
    neutral: float

    def preferred(self, n: int = 20) -> tuple[Preference, ...]:
        """The n items the author prefers most."""
        return tuple(item for item in self.items if item.zeta > self.neutral)[:n]

    def avoided(self, n: int = 20) -> tuple[Preference, ...]:
        """The n items the author avoids most, the most avoided first."""
        low = [item for item in self.items if item.zeta < self.neutral]
        return tuple(sorted(low, key=lambda item: (item.zeta, -item.others, item.item))[:n])


def zeta(
    author: str | Sequence[str],
    others: str | Sequence[str],
    *,
    slice_length: int = SLICE,
    unit: Unit = "word",
    formula: Formula = "craig",
    min_share: float = 0.1,
    shared_only: bool = False,
) -> Zeta:
    """Items by how much the author prefers them.

    Args:
        author, others: one text or several of each side; slices do not cross texts, and what is
            left at a text's end (less than a slice) is not used.
        slice_length: items of a slice. A short text needs shorter slices.
        unit: "word" or "character".
        formula: "craig" (0 avoided to 2 preferred) or "eder" (-1 to 1).
        min_share: leave out items that fewer than this share of the slices hold on both sides.
        shared_only: leave out items that one side never uses. Names of persons and places mostly
            go that way; `normalise.without_names` is the thorough way.

    Raises:
        DataError: a side of less than one slice, a slice length below 1, or an unknown formula.
    """
    if slice_length < 1 or formula not in ("craig", "eder"):
        raise DataError(
            f"Zeta with slices of {slice_length} and the formula {formula!r}",
            "1 or more, 'craig' or 'eder'",
        )
    ours, n_ours = _slices(author, slice_length, unit)
    theirs, n_theirs = _slices(others, slice_length, unit)
    if not n_ours or not n_theirs:
        raise DataError(
            f"Zeta has {n_ours} slices of the author and {n_theirs} of the others "
            f"({slice_length} {unit}s each)",
            "one or more of both",
            "Use longer texts or a smaller slice_length.",
        )
    found = []
    for item in ours.keys() | theirs.keys():
        p1, p2 = ours[item] / n_ours, theirs[item] / n_theirs
        if is_mark(item) or max(p1, p2) < min_share or (shared_only and not p1 * p2):
            continue
        value = p1 + (1 - p2) if formula == "craig" else (p1 - p2) / (p1 + p2)
        found.append(Preference(item, value, p1, p2))
    found.sort(key=lambda one: (-one.zeta, -one.author, one.item))
    return Zeta(tuple(found), n_ours, n_theirs, 1.0 if formula == "craig" else 0.0)


def _slices(texts: str | Sequence[str], length: int, unit: Unit) -> tuple[Counter[str], int]:
    """In how many slices each item stands, and how many slices there are."""
    held: Counter[str] = Counter()
    number = 0
    for text in [texts] if isinstance(texts, str) else texts:
        row = tokens(text, unit)
        for begin in range(0, len(row) - length + 1, length):
            held.update(set(row[begin : begin + length]))
            number += 1
    return held, number
