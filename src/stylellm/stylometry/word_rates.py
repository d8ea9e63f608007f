"""Function-word rates of a text beside a reference, each with an interval.

The interval is a percentile bootstrap over passages of 1,000 characters (see `intervals`): a rate
is all occurrences of the drawn passages over all their characters. About one word in twenty stands
out by chance alone: with a list of 80, four. Read many rows, not one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from stylellm.errors import DataError
from stylellm.stylometry import function_words, intervals
from stylellm.stylometry.divergence import jensen_shannon
from stylellm.stylometry.intervals import Interval
from stylellm.stylometry.text import without_whitespace


@dataclass(frozen=True)
class WordRate:
    """One word: occurrences per 1000 non-whitespace characters.

    Attributes:
        word: the word.
        rate: in the text.
        reference: in the reference, if there is one.
        difference: rate minus reference, with the interval of the difference.
        differs: that interval leaves out 0.
    """

    word: str
    rate: Interval
    reference: Interval | None = None
    difference: Interval | None = None

    @property
    def differs(self) -> bool:
        if self.difference is None or self.difference.low is None or self.difference.high is None:
            return False
        return self.difference.low > 0 or self.difference.high < 0


@dataclass(frozen=True)
class _Counted:
    """Occurrences `[passages, words]` and characters `[passages]`."""

    occurrences: np.ndarray
    characters: np.ndarray

    def rates(self) -> np.ndarray:
        return 1000 * self.occurrences.sum(axis=0) / self.characters.sum()

    def drawn(self, draws: int, seed: int) -> np.ndarray | None:
        """Rates of the bootstrap draws, `[draws, words]`; None for a single passage."""
        if len(self.characters) < 2:
            return None
        weights = intervals.resamples(len(self.characters), draws, seed)
        return 1000 * (weights @ self.occurrences) / (weights @ self.characters)[:, None]


def rate_table(
    text: str,
    reference: str | None = None,
    words: Iterable[str] | None = None,
    *,
    passage: int = intervals.PASSAGE,
    draws: int = intervals.DRAWS,
    seed: int = 0,
) -> list[WordRate]:
    """Rates of all words, in the order of the list.

    Args:
        text, reference: normalised, of one script.
        words: default `function_words.FUNCTION_WORDS`; see `function_words.load_words` for a file.
        passage: characters of the passages that are resampled.
        draws: bootstrap draws.
        seed: of the draws.

    Raises:
        DataError: a text without characters, or a bad word list.
    """
    chosen = function_words.FUNCTION_WORDS if words is None else tuple(dict.fromkeys(words))
    own = _count(text, chosen, passage)
    own_draws, own_rates = own.drawn(draws, seed), own.rates()
    own_table = _intervals(own_rates, own_draws, len(own.characters))
    if reference is None:
        return [WordRate(word, rate) for word, rate in zip(chosen, own_table, strict=True)]
    other = _count(reference, chosen, passage)
    # Another seed: the two texts are drawn independently of one another.
    other_draws, other_rates = other.drawn(draws, seed + 1), other.rates()
    known = own_draws is not None and other_draws is not None
    gap = own_draws - other_draws if known else None  # type: ignore[operator]
    fewest = min(len(own.characters), len(other.characters))
    rows = zip(
        chosen,
        own_table,
        _intervals(other_rates, other_draws, len(other.characters)),
        _intervals(own_rates - other_rates, gap, fewest),
        strict=True,
    )
    return [WordRate(*row) for row in rows]


def jsd_interval(
    text: str,
    reference: str,
    words: Iterable[str] | None = None,
    *,
    passage: int = intervals.PASSAGE,
    draws: int = intervals.DRAWS,
    seed: int = 0,
) -> Interval:
    """`function_words.jsd` of two texts with a bootstrap interval over passages of both.

    The divergence of two samples is above that of their sources, more so for short texts: compare
    rows of one length. What the resampling itself adds is taken off (`intervals.around`).

    Returns:
        `n` is the smaller number of passages; no interval where a text is one passage.
    """
    chosen = function_words.FUNCTION_WORDS if words is None else tuple(dict.fromkeys(words))
    own, other = _count(text, chosen, passage), _count(reference, chosen, passage)
    value = jensen_shannon(_bins(own.rates()), _bins(other.rates()))
    n = min(len(own.characters), len(other.characters))
    one, two = own.drawn(draws, seed), other.drawn(draws, seed + 1)
    if one is None or two is None:
        return Interval(value, None, None, n)
    drawn = [jensen_shannon(_bins(a), _bins(b)) for a, b in zip(one, two, strict=True)]
    low, high = intervals.around(value, np.array(drawn))
    return Interval(value, float(low), float(high), n)


def _bins(rates: np.ndarray) -> np.ndarray:
    return np.append(rates, max(1000 - rates.sum(), 0.0))


def _count(text: str, words: tuple[str, ...], passage: int) -> _Counted:
    pieces = intervals.passages(text, passage)
    if not pieces:
        raise DataError("a text without characters has no function-word rates", "text")
    occurrences = [list(function_words.counts(piece, words).values()) for piece in pieces]
    return _Counted(
        np.array(occurrences, dtype=np.float64),
        np.array([len(without_whitespace(piece)) for piece in pieces], dtype=np.float64),
    )


def _intervals(values: np.ndarray, drawn: np.ndarray | None, n: int) -> list[Interval]:
    if drawn is None:
        return [Interval(float(value), None, None, n) for value in values]
    low, high = intervals.percentiles(drawn)
    return [
        Interval(float(v), float(a), float(b), n) for v, a, b in zip(values, low, high, strict=True)
    ]
