"""Progress of long work: a bar on a terminal, gone when the work is done; plain lines in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

Item = TypeVar("Item")

LOG_EVERY = 60.0
"""Seconds between two lines of one piece of work in a log file."""


def track(
    items: Iterable[Item], what: str | None, unit: str, *, total: int | None = None
) -> Iterator[Item]:
    """Iterates over ``items`` and shows how far it is, on standard error.

    Args:
        items: what is worked through, one by one.
        what: the name of the work; None shows nothing.
        unit: what one item is, in the singular.
        total: the number of items, where ``items`` has no length.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    if what is None:
        yield from items
    elif sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=what, unit=unit, total=total, leave=False, dynamic_ncols=True)
    else:
        yield from _with_lines(items, what, unit, total)


def _with_lines(items: Iterable[Item], what: str, unit: str, total: int | None) -> Iterator[Item]:
    started = shown = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += 1
        now = time.monotonic()
        if now - shown > LOG_EVERY and done != total:
            shown = now
            of = f" of {total}" if total is not None else ""
            _say(f"{what}: {done}{of} {_plural(unit)}, {now - started:.0f} s")
    _say(
        f"{what}: {done} {unit if done == 1 else _plural(unit)}, {time.monotonic() - started:.1f} s"
    )


def _plural(unit: str) -> str:
    return unit + ("es" if unit.endswith(("ch", "s", "x")) else "s")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def one_line(text: str) -> str:
    """A text on one line and without control characters, as a log file wants it."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
