"""Sentences and paragraphs taken out of a text, its chapters and quotations left whole."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from stylellm.corpus.chunk import sentences
from stylellm.corpus.headings import is_heading_line

Edit = tuple[int, int, str]

_OPENING, _CLOSING = "“‘「『（《", "”’」』）》"


def drop_edits(text: str, spans: list[tuple[int, int]], mode: str) -> list[Edit]:
    """Edits that drop every sentence or paragraph holding one of the spans.

    A paragraph is a line. Headings stay, so that the chapters stay. Of a sentence that opens or
    closes a quotation the quote mark stays, where the quotation still has other sentences.
    """
    edits: list[Edit] = []
    for start, end, inside in _lines_with(text, spans):
        line = text[start:end]
        if is_heading_line(line):
            continue
        dropped = [(0, len(line))] if mode == "paragraph" else _sentence_spans(line, start, inside)
        if sum(b - a for a, b in dropped) == len(line):
            edits.append(_whole_line(text, start, end, edits[-1][1] if edits else 0))
        else:
            edits += [(start + a, start + b, "") for a, b in dropped]
    return edits


def _lines_with(
    text: str, spans: list[tuple[int, int]]
) -> Iterator[tuple[int, int, list[tuple[int, int]]]]:
    """The lines that hold spans: start, end (before the line break), the spans."""
    index = 0
    while index < len(spans):
        start = text.rfind("\n", 0, spans[index][0]) + 1
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        inside = []
        while index < len(spans) and spans[index][0] < end:
            inside.append(spans[index])
            index += 1
        yield start, end, inside


def _whole_line(text: str, start: int, end: int, previous: int) -> Edit:
    """Remove a line with one of its line breaks; between two blank lines both breaks of one go."""
    blank_before = text[max(0, start - 2) : start] == "\n\n" or start == 0
    if text.startswith("\n\n", end) and blank_before:
        return (start, end + 2, "")
    if text.startswith("\n\n", end) and start - 1 >= previous:
        return (start - 1, end, "")
    if end < len(text):
        return (start, end + 1, "")
    breaks = 2 if blank_before else 1
    return (max(start - breaks, previous, 0), end, "")


def _sentence_spans(line: str, offset: int, inside: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What goes of a line, by sentences."""
    hits = [(start - offset, end - offset) for start, end in inside]
    pieces, at = [], 0
    for sentence in sentences(line):
        pieces.append((at, at + len(sentence)))
        at += len(sentence)
    held = [piece for piece in pieces if any(a < piece[1] and b > piece[0] for a, b in hits)]
    trimmed = [span for piece in held for span in _without_open_quotes(line, piece, hits)]
    if _is_well_formed(line, trimmed):
        return trimmed
    groups = _balanced_groups(line, pieces)
    return [group for group in groups if any(a < group[1] and b > group[0] for a, b in hits)]


def _without_open_quotes(
    line: str, piece: tuple[int, int], hits: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The parts of a sentence that can go: all but quotes paired outside of it, and what leads in
    to such a quote if the words stand behind it."""
    start, end = piece
    opened: list[int] = []
    unmatched = []
    for at in range(start, end):
        if line[at] in _OPENING:
            opened.append(at)
        elif line[at] in _CLOSING:
            if opened:
                opened.pop()
            else:
                unmatched.append(at)
    if opened and all(hit[0] > opened[0] for hit in hits if start <= hit[0] < end):
        start = opened[0]
    edges = [start, *sorted(at for at in unmatched + opened if at >= start), end]
    spans = [(a + (a in edges[1:-1]), b) for a, b in pairwise(edges)]  # a quote mark stays
    return [(a, b) for a, b in spans if a < b]


def _is_well_formed(line: str, dropped: list[tuple[int, int]]) -> bool:
    """Whether no empty quotation is left, nor a lead-in without its speech."""
    left, at = [], 0
    for start, end in dropped:
        left.append(line[at:start])
        at = end
    rest = "".join([*left, line[at:]])
    return not any(
        a + b in rest and a + b not in line for a, b in zip(_OPENING, _CLOSING, strict=True)
    )


def _balanced_groups(line: str, pieces: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Runs of sentences that close every quotation they open."""
    groups: list[tuple[int, int]] = []
    depth, begin = 0, 0
    for start, end in pieces:
        sentence = line[start:end]
        depth += sum(char in _OPENING for char in sentence)
        depth = max(0, depth - sum(char in _CLOSING for char in sentence))
        if depth == 0 or end == len(line):
            groups.append((begin, end))
            begin = end
    return groups
