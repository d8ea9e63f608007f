"""Matching statistics: for every position of a text the longest run that an indexed text holds.

Bisection in the suffix array, for all positions of the text at once. Comparisons stop after `CAP`
characters; positions that reach the cap lie in long verbatim runs, and those are measured one run
at a time: the end of the run that begins at a position never moves back as the position moves on
(Chang and Lawler 1994), so that two positions with the same end settle all positions between them.
"""

from __future__ import annotations

import numpy as np

CAP = 64
_BATCH = 1 << 15  # positions bisected at once: bounds the memory for a whole book as the query
_FIRST_BLOCK = 8
_PAST_QUERY = -1  # smaller than every code, as a shorter text sorts first


class Matcher:
    """Substring search in one array of ranks.

    Args:
        codes: integers from 0, `[N]`, each text followed by one that no query holds.
        order: their suffix array, int32 `[N]`. Both may be memory-mapped.
    """

    def __init__(self, codes: np.ndarray, order: np.ndarray) -> None:
        self._codes = codes
        self._order = order

    def lengths(self, query: np.ndarray) -> np.ndarray:
        """Length of the longest run that begins at each position of the query, int64 `[M]`.

        Args:
            query: int32 `[M]`; what the codes do not hold at all is a rank above all of them.
        """
        lengths = np.zeros(len(query), dtype=np.int64)
        padded = np.append(query, np.int32(_PAST_QUERY))
        for begin in range(0, len(query), _BATCH):
            at = np.arange(begin, min(begin + _BATCH, len(query)))
            lengths[at] = self._bisect(padded, at)
        deep = np.flatnonzero(lengths == CAP)
        for run in np.split(deep, np.flatnonzero(np.diff(deep) > 1) + 1):
            if len(run):
                self._fill_run(query, lengths, int(run[0]), int(run[-1]))
        return lengths

    def first_place(self, run: np.ndarray) -> int:
        """Smallest position at which a run stands that is known to stand somewhere."""
        low, high = self._edge(run, after=False), self._edge(run, after=True)
        return int(self._order[low:high].min())

    def _bisect(self, query: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Longest common prefix, up to CAP, of query[at:] with any suffix, for each `at`."""
        low = np.zeros(len(at), dtype=np.int64)
        high = np.full(len(at), len(self._order))
        # What the query shares with the suffixes at either border it shares with all between.
        low_shared = np.zeros(len(at), dtype=np.int64)
        high_shared = np.zeros(len(at), dtype=np.int64)
        todo = np.arange(len(at))
        while len(todo):
            middle = (low[todo] + high[todo]) // 2
            known = np.minimum(low_shared[todo], high_shared[todo])
            shared, after = self._compare(query, at[todo], self._order[middle], known)
            low[todo[after]], low_shared[todo[after]] = middle[after] + 1, shared[after]
            high[todo[~after]], high_shared[todo[~after]] = middle[~after], shared[~after]
            todo = todo[low[todo] < high[todo]]
        return np.maximum(low_shared, high_shared)

    def _compare(
        self, query: np.ndarray, at: np.ndarray, places: np.ndarray, known: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Shared characters (up to CAP, the first `known` taken as read), and query > suffix."""
        shared, after = known.copy(), np.zeros(len(at), dtype=bool)
        todo, width = np.flatnonzero(shared < CAP), _FIRST_BLOCK
        while len(todo):
            steps = shared[todo, None] + np.arange(width)
            mine = query[np.minimum(at[todo, None] + steps, len(query) - 1)]
            theirs = self._codes[np.minimum(places[todo, None] + steps, len(self._codes) - 1)]
            differs = mine != theirs
            first = np.where(differs.any(axis=1), differs.argmax(axis=1), width)
            ended = first < width
            row, column = np.flatnonzero(ended), first[ended]
            after[todo[ended]] = mine[row, column] > theirs[row, column]
            shared[todo] += first
            todo = todo[~ended & (shared[todo] < CAP)]
            width *= 2
        capped = shared >= CAP
        after[capped] = False
        return np.minimum(shared, CAP), after

    def _fill_run(self, query: np.ndarray, lengths: np.ndarray, first: int, last: int) -> None:
        """Exact lengths for the positions first..last, all of which share CAP or more."""
        for position in {first, last}:
            lengths[position] = self._longest(query[position:])
        todo = [(first, last)]
        while todo:
            left, right = todo.pop()
            if left + lengths[left] == right + lengths[right]:
                lengths[left:right] = right + lengths[right] - np.arange(left, right)
            elif right - left > 1:
                middle = (left + right) // 2
                lengths[middle] = self._longest(query[middle:])
                todo += [(left, middle), (middle, right)]

    def _longest(self, query: np.ndarray) -> int:
        """Longest common prefix of the query with any suffix, without a cap."""
        slot = self._edge(query, after=False)
        neighbours = self._order[max(slot - 1, 0) : slot + 1]
        return max(_shared(query, self._codes[place:]) for place in neighbours)

    def _edge(self, query: np.ndarray, *, after: bool) -> int:
        """First slot whose suffix is not smaller than the query (after: nor begins with it)."""
        low, high = 0, len(self._order)
        while low < high:
            middle = (low + high) // 2
            suffix = self._codes[self._order[middle] :]
            shared = _shared(query, suffix)
            if shared == len(query):
                smaller = after
            else:
                smaller = shared == len(suffix) or bool(suffix[shared] < query[shared])
            low, high = (middle + 1, high) if smaller else (low, middle)
        return low


def _shared(one: np.ndarray, other: np.ndarray) -> int:
    """Length of the common prefix, looked for in blocks that grow, so that a miss is cheap."""
    begin, width, end = 0, _FIRST_BLOCK, min(len(one), len(other))
    while begin < end:
        stop = min(begin + width, end)
        differs = one[begin:stop] != other[begin:stop]
        if differs.any():
            return begin + int(differs.argmax())
        begin, width = stop, width * 2
    return end
