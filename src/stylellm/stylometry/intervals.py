"""How sure a number is: passages of a text, bootstrap over them, and shares with an interval.

Words of one text are not independent draws: a scene repeats its own words. So the passage is what
is resampled, never the word. All draws are seeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stylellm.errors import DataError
from stylellm.stylometry.text import WHITESPACE, code_points, without_whitespace

PASSAGE = 1000
DRAWS = 1000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """A number with its interval; low and high are None where the sample allows none.

    Attributes:
        value: the estimate from the whole sample.
        low, high: the interval at the confidence asked for.
        n: how many units (passages, texts, works) it rests on.
    """

    value: float
    low: float | None
    high: float | None
    n: int


def passages(text: str, length: int = PASSAGE, *, whole: bool = False) -> list[str]:
    """Consecutive passages of `length` non-whitespace characters; line breaks stay in them.

    What is left at the end joins the last passage if it is shorter than half a passage, and is a
    passage otherwise; with `whole` it is dropped, so that all passages have exactly that length.

    Raises:
        DataError: a length below 1.
    """
    if length < 1:
        raise DataError(f"passages of {length} characters were asked for", "1 or more")
    inked = np.flatnonzero(~np.isin(code_points(text), WHITESPACE))
    if not len(inked):
        return []
    if whole:
        text = text[: inked[len(inked) // length * length - 1] + 1] if len(inked) >= length else ""
        inked = inked[: len(inked) // length * length]
        if not text:
            return []
    cuts = inked[length::length].tolist()
    if cuts and len(inked) % length and len(inked) % length * 2 < length:
        cuts.pop()
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def resamples(n: int, draws: int = DRAWS, seed: int = 0) -> np.ndarray:
    """Bootstrap weights: how often each of n units is drawn, `[draws, n]`, each row of sum n."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)


def percentiles(values: np.ndarray, confidence: float = CONFIDENCE) -> np.ndarray:
    """Lower and upper percentile of bootstrap values `[draws, ...]`, as `[2, ...]`."""
    tail = (1 - confidence) / 2
    return np.quantile(values, [tail, 1 - tail], axis=0)


def around(value: float, drawn: np.ndarray, confidence: float = CONFIDENCE) -> np.ndarray:
    """Percentiles of a distance's bootstrap values `[draws]`, without the bootstrap's bias, as `[2]`.

    The distance of two samples is above that of their sources, and a resample of a sample adds as
    much again: plain percentiles sit high and may leave out the estimate. The bias, the draws' mean
    less the estimate, is taken off (Efron and Tibshirani 1993, section 10.3); nothing below 0 is left.
    """
    low, high = percentiles(drawn, confidence) - (drawn.mean() - value)
    return np.maximum([min(low, value), max(high, value)], 0.0)


def mean(values: Sequence[float], *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Mean with its percentile bootstrap interval (Efron 1979); None below 2 values.

    Raises:
        DataError: no value.
    """
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        raise DataError("a mean of no values was asked for", "one value or more")
    if len(array) < 2:
        return Interval(float(array[0]), None, None, 1)
    low, high = percentiles(resamples(len(array), draws, seed) @ array / len(array))
    return Interval(float(array.mean()), float(low), float(high), len(array))


def share(successes: int, n: int) -> Interval:
    """A share of n independent cases with its 95% Wilson score interval (Wilson 1927).

    Raises:
        DataError: no case.
    """
    if n < 1:
        raise DataError("a share of no cases was asked for", "one case or more")
    z = 1.959963984540054
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (rate * (1 - rate) / n + z * z / (4 * n * n)) ** 0.5
    return Interval(rate, max(centre - half, 0.0), min(centre + half, 1.0), n)


def clustered_share(hits: Sequence[bool], groups: Sequence[str], seed: int = 0) -> Interval:
    """A share of cases that come in groups (passages of a work): groups are what is resampled.

    `n` of the result is the number of groups; no interval below 2 groups.

    Raises:
        DataError: no case.
    """
    if not len(hits):
        raise DataError("a share of no cases was asked for", "one case or more")
    names, ids = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    right = np.bincount(ids, weights=np.asarray(hits, dtype=np.float64))
    size = np.bincount(ids).astype(np.float64)
    value = float(right.sum() / size.sum())
    if len(names) < 2:
        return Interval(value, None, None, len(names))
    weights = resamples(len(names), DRAWS, seed)
    low, high = percentiles((weights @ right) / (weights @ size))
    return Interval(value, float(low), float(high), len(names))


def apart(text: str, lengths: Sequence[int], generator: np.random.Generator) -> list[str]:
    """Stretches of exactly these lengths at random places of a real text, none over another.

    For what a measure of some generations would be on real text of their lengths. White space is
    left out, the order is drawn too, and the text goes round from its end to its beginning.

    Raises:
        DataError: the text is shorter than all stretches together.
    """
    ink = without_whitespace(text)
    if sum(lengths) > len(ink):
        raise DataError(
            f"a real text of {len(ink)} characters cannot stand beside {sum(lengths)} generated ones",
            "real text of at least that length",
        )
    turn = int(generator.integers(max(len(ink), 1)))
    turned = ink[turn:] + ink[:turn]
    order = generator.permutation(np.asarray(lengths, dtype=np.int64))
    gaps = np.sort(generator.integers(0, len(ink) - sum(lengths) + 1, size=len(order)))
    begins = gaps + np.cumsum(order) - order
    return [turned[a : a + n] for a, n in zip(begins.tolist(), order.tolist(), strict=True)]
