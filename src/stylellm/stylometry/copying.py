"""Verbatim copying: the longest runs that a text shares with indexed works, and its novelty.

Lengths are in characters (code points). Everything is exact: no hashing, every hit is a
character-by-character comparison. A run never crosses from one work into another.

By default text is compared as given, white space included. With `ignore_whitespace=True` all white
space is left out of the comparison on both sides, so that a passage is found across line breaks and
indents of another edition; lengths then count non-whitespace characters, while `text` and the
offsets still refer to the texts as given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stylellm.errors import DataError
from stylellm.stylometry import copy_store
from stylellm.stylometry.copy_store import compared
from stylellm.stylometry.matching import Matcher


@dataclass(frozen=True)
class Copy:
    """A run of a text that stands verbatim in a work; length 0 and source None if there is none.

    Attributes:
        length: compared characters in the run.
        text: the run as it stands in the queried text.
        source: name of the work.
        offset, offset_end: where it begins and ends in the work as given (characters).
        query_offset, query_end: where it begins and ends in the queried text.
    """

    length: int
    text: str
    source: str | None
    offset: int
    offset_end: int
    query_offset: int
    query_end: int


class CopyIndex:
    """All works of an author (or more), indexed for verbatim runs of any length.

    Args:
        works: name -> text, one or more.
        ignore_whitespace: leave white space out of the comparison.
        cache: folder in which the index is kept under a hash of the texts, and read from
            memory-mapped the next time; None: it lives in memory only.

    Memory: 6 bytes a character, about 17 while it is built (besides the texts themselves).

    Raises:
        DataError: no work, or no character in any of them.
        OutputError: the cache cannot be written.
    """

    def __init__(
        self,
        works: Mapping[str, str],
        *,
        ignore_whitespace: bool = False,
        cache: Path | None = None,
    ) -> None:
        self.ignore_whitespace = ignore_whitespace
        self.names = tuple(works)
        texts = list(works.values())
        self._stored = copy_store.stored(texts, ignore_whitespace, cache)
        if self._stored.total == len(texts):
            raise DataError("the copy index got no text", "one or more works that are not empty")
        self._matcher = Matcher(self._stored.codes, self._stored.order)

    def match(self, text: str) -> Matches:
        """Compare a text once and ask the result several questions."""
        return Matches(self, text)

    def longest_copy(self, text: str) -> Copy:
        """The longest run of the text that stands in a work.

        Of equally long runs the first in the text, of its places the first in the works' order.
        """
        return self.match(text).longest_copy()

    def copies(self, text: str, min_length: int = 30) -> list[Copy]:
        """All runs of at least `min_length` characters that cannot be made longer, in order.

        Runs from different places may overlap in the text; none lies within another.
        """
        return self.match(text).copies(min_length)

    def novelty(self, text: str, n: int) -> float:
        """Share of the text's n-gram occurrences that stand in no work, from 0 to 1.

        0 for a text of fewer than n characters, which has no n-gram to be new. n is usually 5 to
        50. Raises DataError for n below 1.
        """
        return self.match(text).novelty(n)


class Matches:
    """What a text shares with a `CopyIndex`.

    Attributes:
        lengths: for each compared character of the text the length of the longest run that begins
            there and stands in a work, int64 `[compared characters]` (matching statistics).
    """

    def __init__(self, index: CopyIndex, text: str) -> None:
        self._index = index
        self._text = text
        codes, self._layout = compared(text, index.ignore_whitespace)
        self._codes = index._stored.ranks(codes)
        self.lengths = index._matcher.lengths(self._codes)

    def longest_copy(self) -> Copy:
        """As `CopyIndex.longest_copy`."""
        if not len(self.lengths) or not self.lengths.max():
            return Copy(0, "", None, 0, 0, 0, 0)
        return self._copy(int(self.lengths.argmax()))

    def copies(self, min_length: int = 30) -> list[Copy]:
        """As `CopyIndex.copies`."""
        ends = np.arange(len(self.lengths)) + self.lengths
        # A run that ends where the run one character earlier ends lies within it.
        maximal = np.diff(ends, prepend=0) > 0
        found = np.flatnonzero(maximal & (self.lengths >= max(min_length, 1)))
        return [self._copy(int(begin)) for begin in found]

    def novelty(self, n: int) -> float:
        """As `CopyIndex.novelty`."""
        if n < 1:
            raise DataError(f"novelty of n-grams of {n} characters was asked for", "n of 1 or more")
        complete = self.lengths[: max(len(self.lengths) - n + 1, 0)]
        return float(np.mean(complete < n)) if len(complete) else 0.0

    def _copy(self, begin: int) -> Copy:
        index, length = self._index, int(self.lengths[begin])
        place = index._matcher.first_place(self._codes[begin : begin + length])
        work, begin_of_work = index._stored.work_of(place)
        offset, offset_end = index._stored.layout(work).span(place - begin_of_work, length)
        query_offset, query_end = self._layout.span(begin, length)
        return Copy(
            length=length,
            text=self._text[query_offset:query_end],
            source=index.names[work],
            offset=offset,
            offset_end=offset_end,
            query_offset=query_offset,
            query_end=query_end,
        )
