"""Rolling Delta: the distance to each profile along a long text, window by window.

It shows where a text changes hands (or where a model loses the voice). Source: Rybicki, Hoover
and Kestemont (2014), "Collaborative authorship: Conrad, Ford and Rolling Delta".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stylellm.errors import DataError
from stylellm.stylometry import delta
from stylellm.stylometry.text import WHITESPACE, code_points

WINDOW = 5000
STEP = 1000


@dataclass(frozen=True)
class Rolling:
    """Distances along a text.

    Attributes:
        names: the P profiles.
        begins: first item of each window, counted in characters without white space or in words.
        window: items of a window.
        distances: `[windows, P]`.
    """

    names: tuple[str, ...]
    begins: tuple[int, ...]
    window: int
    distances: np.ndarray

    def nearest(self) -> list[str]:
        """The nearest profile of each window (the first of equals)."""
        return [self.names[int(at)] for at in self.distances.argmin(axis=1)]


def rolling_delta(
    profiles: Mapping[str, str],
    text: str,
    *,
    window: int = WINDOW,
    step: int = STEP,
    measure: delta.Measure = "burrows",
    features: Iterable[str] | None = None,
    n_features: int = delta.DEFAULT_N_FEATURES,
    unit: delta.Unit = "character",
) -> Rolling:
    """Delta of every window of a text to every profile.

    Args:
        profiles, features, n_features, unit: as in `delta.fit`; the windows never move the scale.
        text: the long text.
        window, step: items; a text shorter than a window is one window; an end shorter than a step
            is left to the last whole window.
        measure: "burrows" or "cosine".

    Raises:
        DataError: a window or step below 1, an unknown measure, an empty text, or as `delta.fit`.
    """
    if window < 1 or step < 1:
        raise DataError(f"rolling Delta with window {window} and step {step}", "1 or more")
    space = delta.fit(profiles, features=features, n_features=n_features, unit=unit)
    begins, scores = [], []
    for begin, stretch in windows(text, unit, window, step):
        begins.append(begin)
        scores.append(space.scores(stretch))
    rows = [delta.distances(space.z, row, measure) for row in scores]
    return Rolling(space.names, tuple(begins), window, np.array(rows))


def windows(
    text: str, unit: delta.Unit, window: int, step: int
) -> Iterator[tuple[int, str | Sequence[str]]]:
    """The first item and the text (for words: the words) of each window, as in `rolling_delta`."""
    if unit == "word":
        row = delta.tokens(text, unit)
        for begin in range(0, max(len(row) - window, 0) + 1, step):
            yield begin, row[begin : begin + window]
        return
    inked = np.flatnonzero(~np.isin(code_points(text), WHITESPACE))
    for begin in range(0, max(len(inked) - window, 0) + 1, step):
        places = inked[begin : begin + window]
        yield begin, text[places[0] : places[-1] + 1] if len(places) else ""
