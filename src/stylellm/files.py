"""Files that are written whole or not at all, and small ones read back."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from stylellm.errors import OutputError


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 under a temporary name, then rename, so that no half file is ever left.

    Raises:
        OutputError: the place cannot be written.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8", newline="\n")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}", "a writable folder with space left"
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is absent, damaged, or holds something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
