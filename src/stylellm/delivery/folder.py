"""A folder that is written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stylellm.errors import OutputError


@contextmanager
def new_folder(output: Path) -> Iterator[Path]:
    """A folder beside ``output`` that takes its place when the block ends without an error.

    Raises:
        OutputError: ``output`` exists and holds something, or cannot be written.
    """
    check_new(output)
    path = output.with_name(f"{output.name}.tmp-{os.getpid()}")
    try:
        path.mkdir(parents=True)
        yield path
        if output.is_dir():
            output.rmdir()
        path.rename(output)
    except OSError as error:
        raise OutputError(
            f"cannot write {output}: {error.strerror or error}", "a writable folder with space left"
        ) from error
    finally:
        shutil.rmtree(path, ignore_errors=True)


def check_new(output: Path) -> None:
    """Refuses a place that holds something; called before the long work begins."""
    if output.is_file() or (output.is_dir() and any(output.iterdir())):
        raise OutputError(
            f"{output} exists already", "a new or empty folder", "Name another --output_dir."
        )
