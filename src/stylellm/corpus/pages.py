"""What a printer put on every page: page numbers and running titles. Whole lines go, or none; where
they cut a sentence in two, its halves are joined again.
"""

from __future__ import annotations

import re
from collections import Counter

from stylellm.corpus.headings import is_heading_line
from stylellm.corpus.layout import is_wrapped
from stylellm.corpus.linetable import LineTable

Edit = tuple[int, int, str]

_ENDS = "。！？…”’」』）)】]!?：:；;，,、—.~～"
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")

_SURE_PAGE = re.compile(
    r"[-—–－~·\[\]【】（()）《》<>|\s]*(?:第\s*[\d０-９〇零一二三四五六七八九十百]{1,6}\s*[页頁]"
    r"(?:[\s,，/／]*(?:共|[总總]共)?\s*\d{1,5}\s*[页頁])?|[Pp](?:age|AGE)\s*\d{1,4}(?:\s*(?:of|/)\s*\d{1,5})?)"
    r"[-—–－~·\[\]【】（()）《》<>|\s]*"
)
_MAYBE_PAGE = re.compile(
    r"[-—–－~·•*.\[\]【】（()）<>|\s]*([\d０-９]{1,4})(?:\s*[/／]\s*\d{1,5})?[-—–－~·•*.\[\]【】（()）<>|\s]*"
)
_MAX_PAGE_LINE = 24
_MIN_PAGES = 5
_INTERRUPTS = 0.3
_MAX_STACK = 3  # page lines one under the other


def find_page_numbers(text: str, title: str) -> list[Edit]:
    """Lines that say "第12頁", and lines of a bare number where these are page numbers.

    Bare numbers are page numbers if five or more count up by ones (or nearly) and three in ten of
    them cut a sentence in two; the numbers of a novel's sections never do.
    """
    table = LineTable(text)
    short = [index for index in table.filled if len(table.all[index]) <= _MAX_PAGE_LINE]
    sure = {index for index in short if _SURE_PAGE.fullmatch(table.all[index])}
    counted = [
        (index, int(match[1]))
        for index in short
        if index not in sure and (match := _MAYBE_PAGE.fullmatch(table.all[index]))
    ]
    pages = _counting_up(counted)
    if len(pages) < _MIN_PAGES or _share_interrupting(table, pages) < _INTERRUPTS:
        pages = []
    return _drop_lines(text, table, sorted(sure | set(pages)))


def _counting_up(counted: list[tuple[int, int]]) -> list[int]:
    """Lines whose number follows on the one before or is followed on by the one behind."""
    chosen = []
    for at, (index, number) in enumerate(counted):
        before = number - counted[at - 1][1] if at else 0
        behind = counted[at + 1][1] - number if at + 1 < len(counted) else 0
        if 1 <= before <= 3 or 1 <= behind <= 3:
            chosen.append(index)
    return chosen


def find_running_titles(text: str, title: str) -> list[Edit]:
    """A title printed on every page: a short line, with or without a page number, that comes again
    and again and cuts sentences in two.

    The first of a chapter's headings stays. The book's own title needs three places, another line
    four of which half cut a sentence.
    """
    table = LineTable(text)
    keys = {
        index: key
        for index in table.filled
        if len(table.all[index]) <= 40 and (key := _running_key(table.all[index]))
    }
    places: dict[str, list[int]] = {}
    counts = Counter(keys.values())
    for index, key in keys.items():
        if counts[key] >= 3:
            places.setdefault(key, []).append(index)
    dropped: list[int] = []
    for key, indices in places.items():
        own = bool(title) and key.strip("《》") == title
        share = _share_interrupting(table, indices)
        if share < (_INTERRUPTS if own else 0.5) or len(indices) < (3 if own else 4):
            continue
        dropped += indices[1:] if is_heading_line(key) else indices
    return _drop_lines(text, table, sorted(dropped))


def _running_key(line: str) -> str:
    """A line without the page number at either end; "" if it is no title."""
    key = re.sub(r"^[\s\d·•|—-]+|[\s\d·•|—-]+$", "", line)
    return "" if len(key) > 30 or not _HAN.search(key) or key[-1] in _ENDS else key


def _share_interrupting(table: LineTable, indices: list[int]) -> float:
    """The share of the lines that stand where the filled line above stops inside a sentence.

    Of page lines one under the other, the first decides for all.
    """
    cut = 0
    previous, previous_cut = -2, False
    for index in indices:
        place = table.place(index)
        above = place - 1
        for _ in range(_MAX_STACK):
            if above == previous or above < 0 or not _is_number(table, above):
                break
            above -= 1
        if above == previous:
            is_cut = previous_cut
        else:
            is_cut = above >= 0 and _is_cut(table.all[table.filled[above]])
        cut += is_cut
        previous, previous_cut = place, is_cut
    return cut / max(1, len(indices))


def _is_number(table: LineTable, at: int) -> bool:
    line = table.all[table.filled[at]]
    return len(line) <= _MAX_PAGE_LINE and bool(_MAYBE_PAGE.fullmatch(line))


def _is_cut(line: str) -> bool:
    line = line.rstrip()
    return (
        len(line) >= 10 and line[-1] not in "。！？…”’」』）)】]!?：:" and not is_heading_line(line)
    )


def _drop_lines(text: str, table: LineTable, indices: list[int]) -> list[Edit]:
    """Remove lines. Where they cut a sentence in two, its halves are joined, unless the text is
    hard-wrapped (the rule for that joins them later) or another page line stands there."""
    edits: list[Edit] = []
    wrapped = bool(indices) and is_wrapped(text)
    for run in table.runs(indices):
        place = table.place(run[0])
        upper = table.filled[place - 1] if place else -1
        lower = table.filled[place + len(run)] if place + len(run) < len(table.filled) else -1
        if upper < 0 or lower < 0 or not _is_cut(table.all[upper]):
            edits += [table.edit(index, index, len(text)) for index in run]
            continue
        below = table.all[lower]
        apart = wrapped or below[0].isspace() or is_heading_line(below) or _is_page(below)
        end_of_upper = table.starts[upper] + len(table.all[upper].rstrip())
        edits.append((end_of_upper, table.starts[lower], "\n" if apart else ""))
    return edits


def _is_page(line: str) -> bool:
    return bool(_MAYBE_PAGE.fullmatch(line) or _SURE_PAGE.fullmatch(line))
