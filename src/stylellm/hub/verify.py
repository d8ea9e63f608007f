"""Sizes and hashes of files on the disk against those that the hub told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from stylellm.hub.source import RemoteFile

_PIECE = 1 << 20


def problem(path: Path, file: RemoteFile, advance: Callable[[int], None] | None = None) -> str:
    """What is wrong with ``path`` as a copy of ``file``; "" if nothing.

    Where the hub told no hash (a bare mirror), the size is all that can be compared.

    Args:
        advance: called with the number of bytes read.
    """
    if not path.is_file():
        return "missing"
    size = path.stat().st_size
    if size != file.size:
        return f"{size} bytes, expected {file.size}"
    for name, expected in (("sha256", file.sha256), ("git sha1", file.git_sha1)):
        if expected:
            found = digest(path, name, advance)
            return "" if found == expected else f"{name} {found[:12]}…, expected {expected[:12]}…"
    return ""


def digest(path: Path, name: str, advance: Callable[[int], None] | None = None) -> str:
    """Hex digest: ``sha256`` of the bytes, or ``git sha1``, git's id of a blob with them."""
    if name == "sha256":
        state = hashlib.sha256()
    else:
        state = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as source:
        while piece := source.read(_PIECE):
            state.update(piece)
            if advance is not None:
                advance(len(piece))
    return state.hexdigest()
