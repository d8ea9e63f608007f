"""What a text uses most: characters, words, character n-grams, beside a reference.

Items that hold punctuation are left out, and n-grams do not run across it: which mark stands where
belongs to the edition. White space is ignored.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from stylellm.errors import DataError
from stylellm.stylometry.delta import tokens
from stylellm.stylometry.text import without_whitespace

Kind = Literal["character", "word", "ngram"]

_NOT_A_LETTER = re.compile(r"[\W_]+")


@dataclass(frozen=True)
class Item:
    """An item of a text; rates are per 1000 items of its kind.

    Attributes:
        text: the character, word or n-gram.
        count: occurrences in the text.
        rate: per 1000 in the text.
        reference: per 1000 in the reference; None without one.
    """

    text: str
    count: int
    rate: float
    reference: float | None = None


def most_frequent(
    text: str,
    reference: str | None = None,
    *,
    kind: Kind = "character",
    ngram: int = 2,
    n: int = 50,
) -> list[Item]:
    """The n most frequent items of a text, most frequent first (ties by code point).

    Args:
        text, reference: normalised, of one script.
        kind: "character", "word" (as jieba cuts them) or "ngram".
        ngram: characters of an n-gram.
        n: how many.

    Raises:
        DataError: an unknown kind or an n-gram length below 1.
    """
    own = counts(text, kind=kind, ngram=ngram)
    total = own.total()
    other = counts(reference, kind=kind, ngram=ngram) if reference is not None else None
    rest = other.total() if other is not None else 0
    chosen = sorted(own, key=lambda item: (-own[item], item))[:n]
    return [
        Item(
            item,
            own[item],
            1000 * own[item] / total,
            None if other is None else 1000 * other[item] / rest if rest else 0.0,
        )
        for item in chosen
    ]


def counts(text: str, *, kind: Kind = "character", ngram: int = 2) -> Counter[str]:
    """How often each item stands in the text; arguments and errors as in `most_frequent`."""
    if kind == "word":
        return Counter(tokens(text, "word"))
    if kind not in ("character", "ngram"):
        raise DataError(f"unknown kind {kind!r}", "'character', 'word' or 'ngram'")
    if ngram < 1:
        raise DataError(f"n-grams of {ngram} characters were asked for", "1 or more")
    return Counter(_ngrams(text, 1 if kind == "character" else ngram))


def _ngrams(text: str, n: int) -> Iterable[str]:
    for stretch in _NOT_A_LETTER.split(without_whitespace(text)):
        for begin in range(len(stretch) - n + 1):
            yield stretch[begin : begin + n]
