"""Sentences, and windows of at most `max_length` tokens that end where sentences end.

No character is lost or doubled: joining the sentences of a text, or the windows cut from it, gives
the text back.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from stylellm.errors import DataError

# A sentence ends with its full stops and the quotes and brackets that close behind them, or with a
# line break. An ellipsis ends one only where a closing quote or a line break follows. (Possessive
# repeats: a text of 100 MB without a full stop must not pile up a state for each character. Before
# Python 3.11.5, which Debian 12 has not, one around alternatives skips what the last of them tried:
# https://github.com/python/cpython/issues/106052. There the repeat is a plain one.)
_CLOSING = "”’」』）)》〉】"
_POSSESSIVE = "+" if sys.version_info >= (3, 11, 5) else ""
_SENTENCE = re.compile(
    rf"(?:[^。！？!?…\n]++|…(?!…{{0,8}}[{_CLOSING}\n])|[!?](?=[A-Za-z0-9]))*{_POSSESSIVE}"
    rf"(?:[。！？!?…]+[{_CLOSING}]*[ \t]*\n*|\n+|\Z)"
)
_CLAUSE = re.compile(rf"[^，、；：,;:—…]*(?:[，、；：,;:—…]+[{_CLOSING}]*|\Z)")

TokenCounter = Callable[[Sequence[str]], list[int]]
"""Texts to their numbers of tokens, without special tokens."""


@dataclass(frozen=True)
class Window:
    """A stretch of text and its number of tokens (its end-of-text token counted, if it has one)."""

    text: str
    num_tokens: int


def sentences(text: str) -> list[str]:
    """Split into sentences; closing quotes and line breaks stay with the sentence they end.

    `"".join(sentences(text)) == text` for every text.
    """
    return [match[0] for match in _SENTENCE.finditer(text) if match[0]]


def sentence_ends(text: str) -> list[int]:
    """Where the sentences of `sentences` end; the last is the text's end."""
    ends = [match.end() for match in _SENTENCE.finditer(text)]
    return ends[:-1] if len(ends) > 1 and ends[-1] == ends[-2] else ends if text else []


def clause_ends(text: str) -> list[int]:
    """Where the clauses of a sentence end; the last is its end."""
    ends = [match.end() for match in _CLAUSE.finditer(text)]
    return ends[:-1] if len(ends) > 1 and ends[-1] == ends[-2] else ends


def token_counter(tokenizer: Any) -> TokenCounter:
    """A counter of tokens through a transformers tokenizer, a batch at a time."""

    def count(texts: Sequence[str]) -> list[int]:
        if not texts:
            return []
        encoded = tokenizer(
            list(texts),
            add_special_tokens=False,
            return_attention_mask=False,
            truncation=False,
            padding=False,
            verbose=False,
        )
        return [len(ids) for ids in encoded["input_ids"]]

    return count


def cut_windows(
    text: str,
    count_tokens: TokenCounter,
    max_length: int,
    *,
    reserve: int = 8,
    ends_document: bool = True,
) -> list[Window]:
    """Cut a text into windows of at most `max_length - reserve` tokens.

    Windows end at sentence ends; a sentence that is longer is cut at clause ends, and a clause that
    is longer at characters, never inside one. A last window shorter than a quarter shares with the
    one before it.

    Args:
        text: the text of one chapter.
        count_tokens: texts to their numbers of tokens.
        max_length: tokens of a training sequence.
        reserve: tokens kept free in it for the sentinels of the infill format.
        ends_document: an end-of-text token follows the last window and is counted in it.

    Returns:
        Windows whose texts, joined, are `text`.

    Raises:
        DataError: `max_length` leaves no room for a single character.
    """
    if not text:
        return []
    budget = max_length - reserve - 1
    pieces = _fitting_pieces(text, count_tokens, budget)
    groups = fill([count for _, count in pieces], budget)
    texts = ["".join(piece for piece, _ in pieces[start:end]) for start, end in groups]
    windows = _verified(texts, count_tokens, budget)
    if ends_document:
        windows[-1] = Window(windows[-1].text, windows[-1].num_tokens + 1)
    return windows


def _fitting_pieces(text: str, count_tokens: TokenCounter, budget: int) -> list[tuple[str, int]]:
    """Sentences, or their parts where one alone exceeds the budget, with their token counts."""
    found = sentences(text)
    pieces: list[tuple[str, int]] = []
    for sentence, count in zip(found, count_tokens(found), strict=True):
        if count <= budget:
            pieces.append((sentence, count))
            continue
        clauses = [match[0] for match in _CLAUSE.finditer(sentence) if match[0]]
        for clause, size in zip(clauses, count_tokens(clauses), strict=True):
            pieces += [(clause, size)] if size <= budget else _halve(clause, count_tokens, budget)
    return pieces


def _halve(text: str, count_tokens: TokenCounter, budget: int) -> list[tuple[str, int]]:
    """Halve a text until every part fits; a character is never cut, nor parted from its marks."""
    size = count_tokens([text])[0]
    if size <= budget:
        return [(text, size)]
    middle = len(text) // 2
    while middle < len(text) and belongs_to_previous(text[middle]):
        middle += 1
    if middle in (0, len(text)):
        middle = len(text) // 2
    if middle == 0:
        raise DataError(
            f"max_length leaves {budget} tokens for text, and {text!r} alone needs {size}",
            "a max_length of at least 32",
            "Raise data.max_length.",
        )
    return _halve(text[:middle], count_tokens, budget) + _halve(text[middle:], count_tokens, budget)


def belongs_to_previous(char: str) -> bool:
    """Whether a character is a mark on the one before it (an accent, a variation selector)."""
    return unicodedata.combining(char) != 0 or "\ufe00" <= char <= "\ufe0f"


def fill(counts: list[int], budget: int) -> list[tuple[int, int]]:
    """Group pieces greedily into ranges [start, end) that fit the budget, the tail balanced."""
    groups: list[tuple[int, int]] = []
    start = total = 0
    for index, count in enumerate(counts):
        if total + count > budget and index > start:
            groups.append((start, index))
            start, total = index, 0
        total += count
    groups.append((start, len(counts)))
    if len(groups) > 1 and total * 4 < budget:
        groups[-2:] = _balance(counts, groups[-2][0], groups[-1][1], budget)
    return groups


def _balance(counts: list[int], start: int, end: int, budget: int) -> list[tuple[int, int]]:
    """Cut [start, end) in two where the halves are most nearly equal and both fit."""
    total = sum(counts[start:end])
    left = 0
    best, cut = total, end
    for index in range(start + 1, end):
        left += counts[index - 1]
        if max(left, total - left) < best and max(left, total - left) <= budget:
            best, cut = max(left, total - left), index
    return [(start, cut), (cut, end)]


def _verified(texts: list[str], count_tokens: TokenCounter, budget: int) -> list[Window]:
    """Count the joined windows: joining can (rarely) add tokens; such a window is halved."""
    windows: list[Window] = []
    for text, count in zip(texts, count_tokens(texts), strict=True):
        if count <= budget:
            windows.append(Window(text, count))
            continue
        parts = sentences(text)
        middle = len(parts) // 2
        halves = ["".join(parts[:middle]), "".join(parts[middle:])] if middle else []
        if halves:
            windows += _verified(halves, count_tokens, budget)
        else:
            windows += [Window(part, size) for part, size in _halve(text, count_tokens, budget)]
    return windows
