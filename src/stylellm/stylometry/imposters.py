"""General Imposters: does the test text pick the candidate author out of a crowd, again and again?

In each draw half of the features and half of the imposters are taken; the candidate wins the draw
if it is strictly nearer to the test text than every imposter drawn. The share of draws won is the
score: near 1 for the author, near 0 for another one, unlike a distance, which has no scale.

Source: Koppel and Winter (2014), "Determining if two documents are written by the same author"
(their algorithm with the candidate's side only); Kestemont et al. (2016), "Authenticating the
writings of Julius Caesar", for Delta distances in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stylellm.errors import DataError
from stylellm.stylometry import delta, intervals

Measure = Literal["cosine", "burrows", "minmax"]
DRAWS = 100
FEATURE_SHARE = 0.5
IMPOSTER_SHARE = 0.5
Draw = tuple[Sequence[int], Sequence[int]]


@dataclass(frozen=True)
class Imposters:
    """Result of the draws.

    Attributes:
        score: share of the draws that the candidate won, 0 to 1, with a Wilson interval: of the
            drawing only, not of the texts.
        wins, draws: the counts.
        features: how many items could be drawn.
    """

    score: intervals.Interval
    wins: int
    draws: int
    features: int


def general_imposters(
    test: str,
    candidate: str | Sequence[str],
    others: Mapping[str, str],
    *,
    features: Iterable[str] | None = None,
    n_features: int = delta.DEFAULT_N_FEATURES,
    unit: delta.Unit = "character",
    measure: Measure = "cosine",
    draws: int = DRAWS,
    feature_share: float = FEATURE_SHARE,
    imposter_share: float = IMPOSTER_SHARE,
    seed: int = 0,
    subsets: Iterable[Draw] | None = None,
) -> Imposters:
    """Score of a candidate author for a test text.

    Args:
        test: the text in question.
        candidate: one text of the candidate author, or several; the nearest of them counts.
        others: the imposters, name -> text, two or more, of the test text's genre and time.
        features, n_features, unit: as in `delta.fit`, which is fitted on candidate and others.
        measure: "cosine" or "burrows" distance of z-scores, or "minmax" of relative frequencies
            (1 - sum of minima / sum of maxima, Koppel and Winter's measure).
        draws: how many, with `feature_share` of the features and `imposter_share` of the imposters.
        seed: of the draws.
        subsets: draws to use instead: pairs of (indices of features, indices of imposters).

    Raises:
        DataError: fewer than 2 imposters, a share outside (0, 1], no draw, or as `delta.fit`.
    """
    own = [candidate] if isinstance(candidate, str) else list(candidate)
    if not own or len(others) < 2:
        raise DataError(
            f"General Imposters got {len(own)} text(s) of the candidate and {len(others)} others",
            "1 or more, and 2 or more",
        )
    profiles = {f"\0{number}": text for number, text in enumerate(own)} | dict(others)
    space = delta.fit(profiles, features=features, n_features=n_features, unit=unit)
    table, wanted = _vectors(space, test, measure)
    if subsets is None:
        subsets = _draw(
            len(space.features), len(others), draws, feature_share, imposter_share, seed
        )
    won = [
        _wins(table, wanted, len(own), np.asarray(items), np.asarray(crowd), measure)
        for items, crowd in subsets
    ]
    if not won:
        raise DataError("General Imposters was asked for no draw", "1 or more")
    score = intervals.share(sum(won), len(won))
    return Imposters(score, sum(won), len(won), len(space.features))


def score_all(test: str, profiles: Mapping[str, str], **options: object) -> dict[str, Imposters]:
    """`general_imposters` with each profile as the candidate and the others as imposters.

    Raises:
        DataError: fewer than 3 profiles, or as `general_imposters`.
    """
    if len(profiles) < 3:
        raise DataError(f"General Imposters got {len(profiles)} profile(s)", "3 or more")
    return {
        name: general_imposters(
            test,
            text,
            {other: of for other, of in profiles.items() if other != name},
            **options,  # type: ignore[arg-type]
        )
        for name, text in profiles.items()
    }


def _vectors(space: delta.ZSpace, test: str, measure: Measure) -> tuple[np.ndarray, np.ndarray]:
    if measure in ("cosine", "burrows"):
        return space.z, space.scores(test)
    if measure != "minmax":
        raise DataError(f"unknown measure {measure!r}", "'cosine', 'burrows' or 'minmax'")
    found = delta.frequencies(test, space.features, space.unit, "the test text")
    return np.maximum(space.z * space.deviation + space.mean, 0.0), found


def _draw(
    features: int, others: int, draws: int, feature_share: float, other_share: float, seed: int
) -> list[Draw]:
    if not 0 < feature_share <= 1 or not 0 < other_share <= 1:
        raise DataError(f"shares of {feature_share} and {other_share} to draw", "0 < share <= 1")
    generator = np.random.default_rng(seed)
    sizes = [
        max(int(n * s + 0.5), 1) for n, s in ((features, feature_share), (others, other_share))
    ]
    return [
        (
            generator.choice(features, sizes[0], replace=False).tolist(),
            generator.choice(others, sizes[1], replace=False).tolist(),
        )
        for _ in range(draws)
    ]


def _wins(
    table: np.ndarray,
    wanted: np.ndarray,
    own: int,
    items: np.ndarray,
    crowd: np.ndarray,
    measure: Measure,
) -> bool:
    distances = _distances(table[:, items], wanted[items], measure)
    return bool(distances[:own].min() < distances[own:][crowd].min())


def _distances(table: np.ndarray, wanted: np.ndarray, measure: Measure) -> np.ndarray:
    if measure != "minmax":
        return delta.distances(table, wanted, measure)
    most = np.maximum(table, wanted).sum(axis=1)
    least = np.minimum(table, wanted).sum(axis=1)
    return 1 - np.divide(least, most, out=np.ones(len(most)), where=most > 0)
