"""How much of a set of generations stands verbatim in indexed books.

A run of 30 characters is the usual limit here: two authors write the same 30 characters by chance
hardly ever, except in verse, set phrases and headings. Compare with what the author's own held-out
text shares with the same books (`evaluation` does).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stylellm.errors import DataError
from stylellm.stylometry import intervals
from stylellm.stylometry.copying import Copy, CopyIndex

LIMIT = 30
NOVELTY = (5, 10, 15, 20, 30, 40, 50)


@dataclass(frozen=True)
class Run:
    """A copied run: the number of the generation, and the run with its source."""

    generation: int
    copy: Copy


@dataclass(frozen=True)
class Memorisation:
    """What some generations share with the books of an index.

    Attributes:
        limit: the length from which a run counts as copied.
        copied: share of the generations with a run of `limit` or more, with a Wilson interval.
        longest: the longest run of all, or None where nothing is shared.
        longest_each: length of the longest run of each generation.
        novelty: n -> share of all n-gram occurrences of all generations that stand in no book;
            None where no generation has n characters.
        runs: the copied runs (`limit` or more), longest first.
        statistics: `Matches.lengths` of each generation.
    """

    limit: int
    copied: intervals.Interval
    longest: Run | None
    longest_each: tuple[int, ...]
    novelty: dict[int, float | None]
    runs: tuple[Run, ...]
    statistics: tuple[np.ndarray, ...] = ()


def memorisation(
    index: CopyIndex,
    generations: Sequence[str],
    *,
    limit: int = LIMIT,
    lengths: Sequence[int] = NOVELTY,
) -> Memorisation:
    """Compare every generation (without its prompt) with the index, once.

    Args:
        index: of the books; lengths are counted as it counts (see `CopyIndex`).
        generations: the texts.
        limit: characters from which a run counts as copied.
        lengths: the n of the novelty curve.

    Raises:
        DataError: no generation, or a limit or length below 1.
    """
    if not generations or min(limit, *lengths) < 1:
        raise DataError(
            f"memorisation of {len(generations)} generations with the limit {limit}",
            "one or more, and lengths of 1 or more",
        )
    longest: list[Run] = []
    runs: list[Run] = []
    statistics: list[np.ndarray] = []
    fresh = dict.fromkeys(lengths, 0)
    total = dict.fromkeys(lengths, 0)
    for number, text in enumerate(generations):
        matches = index.match(text)
        statistics.append(matches.lengths)
        longest.append(Run(number, matches.longest_copy()))
        runs += [Run(number, copy) for copy in matches.copies(limit)]
        for n in lengths:
            complete = matches.lengths[: max(len(matches.lengths) - n + 1, 0)]
            fresh[n] += int(np.count_nonzero(complete < n))
            total[n] += len(complete)
    best = max(longest, key=lambda run: (run.copy.length, -run.generation))
    return Memorisation(
        limit=limit,
        copied=intervals.share(sum(run.copy.length >= limit for run in longest), len(longest)),
        longest=best if best.copy.length else None,
        longest_each=tuple(run.copy.length for run in longest),
        novelty={n: fresh[n] / total[n] if total[n] else None for n in lengths},
        runs=tuple(sorted(runs, key=lambda run: -run.copy.length)),
        statistics=tuple(statistics),
    )
