"""Several short texts in one window: which, and where each of them ends.

Only windows that end a chapter or a work are packed, so that every text in a packed window is
followed by an end-of-text token. The column `documents` of a packed window holds the length in
characters of each of its texts; training makes a sequence of each and joins them, with no loss and
no attention across the borders (see `masking.collate`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Row:
    """A window as it is written.

    Attributes:
        text: its characters.
        num_tokens: its tokens, end-of-text tokens counted.
        work, chapter: where it is from; a packed window names its first chapter and how many more.
        ends_document: an end-of-text token follows it.
        documents: lengths in characters of the texts in it; one, except in packed windows.
        source: the number of the file it is from.
    """

    text: str
    num_tokens: int
    work: str
    chapter: str
    ends_document: bool
    documents: tuple[int, ...]
    source: int


def pack(rows: Iterable[Row], max_length: int, *, reserve: int = 8) -> Iterator[Row]:
    """Rows in order, short ones of the same work and file that end documents put together.

    A packed window holds at most `max_length - reserve * texts` tokens: each text keeps its own
    room for the sentinels of the infill format.
    """
    waiting: list[Row] = []
    used = 0
    for row in rows:
        size = row.num_tokens + reserve
        if not row.ends_document or 2 * size > max_length:
            yield row
            continue
        same = waiting and (row.work, row.source) == (waiting[0].work, waiting[0].source)
        if waiting and (not same or used + size > max_length):
            yield _joined(waiting)
            waiting, used = [], 0
        waiting.append(row)
        used += size
    if waiting:
        yield _joined(waiting)


def _joined(rows: list[Row]) -> Row:
    first, more = rows[0], len(rows) - 1
    return replace(
        first,
        text="".join(row.text for row in rows),
        num_tokens=sum(row.num_tokens for row in rows),
        chapter=first.chapter + (f" (+{more})" if more else ""),
        documents=tuple(length for row in rows for length in row.documents),
    )
