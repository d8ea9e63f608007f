"""Character n-grams: how much of a text its reference already holds, and how much it repeats.

White space is removed before anything is counted, so that line breaks of an edition do not matter;
n-grams run across sentences and paragraphs, never from one text of a list into the next. Everything
is exact: an n-gram is numbered by (number of its first n-1 characters, last character), which fits
64 bits, and not hashed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from stylellm.errors import DataError
from stylellm.stylometry.divergence import jensen_shannon
from stylellm.stylometry.text import END, code_points, without_whitespace

Texts = str | Iterable[str]
_CODE_BITS = 21


class NgramSet:
    """All character n-grams of a reference with their counts, indexed once for many texts.

    Args:
        texts: one text or several; n-grams do not cross from one to the next.
        max_n: the longest n-gram that can be asked for.

    Memory: 16 bytes per distinct n-gram and length.
    """

    def __init__(self, texts: Texts, max_n: int = 6) -> None:
        _check_n(max_n)
        self.max_n = max_n
        self._keys: list[np.ndarray] = []
        self._counts: list[np.ndarray] = []

        def number(key: np.ndarray) -> np.ndarray:
            keys, ids, counts = np.unique(key, return_inverse=True, return_counts=True)
            self._keys.append(keys)
            self._counts.append(counts)
            return ids

        _walk(_join(texts), max_n, number)

    def total(self, n: int) -> int:
        """Number of n-gram occurrences in the reference."""
        self._check(n)
        return int(self._counts[n - 1].sum())

    def distinct(self, n: int) -> int:
        """Number of different n-grams in the reference."""
        self._check(n)
        return len(self._counts[n - 1])

    def ids(self, text: Texts, n: int) -> np.ndarray:
        """For every n-gram occurrence of the text, in order, its number here; -1 = not here."""
        self._check(n)
        levels = iter(self._keys)
        return _walk(_join(text), n, lambda key: _find(next(levels), key))

    def counts(self, text: Texts, n: int) -> np.ndarray:
        """For every n-gram occurrence of the text, in order, its count in the reference."""
        ids = self.ids(text, n)
        known = ids >= 0
        counts = np.zeros(len(ids), dtype=np.int64)
        counts[known] = self._counts[n - 1][ids[known]]
        return counts

    def _check(self, n: int) -> None:
        _check_n(n)
        if n > self.max_n:
            raise DataError(
                f"n-grams of {n} characters were asked of an index up to {self.max_n}",
                f"n from 1 to {self.max_n}",
                f"Build it with NgramSet(texts, max_n={n}).",
            )


def overlap(text: Texts, reference: Texts | NgramSet, n: int) -> float:
    """Share of the text's character n-gram occurrences that are found in the reference.

    Args:
        text: one text, or several pooled.
        reference: text or texts, or an `NgramSet` of them.
        n: characters per n-gram, 1 or more.

    Returns:
        From 0 to 1; 0 for a text of fewer than n characters (nothing of it is found).

    Raises:
        DataError: n below 1, or above the `max_n` of the index.
    """
    found = _as_set(reference, n).counts(text, n) > 0
    return float(found.mean()) if len(found) else 0.0


def divergence(text: Texts, reference: Texts | NgramSet, n: int) -> float:
    """Jensen-Shannon divergence (bits, 0 equal to 1 disjoint) of the n-gram distributions.

    Grows with n and shrinks with the length of the texts (rare n-grams are in one of them only):
    compare values of the same n at the same length. Source: Lin (1991).

    Raises:
        DataError: a text or reference of fewer than n characters, or a bad n.
    """
    texts, other = _as_tuple(text), _as_set(reference, n)
    own = NgramSet(texts, n)
    if not own.total(n) or not other.total(n):
        raise DataError(f"a text has no n-gram of {n} characters", "longer texts or a smaller n")
    ids = own.ids(texts, n)
    p = np.bincount(ids)
    q = np.zeros_like(p)
    q[ids] = other.counts(texts, n)
    # What only the reference holds can share one bin: there p is 0, and its terms add up.
    return jensen_shannon(np.append(p, 0), np.append(q, other.total(n) - q.sum()))


def similarity(text: Texts, reference: Texts | NgramSet, n: int) -> float:
    """1 - `divergence`: 1 for equal n-gram distributions, 0 for disjoint ones."""
    return 1.0 - divergence(text, reference, n)


def distinct_n(text: Texts, n: int) -> float:
    """Different n-grams / n-gram occurrences (Li et al. 2016); 1 for a text without n-grams."""
    own = NgramSet(text, n)
    return own.distinct(n) / own.total(n) if own.total(n) else 1.0


def rep_n(text: Texts, n: int) -> float:
    """1 - `distinct_n`: the share of n-gram occurrences that repeat one (Welleck et al. 2020)."""
    return 1.0 - distinct_n(text, n)


def _walk(codes: np.ndarray, n: int, number: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Number the n-grams of `codes` level by level: `number` turns keys into ids (-1 = unknown).

    Returns the ids of all n-grams that lie within one text, in order of position.
    """
    start = np.arange(len(codes))
    ids = np.zeros(len(codes), dtype=np.int64)
    for length in range(n):
        last = start + length
        inside = last < len(codes)
        inside[inside] = codes[last[inside]] != END
        start, ids = start[inside], ids[inside]
        ids = number(ids << _CODE_BITS | codes[start + length])
    return ids


def _find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Index of each wanted key in the sorted keys, -1 where absent."""
    if not len(keys):
        return np.full(len(wanted), -1, dtype=np.int64)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, at, -1)


def _join(texts: Texts) -> np.ndarray:
    pieces: list[np.ndarray] = [np.zeros(0, dtype=np.int64)]
    for text in _as_tuple(texts):
        pieces += [code_points(without_whitespace(text)), np.array([END])]
    return np.concatenate(pieces).astype(np.int64)


def _as_tuple(texts: Texts) -> tuple[str, ...]:
    return (texts,) if isinstance(texts, str) else tuple(texts)


def _as_set(reference: Texts | NgramSet, n: int) -> NgramSet:
    _check_n(n)
    return reference if isinstance(reference, NgramSet) else NgramSet(reference, n)


def _check_n(n: int) -> None:
    if n < 1:
        raise DataError(f"n-grams of {n} characters were asked for", "n of 1 or more")
