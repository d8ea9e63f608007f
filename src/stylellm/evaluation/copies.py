"""What stands verbatim in books: with work, chapter and place, and where it stands in the sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import numpy as np

from stylellm.evaluation.figures import figure, ratio
from stylellm.evaluation.texts import Place, comparable
from stylellm.stylometry import memorisation
from stylellm.stylometry.copying import Copy, CopyIndex

SHOWN = 12
"""Characters from which a copied run is marked in a sample: shorter ones are common phrases."""
CONTEXT = 20
SMALL_TEXTS = 20


class Shelf:
    """Chapters of books, indexed for copied runs; the index is kept in `cache` where one is given."""

    def __init__(self, parts: Mapping[Place, str], *, cache: Path | None = None) -> None:
        self.parts = dict(parts)
        self._names = {f"{number}": place for number, place in enumerate(self.parts)}
        texts = dict(zip(self._names, self.parts.values(), strict=True))
        self.index = CopyIndex(texts, ignore_whitespace=True, cache=cache)

    def describe(self, copy: Copy) -> dict[str, Any] | None:
        """Length, text, work, chapter, offset and surroundings of a run; None for an empty one."""
        if copy.source is None:
            return None
        place = self._names[copy.source]
        text = self.parts[place]
        before = text[max(copy.offset - CONTEXT, 0) : copy.offset]
        after = text[copy.offset_end : copy.offset_end + CONTEXT]
        run = text[copy.offset : copy.offset_end]
        return {
            "length": copy.length,
            "text": copy.text,
            "work": place.work,
            "chapter": place.chapter,
            "offset": copy.offset,
            "context": " ".join(f"{before}【{run}】{after}".split()),
        }

    def memorised(self, texts: Sequence[str], limit: int) -> dict[str, Any]:
        """What some texts share with these books (`memorisation`), ready for JSON."""
        found = memorisation.memorisation(self.index, texts, limit=limit)
        return {
            "longest": self.describe(found.longest.copy) if found.longest else None,
            "copied": figure(found.copied, len(texts) < SMALL_TEXTS),
            "limit": limit,
            "lengths": list(found.longest_each),
            "novelty": {str(n): _novelty(found.statistics, n) for n in memorisation.NOVELTY},
        }

    def runs(self, text: str, shortest: int = SHOWN) -> list[dict[str, Any]]:
        """Copied runs of a text as it was written, with their places in it (`start`, `end`)."""
        same = comparable(text)
        back = _places(text, same)
        found = []
        for copy in self.index.match(same).copies(shortest):
            row = self.describe(copy)
            if row is not None:
                start, end = back[copy.query_offset], back[copy.query_end - 1] + 1
                found.append({"start": start, "end": end, **row})
        return found


def _novelty(lengths: Sequence[np.ndarray], n: int) -> dict[str, Any] | None:
    """Share of the n-grams of all texts that stand in no book, resampled by text."""
    complete = [row[: max(len(row) - n + 1, 0)] for row in lengths]
    total = np.array([len(row) for row in complete])
    if not total.sum():
        return None
    fresh = np.array([int((row < n).sum()) for row in complete])
    return ratio(fresh, total, fewest=SMALL_TEXTS)


def _places(text: str, changed: str) -> list[int]:
    """For each character of `changed` the place in `text` that it came from."""
    if len(text) == len(changed):
        return list(range(len(text)))
    places = [0] * len(changed)
    for _, a, b, c, d in SequenceMatcher(None, text, changed, autojunk=False).get_opcodes():
        for k in range(c, d):
            places[k] = min(a + k - c, max(b - 1, a), len(text) - 1)
    return places
