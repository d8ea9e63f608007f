"""Brings one file over a network that fails: goes on where it was cut, verifies, then renames.

huggingface_hub 2 drops what it has of a file when a process ends; on a slow line that costs gigabytes. So
the bytes are received here, through that client's session (or ModelScope's), into a ``.part`` file that
the next run continues.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from stylellm.errors import ModelError
from stylellm.hub.source import Cut, Listing, RemoteFile, Source, Unreachable, short_host
from stylellm.hub.verify import problem

ATTEMPTS = 5
"""In a row without a single new byte before a transfer is given up."""

Advance = Callable[[int], None]


def fetch_verified(
    source: Source,
    listing: Listing,
    file: RemoteFile,
    part: Path,
    *,
    advance: Advance,
    say: Callable[[str], None] = lambda _: None,
    pause: float = 1.0,
) -> None:
    """Receives ``file`` into ``part`` and verifies it; what arrives damaged is fetched once more.

    Args:
        advance: called with the bytes that came, or a negative number for bytes given up.
        say: called with a line for the user when something goes wrong and is tried again.
        pause: seconds before the second attempt; doubled for each further one.

    Raises:
        Unreachable: no new byte in ``ATTEMPTS`` attempts; ``part`` stays for the next run.
        ModelError: refused, or damaged twice (``part`` is removed).
    """
    wrong = ""
    for _ in range(2):
        fetch(source, listing, file, part, advance=advance, say=say, pause=pause)
        wrong = problem(part, file)
        if not wrong:
            return
        say(f"  {file.path} came damaged ({wrong})")
        advance(-file.size)
        part.unlink(missing_ok=True)
    raise ModelError(
        f"{file.path} from {short_host(source.endpoint)} came damaged twice ({wrong})",
        "the content that the hub's list names",
        "Try another --source: the mirror, or a proxy on the way, serves a wrong file.",
    )


def fetch(
    source: Source,
    listing: Listing,
    file: RemoteFile,
    part: Path,
    *,
    advance: Advance,
    say: Callable[[str], None] = lambda _: None,
    pause: float = 1.0,
) -> None:
    """Receives ``file`` into ``part``, from where ``part`` ends; see ``fetch_verified``."""
    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch()
    fruitless = 0
    while True:
        before = part.stat().st_size
        if before > file.size:
            _restart(part, advance)
            before = 0
        if before == file.size:
            return
        try:
            _receive(source, listing, file, part, before, advance)
            if part.stat().st_size == file.size:
                return
            raise Cut(f"{part.stat().st_size} of {file.size} bytes came")
        except Cut as cut:
            if cut.restart:
                _restart(part, advance)
            fruitless = 0 if part.stat().st_size > before else fruitless + 1
            if fruitless >= ATTEMPTS:
                raise Unreachable(
                    f"{file.path} cannot be received from {short_host(source.endpoint)} ({cut})",
                    "a connection that holds",
                    "Run the same command again: it goes on where it stopped. "
                    "Or try another --source.",
                ) from cut
            say(f"  {file.path}: connection lost after {part.stat().st_size:,} bytes, going on")
            time.sleep(pause * 2 ** max(fruitless - 1, 0))


def _receive(
    source: Source, listing: Listing, file: RemoteFile, part: Path, offset: int, advance: Advance
) -> None:
    """One connection's worth of bytes."""
    with source.open(listing, file, offset) as (start, pieces):
        if start not in (0, offset):
            raise Cut(f"the bytes from {start} came, those from {offset} were asked", restart=True)
        if start < offset:  # the whole file came, though its end was asked for
            _restart(part, advance)
        # Unbuffered: what came is on the disk whatever happens to this process.
        with part.open("ab", buffering=0) as target:
            at = start
            for piece in pieces:
                at += len(piece)
                if at > file.size:
                    raise Cut(f"more than {file.size} bytes came", restart=True)
                target.write(piece)
                advance(len(piece))


def _restart(part: Path, advance: Advance) -> None:
    advance(-part.stat().st_size)
    part.write_bytes(b"")
