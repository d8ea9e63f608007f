"""Chapters and paragraphs that stand in the books twice: exactly, or nearly.

Of two that are alike the earlier one (in the order given) is kept. How alike they are is the
containment of Broder (1997): the share of the later text's shingles that the earlier text holds
too, reckoned from MinHash sketches and lengths (see `bands`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from stylellm.corpus.bands import groups, near_pairs
from stylellm.corpus.signature import MIN_NEAR_LETTERS, Signature, sign

__all__ = ["DuplicatePlan", "Match", "Signature", "find_duplicates", "sign"]


@dataclass(frozen=True)
class Match:
    """Where a dropped text stands already.

    Attributes:
        work, chapter: as given to `find_duplicates`.
        similarity: share of the dropped text that stands there, from 0 to 1; 1 for exact matches.
        paragraph: the paragraph's index there; -1 for a whole chapter.
    """

    work: int
    chapter: int
    similarity: float
    paragraph: int = -1


@dataclass
class DuplicatePlan:
    """What to drop: chapters as a whole, and paragraphs of the others, by their indices."""

    chapters: dict[tuple[int, int], Match] = field(default_factory=dict)
    paragraphs: dict[tuple[int, int], dict[int, Match]] = field(default_factory=dict)


def find_duplicates(
    signed: Sequence[tuple[int, int, Signature]], *, threshold: float = 0.8
) -> DuplicatePlan:
    """Find what to drop so that no chapter and no longer paragraph is kept twice.

    Paragraphs under 30 letters are left alone, and so is what a chapter repeats of itself. A
    chapter goes as a whole where an earlier one holds it, or where the paragraphs to drop make up
    `threshold` of its letters (all of them, when only exact matches count).

    Args:
        signed: (work, chapter, signature), whatever shall be kept first.
        threshold: share of a text that must stand in one earlier text, from 0 to 1; 0 looks for
            exact repeats only. Near repeats are looked for in texts of 80 letters or more.
    """
    signatures = [signature for _, _, signature in signed]
    chapters = _chapters(signatures, threshold)
    while True:
        kept = [index for index in range(len(signed)) if index not in chapters]
        found = _paragraphs([signatures[index] for index in kept], kept, threshold)
        emptied = _emptied(signatures, found, threshold)
        if not emptied:
            break
        # What was dropped for the sake of a chapter that goes now is looked at again.
        chapters |= emptied
        released = [later for later, match in chapters.items() if match.chapter in emptied]
        for later in released:
            del chapters[later]
        if released:
            kept = [index for index in range(len(signed)) if index not in chapters]
            again = _chapters([signatures[index] for index in kept], threshold)
            chapters |= {
                kept[later]: replace(match, chapter=kept[match.chapter])
                for later, match in again.items()
            }
    return _placed([(work, chapter) for work, chapter, _ in signed], chapters, found)


def _placed(
    places: list[tuple[int, int]],
    chapters: dict[int, Match],
    paragraphs: dict[int, dict[int, Match]],
) -> DuplicatePlan:
    """The plan, of matches that name chapters by their place in the list."""

    def placed(match: Match) -> Match:
        work, chapter = places[match.chapter]
        return replace(match, work=work, chapter=chapter)

    return DuplicatePlan(
        {places[later]: placed(match) for later, match in sorted(chapters.items())},
        {
            places[later]: {number: placed(match) for number, match in found.items()}
            for later, found in paragraphs.items()
        },
    )


def _emptied(
    signatures: list[Signature], found: dict[int, dict[int, Match]], threshold: float
) -> dict[int, Match]:
    """Chapters of which so little would be left that all goes, and what holds most of each."""
    emptied: dict[int, Match] = {}
    for later in sorted(found):
        matches = {n: match for n, match in found[later].items() if match.chapter not in emptied}
        if matches and _nearly_all(signatures[later], matches, threshold):
            emptied[later] = _most_common(list(matches.values()))
    return emptied


def _nearly_all(signature: Signature, matches: dict[int, Match], threshold: float) -> bool:
    """Whether what is dropped of a chapter is so much that the rest should go with it."""
    dropped = signature.lengths[np.isin(signature.numbers, list(matches))].sum()
    return bool(dropped >= (threshold or 1.0) * signature.letters)


def _most_common(matches: list[Match]) -> Match:
    """The chapter that holds most of the paragraphs, as the match of all of them."""
    (chapter, _), *_ = Counter(match.chapter for match in matches).most_common(1)
    return Match(0, chapter, float(np.mean([match.similarity for match in matches])))


def _chapters(signatures: list[Signature], threshold: float) -> dict[int, Match]:
    """Chapters that an earlier one holds. Chapters are named by their place in the list."""
    found: dict[int, Match] = {}
    first: dict[int, int] = {}
    for index, signature in enumerate(signatures):
        if signature.exact:
            earlier = first.setdefault(signature.exact, index)
            if earlier != index:
                found[index] = Match(0, earlier, 1.0)
    near = [i for i, signature in enumerate(signatures) if len(signature.sketch) and i not in found]
    if threshold and near:
        sketches = np.stack([signatures[i].sketch for i in near])
        lengths = np.array([signatures[i].letters for i in near])
        partner, similarity = near_pairs(sketches, lengths, np.arange(len(near)), threshold)
        for later in np.flatnonzero(partner >= 0).tolist():
            found[near[later]] = Match(0, near[partner[later]], float(similarity[later]))
    # An exact copy of a chapter that goes as a near one stands where that one stands.
    return {later: found.get(match.chapter, match) for later, match in found.items()}


def _paragraphs(
    signatures: list[Signature], names: list[int], threshold: float
) -> dict[int, dict[int, Match]]:
    """Chapter -> paragraphs of it that stand in an earlier chapter.

    Args:
        signatures: of the chapters that stay.
        names: what the result calls them.
        threshold: as in `find_duplicates`.
    """
    counts = [len(signature.numbers) for signature in signatures]
    owners = np.repeat(np.arange(len(signatures), dtype=np.int32), counts)
    numbers = _joined([signature.numbers for signature in signatures], np.int32)
    partner = _exact_paragraphs(signatures, owners)
    similarity = np.ones(len(owners), dtype=np.float32)
    if threshold:
        _near_paragraphs(signatures, owners, threshold, partner, similarity)
        # A copy of a paragraph that goes as a near one stands where that one stands.
        passed_on = np.flatnonzero((partner >= 0) & (partner[partner] >= 0))
        similarity[passed_on] = similarity[partner[passed_on]]
        partner[passed_on] = partner[partner[passed_on]]
    found: dict[int, dict[int, Match]] = {}
    later = np.flatnonzero(partner >= 0)
    earlier = partner[later]
    columns = (owners[later], numbers[later], owners[earlier], numbers[earlier], similarity[later])
    for owner, number, other, paragraph, share in zip(*(c.tolist() for c in columns), strict=True):
        found.setdefault(names[owner], {})[number] = Match(0, names[other], share, paragraph)
    return found


def _exact_paragraphs(signatures: list[Signature], owners: np.ndarray) -> np.ndarray:
    """For each paragraph the first with the same letters, if in another chapter, else -1."""
    partner = np.full(len(owners), -1, dtype=np.int64)
    order, starts = groups(_joined([signature.hashes for signature in signatures], np.uint64))
    first = order[starts]
    repeats = owners[order] != owners[first]
    partner[order[repeats]] = first[repeats]
    return partner


def _near_paragraphs(
    signatures: list[Signature],
    owners: np.ndarray,
    threshold: float,
    partner: np.ndarray,
    similarity: np.ndarray,
) -> None:
    """Fill in `partner` and `similarity` for long paragraphs without an exact match."""
    lengths = _joined([signature.lengths for signature in signatures], np.int32)
    long = np.flatnonzero(lengths >= MIN_NEAR_LETTERS)
    fresh = partner[long] < 0
    if not fresh.any():
        return
    here = long[fresh]
    sketches = np.concatenate([signature.sketches for signature in signatures])[fresh]
    near, shares = near_pairs(sketches, lengths[here], owners[here], threshold)
    found = near >= 0
    partner[here[found]] = here[near[found]]
    similarity[here[found]] = shares[found]


def _joined(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=dtype), *parts])
