"""Which passages are held out together, so that no work stands on both sides of a split."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stylellm.errors import DataError
from stylellm.stylometry import intervals

BLOCKS = 5
FOLDS = 5


@dataclass(frozen=True)
class Passage:
    """A stretch of a real work, normalised and of one script like all others."""

    author: str
    work: str
    text: str


def cut(author: str, work: str, text: str, length: int, limit: int | None = None) -> list[Passage]:
    """Passages of exactly `length` non-whitespace characters; what is left at the end is dropped.

    Args:
        limit: at most this many, spread evenly over the work.
    """
    pieces = intervals.passages(text, length, whole=True)
    if limit is not None and len(pieces) > limit:
        pieces = [pieces[int(at)] for at in np.linspace(0, len(pieces) - 1, limit)]
    return [Passage(author, work, piece) for piece in pieces]


def held_out_groups(passages: Sequence[Passage], blocks: int = BLOCKS) -> list[str]:
    """What is held out together: the work, or "work/block" for authors of one work."""
    works: dict[str, set[str]] = defaultdict(set)
    seen: dict[str, int] = defaultdict(int)
    size: dict[str, int] = defaultdict(int)
    for passage in passages:
        works[passage.author].add(passage.work)
        size[passage.author] += 1
    labels = []
    for passage in passages:
        if len(works[passage.author]) > 1:
            labels.append(passage.work)
            continue
        block = seen[passage.author] * blocks // size[passage.author] + 1
        seen[passage.author] += 1
        labels.append(f"{passage.work}/{block}")
    return labels


def deal(groups: Sequence[str], truth: np.ndarray, folds: int | None) -> np.ndarray:
    """The fold of each passage: the groups of an author go to different folds as far as they can.

    Authors begin at different folds, so that folds are of about one size.

    Args:
        groups: what is held out together, one label per passage.
        truth: index of the author of each passage, `[N]`.
        folds: how many; None: as many as the author with the most groups has.

    Returns:
        The fold of each passage, int `[N]`.

    Raises:
        DataError: fewer than 2 folds, or an author of a single group.
    """
    own = [list(dict.fromkeys(np.asarray(groups)[truth == a].tolist())) for a in np.unique(truth)]
    wanted = folds or max(map(len, own))
    if wanted < 2 or min(map(len, own)) < 2:
        raise DataError(
            f"{wanted} folds, and an author of {min(map(len, own))} held-out group(s)",
            "2 or more folds, and 2 or more works or passages of every author",
        )
    fold = np.zeros(len(truth), dtype=np.int64)
    for author, names in enumerate(own):
        place = {name: (number + author) % wanted for number, name in enumerate(names)}
        for row in np.flatnonzero(truth == author).tolist():
            fold[row] = place[groups[row]]
    return fold
