"""What was done to a book already: files named by the hash of all that decides them.

An entry is a head (small, pickled: counts, titles, signatures) and a body (the text, read piece by
piece). Entries are written under another name and renamed, so a run that is cut off leaves whole
entries only, and the next one goes on from them.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import time
from functools import cache
from pathlib import Path
from typing import Any

from stylellm.errors import OutputError

_MAGIC = b"stylellm cache 1\n"
_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# Made by stylellm prepare to save work on the next run; may be deleted whenever no run is using it.\n"
)
_KEEP_SECONDS = 30 * 24 * 3600
_NUMPY = {"_reconstruct", "_frombuffer", "scalar", "ndarray", "dtype"}
_BUILTIN = {
    ("collections", "Counter"),
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("builtins", "bytearray"),
    ("builtins", "slice"),
    ("builtins", "complex"),
}


@cache
def code_version() -> str:
    """Hash of the source that makes the entries, and of the packages whose results they hold."""
    from importlib.metadata import PackageNotFoundError, version

    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for file in [*sorted(folder.glob("*.py")), folder.parent / "assets" / "modern_words.txt"]:
        if file.is_file():
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    for package in ("opencc", "rensa"):  # what they convert and sketch changes with their versions
        with contextlib.suppress(PackageNotFoundError):
            digest.update(version(package).encode())
    return digest.hexdigest()


def key_of(*parts: Any) -> str:
    """A name for what is decided by `parts` (JSON values) and by our own code."""
    text = json.dumps([code_version(), *parts], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


class Cache:
    """A folder of entries.

    Args:
        folder: where; made when the first entry is written.
        option: what the user sets to have it elsewhere.
        lasting: there for the next run, too; otherwise it holds what this run reads again, flat.
    """

    def __init__(
        self, folder: Path, option: str = "data.cache_dir", *, lasting: bool = True
    ) -> None:
        self.folder = folder
        self.option = option
        self.lasting = lasting

    def path(self, key: str) -> Path:
        return self.folder / (f"{key[:2]}/{key[2:]}.bin" if self.lasting else f"{key}.bin")

    def load(self, key: str) -> Any | None:
        """The head of an entry; None where there is none, or a damaged one."""
        path = self.path(key)
        try:
            with path.open("rb") as stream:
                head, _ = _read_head(stream)
            os.utime(path)
        except (OSError, ValueError, EOFError, AttributeError, ImportError, IndexError, KeyError,
                TypeError, pickle.UnpicklingError):  # fmt: skip
            return None
        return head

    def body(self, key: str, start: int, end: int) -> bytes:
        """Bytes [start, end) of an entry's body.

        Raises:
            OutputError: the entry has gone.
        """
        path = self.path(key)
        try:
            with path.open("rb", buffering=0) as stream:
                stream.seek(_body_offset(stream) + start)
                return stream.read(end - start)
        except OSError as error:
            raise OutputError(
                f"{path} cannot be read any more: {error.strerror or error}",
                "the cache of this run, which nothing else deletes while it works",
                f"Run the same command again, or set {self.option} to another folder.",
            ) from error

    def store(self, key: str, head: Any, body: bytes = b"") -> None:
        """Write an entry, whole or not at all.

        Raises:
            OSError: the folder cannot be written, or the disk is full.
        """
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        pickled = pickle.dumps(head, protocol=5)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("wb") as stream:
                stream.write(_MAGIC)
                stream.write(len(pickled).to_bytes(8, "little"))
                stream.write(len(body).to_bytes(8, "little"))
                stream.write(hashlib.blake2b(pickled, digest_size=16).digest())
                stream.write(pickled)
                stream.write(body)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise

    def prepare(self) -> bool:
        """Make the folder; False where that is not possible."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            tag = self.folder / "CACHEDIR.TAG"
            if not tag.is_file():
                tag.write_text(_TAG, encoding="utf-8")
        except OSError:
            return False
        return os.access(self.folder, os.W_OK)

    def prune(self) -> None:
        """Delete what no run has used for thirty days, and what broken ones left behind."""
        oldest = time.time() - _KEEP_SECONDS
        for path in self.folder.glob("??/*"):
            with contextlib.suppress(OSError):
                age = oldest if path.suffix == ".bin" else time.time() - 24 * 3600
                if path.stat().st_mtime < age:
                    path.unlink()


_FIXED = len(_MAGIC) + 8 + 8 + 16


def _body_offset(stream: io.FileIO) -> int:
    stream.seek(len(_MAGIC))
    return _FIXED + int.from_bytes(stream.read(8), "little")


def _read_head(stream: io.BufferedReader) -> tuple[Any, int]:
    """The head and the body's length; ValueError where the entry is not whole."""
    fixed = stream.read(_FIXED)
    if len(fixed) < _FIXED or not fixed.startswith(_MAGIC):
        raise ValueError("not an entry")
    at = len(_MAGIC)
    size, body = (int.from_bytes(fixed[at + i : at + i + 8], "little") for i in (0, 8))
    pickled = stream.read(size)
    if hashlib.blake2b(pickled, digest_size=16).digest() != fixed[-16:]:
        raise ValueError("a damaged entry")
    if os.fstat(stream.fileno()).st_size != _FIXED + size + body:
        raise ValueError("an entry cut short")
    return _Unpickler(io.BytesIO(pickled)).load(), body


class _Unpickler(pickle.Unpickler):
    """Reads our own data classes and numpy arrays only: a cache is no place to run code from."""

    def find_class(self, module: str, name: str) -> Any:
        ours = module.startswith("stylellm.corpus.") and name.isidentifier()
        if (
            ours
            or (module, name) in _BUILTIN
            or (module.split(".")[0] == "numpy" and name in _NUMPY)
        ):
            found = super().find_class(module, name)
            if not ours or (isinstance(found, type) and found.__module__ == module):
                return found
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a cache")
