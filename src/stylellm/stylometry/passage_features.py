"""Passages of works as rows of numbers for a classifier: character n-grams and function words.

Punctuation and white space are left out (they belong to the edition), and so are n-grams that fewer
than half of the authors use: a name tells a book apart and not an author, and would let a
classifier read the cast instead of the style. What is chosen and every scale comes from the
training rows alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stylellm.errors import DataError
from stylellm.stylometry import function_words
from stylellm.stylometry.ngrams import NgramSet

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_NOT_A_LETTER = re.compile(r"[\W_]+")
MAX_N = 3
MAX_NGRAMS = 20000
MIN_AUTHORS = 0.5


@dataclass(frozen=True)
class Counts:
    """Counts of N texts.

    Attributes:
        ngrams: occurrences of every n-gram of the numbering, sparse `[N, n-grams]`.
        words: square roots of function-word rates, `[N, words]` (the root evens out variances).
    """

    ngrams: csr_matrix
    words: np.ndarray

    def rows(self, which: np.ndarray) -> Counts:
        return Counts(self.ngrams[which], self.words[which])


class Numbering:
    """All n-grams of some texts, numbered; counts texts by that numbering.

    Args:
        texts: the texts whose n-grams get a number.
        words: function words; default the shipped list.
    """

    def __init__(
        self, texts: Sequence[str], words: Sequence[str] | None = None, max_n: int = MAX_N
    ) -> None:
        self.words = function_words.FUNCTION_WORDS if words is None else tuple(words)
        self.max_n = max_n
        self._set = NgramSet([letters(text) for text in texts], max_n)
        sizes = [self._set.distinct(n) for n in range(1, max_n + 1)]
        self._offsets = np.concatenate([[0], np.cumsum(sizes)])

    def count(self, texts: Sequence[str]) -> Counts:
        """Counts of texts; n-grams without a number are not counted.

        Raises:
            DataError: a text without letters.
        """
        from scipy.sparse import csr_matrix

        kept = [letters(text) for text in texts]
        if not all(kept):
            raise DataError(f"passage {kept.index('')} holds no letter", "passages of text")
        rows, columns = [], []
        for n in range(1, self.max_n + 1):
            ids = self._set.ids(kept, n)
            row = np.repeat(np.arange(len(kept)), [max(len(text) - n + 1, 0) for text in kept])
            rows.append(row[ids >= 0])
            columns.append(ids[ids >= 0] + self._offsets[n - 1])
        row, column = np.concatenate(rows), np.concatenate(columns)
        shape = (len(kept), int(self._offsets[-1]))
        table = csr_matrix((np.ones(len(row), dtype=np.float64), (row, column)), shape=shape)
        rates = [list(function_words.rates(text, self.words).values()) for text in kept]
        return Counts(table, np.sqrt(np.array(rates)))


class Scaling:
    """Turns counts into features, with everything learnt from training rows.

    Args:
        counts: of the training rows.
        authors: the author of each row, int `[N]`.
        max_ngrams: how many n-grams to keep, the most frequent ones.
        min_authors: share of the authors that must use an n-gram (at least 2 of them must).

    Raises:
        DataError: no n-gram is used by enough authors.
    """

    def __init__(
        self,
        counts: Counts,
        authors: np.ndarray,
        *,
        max_ngrams: int = MAX_NGRAMS,
        min_authors: float = MIN_AUTHORS,
    ) -> None:
        from sklearn.feature_extraction.text import TfidfTransformer

        names = np.unique(authors)
        used = np.zeros(counts.ngrams.shape[1], dtype=np.int64)
        for name in names:
            used += np.asarray(counts.ngrams[authors == name].sum(axis=0)).ravel() > 0
        total = np.asarray(counts.ngrams.sum(axis=0)).ravel()
        enough = np.flatnonzero(used >= max(2, int(np.ceil(min_authors * len(names)))))
        if not len(enough):
            raise DataError("no n-gram is used by enough authors", "longer or more passages")
        order = np.lexsort((enough, -total[enough]))
        self.chosen = np.sort(enough[order[:max_ngrams]])
        self._weights = TfidfTransformer(sublinear_tf=True).fit(counts.ngrams[:, self.chosen])
        self._mean = counts.words.mean(axis=0)
        deviation = counts.words.std(axis=0)
        self._deviation = np.where(deviation > 0, deviation, 1.0)

    def weighted(self, counts: Counts) -> Any:
        """tf-idf of the n-grams, rows of length 1, beside standardised function words whose rows
        have a length near 1 as well: sparse `[N, n-grams + words]`."""
        from scipy.sparse import csr_matrix, hstack

        words = (counts.words - self._mean) / self._deviation / counts.words.shape[1] ** 0.5
        grams = self._weights.transform(counts.ngrams[:, self.chosen])
        return hstack([grams, csr_matrix(words)], format="csr")

    def plain(self, counts: Counts) -> Any:
        """The counts of the chosen n-grams, sparse `[N, n-grams]`."""
        return counts.ngrams[:, self.chosen]


def letters(text: str) -> str:
    """The letters and digits of a text, without marks and white space."""
    return _NOT_A_LETTER.sub("", text)
