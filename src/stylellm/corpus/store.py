"""The folder of prepared data: written whole or not at all, and read back."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

from stylellm.corpus.audit import write_audit
from stylellm.corpus.packing import Row
from stylellm.errors import DataError, OutputError

if TYPE_CHECKING:
    from datasets import Dataset

COLUMNS = ("text", "num_tokens", "work", "chapter", "ends_document")
PACKED = "documents"
CHAPTERS = "chapters.jsonl"
_HINT = "Make it with: stylellm prepare BOOKS... --output_dir {}"
_STALE_SECONDS = 24 * 3600
_ROWS = 1000  # rows of one record batch


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


class PreparedFolder:
    """A folder that is written beside `output` and takes its place when it is whole.

    Used with `with`: whatever ends the block before `commit`, the new folder goes and `output` is
    as it was. What a killed run left behind is removed by the next one.

    Args:
        output: the folder to make.
        overwrite: replace an `output` that holds prepared data.

    Raises:
        OutputError: it cannot be written; nothing is left behind then.
    """

    def __init__(self, output: Path, overwrite: bool) -> None:
        self.output = output
        self.overwrite = overwrite
        self.path = output.with_name(f"{output.name}.tmp-{os.getpid()}-{uuid.uuid4().hex[:8]}")
        self.scratch = self.path / ".work"  # for what need not last; goes before the end
        self._files: list[IO[str]] = []
        self._writers: dict[str, WindowWriter] = {}

    def __enter__(self) -> PreparedFolder:
        with output_errors(self.output):
            _tidy(self.output)
            check_output(self.output, self.overwrite)
            self.path.mkdir(parents=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        closing = [writer.close for writer in self._writers.values()]
        for close in [*closing, *(stream.close for stream in self._files)]:
            with contextlib.suppress(OSError):
                close()
        shutil.rmtree(self.path, ignore_errors=True)

    def writer(self, split: str, packed: bool) -> WindowWriter:
        """The writer of a split's windows; the same one at every call."""
        if split not in self._writers:
            with output_errors(self.output):
                folder = self.path / "windows" / split
                self._writers[split] = WindowWriter(folder, packed)
        return self._writers[split]

    def open_text(self, name: str) -> IO[str]:
        """A text file of the folder, open for writing."""
        with output_errors(self.output):
            stream = (self.path / name).open("w", encoding="utf-8", newline="\n")
        self._files.append(stream)
        return stream

    def commit(self, manifest: dict[str, Any]) -> None:
        """Finish every file, write manifest and audit, and put the folder in its place."""
        with output_errors(self.output):
            for writer in self._writers.values():
                writer.finish()
            for stream in self._files:
                _close(stream)
            with (self.path / "manifest.json").open("w", encoding="utf-8", newline="\n") as stream:
                json.dump(manifest, stream, ensure_ascii=False, indent=2)
                stream.write("\n")
                _close(stream)
            write_audit(manifest, self.path)
            shutil.rmtree(self.scratch, ignore_errors=True)
            _rename(self.path, self.output, self.overwrite)


class WindowWriter:
    """Rows of a split as a stream of Arrow record batches, in the form `load_from_disk` reads."""

    def __init__(self, folder: Path, packed: bool) -> None:
        import pyarrow
        from datasets.features import Features, List, Value

        kinds = {"num_tokens": "int32", "ends_document": "bool"}
        columns = {name: Value(kinds.get(name, "string")) for name in COLUMNS}
        if packed:
            columns[PACKED] = List(Value("int32"))
        self._features = Features(columns)
        self._schema = self._features.arrow_schema
        self._folder = folder
        folder.mkdir(parents=True)
        self._stream = (folder / "data-00000-of-00001.arrow").open("wb")
        self._writer = pyarrow.ipc.new_stream(self._stream, self._schema)
        self._rows: list[Row] = []

    def write(self, rows: Sequence[Row]) -> None:
        """Add rows; they reach the disk some thousand at a time."""
        self._rows += rows
        if len(self._rows) >= _ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow

        columns = [
            pyarrow.array([getattr(row, field.name) for row in self._rows], type=field.type)
            for field in self._schema
        ]
        self._writer.write_batch(pyarrow.record_batch(columns, schema=self._schema))
        self._rows = []

    def finish(self) -> None:
        """Write what is left, and the two small files that say what this is."""
        from datasets import DatasetInfo

        if self._rows:
            self._flush()
        self._writer.close()
        _close(self._stream)
        state: dict[str, Any] = {
            "_data_files": [{"filename": "data-00000-of-00001.arrow"}],
            "_fingerprint": uuid.uuid4().hex[:16],
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": None,
        }
        (self._folder / "state.json").write_text(json.dumps(state, indent=2), encoding="utf-8")
        DatasetInfo(features=self._features).write_to_directory(str(self._folder))

    def close(self) -> None:
        """Let the file go, finished or not."""
        self._stream.close()


def _close(stream: IO[Any]) -> None:
    """Close a file once the disk has it."""
    if not stream.closed:
        stream.flush()
        os.fsync(stream.fileno())
        stream.close()


@contextlib.contextmanager
def output_errors(output: Path, option: str = "--output_dir") -> Iterator[None]:
    """Turn what the file system says into one line.

    Raises:
        OutputError: for every OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (
            errno.ENOSPC,
            getattr(errno, "EDQUOT", errno.ENOSPC),
        ) or "No space left" in str(error):
            raise OutputError(
                f"no space left to write {output}",
                "free space on that disk",
                f"Free some, or name a folder on another disk with {option}.",
            ) from error
        raise OutputError(
            f"{output} cannot be written: {error.strerror or error}",
            "a folder that may be written",
            f"Name another with {option}.",
        ) from error


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


def _tidy(output: Path) -> None:
    """Remove what runs that were killed left beside `output`; put back what one had moved away."""
    if not output.parent.is_dir():
        return
    names = sorted(path.name for path in output.parent.iterdir())
    for old in [name for name in names if name.startswith(f"{output.name}.old-")]:
        path = output.with_name(old)
        if output.exists():
            shutil.rmtree(path, ignore_errors=True)
        elif (path / "manifest.json").is_file():
            path.rename(output)
    for left in [name for name in names if name.startswith(f"{output.name}.tmp-")]:
        if _is_stale(output.with_name(left)):
            shutil.rmtree(output.with_name(left), ignore_errors=True)


def _is_stale(path: Path) -> bool:
    """Whether the run that was writing there has ended, as far as can be told."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > _STALE_SECONDS:
            return True
    number = path.name.rpartition(".tmp-")[2].partition("-")[0]
    if os.name != "posix" or not number.isdigit():  # elsewhere, asking would end the process
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


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
