"""The general anchor without data: text that the base itself writes before the training.

What the base writes is, by definition, what it would write if nothing were learnt; holding the policy
to the base there is replay without any text of the user's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from stylellm.errors import OutputError
from stylellm.files import write_text
from stylellm.progress import track

Draw = Callable[[int, int], list[str]]
"""``draw(start, count)``: the texts number ``start`` to ``start + count``, the same at every call."""


def sampled_texts(
    draw: Draw, number: int, *, batch_size: int, file: Path | None = None, progress: bool = False
) -> list[str]:
    """``number`` texts of the base, drawn a batch at a time.

    Args:
        draw: see ``Draw``.
        number: how many texts; a file that holds fewer is continued.
        batch_size: texts of a batch.
        file: where finished batches are kept, one JSON line each, named by the caller after model and
            settings; None: nowhere. A line cut off by a killed run is drawn again.

    Raises:
        OutputError: the file cannot be written.
    """
    batches = _read(file, batch_size)
    missing = range(len(batches) * batch_size, number, batch_size)
    if file is not None and len(missing):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, "".join(_line(batch) for batch in batches))
        except OSError as error:
            raise _failure(file, error) from error
    for start in track(missing, "general text from the base" if progress else None, "batch"):
        batches.append(draw(start, batch_size))
        if file is None:
            continue
        try:
            with file.open("a", encoding="utf-8", newline="\n") as stream:
                stream.write(_line(batches[-1]))
        except OSError as error:
            raise _failure(file, error) from error
    return [text for batch in batches for text in batch][:number]


def _line(batch: list[str]) -> str:
    return json.dumps(batch, ensure_ascii=True) + "\n"


def _read(file: Path | None, batch_size: int) -> list[list[str]]:
    """The whole batches at the beginning of the file."""
    found: list[list[str]] = []
    if file is None or not file.is_file():
        return found
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            batch = json.loads(line)
        except ValueError:
            break
        if not isinstance(batch, list) or len(batch) != batch_size:
            break
        found.append(batch)
    return found


def _failure(file: Path, error: OSError) -> OutputError:
    return OutputError(
        f"the text that the base wrote cannot be kept in {file} ({error.strerror})",
        "a writable folder",
        "Set data.cache_dir, give data.general_text, or set objective.general_samples: 0.",
    )
