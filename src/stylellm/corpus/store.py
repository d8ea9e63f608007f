"""The folder of prepared data: written whole or not at all, and read back."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stylellm.corpus.audit import write_audit
from stylellm.errors import DataError, OutputError

if TYPE_CHECKING:
    from datasets import Dataset

COLUMNS = ("text", "num_tokens", "work", "chapter", "ends_document")
_HINT = "Make it with: stylellm prepare BOOKS... --output_dir {}"


def check_output(output: Path, overwrite: bool) -> None:
    """Refuse an output folder that exists, unless it is empty or prepared data to be replaced.

    Raises:
        OutputError: it exists.
    """
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not overwrite:
        raise OutputError(
            f"{output} exists already",
            "a new folder",
            "Name another with --output_dir, or add --overwrite to replace it.",
        )
    if not (output / "manifest.json").is_file():
        raise OutputError(
            f"{output} is not a folder of prepared data and will not be replaced",
            "a new folder",
            "Name another with --output_dir.",
        )


def write_prepared(
    output: Path,
    windows: dict[str, dict[str, list[Any]]],
    manifest: dict[str, Any],
    overwrite: bool,
) -> None:
    """Write windows, manifest and audit beside `output`, then rename to it.

    Raises:
        OutputError: it cannot be written; nothing is left behind then.
    """
    temporary = output.with_name(f"{output.name}.tmp-{uuid.uuid4().hex[:8]}")
    try:
        with _output_errors(output):
            temporary.mkdir(parents=True)
            for split, columns in windows.items():
                _save(temporary / "windows" / split, columns)
            text = json.dumps(manifest, ensure_ascii=False, indent=2)
            (temporary / "manifest.json").write_text(text + "\n", encoding="utf-8")
            write_audit(manifest, temporary)
            _rename(temporary, output, overwrite)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _output_errors(output: Path) -> Iterator[None]:
    """Turn what the file system says into one line."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC or "No space left" in str(error):
            raise OutputError(
                f"no space left to write {output}",
                "free space on that disk",
                "Free some, or name a folder on another disk with --output_dir.",
            ) from error
        raise OutputError(
            f"{output} cannot be written: {error.strerror or error}",
            "a folder that may be written",
            "Name another with --output_dir.",
        ) from error


def _save(folder: Path, columns: dict[str, list[Any]]) -> None:
    from datasets import Dataset, Features, Value

    types = {"num_tokens": "int32", "ends_document": "bool"}
    features = Features({name: Value(types.get(name, "string")) for name in COLUMNS})
    dataset = Dataset.from_dict({name: columns[name] for name in COLUMNS}, features=features)
    with _quiet():
        # An empty dataset has no shards by default, and could not be loaded again.
        dataset.save_to_disk(str(folder), num_shards=None if len(dataset) else 1)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars of datasets, which say nothing that ours do not."""
    import datasets

    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _rename(temporary: Path, output: Path, overwrite: bool) -> None:
    old = None
    if output.is_dir() and any(output.iterdir()):
        check_output(output, overwrite)  # it may have appeared in the meantime
        old = output.with_name(f"{output.name}.old-{uuid.uuid4().hex[:8]}")
        output.rename(old)
    elif output.is_dir():
        output.rmdir()
    try:
        temporary.rename(output)
    except OSError:
        if old:
            old.rename(output)
        raise
    if old:
        shutil.rmtree(old, ignore_errors=True)


def load_manifest(prepared_dir: str | Path) -> dict[str, Any]:
    """The manifest of prepared data.

    Raises:
        DataError: the folder is missing, or holds no readable manifest.
    """
    folder = Path(prepared_dir)
    path = folder / "manifest.json"
    if not path.is_file():
        state = "holds no manifest.json" if folder.is_dir() else "does not exist"
        raise DataError(f"{folder} {state}", "a folder of prepared data", _HINT.format(folder))
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} cannot be read ({error})", "a manifest", _HINT.format(folder)
        ) from None
    if not isinstance(manifest, dict) or "splits" not in manifest:
        raise DataError(f"{path} is not a manifest", "prepared data", _HINT.format(folder))
    return manifest


def load_windows(prepared_dir: str | Path, split: str) -> Dataset:
    """The windows of one split, with columns text, num_tokens, work, chapter, ends_document.

    Args:
        prepared_dir: what `prepare` wrote.
        split: train, validation, test, general_train, general_test or other_test.

    Raises:
        DataError: no prepared data there, or no such split in it.
    """
    from datasets import load_from_disk

    manifest = load_manifest(prepared_dir)
    folder = Path(prepared_dir) / "windows" / split
    if split not in manifest["splits"] or not folder.is_dir():
        option = {"general": "--general_text FILES ", "other": "--other_author FILES "}
        extra = option.get(split.split("_")[0], "")
        raise DataError(
            f"{prepared_dir} has no split {split!r}",
            f"one of {', '.join(manifest['splits'])}",
            f"Make it with: stylellm prepare BOOKS... {extra}--output_dir {prepared_dir}",
        )
    try:
        dataset = load_from_disk(str(folder))
    except Exception as error:
        raise DataError(
            f"{folder} cannot be read ({type(error).__name__})", "windows",
            _HINT.format(f"{prepared_dir} --overwrite"),
        ) from error  # fmt: skip
    missing = set(COLUMNS) - set(dataset.column_names)
    if missing:
        raise DataError(f"{folder} lacks {', '.join(sorted(missing))}", "prepared windows")
    return dataset
