"""Rhythm and build of a text as one profile, and the distance of two profiles.

Lengths are counted by `features`; distances are Wasserstein-1 in characters. Texts should be
normalised; punctuation rates tell editions apart as well as authors and are kept separate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stylellm.errors import DataError
from stylellm.stylometry import features

_UTTERANCE = re.compile(r"“([^“”\n]*)(?:”|$)", re.MULTILINE)
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Lengths:
    """A sample of lengths in characters; `quantiles` are those of 10, 25, 50, 75 and 90%."""

    n: int
    mean: float
    deviation: float
    quantiles: tuple[float, ...]


@dataclass(frozen=True)
class Rhythm:
    """What a text looks like from a distance.

    Attributes:
        sentences, clauses: lengths; None for a text without any.
        utterances: lengths of the stretches between “ and ”, in letters; None for no speech.
        paragraphs: lengths; None where the whole text is one line (its paragraphs are lost).
        dialogue_share: share of the characters spoken, 0 to 1.
        punctuation: mark -> occurrences per 1000 characters.
    """

    sentences: Lengths | None
    clauses: Lengths | None
    utterances: Lengths | None
    paragraphs: Lengths | None
    dialogue_share: float
    punctuation: dict[str, float]


def rhythm(text: str) -> Rhythm:
    """The profile of a normalised text."""
    paragraphs = paragraph_lengths(text)
    return Rhythm(
        sentences=summary(features.sentence_lengths(text)),
        clauses=summary(features.clause_lengths(text)),
        utterances=summary(utterance_lengths(text)),
        paragraphs=summary(paragraphs) if len(paragraphs) > 1 else None,
        dialogue_share=features.dialogue_share(text),
        punctuation=features.punctuation_rates(text),
    )


def distances(text: str, reference: str) -> dict[str, float | None]:
    """Wasserstein-1 of the lengths of sentences, clauses and utterances.

    Paragraphs are left out: many editions of old novels have lost theirs.

    Returns:
        name -> characters; None where one of the two texts has none of them.
    """
    kinds = {
        "sentences": features.sentence_lengths,
        "clauses": features.clause_lengths,
        "utterances": utterance_lengths,
    }
    found: dict[str, float | None] = {}
    for name, lengths in kinds.items():
        one, other = lengths(text), lengths(reference)
        found[name] = features.wasserstein(one, other) if one and other else None
    return found


def punctuation_distance(text: str, reference: str) -> float:
    """Half the sum of absolute differences of the shares of the marks, 0 (alike) to 1.

    The total variation distance of which mark is used, given that one is.

    Raises:
        DataError: a text without punctuation.
    """
    rows = [
        np.array([*features.punctuation_rates(one).values()], dtype=np.float64)
        for one in (text, reference)
    ]
    if not rows[0].sum() or not rows[1].sum():
        raise DataError("a text has no punctuation", "punctuated texts")
    return float(np.abs(rows[0] / rows[0].sum() - rows[1] / rows[1].sum()).sum() / 2)


def utterance_lengths(text: str) -> list[int]:
    """Length of every stretch between “ and ” in letters and digits; empty ones are left out."""
    found = (sum(map(str.isalnum, speech)) for speech in _UTTERANCE.findall(text))
    return [length for length in found if length]


def paragraph_lengths(text: str) -> list[int]:
    """Length of every line in letters and digits; empty ones are left out."""
    found = (sum(map(str.isalnum, line)) for line in text.splitlines())
    return [length for length in found if length]


def summary(lengths: Sequence[int]) -> Lengths | None:
    """Mean, deviation (n - 1; 0 for one) and quantiles of a sample; None for an empty one."""
    if not lengths:
        return None
    array = np.asarray(lengths, dtype=np.float64)
    deviation = float(array.std(ddof=1)) if len(array) > 1 else 0.0
    quantiles = tuple(float(q) for q in np.quantile(array, _QUANTILES))
    return Lengths(len(array), float(array.mean()), deviation, quantiles)
