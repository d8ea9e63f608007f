"""Hard-wrapped lines joined, one-line novels cut into paragraphs, headings set apart.

Every function returns edits (start, end, replacement), in order.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from stylellm.corpus.chunk import sentence_ends
from stylellm.corpus.headings import (
    Heading,
    inline_headings,
    is_heading_line,
    looks_like_title,
)
from stylellm.corpus.pairs import codes

Edit = tuple[int, int, str]

LONG_LINE = 2000
"""A line longer than this is a book (or a chapter) that lost its line breaks."""
_ENDS = "。！？…”’」』）)!?：:—"
_INDENTS = "\u3000 \t"
_SLACK = 5  # columns by which a full line may fall short: no line begins with a full stop
_PARAGRAPH = 120
_SPEECH_PARAGRAPH = 60
_MAX_PARAGRAPH = 400


def _offsets(lines: list[str]) -> list[int]:
    starts, at = [], 0
    for line in lines:
        starts.append(at)
        at += len(line) + 1
    return starts


def unwrap(text: str) -> list[Edit]:
    """Join lines that were broken at a fixed width.

    A text is hard-wrapped if many lines are of one width (an eighth of all, give or take a
    character), hardly any are wider, and half of those stop in the middle of a sentence. Where
    paragraphs are indented, a line that is not indented goes on from a full one above; otherwise
    every line goes on from a full one that stops in the middle of a sentence.
    """
    lines = text.split("\n")
    widths = _widths(lines)
    width = _wrap_width(lines, widths)
    if not width:
        return []
    indented = sum(line[:1] in _INDENTS for line in lines if line) > 0.05 * len(lines)
    return _joins(lines, widths, width, indented)


def is_wrapped(text: str) -> bool:
    """Whether the lines of a text are broken at a fixed width."""
    lines = text.split("\n")
    return _wrap_width(lines, _widths(lines)) > 0


def _widths(lines: list[str]) -> list[int]:
    """The columns of each line; the exact width of a long one does not matter."""
    return [_columns(line.rstrip()) if len(line) < LONG_LINE else LONG_LINE for line in lines]


def _wrap_width(lines: list[str], widths: list[int]) -> int:
    """The width at which lines are broken in the middle of sentences; 0 if they are not."""
    width = _common_width(widths)
    full = [line.rstrip() for line, w in zip(lines, widths, strict=True) if w > width - _SLACK > 0]
    broken = sum(line[-1] not in _ENDS for line in full)
    return width if full and broken >= 0.5 * len(full) else 0


def _columns(line: str) -> int:
    """Width on the screen: Chinese characters and punctuation are two columns wide."""
    # In UTF-8 these take three bytes, Latin letters one.
    return (len(line) + len(line.encode("utf-8", "surrogatepass"))) // 2


def _common_width(widths: list[int]) -> int:
    """The width at which the lines are broken; 0 if they are not."""
    filled = sum(width > 0 for width in widths)
    counts = Counter(width for width in widths if 30 <= width <= 240)
    if filled < 20 or not counts:
        return 0
    near = {width: sum(counts[width - d] for d in range(_SLACK)) for width in counts}
    width = max(near, key=lambda width: (near[width], width))
    wider = sum(other > width for other in widths)
    return width if near[width] >= max(10, filled / 8) and wider <= filled / 30 else 0


def _joins(lines: list[str], widths: list[int], width: int, indented: bool) -> list[Edit]:
    edits = []
    for index, start in enumerate(_offsets(lines)[:-1]):
        line, after = lines[index], lines[index + 1]
        upper, lower = line.rstrip(), after.lstrip(_INDENTS)
        if not upper or not lower or is_heading_line(upper) or is_heading_line(lower):
            continue
        new_paragraph = after[0] in _INDENTS if indented else upper[-1] in _ENDS
        if widths[index] > width - _SLACK and not new_paragraph:
            space = " " if upper[-1].isascii() and lower[0].isascii() else ""
            edits.append(
                (start + len(upper), start + len(line) + 1 + len(after) - len(lower), space)
            )
    return edits


def cut_one_line(text: str) -> list[Edit]:
    """Cut lines of more than 2,000 characters at chapter headings and, inside, into paragraphs.

    Only where such lines are most of the text: a long paragraph in a book that has paragraphs is
    the author's own.
    """
    edits: list[Edit] = []
    lines = text.split("\n")
    if sum(len(line) for line in lines if len(line) > LONG_LINE) * 2 < len(text):
        return []
    for start, line in zip(_offsets(lines), lines, strict=True):
        if len(line) <= LONG_LINE:
            continue
        position = 0
        for heading in inline_headings(line):
            edits += _paragraph_cuts(line[position : heading.start], start + position)
            edits += _heading_cuts(line, heading, start)
            position = heading.end
        edits += _paragraph_cuts(line[position:], start + position)
    return [edit for edit in edits if edit[2] or edit[0] != edit[1]]


def _heading_cuts(line: str, heading: Heading, offset: int) -> list[Edit]:
    """Put a heading on a line of its own; a couplet gets a space before and in the middle."""
    start, title, end = heading.start, heading.title_start, heading.end
    prefix = "\n\n" if start else ""
    prefix += "" if line[start] in "第卷" else "第"  # the edition lost it
    edits = [(offset + start, offset + start, prefix)]
    words = line[title:end]
    if words and words[0] not in "：: ":
        edits.append((offset + title, offset + title, " "))
        if len(words) >= 10 and len(words) % 2 == 0 and words.isalpha():
            middle = offset + title + len(words) // 2
            edits.append((middle, middle, " "))
    separator = re.match(r"[：: ]*", line[end:])
    if end < len(line):
        edits.append((offset + end, offset + end + (separator.end() if separator else 0), "\n\n"))
    return edits


def _paragraph_cuts(segment: str, offset: int) -> list[Edit]:
    """Line breaks after sentences, outside quotes, at about 120 characters; sooner after speech."""
    if len(segment) <= _MAX_PARAGRAPH:
        return []
    edits = []
    depth = last = 0
    ends = sentence_ends(segment)[:-1]
    for end, opened in zip(ends, _opened_quotes(segment, ends), strict=True):
        depth = max(0, depth + opened)
        length = end - last
        if length < _SPEECH_PARAGRAPH or (depth and length < _MAX_PARAGRAPH):
            continue
        if length >= _PARAGRAPH or segment[end - 1] == "”":
            edits.append((offset + end, offset + end, "\n"))
            last, depth = end, 0
    return edits


def _opened_quotes(text: str, ends: list[int]) -> list[int]:
    """For each piece of the text by its end: opening quotes less closing ones."""
    import numpy as np

    points = codes(text)
    places = np.flatnonzero((points | 1) == ord("”"))
    level = np.concatenate([[0], np.cumsum(1 - 2 * (points[places] & 1).astype(np.int64))])
    opened: list[int] = np.diff(level[np.searchsorted(places, ends)], prepend=0).tolist()
    return opened


def lay_out(text: str) -> list[Edit]:
    """Set headings apart by blank lines and remove all other blank lines."""
    lines = text.split("\n")
    starts = _offsets(lines)
    filled = [index for index, line in enumerate(lines) if line.strip()]
    if not filled:
        return []
    titles = _title_lines(lines, filled)
    edits: list[Edit] = [(0, starts[filled[0]], "")]
    for above, below in pairwise(filled):
        gap = "\n\n" if above in titles or below in titles else "\n"
        edits.append((starts[above] + len(lines[above]), starts[below], gap))
    edits.append((starts[filled[-1]] + len(lines[filled[-1]]), len(text), ""))
    return [(start, end, new) for start, end, new in edits if text[start:end] != new]


def _title_lines(lines: list[str], filled: list[int]) -> set[int]:
    """Lines that are headings by their words; in a book without numbered ones, also by the blank
    lines around them (two or more above, one below)."""
    titles = {index for index in filled if is_heading_line(lines[index])}
    if sum("第" in lines[index] for index in titles) >= 3:
        return titles
    alone = set()
    for above, index, below in zip([-9, *filled], filled, filled[1:], strict=False):
        if index - above >= 3 and below - index >= 2 and looks_like_title(lines[index]):
            alone.add(index)
    return titles | alone if len(alone) * 5 <= len(filled) else titles
