"""How a row of texts is written, beside the author's training text; every number with its interval.

Passages of 1,000 characters are what is resampled for words and rhythm, whole texts for n-grams.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stylellm.evaluation.figures import Figure, figure, ratio, resampled
from stylellm.stylometry import (
    diversity,
    features,
    function_words,
    intervals,
    ngrams,
    register,
    rhythm,
    richness,
    word_rates,
)
from stylellm.stylometry.divergence import jensen_shannon
from stylellm.stylometry.text import without_whitespace

SMALL_SAMPLE = 50_000
"""Characters below which function-word JSD between near texts is mostly noise (docs/evaluation.md)."""
FEW_PASSAGES = 10
DRAWS = 200
REAL_DRAWS = 20
HISTOGRAM_BINS = 20


@dataclass
class Author:
    """The author's training text, with what all rows are compared with computed once."""

    text: str
    ngram_max: int = 6
    grams: ngrams.NgramSet = field(init=False)

    def __post_init__(self) -> None:
        self.grams = ngrams.NgramSet(self.text, self.ngram_max)
        self._real: dict[tuple[int, ...], dict[str, Figure]] = {}

    def real(self, lengths: Sequence[int], seed: int) -> dict[str, Figure]:
        """What the measures of degeneration are on his own text, in pieces of these lengths."""
        key = tuple(lengths)
        if key not in self._real:
            self._real[key] = _real_ranges(self.text, key, seed)
        return self._real[key]


def describe(pieces: Sequence[str], author: Author, *, length: int, seed: int) -> dict[str, Any]:
    """One row of the report's style table (docs/evaluation.md lists the keys).

    Args:
        pieces: the row's texts, comparable.
        author: what they are compared with.
        length: characters at which richness is compared, the same for all rows.
        seed: of all draws.
    """
    text = "\n".join(pieces)
    size = len(without_whitespace(text))
    small = size < SMALL_SAMPLE
    found: dict[str, Any] = {"characters": size, "texts": len(pieces), "small": small}
    jsd = word_rates.jsd_interval(text, author.text, draws=DRAWS, seed=seed)
    found["function_word_jsd"] = figure(jsd, small)
    found["function_words"] = _words(text, author.text, seed)
    found |= _ngrams(pieces, author, seed)
    found["rhythm"] = rhythm_of(text, author.text, seed)
    found["register"] = register_of(text, seed)
    found["richness"] = richness_of(text, length, seed)
    found["degeneration"] = _degeneration(pieces, author, seed)
    return found


def _words(text: str, author: str, seed: int) -> list[dict[str, Any]]:
    rows = word_rates.rate_table(text, author, draws=DRAWS, seed=seed)
    few = rows[0].rate.n < FEW_PASSAGES
    return [
        {
            "word": row.word,
            "rate": figure(row.rate, few),
            "difference": figure(row.difference, few) if row.difference else None,
            "differs": row.differs,
        }
        for row in rows
    ]


def word_table(text: str, seed: int) -> dict[str, Figure]:
    """Function words per 1000 characters of a text."""
    rows = word_rates.rate_table(text, draws=DRAWS, seed=seed)
    return {row.word: figure(row.rate, row.rate.n < FEW_PASSAGES) for row in rows}


def _ngrams(pieces: Sequence[str], author: Author, seed: int) -> dict[str, Any]:
    overlap, divergence = {}, {}
    for n in range(1, author.ngram_max + 1):
        found = [author.grams.counts(piece, n) > 0 for piece in pieces]
        known = np.array([row.sum() for row in found])
        total = np.array([len(row) for row in found])
        if not total.sum():
            continue
        overlap[str(n)] = ratio(known, total, seed=seed)
        divergence[str(n)] = _divergence(pieces, author.grams, n, seed)
    return {"ngram_overlap": overlap, "ngram_divergence": divergence}


def _divergence(pieces: Sequence[str], other: ngrams.NgramSet, n: int, seed: int) -> Figure:
    """`ngrams.divergence` with an interval: texts are resampled."""
    own = ngrams.NgramSet(pieces, n)
    ids = [own.ids(piece, n) for piece in pieces]
    size = own.distinct(n)
    theirs = np.zeros(size)
    for piece, row in zip(pieces, ids, strict=True):
        theirs[row] = other.counts(piece, n)
    # What only the reference holds can share one bin: there p is 0, and its terms add up.
    q = np.append(theirs, other.total(n) - theirs.sum())
    flat = np.concatenate(ids)
    owner = np.repeat(np.arange(len(ids)), [len(row) for row in ids])

    def statistic(weights: np.ndarray) -> np.ndarray:
        rows = (np.bincount(flat, weights=w[owner], minlength=size) for w in weights)
        return np.array([jensen_shannon(np.append(p, 0), q) if p.sum() else np.nan for p in rows])

    return resampled(statistic, len(pieces), draws=50, seed=seed, distance=True)


_LENGTHS: dict[str, Callable[[str], list[int]]] = {
    "sentences": features.sentence_lengths,
    "clauses": features.clause_lengths,
    "utterances": rhythm.utterance_lengths,
}


def rhythm_of(text: str, author: str, seed: int) -> dict[str, Any]:
    """Lengths with their Wasserstein distance to the author's, speech, and punctuation."""
    pieces = intervals.passages(text)
    found: dict[str, Any] = {
        name: _lengths([measure(piece) for piece in pieces], measure(author), seed)
        for name, measure in _LENGTHS.items()
    }
    sizes = np.array([len(without_whitespace(piece)) for piece in pieces])
    spoken = np.array([features.dialogue_share(piece) for piece in pieces]) * sizes
    found["dialogue_share"] = ratio(spoken, sizes, fewest=FEW_PASSAGES, seed=seed)
    table = np.array(
        [list(function_words.counts(p, features.PUNCTUATION).values()) for p in pieces]
    )
    found["punctuation"] = {
        mark: ratio(1000 * table[:, k], sizes, fewest=FEW_PASSAGES, seed=seed)
        for k, mark in enumerate(features.PUNCTUATION)
    }
    goal = np.array(list(features.punctuation_rates(author).values()))
    found["punctuation_distance"] = None
    if goal.sum() and table.sum():
        goal = goal / goal.sum()
        found["punctuation_distance"] = resampled(
            lambda weights: _total_variation(weights @ table, goal), len(pieces), seed=seed,
            distance=True,
        )  # fmt: skip
    return found


def _total_variation(counts: np.ndarray, goal: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    return np.abs(shares - goal).sum(axis=1) / 2


def _lengths(by_passage: list[list[int]], goal: list[int], seed: int) -> dict[str, Any] | None:
    """Lengths beside the author's; passages are resampled. None where one of the two has none."""
    from scipy.stats import wasserstein_distance

    lengths = np.concatenate([np.asarray(row, dtype=np.float64) for row in by_passage])
    if not len(lengths) or not goal:
        return None
    owner = np.repeat(np.arange(len(by_passage)), [len(row) for row in by_passage])
    values, counts = np.unique(goal, return_counts=True)

    def distance(weights: np.ndarray) -> np.ndarray:
        return np.array(
            [
                wasserstein_distance(lengths, values, row[owner], counts)
                if row[owner].sum()
                else np.nan
                for row in weights
            ]
        )

    totals = np.array([sum(row) for row in by_passage])
    numbers = np.array([len(row) for row in by_passage])
    summary = rhythm.summary(lengths.astype(int).tolist())
    edges = np.linspace(0, max(float(np.quantile(goal, 0.99)), 1.0), HISTOGRAM_BINS + 1)
    shares = np.histogram(np.clip(lengths, 0, edges[-1]), edges)[0] / len(lengths)
    n = len(by_passage)
    return {
        "wasserstein": resampled(distance, n, draws=DRAWS, seed=seed, distance=True),
        "mean": resampled(lambda w: _safe(w @ totals, w @ numbers), n, seed=seed),
        "quantiles": list(summary.quantiles) if summary else [],
        "n": len(lengths),
        "histogram": {"edges": edges.tolist(), "shares": shares.tolist()},
    }


def _safe(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)


def register_of(text: str, seed: int) -> dict[str, Figure]:
    """`register.register` with intervals: passages are resampled."""
    pieces = intervals.passages(text)
    sizes = np.array([len(without_whitespace(piece)) for piece in pieces])
    both = (*register.WENYAN, *register.BAIHUA)
    table = np.array([list(function_words.counts(piece, both).values()) for piece in pieces])
    literary = table[:, : len(register.WENYAN)].sum(axis=1)
    spoken = table[:, len(register.WENYAN) :].sum(axis=1)

    def index(weights: np.ndarray) -> np.ndarray:
        one, other = weights @ literary, weights @ spoken
        total = one + other
        return np.divide(one - other, total, out=np.zeros(len(total)), where=total > 0)

    return {
        "index": resampled(index, len(pieces), seed=seed),
        "wenyan": ratio(1000 * literary, sizes, seed=seed),
        "baihua": ratio(1000 * spoken, sizes, seed=seed),
    }


def richness_of(text: str, length: int, seed: int) -> dict[str, Figure | None]:
    """Richness of the first `length` characters; the interval is over passages' own values.

    Yule's K and HD-D depend a little on length, so all rows are cut to the same one.
    """
    row = richness.items(text)[:length]
    measures: dict[str, Callable[[Sequence[str]], float]] = {
        "mattr": richness.mattr,
        "hdd": richness.hdd,
        "yule_k": richness.yule_k,
    }
    if len(row) < richness.WINDOW:
        return dict.fromkeys(measures)
    blocks = [row[a : a + 2 * richness.WINDOW] for a in range(0, len(row), 2 * richness.WINDOW)]
    blocks = [block for block in blocks if len(block) >= richness.WINDOW]
    found: dict[str, Figure | None] = {}
    for name, measure in measures.items():
        each = intervals.mean([measure(block) for block in blocks], seed=seed)
        # The interval of passages of 1,000 items, for values of passages of 1,000 items.
        found[name] = figure(each, len(blocks) < FEW_PASSAGES)
    return found


def _measures(texts: Sequence[str]) -> dict[str, float]:
    filled = [text for text in texts if text.strip()]
    found = {f"rep_{n}": ngrams.rep_n(texts, n) for n in (2, 3, 4)}
    found |= {f"distinct_{n}": ngrams.distinct_n(texts, n) for n in (1, 2, 3)}
    if len(filled) > 1:
        found["self_bleu"] = diversity.self_bleu(filled)
    found["compression_ratio"] = diversity.compression_ratio(filled)
    return found


def _real_ranges(text: str, lengths: Sequence[int], seed: int) -> dict[str, Figure]:
    """Median and 95% range of every measure over draws of real text of exactly these lengths.

    The stretches of a draw do not overlap (that would be repetition); where the text is too short
    for that there is no range.
    """
    wanted = [length for length in lengths if length]
    if not wanted or sum(wanted) > len(without_whitespace(text)):
        return {}
    generator = np.random.default_rng(seed)
    rows = [_measures(intervals.apart(text, wanted, generator)) for _ in range(REAL_DRAWS)]
    found = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        low, high = map(float, intervals.percentiles(values))
        found[name] = figure(intervals.Interval(float(np.median(values)), low, high, REAL_DRAWS))
    return found


def _degeneration(pieces: Sequence[str], author: Author, seed: int) -> dict[str, Any]:
    """Repetition within a row, beside real text of the author in pieces of the same lengths."""
    lengths = [len(without_whitespace(piece)) for piece in pieces]
    real = author.real(lengths, seed)
    few = len(pieces) < FEW_PASSAGES
    return {
        name: {"value": value, "n": len(pieces), "small": few, "real": real.get(name)}
        for name, value in _measures(pieces).items()
    }
