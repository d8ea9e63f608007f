"""What the measures say of some texts, in one dictionary of plain numbers (`stylellm style`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from stylellm.errors import DataError
from stylellm.stylometry import (
    delta,
    diversity,
    function_words,
    ngrams,
    register,
    rhythm,
    richness,
    word_rates,
    zeta,
)
from stylellm.stylometry.copying import CopyIndex
from stylellm.stylometry.frequent import Item, most_frequent
from stylellm.stylometry.imposters import score_all
from stylellm.stylometry.text import without_whitespace

# Below this many characters function words are mostly noise (docs/evaluation.md).
SMALL = 2000
_SLICES = 5


def overview(
    texts: Mapping[str, str],
    references: Mapping[str, str] | None = None,
    *,
    words: Sequence[str] | None = None,
    top: int = 12,
    unit: delta.Unit = "character",
    seed: int = 0,
) -> dict[str, Any]:
    """Describe texts, and compare each with all references together and with each of them.

    Args:
        texts, references: name -> text, normalised and of one script.
        words: function words; default the shipped list.
        top: how many frequent items and preferred words to list.
        unit: what Delta counts.
        seed: of the bootstrap and the imposters.

    Returns:
        "texts": name -> figures; "references": name -> characters; "pairs": distances among the
        texts, where there are two or more and no reference. Ready for JSON.

    Raises:
        DataError: no text, one without characters, or a bad word list.
    """
    references = references or {}
    for name, text in {**texts, **references}.items():
        if not without_whitespace(text):
            raise DataError(f"{name} holds no character", "texts that are not empty")
    if not texts:
        raise DataError("no text was given", "one or more")
    pooled = "\n".join(references.values()) if references else None
    index = CopyIndex(references, ignore_whitespace=True) if references else None
    grams = ngrams.NgramSet(list(references.values()), 3) if references else None
    found: dict[str, Any] = {}
    for name, text in texts.items():
        found[name] = _described(text, pooled, words, top, seed)
        if pooled is not None and index is not None and grams is not None:
            found[name] |= _compared(text, pooled, words, top, seed)
            found[name]["overlap"] = {str(n): ngrams.overlap(text, grams, n) for n in (2, 3)}
            copy = index.longest_copy(text)
            found[name]["longest_copy"] = {"length": copy.length, "text": copy.text,
                                           "source": copy.source, "offset": copy.offset}  # fmt: skip
            found[name]["distances"] = _distances(text, references, unit, seed)
    return {
        "texts": found,
        "references": {name: len(without_whitespace(text)) for name, text in references.items()},
        "pairs": _pairs(texts, words, unit) if not references else [],
        "unit": unit,
        "function_words": len(words or function_words.FUNCTION_WORDS),
    }


def _described(
    text: str, pooled: str | None, words: Sequence[str] | None, top: int, seed: int
) -> dict[str, Any]:
    row = richness.items(text)
    size = len(without_whitespace(text))
    own = register.register(text)
    return {
        "characters": size,
        "small_sample": size < SMALL,
        "rhythm": asdict(rhythm.rhythm(text)),
        "register": {"index": own.index, "wenyan": own.wenyan, "baihua": own.baihua},
        "mattr": richness.mattr(row) if len(row) >= richness.WINDOW else None,
        "rep_4": ngrams.rep_n(text, 4),
        "compression_ratio": diversity.compression_ratio(text),
        "function_words": [
            asdict(rate) | {"differs": rate.differs}
            for rate in word_rates.rate_table(text, pooled, words, seed=seed)
        ],
        "frequent": {
            "characters": _items(most_frequent(text, pooled, n=top)),
            "words": _items(most_frequent(text, pooled, kind="word", n=top)),
            "bigrams": _items(most_frequent(text, pooled, kind="ngram", n=top)),
        },
    }


def _compared(
    text: str, pooled: str, words: Sequence[str] | None, top: int, seed: int
) -> dict[str, Any]:
    preferences = _preferences(text, pooled)
    marks = [sum(one.values()) for one in map(_marks, (text, pooled))]
    return {
        "jsd": asdict(word_rates.jsd_interval(text, pooled, words, seed=seed)),
        "wasserstein": rhythm.distances(text, pooled),
        "punctuation_distance": rhythm.punctuation_distance(text, pooled) if all(marks) else None,
        "preferred": [asdict(one) for one in preferences.preferred(top)] if preferences else [],
        "avoided": [asdict(one) for one in preferences.avoided(top)] if preferences else [],
    }


def _marks(text: str) -> dict[str, float]:
    return rhythm.rhythm(text).punctuation


def _preferences(text: str, pooled: str) -> zeta.Zeta | None:
    """Zeta on words that both sides use, in five slices or more; None for texts too short."""
    fewest = min(len(delta.tokens(one, "word")) for one in (text, pooled))
    length = min(zeta.SLICE, fewest // _SLICES)
    if length < 50:
        return None
    return zeta.zeta(text, pooled, slice_length=length, shared_only=True)


def _distances(
    text: str, references: Mapping[str, str], unit: delta.Unit, seed: int
) -> dict[str, dict[str, float]]:
    """reference -> Delta, Cosine Delta (three references or more) and imposters score (four).

    Two references make a scale of one difference per item, which says next to nothing.
    """
    if len(references) < 3:
        return {}
    found = {
        "delta": delta.burrows_delta(references, text, unit=unit),
        "cosine_delta": delta.cosine_delta(references, text, unit=unit),
    }
    if len(references) > 3:
        scores = score_all(text, references, unit=unit, seed=seed)
        found["imposters"] = {name: one.score.value for name, one in scores.items()}
    return {name: {kind: row[name] for kind, row in found.items()} for name in references}


def _pairs(
    texts: Mapping[str, str], words: Sequence[str] | None, unit: delta.Unit
) -> list[dict[str, Any]]:
    """JSD of every pair, and Delta from three texts on (two texts make no scale)."""
    names = list(texts)
    matrix = None
    if len(names) > 2:
        from stylellm.stylometry import maps

        matrix = maps.pairwise(delta.fit(texts, unit=unit))[1]
    rows = []
    for a, one in enumerate(names):
        for b in range(a + 1, len(names)):
            jsd = function_words.jsd(texts[one], texts[names[b]], words)
            distance = None if matrix is None else float(matrix[a, b])
            rows.append({"texts": [one, names[b]], "jsd": jsd, "delta": distance})
    return sorted(rows, key=lambda row: row["jsd"])


def _items(found: list[Item]) -> list[dict[str, Any]]:
    return [asdict(item) for item in found]
