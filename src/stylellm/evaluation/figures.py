"""A number as evaluation.json holds it: value, interval, sample size, and whether that is small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from stylellm.stylometry.intervals import DRAWS, Interval, around, percentiles, resamples

Figure = dict[str, Any]


def figure(interval: Interval, small: bool = False) -> Figure:
    """``{value, low, high, n, small}``."""
    return {
        "value": interval.value,
        "low": interval.low,
        "high": interval.high,
        "n": interval.n,
        "small": small,
    }


def ratio(
    numerator: np.ndarray, denominator: np.ndarray, *, fewest: int = 10, seed: int = 0
) -> Figure:
    """sum(numerator) / sum(denominator) over units, with a bootstrap over the units.

    Args:
        numerator, denominator: one entry a unit (window, text, passage), `[n]`.
        fewest: below this many units the figure is marked as small.
        seed: of the draws. Figures of the same units and seed are paired.
    """
    above, below = np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)

    def shares(weights: np.ndarray) -> np.ndarray:
        with np.errstate(invalid="ignore", divide="ignore"):  # a draw of empty units says nothing
            return (weights @ above) / (weights @ below)

    return resampled(shares, len(above), fewest=fewest, seed=seed)


def resampled(
    statistic: Callable[[np.ndarray], np.ndarray],
    n: int,
    *,
    fewest: int = 10,
    draws: int = DRAWS,
    seed: int = 0,
    distance: bool = False,
) -> Figure:
    """A statistic of weighted units with its percentile bootstrap interval (Efron 1979).

    Args:
        statistic: weights `[draws, n]` -> values `[draws]`; NaN where a draw allows none.
        n: units; below 2 there is no interval.
        distance: the statistic is a distance, which resampling makes larger (see `around`).
    """
    value = float(statistic(np.ones((1, n)))[0])
    low = high = None
    if n > 1:
        drawn = statistic(resamples(n, draws, seed))
        drawn = drawn[np.isfinite(drawn)]
        if len(drawn):
            low, high = map(float, around(value, drawn) if distance else percentiles(drawn))
    return figure(Interval(value, low, high, n), n < fewest)
