"""How alike a set of generations is: Self-BLEU and the compression ratio.

Both depend on how many texts there are and how long they are: compare with real text of exactly
the same lengths (`intervals.apart`). Repetition within a text is `ngrams.rep_n`.
"""

from __future__ import annotations

import gzip
import math
from collections import Counter
from collections.abc import Sequence

from stylellm.errors import DataError
from stylellm.stylometry.text import without_whitespace

MAX_N = 4


def compression_ratio(texts: str | Sequence[str]) -> float:
    """Bytes of the texts (UTF-8) over their bytes after gzip: higher is more repetitive.

    gzip sees repetitions within 32 KiB, about 11,000 Chinese characters. Source: Shaib et al.
    (2024), "Standardizing the measurement of text diversity".

    Raises:
        DataError: no character.
    """
    data = (texts if isinstance(texts, str) else "\n".join(texts)).encode("utf-8", "replace")
    if not data.strip():
        raise DataError("a compression ratio of no text was asked for", "text")
    return len(data) / len(gzip.compress(data, compresslevel=9, mtime=0))


def self_bleu(texts: Sequence[str], max_n: int = MAX_N) -> float:
    """Mean BLEU of each text against all the others as references, 0 (nothing shared) to 1.

    Tokens are characters without white space. BLEU as sacrebleu's sentence score: clipped n-gram
    precisions up to `max_n`, the k-th zero count in a row smoothed to 1 / 2^k, brevity penalty
    against the reference of the closest length (of equals the shorter). Linear in the amount of
    text. Sources: Zhu et al. (2018), "Texygen"; Post (2018).

    Raises:
        DataError: fewer than 2 texts, a text without characters, or max_n below 1.
    """
    rows = [without_whitespace(text) for text in texts]
    if len(rows) < 2 or not all(rows) or max_n < 1:
        raise DataError(
            f"Self-BLEU got {len(rows)} texts, {sum(not row for row in rows)} of them empty",
            "2 or more texts with characters",
        )
    matched = [_matches(rows, n) for n in range(1, max_n + 1)]
    lengths = [len(row) for row in rows]
    scores = []
    for k, row in enumerate(rows):
        others = lengths[:k] + lengths[k + 1 :]
        closest = min(others, key=lambda length: (abs(length - len(row)), length))
        pairs = [(matched[n - 1][k], max(len(row) - n + 1, 0)) for n in range(1, max_n + 1)]
        scores.append(_bleu(pairs, len(row), closest))
    return sum(scores) / len(scores)


def _matches(rows: Sequence[str], n: int) -> list[int]:
    """For each text the n-gram occurrences that another text holds as often (clipped counts)."""
    counts = [Counter(row[i : i + n] for i in range(len(row) - n + 1)) for row in rows]
    # The largest count of each n-gram, its owner, and the largest among the others.
    top: dict[str, tuple[int, int, int]] = {}
    for k, held in enumerate(counts):
        for gram, count in held.items():
            first, owner, second = top.get(gram, (0, -1, 0))
            if count > first:
                top[gram] = (count, k, first)
            elif count > second:
                top[gram] = (first, owner, count)
    return [sum(min(c, _most(top[gram], k)) for gram, c in held.items()) for k, held in
            enumerate(counts)]  # fmt: skip


def _most(top: tuple[int, int, int], k: int) -> int:
    first, owner, second = top
    return second if owner == k else first


def _bleu(pairs: Sequence[tuple[int, int]], length: int, reference: int) -> float:
    """Geometric mean of the precisions with exponential smoothing, times the brevity penalty.

    n-grams longer than the text have no precision and make the score 0, as in sacrebleu without
    effective order.
    """
    if not pairs[0][0] or not pairs[-1][1]:
        return 0.0
    logs, smoothing = 0.0, 1.0
    for right, total in pairs:
        if not right:
            smoothing *= 2
        logs += math.log((right or 1 / smoothing) / total)
    brevity = 1.0 if length >= reference else math.exp(1 - reference / length)
    return brevity * math.exp(logs / len(pairs))
