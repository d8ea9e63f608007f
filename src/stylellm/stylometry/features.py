"""Rhythm of a text: lengths of sentences and clauses, punctuation, dialogue.

Punctuation depends on the edition as much as on the author: `normalise.normalise` both texts
before they are compared, and report these measures beside the function words, not mixed with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from stylellm.errors import DataError
from stylellm.stylometry import function_words
from stylellm.stylometry.text import without_whitespace

# The marks of a normalised text; …… and —— are one mark of two characters each.
PUNCTUATION: tuple[str, ...] = (*"，。、；：？！", "……", "——", *"“”‘’《》（）")

_SENTENCE_END = r"[。！？!?…]+|\.(?!\w)|[\r\n]+"
_CLAUSE_END = rf"[，；：;—]+|[,:](?!\d)|{_SENTENCE_END}"
_NOT_A_LETTER = re.compile(r"[\W_]+")

# Closed within the paragraph, or open to its end (speech that goes on in the next one). A mark
# that opens again before it closed has lost its partner: the extent is unknown, nothing counts.
_DIALOGUE = re.compile(
    r"“[^“”\n]*(?:”|$)|「[^「」\n]*(?:」|$)|‘[^‘’\n]*(?:’|$)|『[^『』\n]*(?:』|$)" + r'|"[^"\n]*"',
    re.MULTILINE,
)
_QUOTES = re.compile(r"[“”‘’「」『』\"]")


def sentence_lengths(text: str) -> list[int]:
    """Length of every sentence in letters and digits (punctuation and blanks not counted).

    A sentence ends at 。！？…… or their ASCII forms, inside quotes too, and at a line break.
    """
    return _lengths(text, _SENTENCE_END)


def clause_lengths(text: str) -> list[int]:
    """Length of every clause in letters and digits: as sentences, and also ended by ，；：——.

    The enumeration comma 、 does not end a clause.
    """
    return _lengths(text, _CLAUSE_END)


def punctuation_rates(text: str, marks: Iterable[str] | None = None) -> dict[str, float]:
    """Marks per 1000 non-whitespace characters, longest first (…… before …).

    Args:
        text: best normalised.
        marks: default `PUNCTUATION`.

    Returns:
        mark -> rate; all 0 for a text without characters.
    """
    return function_words.rates(text, PUNCTUATION if marks is None else marks)


def dialogue_share(text: str) -> float:
    """Share of the non-whitespace characters that stand between quotation marks, from 0 to 1.

    “” 「」 ‘’ 『』 and straight double quotes; the marks themselves count as narration, as does
    a quotation whose closing mark is missing in the middle of a paragraph. 0 for an empty text.
    """
    total = len(without_whitespace(text))
    spoken = sum(
        len(without_whitespace(_QUOTES.sub("", found.group())))
        for found in _DIALOGUE.finditer(text)
    )
    return spoken / total if total else 0.0


def wasserstein(lengths_a: Sequence[float], lengths_b: Sequence[float]) -> float:
    """Wasserstein-1 distance of two samples of lengths, in the unit of the lengths (characters).

    0 for equal distributions; a shift of all lengths by d gives d. Computed by
    `scipy.stats.wasserstein_distance`.

    Raises:
        DataError: a sample is empty.
    """
    if not len(lengths_a) or not len(lengths_b):
        raise DataError("a sample of lengths is empty", "texts with one sentence or more")
    from scipy.stats import wasserstein_distance  # half a second to import

    return float(wasserstein_distance(lengths_a, lengths_b))


def _lengths(text: str, ends: str) -> list[int]:
    pieces = (_NOT_A_LETTER.sub("", piece) for piece in re.split(ends, text))
    return [len(piece) for piece in pieces if piece]
