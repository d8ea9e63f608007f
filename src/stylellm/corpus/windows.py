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
_BATCH = 100_000  # characters whose tokens are held at once; more do not fit the CPU's caches
_EDGE = 12  # tokens at each end of a window that are tokenised again
_STEP = 4  # of them those that must fall in step with the whole text's


_UNKNOWN = -1


@dataclass(slots=True)
class _Window:
    """A window on its way: `text[start:end]` of a stretch, and its number of tokens."""

    stretch: int
    start: int
    end: int
    tokens: int = _UNKNOWN


@dataclass(slots=True)
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
    budget = max_length - reserve - 1
    for batch in _batches(stretches):
        parts = [part for _, _, part in batch]
        for window in _windows(parts, places, budget):
            number, at, part = batch[window.stretch]
            ends, counts = cuts[number]
            if window.tokens <= budget:
                ends.append(at + window.end)
                counts.append(window.tokens)
                continue
            for end, count in _halved(window, part, places, max_length, reserve):
                ends.append(at + end)
                counts.append(count)
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
    windows: list[_Window] = []
    edges: list[_Edge] = []
    for index, (part, known) in enumerate(zip(parts, places.tokens(parts), strict=True)):
        borders = _fitting(part, known.starts, budget)
        mine = [_Window(index, start, end) for start, end in pairwise(borders)]
        edges += _edges(mine, part, known, borders)
        windows += mine
    _count(windows, edges, parts, places)
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
    sizes = _sizes(ends, starts)
    for cut in (
        lambda a, b: [a + end for end in clause_ends(text[a:b])],
        lambda a, b: _character_ends(text, starts, a, b, budget),
    ):
        if max(sizes, default=0) > budget:
            ends = _refined(ends, sizes, budget, cut)
            sizes = _sizes(ends, starts)
    return [0, *(ends[last - 1] for _, last in fill(sizes, budget))]


def _sizes(ends: list[int], starts: np.ndarray) -> list[int]:
    """Tokens of the pieces that end there."""
    sizes: list[int] = np.diff(np.searchsorted(starts, ends), prepend=0).tolist()
    return sizes


def _refined(
    ends: list[int], sizes: list[int], budget: int, cut: Callable[[int, int], list[int]]
) -> list[int]:
    """`ends`, with `cut(start, end)` wherever a piece has more tokens than the budget."""
    refined: list[int] = []
    previous = 0
    for end, size in zip(ends, sizes, strict=True):
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
    windows: list[_Window], edges: list[_Edge], parts: list[str], places: TokenPlaces
) -> None:
    """Set `tokens` of every window to what the tokenizer gives for it alone."""
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


def _edges(windows: list[_Window], text: str, known: Tokens, borders: list[int]) -> list[_Edge]:
    """The ends of a text's windows, to be tokenised alone; `tokens` of each window that is long
    enough is set to those between its ends."""
    if len(windows) == 1:
        windows[0].tokens = len(known.ids)
        return []
    at = np.searchsorted(known.starts, borders)
    long = np.flatnonzero(np.diff(at) >= 3 * _EDGE)
    lefts = _between_characters(known.starts, at[long] + _EDGE, 1)
    rights = _between_characters(known.starts, at[long + 1] - _EDGE, -1)
    ends, begins = known.starts[lefts].tolist(), known.starts[rights].tolist()
    found = []
    for window, left, end, right, begin in zip(
        map(windows.__getitem__, long.tolist()), lefts.tolist(), ends, rights.tolist(), begins,
        strict=True,
    ):  # fmt: skip
        if window.start > 0:
            step = known.ids[left - _STEP : left].tolist()
            found.append(_Edge(window, text[window.start : end], step, True))
        else:
            left = 0
        if window.end < len(text):
            step = known.ids[right : right + _STEP].tolist()
            found.append(_Edge(window, text[begin : window.end], step, False))
        else:
            right = len(known.ids)
        window.tokens = right - left
    return found


def _between_characters(starts: np.ndarray, tokens: np.ndarray, step: int) -> np.ndarray:
    """The tokens, or the nearest in the direction of `step` with which a character begins."""
    while (inside := starts[tokens] == starts[tokens - 1]).any():
        tokens = tokens + step * inside
    return tokens


def _halved(
    window: _Window, text: str, places: TokenPlaces, max_length: int, reserve: int
) -> list[tuple[int, int]]:
    """(end, tokens) of several windows in place of one that, alone, has more tokens than fit."""
    part = text[window.start : window.end]
    found, end = [], window.start
    for piece in cut_windows(part, places.count, max_length, reserve=reserve, ends_document=False):
        end += len(piece.text)
        found.append((end, piece.num_tokens))
    return found
