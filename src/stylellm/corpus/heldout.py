"""Runs of n characters that stand in held-out text, found without exception.

Every run of n characters holds a run of k = n/2 that begins, in the held-out text, at a multiple of
n - k + 1. Those anchors are hashed (polynomial, modulo 2**64) and looked up for every position of a
text; around each hit all runs of n are compared, character by character. The cost is linear in both
texts. Memory: 4 bytes for each held-out character, about 2 for the anchors, and a bounded block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from stylellm.errors import DataError

MIN_RUN = 30
_BASE = 0x9E3779B97F4A7C15
_SPREAD = np.uint64(0xD6E8FEB86659FD93)
_MAX_TABLE_BITS = 26
_ROWS = 1 << 14  # runs compared at once
_BLOCK = 1 << 20  # characters hashed at once: bounds the memory for a book on one line


@dataclass(frozen=True)
class Leak:
    """A stretch of training text in which every run of n characters stands in held-out text.

    Attributes:
        held: name of a held-out text that holds its beginning.
        train: name of the training text.
        text: the stretch.
        start: where it begins in the training text.
    """

    held: str
    train: str
    text: str
    start: int = 0

    @property
    def length(self) -> int:
        """In characters."""
        return len(self.text)


class HeldOut:
    """Held-out texts, indexed for runs of n characters.

    Args:
        texts: (name, text).
        n: characters of a run, 1 or more.

    Raises:
        DataError: n below 1.
    """

    def __init__(self, texts: Iterable[tuple[str, str]], n: int = MIN_RUN) -> None:
        if n < 1:
            raise DataError(f"shared runs of {n} characters were asked for", "1 or more")
        self.n = n
        self._width = (n + 1) // 2
        self._step = n - self._width + 1
        self._names: list[str] = []
        self._ends = np.zeros(0, dtype=np.int64)
        self._collect(texts)
        self._table, self._shift = _table(self._hashes)

    def _collect(self, texts: Iterable[tuple[str, str]]) -> None:
        """Join the texts; hash and sort the anchors of each."""
        codes, hashes, places, ends = [], [], [], []
        total = 0
        for name, text in texts:
            if len(text) < self.n:
                continue
            points = _code_points(text)
            for begin, block in _blocks(points, self._width, self._step):
                anchors = _grams(block, self._width)[:: self._step]
                hashes.append(anchors)
                places.append(total + begin + self._step * np.arange(len(anchors)))
            codes.append(points)
            total += len(points)
            ends.append(total)
            self._names.append(name)
        self._codes = np.concatenate([np.zeros(0, dtype=np.uint32), *codes])
        self._ends = np.array(ends, dtype=np.int64)
        found = np.concatenate([np.zeros(0, dtype=np.uint64), *hashes])
        order = np.argsort(found)
        self._hashes = found[order]
        self._places = np.concatenate([np.zeros(0, dtype=np.int64), *places])[order]

    def leaks(self, name: str, text: str) -> list[Leak]:
        """The stretches of a text in which every run of n characters is held out, in order."""
        found = [(begin, *self._shared_runs(block))
                 for begin, block in _blocks(_code_points(text), self.n)]  # fmt: skip
        starts = np.concatenate([begin + here for begin, here, _ in found])
        places = np.concatenate([there for _, _, there in found])
        if not len(starts):
            return []
        firsts = np.flatnonzero(np.diff(starts, prepend=-2) > 1)
        lasts = np.append(firsts[1:], len(starts)) - 1
        names = np.searchsorted(self._ends, places[firsts], side="right")
        return [
            Leak(self._names[held], name, text[start : end + self.n], start)
            for held, start, end in zip(
                names.tolist(), starts[firsts].tolist(), starts[lasts].tolist(), strict=True
            )
        ]

    def _shared_runs(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where runs of n begin that are held out, and where they stand in the held-out codes."""
        nothing = np.zeros(0, dtype=np.int64)
        if len(codes) < self.n or not len(self._hashes):
            return nothing, nothing
        hits, places = self._anchors_in(codes)
        if not len(hits):
            return nothing, nothing
        here = _up_to(hits, self._step)
        here = here[here <= len(codes) - self.n]
        there = _up_to(places, self._step)
        there = there[self._within_a_text(there)]
        return _equal_runs(codes, here, self._codes, there, self.n)

    def _anchors_in(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions that look like an anchor, and all places of the anchors they look like."""
        grams = _grams(codes, self._width)
        keys = grams * _SPREAD
        keys >>= self._shift
        hits = np.flatnonzero(self._table[keys.view(np.int64)])
        hashes = grams[hits]
        first = np.searchsorted(self._hashes, hashes)
        found = self._hashes[np.minimum(first, len(self._hashes) - 1)] == hashes
        hashes = np.unique(hashes[found])
        first = np.searchsorted(self._hashes, hashes)
        counts = np.searchsorted(self._hashes, hashes, side="right") - first
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return hits[found], np.sort(self._places[np.repeat(first, counts) + offsets])

    def _within_a_text(self, places: np.ndarray) -> np.ndarray:
        """Which runs of n lie within one text."""
        text = np.searchsorted(self._ends, places, side="right")
        return places + self.n <= self._ends[np.minimum(text, len(self._ends) - 1)]


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def _blocks(codes: np.ndarray, width: int, step: int = 1) -> Iterator[tuple[int, np.ndarray]]:
    """(begin, codes) of blocks that overlap so that each run of `width` is in one of them.

    They begin at multiples of `step`.
    """
    size = _BLOCK - _BLOCK % step
    for begin in range(0, max(len(codes) - width + 1, 1), size):
        yield begin, codes[begin : begin + size + width - 1]


def _up_to(places: np.ndarray, count: int) -> np.ndarray:
    """All distinct positions that lie 0 to `count` - 1 before sorted places, none below 0, sorted."""
    lengths = np.minimum(np.diff(places, prepend=-1), count)
    last = np.repeat(np.cumsum(lengths), lengths)
    return np.repeat(places, lengths) + np.arange(lengths.sum()) - last + 1


def _grams(codes: np.ndarray, width: int) -> np.ndarray:
    """Hash of every run of `width` codes, uint64 `[len(codes) - width + 1]`.

    sum of c[i] * BASE**(width - 1 - i), put together from hashes of half the width.
    """
    if len(codes) < width:
        return np.zeros(0, dtype=np.uint64)
    if width == 1:
        return codes.astype(np.uint64) + np.uint64(1)
    half = width // 2
    part = _grams(codes, half)
    found = part[: len(codes) - width + 1] * _power(half)
    if width % 2 == 0:
        found += part[half:]
        return found
    found += part[half : len(part) - 1]
    found *= _power(1)
    found += codes[width - 1 :]
    found += np.uint64(1)
    return found


def _power(exponent: int) -> np.uint64:
    return np.uint64(pow(_BASE, exponent, 1 << 64))


def _table(hashes: np.ndarray) -> tuple[np.ndarray, np.uint64]:
    """Which leading bits any hash has: turns most positions away at one look."""
    bits = min(max(len(hashes), 1).bit_length() + 4, _MAX_TABLE_BITS)
    shift = np.uint64(64 - bits)
    table = np.zeros(1 << bits, dtype=bool)
    table[(hashes * _SPREAD) >> shift] = True
    return table, shift


def _equal_runs(
    codes: np.ndarray, here: np.ndarray, held: np.ndarray, there: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Those of the runs that begin `here` that also begin `there` in the held-out codes.

    Two different held-out runs with one 64-bit hash would hide one of them: with ten million runs
    that has a chance of one in 300 000.
    """
    known, first = np.unique(_hashes_at(held, there, n), return_index=True)
    if not len(known):
        return here[:0], here[:0]
    wanted = _hashes_at(codes, here, n)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    candidates = known[at] == wanted
    here, there = here[candidates], there[first[at[candidates]]]
    equal = np.zeros(len(here), dtype=bool)
    steps = np.arange(n)
    for k in range(0, len(here), _ROWS):
        mine = codes[here[k : k + _ROWS, None] + steps]
        equal[k : k + _ROWS] = (mine == held[there[k : k + _ROWS, None] + steps]).all(axis=1)
    return here[equal], there[equal]


def _hashes_at(codes: np.ndarray, places: np.ndarray, n: int) -> np.ndarray:
    """Hashes of the runs of n that begin at the places, as in `_grams`."""
    powers = np.array([_power(n - 1 - k) for k in range(n)])
    steps = np.arange(n)
    found = np.zeros(len(places), dtype=np.uint64)
    for k in range(0, len(places), _ROWS):
        windows = codes[places[k : k + _ROWS, None] + steps].astype(np.uint64) + np.uint64(1)
        found[k : k + _ROWS] = windows @ powers
    return found
