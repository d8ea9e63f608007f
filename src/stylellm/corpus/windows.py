"""Windows of many texts at once, with the tokenizer asked about once for each text.

A text is tokenised whole; where its tokens begin says how much fits. The tokens of a window alone
differ from those of the same stretch inside the text only near the window's two ends, so only a
dozen tokens at each end are tokenised again; where these do not fall in step with the whole text's
(a tokenizer that looks further), the window is counted whole. `chunk.cut_windows` does the same for
a text and any counter of tokens, and is what this is tested against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stylellm.corpus.chunk import (
    belongs_to_previous,
    clause_ends,
    cut_windows,
    fill,
    sentence_ends,
)
from stylellm.corpus.tokens import TokenPlaces, Tokens

Cut = tuple[np.ndarray, np.ndarray]
"""int64 [windows] twice: where each window of a text ends, and its tokens (EOS not counted)."""

_STRETCH = 50_000  # characters tokenised as one
_BATCH = 500_000  # characters whose tokens are held at once
_EDGE = 12  # tokens at each end of a window that are tokenised again
_STEP = 4  # of them those that must fall in step with the whole text's


_UNKNOWN = -1


@dataclass
class _Window:
    """A window on its way: `text[start:end]` of a stretch, and its number of tokens."""

    stretch: int
    start: int
    end: int
    tokens: int = _UNKNOWN


@dataclass(frozen=True)
class _Edge:
    """One end of a window: its text, and what its inner `_STEP` tokens should be."""

    window: _Window
    text: str
    known: list[int]
    left: bool


def cut_texts(
    texts: Sequence[str], places: TokenPlaces, max_length: int, *, reserve: int = 8
) -> list[Cut]:
    """Cut each text into windows of at most `max_length - reserve - 1` tokens.

    Raises:
        DataError: `max_length` leaves no room for a single character.
    """
    stretches = [(number, at, part) for number, text in enumerate(texts)
                 for at, part in _stretches(text)]  # fmt: skip
    cuts: list[tuple[list[int], list[int]]] = [([], []) for _ in texts]
    for batch in _batches(stretches):
        parts = [part for _, _, part in batch]
        for window in _windows(parts, places, max_length - reserve - 1):
            number, at, part = batch[window.stretch]
            for end, count in _within(window, part, places, max_length, reserve):
                cuts[number][0].append(at + end)
                cuts[number][1].append(count)
    return [(np.array(e, dtype=np.int64), np.array(t, dtype=np.int64)) for e, t in cuts]


def _batches(stretches: list[tuple[int, int, str]]) -> Iterator[list[tuple[int, int, str]]]:
    """Stretches in order, so many at a time that their tokens do not fill the memory."""
    batch: list[tuple[int, int, str]] = []
    size = 0
    for stretch in stretches:
        batch.append(stretch)
        size += len(stretch[2])
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _windows(parts: list[str], places: TokenPlaces, budget: int) -> list[_Window]:
    """The windows of all parts, in order, counted."""
    tokens = places.tokens(parts)
    windows = [
        _Window(index, start, end)
        for index, part in enumerate(parts)
        for start, end in pairwise(_fitting(part, tokens[index].starts, budget))
    ]
    _count(windows, parts, tokens, places)
    return windows


def _stretches(text: str) -> Iterator[tuple[int, str]]:
    """The text, in parts that end with sentences where it is very long; with their offsets."""
    if len(text) <= _STRETCH:
        if text:
            yield 0, text
        return
    start = 0
    while start < len(text):
        if len(text) - start <= _STRETCH * 5 // 4:
            end = len(text)
        else:
            ends = sentence_ends(text[start + _STRETCH // 2 : start + _STRETCH])
            end = start + _STRETCH // 2 + (ends[-2] if len(ends) > 1 else _STRETCH // 2)
            while belongs_to_previous(text[end]) and end > start + 1:
                end -= 1
        yield start, text[start:end]
        start = end


def _fitting(text: str, starts: np.ndarray, budget: int) -> list[int]:
    """0, then the ends of windows: ends of sentences where possible, and the text's end."""
    ends = sentence_ends(text)
    ends = _refined(ends, starts, budget, lambda a, b: [a + end for end in clause_ends(text[a:b])])
    ends = _refined(ends, starts, budget, lambda a, b: _character_ends(text, starts, a, b, budget))
    sizes = np.diff(np.searchsorted(starts, ends), prepend=0).tolist()
    return [0, *(ends[last - 1] for _, last in fill(sizes, budget))]


def _refined(
    ends: list[int], starts: np.ndarray, budget: int, cut: Callable[[int, int], list[int]]
) -> list[int]:
    """`ends`, with `cut(start, end)` wherever a piece has more tokens than the budget."""
    sizes = np.diff(np.searchsorted(starts, ends), prepend=0)
    if not len(sizes) or sizes.max() <= budget:
        return ends
    refined: list[int] = []
    previous = 0
    for end, size in zip(ends, sizes.tolist(), strict=True):
        refined += cut(previous, end) if size > budget else [end]
        previous = end
    return refined


def _character_ends(text: str, starts: np.ndarray, start: int, end: int, budget: int) -> list[int]:
    """Ends of pieces of `text[start:end]` that fit; no character is parted from its marks."""
    found: list[int] = []
    last = int(np.searchsorted(starts, end))
    while True:
        token = int(np.searchsorted(starts, start)) + budget
        if token >= last:
            return [*found, end]
        cut = int(starts[token])
        while cut > start + 1 and belongs_to_previous(text[cut]):
            cut -= 1
        start = max(cut, start + 1)
        found.append(start)


def _count(
    windows: list[_Window], parts: list[str], tokens: list[Tokens], places: TokenPlaces
) -> None:
    """Set `tokens` of every window to what the tokenizer gives for it alone."""
    edges: list[_Edge] = []
    for window in windows:
        text, known = parts[window.stretch], tokens[window.stretch]
        first, last = np.searchsorted(known.starts, (window.start, window.end)).tolist()
        if window.start == 0 and window.end == len(text):
            window.tokens = len(known.ids)
        elif last - first >= 3 * _EDGE:
            edges += _edges(window, text, known, first, last)
    for edge, ids in zip(edges, places.ids([edge.text for edge in edges]), strict=True):
        inner = ids[-_STEP:] if edge.left else ids[:_STEP]
        if edge.window.tokens >= 0 and inner == edge.known:
            edge.window.tokens += len(ids)
        else:
            edge.window.tokens = _UNKNOWN
    whole = [window for window in windows if window.tokens < 0]
    texts = [parts[window.stretch][window.start : window.end] for window in whole]
    for window, count in zip(whole, places.count(texts), strict=True):
        window.tokens = count


def _edges(window: _Window, text: str, known: Tokens, first: int, last: int) -> list[_Edge]:
    """The two ends of a window, to be tokenised alone; `window.tokens` is set to those between."""
    found = []
    left, right = first, last
    if window.start > 0:
        left += _EDGE
        while known.starts[left] == known.starts[left - 1]:  # in a character of several tokens
            left += 1
        end = int(known.starts[left])
        step = known.ids[left - _STEP : left]
        found.append(_Edge(window, text[window.start : end], step, True))
    if window.end < len(text):
        right -= _EDGE
        while known.starts[right] == known.starts[right - 1]:
            right -= 1
        start = int(known.starts[right])
        step = known.ids[right : right + _STEP]
        found.append(_Edge(window, text[start : window.end], step, False))
    window.tokens = right - left
    return found


def _within(
    window: _Window, text: str, places: TokenPlaces, max_length: int, reserve: int
) -> list[tuple[int, int]]:
    """(end, tokens) of the window; of several where, alone, it has more tokens than fit."""
    if window.tokens <= max_length - reserve - 1:
        return [(window.end, window.tokens)]
    part = text[window.start : window.end]
    found, end = [], window.start
    for piece in cut_windows(part, places.count, max_length, reserve=reserve, ends_document=False):
        end += len(piece.text)
        found.append((end, piece.num_tokens))
    return found
