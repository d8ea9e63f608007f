"""How much each work and each author may take of the training text.

Whole sections are left out at random until a limit holds; nothing is ever repeated.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence

from stylellm.corpus.split import TRAIN, Section
from stylellm.errors import DataError


def balance(
    sections: Sequence[Section],
    *,
    max_characters_per_work: int | None = None,
    max_characters_per_author: int | None = None,
    author_weights: Mapping[str, float] | None = None,
    seed: int = 42,
) -> tuple[list[Section], list[Section]]:
    """Leave training sections out until no work or author takes more than it may.

    Args:
        sections: of all splits; only those of the training split are ever left out.
        max_characters_per_work: most training characters of one work (one file); None: no limit.
        max_characters_per_author: most training characters of one author.
        author_weights: author -> relative share of the training characters; authors that are not
            named have weight 1, weight 0 leaves an author out. The shares are reached to within
            half a chapter of each author.
        seed: of the random choice.

    Returns:
        The sections kept and the training sections left out, each in the given order.

    Raises:
        DataError: a limit that no section of a work or author keeps, a negative weight, a weight
            for an author who has no training text, or weights that leave nothing.
    """
    kept = {index for index, section in enumerate(sections) if section.split == TRAIN}
    for what, limit, key in (
        ("max_characters_per_work", max_characters_per_work, _work),
        ("max_characters_per_author", max_characters_per_author, _author),
    ):
        if limit is not None:
            kept = _capped(sections, kept, limit, key, f"{seed}:{what}", what)
    if author_weights:
        kept = _weighted(sections, kept, author_weights, f"{seed}:weights")
    train = [index for index, section in enumerate(sections) if section.split == TRAIN]
    dropped = set(train) - kept
    return (
        [section for index, section in enumerate(sections) if index not in dropped],
        [sections[index] for index in sorted(dropped)],
    )


def _work(section: Section) -> tuple[int, str]:
    return section.source, section.work


def _author(section: Section) -> str:
    return section.author


def _grouped(
    sections: Sequence[Section], kept: set[int], key: Callable[[Section], object], seed: str
) -> list[list[int]]:
    """The kept sections of each work or author, in random order."""
    groups: dict[object, list[int]] = {}
    for index in sorted(kept):
        groups.setdefault(key(sections[index]), []).append(index)
    generator = random.Random(seed)
    for group in groups.values():
        generator.shuffle(group)
    return list(groups.values())


def _capped(
    sections: Sequence[Section],
    kept: set[int],
    limit: int,
    key: Callable[[Section], object],
    seed: str,
    what: str,
) -> set[int]:
    """As many sections of each group, in random order, as fit under the limit."""
    chosen: set[int] = set()
    for group in _grouped(sections, kept, key, seed):
        room = limit
        for index in group:
            size = sections[index].characters
            if size <= room:
                chosen.add(index)
                room -= size
        shortest = min(sections[index].characters for index in group)
        if shortest > limit:
            first = sections[min(group)]
            raise DataError(
                f"data.{what} is {limit}, and the shortest training chapter of "
                f"{first.work if key is _work else first.author or first.work} "
                f"has {shortest} characters",
                f"at least {shortest}",
            )
    return chosen


def _weighted(
    sections: Sequence[Section], kept: set[int], weights: Mapping[str, float], seed: str
) -> set[int]:
    """Sections of each author, in random order, up to the author's share."""
    groups = {sections[group[0]].author: group for group in _grouped(sections, kept, _author, seed)}
    _check(weights, list(groups))
    sizes = {
        author: sum(sections[index].characters for index in group)
        for author, group in groups.items()
    }
    shares = {author: float(weights.get(author, 1.0)) for author in groups}
    # The author with the least text for its weight gives all of it; the others give in proportion.
    scale = min((sizes[author] / share for author, share in shares.items() if share), default=0.0)
    if not scale:
        raise DataError(
            "data.author_weights leaves no training text",
            "a weight above 0 for an author with text",
        )
    chosen: set[int] = set()
    for author, group in groups.items():
        chosen |= _nearest(sections, group, scale * shares[author])
    return chosen


def _check(weights: Mapping[str, float], authors: list[str]) -> None:
    negative = [author for author, weight in weights.items() if not weight >= 0]
    if negative:
        raise DataError(
            f"data.author_weights is below 0 for {', '.join(negative)}", "0 or a positive number"
        )
    unknown = [author for author in weights if author not in authors]
    if unknown:
        known = ", ".join(author or '""' for author in authors)
        raise DataError(
            f"data.author_weights names {', '.join(unknown)}", f"authors of the books: {known}"
        )


def _nearest(sections: Sequence[Section], group: list[int], target: float) -> set[int]:
    """Sections while they bring the total nearer to the target."""
    chosen, total = set(), 0
    for index in group:
        size = sections[index].characters
        if total + size / 2 <= target:
            chosen.add(index)
            total += size
    return chosen
