"""Zip archives of books: names in any Chinese encoding, and nothing that unpacks without end.

Nothing is ever written to disk, so a path that leaves the archive could do no harm; it is refused
all the same, as no honest archive holds one.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from stylellm.corpus.names import name_encoding, readable
from stylellm.errors import DataError

MAX_MEMBER = 1 << 30
"""Bytes one file may unpack to."""
MAX_TOTAL = 8 << 30
"""Bytes the files of an archive may unpack to together."""
MAX_FILES = 200_000
_MAX_RATIO = 250
_FREE_BYTES = 16 << 20
_UTF8_NAME = 0x800
_ENCRYPTED = 0x1
_UNICODE_PATH = 0x7075
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError,
           ValueError, struct.error, MemoryError, IndexError, KeyError)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """A file in an archive, and why it is refused ("" when it can be read)."""

    info: zipfile.ZipInfo
    refused: str = ""


def read_index(path: Path) -> dict[str, Member]:
    """The files of a zip archive by their names, decoded, with "/" between folders.

    Raises:
        DataError: not a zip archive, damaged, or one that would unpack to far too much.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{readable(path)} cannot be read: {error.strerror or error}") from None
    return _read_index(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _read_index(path: Path, _changed: int, size: int) -> dict[str, Member]:
    try:
        with zipfile.ZipFile(path) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
    except _BROKEN as error:
        raise DataError(
            f"{readable(path)} is not a readable zip archive ({_cause(error)})"
        ) from None
    except Exception as error:  # whatever else a broken directory makes zipfile raise
        raise DataError(f"{readable(path)} is a damaged zip archive ({_cause(error)})") from None
    _check_sizes(path, entries, size)
    index: dict[str, Member] = {}
    for name, entry in zip(_names(entries), entries, strict=True):
        while name in index:
            name += "+"
        index[name] = Member(entry, _refused(name, entry))
    return index


def _check_sizes(path: Path, entries: Sequence[zipfile.ZipInfo], size: int) -> None:
    total = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if len(entries) > MAX_FILES:
        raise DataError(f"{readable(path)} holds {len(entries)} files, more than {MAX_FILES}")
    if packed > size:
        raise DataError(f"{readable(path)} is a zip bomb: its files overlap")
    if total > MAX_TOTAL or total > max(_FREE_BYTES, _MAX_RATIO * size):
        raise DataError(
            f"{readable(path)} is refused as a zip bomb: {size} bytes unpack to {total}"
        )


def _refused(name: str, entry: zipfile.ZipInfo) -> str:
    parts = name.split("/")
    if ".." in parts or name.startswith("/") or re.match("[A-Za-z]:", name):
        return "its path leads out of the archive"
    if entry.flag_bits & _ENCRYPTED:
        return "encrypted: unpack it first"
    if entry.file_size > MAX_MEMBER:
        return f"unpacks to more than {MAX_MEMBER >> 20} MB"
    return "" if entry.file_size else "empty"


def read_member(path: Path, name: str) -> bytes:
    """The bytes of one file of an archive, at most as many as its directory promises.

    Raises:
        DataError: no such file in it, refused, or damaged.
    """
    where = f"{readable(path)}/{name}"
    member = read_index(path).get(name)
    if member is None:
        raise DataError(f"{where} does not exist", "a file in the archive")
    if member.refused:
        raise DataError(f"{where} is refused: {member.refused}")
    try:
        data = _unpack(path, member.info)
    except _BROKEN as error:
        raise DataError(f"{where} is damaged ({_cause(error)})") from None
    except Exception as error:  # lzma and bz2 have errors of their own
        raise DataError(f"{where} is damaged ({_cause(error)})") from None
    if len(data) != member.info.file_size:
        raise DataError(f"{where} is damaged: it unpacks to another size than it says")
    return data


def _unpack(path: Path, info: zipfile.ZipInfo) -> bytes:
    """Read behind the local header: the directory, parsed once, is not parsed again."""
    with path.open("rb") as stream:
        stream.seek(info.header_offset)
        header = stream.read(30)
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise zipfile.BadZipFile("no file where the directory says")
        name_length, extra_length = struct.unpack("<HH", header[26:30])
        stream.seek(name_length + extra_length, 1)
        with zipfile.ZipExtFile(stream, "r", info) as unpacked:
            return unpacked.read(info.file_size + 1)


def _names(entries: Sequence[zipfile.ZipInfo]) -> list[str]:
    """The names of all entries; those without a stated encoding are guessed together."""
    raw = [_raw_name(entry) for entry in entries]
    unknown = [name for name in raw if isinstance(name, bytes)]
    encoding = name_encoding(unknown) if unknown else "utf-8"
    return [_clean_name(n.decode(encoding, "replace") if isinstance(n, bytes) else n) for n in raw]


def _raw_name(entry: zipfile.ZipInfo) -> str | bytes:
    """The name where its encoding is stated, its bytes where not."""
    if entry.flag_bits & _UTF8_NAME:
        return entry.orig_filename
    try:
        raw = entry.orig_filename.encode("cp437")
    except UnicodeEncodeError:
        return entry.orig_filename
    if raw.isascii():
        return entry.orig_filename
    return _unicode_path(entry.extra, raw) or raw


def _unicode_path(extra: bytes, raw: bytes) -> str:
    """The UTF-8 name some packers add (Info-ZIP's extra field 0x7075), if it belongs to `raw`."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        body = extra[at + 4 : at + 4 + length]
        if (
            kind == _UNICODE_PATH
            and len(body) > 5
            and body[1:5] == struct.pack("<I", zlib.crc32(raw))
        ):
            return body[5:].decode("utf-8", "replace")
        at += 4 + length
    return ""


def _clean_name(name: str) -> str:
    name = re.sub("[\x00-\x1f\x7f\u2028\u2029\ud800-\udfff]", "?", name.replace("\\", "/"))
    lead = "/" if name.startswith("/") else ""
    return lead + "/".join(part for part in name.split("/") if part not in ("", ".")) or "?"


def _cause(error: Exception) -> str:
    text = str(error).split("\n", 1)[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
