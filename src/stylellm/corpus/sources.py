"""Find the books under files, folders and zip archives, and say why anything else was left out."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from stylellm.corpus import archive
from stylellm.corpus.catalog import CATALOG_NAMES, Catalog, read_catalog
from stylellm.corpus.names import readable
from stylellm.errors import DataError

SUFFIXES = (".txt", ".md", ".markdown", ".jsonl", ".epub", ".html", ".htm", ".xhtml")
_ADVICE = {
    "an archive that is not zip: unpack it first": (
        *(".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst"),
    ),
    "an e-book format that is not read: convert it to .epub first": (
        *(".mobi", ".azw", ".azw3", ".kfx", ".fb2", ".umd", ".chm", ".djvu"),
    ),
    "a document that is not read: save it as .txt first": (
        *(".doc", ".docx", ".pdf", ".rtf", ".odt", ".wps"),
    ),
}
_REASONS = {suffix: reason for reason, suffixes in _ADVICE.items() for suffix in suffixes}
_EXPECTED = f"a file ending in {', '.join(SUFFIXES)} or .zip"


@dataclass(frozen=True)
class BookFile:
    """One source of text: a file, or a file inside a zip archive.

    Attributes:
        path: the file, or the archive.
        member: the file's path inside the archive, as `archive.read_index` spells it; else "".
        title, author: what a books.yaml says; "" where it says nothing.
    """

    path: Path
    member: str = ""
    title: str = ""
    author: str = ""

    @property
    def name(self) -> str:
        """A name for people, always printable: "书.txt" or "shelf.zip/甲/乙.txt"."""
        name = readable(self.path.name)
        return f"{name}/{self.member}" if self.member else name

    @property
    def location(self) -> str:
        """The whole path for people, always printable."""
        return readable(self.path / self.member if self.member else self.path)

    @property
    def stem(self) -> str:
        """The last name without its suffix, printable."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The lower-case suffix that says what kind of file it is."""
        return PurePosixPath(self.member or self.path.name).suffix.lower()

    def read_bytes(self) -> bytes:
        """The file's bytes.

        Raises:
            DataError: it is missing, unreadable, damaged, or unpacks to far too much.
        """
        if self.member:
            return archive.read_member(self.path, self.member)
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            raise DataError(f"{self.location} does not exist", "a book") from None
        except (OSError, ValueError) as error:
            raise DataError(f"{self.location} cannot be read: {_cause(error)}") from None

    def sha256(self) -> str:
        """The SHA-256 of the file's bytes, in hexadecimal. Raises as `read_bytes`."""
        if self.member:
            return hashlib.sha256(self.read_bytes()).hexdigest()
        try:
            with self.path.open("rb") as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()
        except (OSError, ValueError) as error:
            raise DataError(f"{self.location} cannot be read: {_cause(error)}") from None


@dataclass(frozen=True)
class Skipped:
    """A file that is left out, and why. Names are printable."""

    name: str
    reason: str


@dataclass(frozen=True)
class Found:
    """What lies under the paths given: books in reading order, and what is left out."""

    files: list[BookFile]
    skipped: list[Skipped]


def find_sources(paths: Iterable[str | Path] | str | Path) -> Found:
    """The books under files, folders and zip archives.

    Folders are walked to the bottom; files come before subfolders, each in the order of their
    names; hidden files are passed over. Links to folders are not followed. A book reached twice is
    listed once. A books.yaml in a folder or archive names titles and authors (see `catalog`).

    Raises:
        DataError: a path that does not exist, a file named directly that is no kind of book, a
            wrong books.yaml, or no book at all.
    """
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    books: dict[tuple[str, str], BookFile] = {}
    skipped: dict[str, Skipped] = {}
    for path in (Path(one).expanduser() for one in given):
        for item in _find(path):
            if isinstance(item, Skipped):
                skipped.setdefault(item.name, item)
            else:
                books.setdefault((os.path.realpath(item.path), item.member), item)
    if not books:
        where = ", ".join(readable(str(path)) for path in given) or "an empty list"
        raise DataError(
            f"no books in {where}" + _why(list(skipped.values())),
            f"files ending in {', '.join(SUFFIXES)} or .zip",
            "Put the author's books there, or name another folder: stylellm prepare PATH...",
        )
    return Found(list(books.values()), list(skipped.values()))


def _why(skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return ""
    return f" ({skipped[0].name}: {skipped[0].reason}; {len(skipped)} skipped)"


def _find(path: Path) -> Iterator[BookFile | Skipped]:
    """What one given path holds; what is named directly must be usable."""
    if _is_dir(path):
        yield from _walk(path)
        return
    if not _exists(path):
        raise DataError(
            f"{readable(path)} does not exist",
            "a book, or a folder of books",
            "Check the path (data.books).",
        )
    catalogs = _catalogs_beside(path)
    for item in _from_file(path, readable(path.name), catalogs):
        if isinstance(item, Skipped) and item.name == readable(path.name):
            if item.reason == "no kind of book" or path.suffix.lower() in _REASONS:
                advice = _REASONS.get(path.suffix.lower(), "")
                raise DataError(f"{readable(path)} is not a book", _EXPECTED, advice.capitalize())
            raise DataError(f"{readable(path)} cannot be used: {item.reason}", _EXPECTED)
        yield item


def _walk(root: Path) -> Iterator[BookFile | Skipped]:
    top = readable(root.name or str(root))
    used: list[Catalog] = []
    todo: list[tuple[Path, str, tuple[Catalog, ...]]] = [(root, top, ())]
    while todo:  # a stack of our own: folders may be nested deeper than Python may recurse
        folder, shown, catalogs = todo.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if folder == root:
                raise DataError(f"{readable(root)} cannot be read: {_cause(error)}") from None
            yield Skipped(shown, f"cannot be read: {_cause(error)}")
            continue
        entries = [entry for entry in entries if not _is_hidden(entry.name)]
        own = _catalog_in(folder, [entry.name for entry in entries])
        if own:
            catalogs = (*catalogs, own)
            used.append(own)
        subfolders = []
        for entry in entries:
            name = f"{shown}/{readable(entry.name)}"
            if entry.is_dir(follow_symlinks=False):
                subfolders.append((Path(entry.path), name, catalogs))
            elif entry.name.lower() not in CATALOG_NAMES:
                yield from _from_file(Path(entry.path), name, catalogs)
        todo += reversed(subfolders)
    for catalog in used:
        catalog.check_all_used()


def _from_file(
    path: Path, shown: str, catalogs: tuple[Catalog, ...]
) -> Iterator[BookFile | Skipped]:
    suffix = path.suffix.lower()
    reason = _unusable(path, suffix)
    if reason:
        yield Skipped(shown, reason)
    elif suffix == ".zip":
        yield from _from_archive(path, shown, catalogs)
    else:
        yield _described(BookFile(path), path, catalogs)


def _unusable(path: Path, suffix: str) -> str:
    """Why a file cannot be a book, from its name and kind alone; "" when it can."""
    if suffix not in SUFFIXES and suffix != ".zip":
        if path.is_symlink() and _is_dir(path):
            return "a link to a folder: name the folder itself"
        return _REASONS.get(suffix, "no kind of book")
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        broken = path.is_symlink()
        return "a link that leads nowhere" if broken else f"cannot be read: {_cause(error)}"
    if not path.is_file():
        return "not a regular file"
    if status.st_size == 0:
        return "empty"
    return "" if os.access(path, os.R_OK) else "cannot be read: permission denied"


def _from_archive(
    path: Path, shown: str, catalogs: tuple[Catalog, ...]
) -> Iterator[BookFile | Skipped]:
    try:
        index = archive.read_index(path)
    except DataError as error:
        yield Skipped(shown, error.found.removeprefix(f"{readable(path)} ").rstrip("."))
        return
    own = None
    for member in sorted(index, key=_archive_order):
        name = PurePosixPath(member).name
        if name.lower() in CATALOG_NAMES and "/" not in member and not index[member].refused:
            data = archive.read_member(path, member)
            own = read_catalog(data, f"{shown}/{member}", path)
    for member in sorted(index, key=_archive_order):
        parts = PurePosixPath(member).parts
        suffix = PurePosixPath(member).suffix.lower()
        if any(_is_hidden(part) for part in parts if part not in ("..", ".")):
            continue
        if parts[-1].lower() in CATALOG_NAMES:
            continue
        reason = _REASONS.get(suffix, "no kind of book") if suffix not in SUFFIXES else ""
        if suffix == ".zip":
            reason = "an archive inside an archive: unpack it first"
        reason = index[member].refused or reason
        if reason:
            yield Skipped(f"{shown}/{member}", reason)
            continue
        found = _described(BookFile(path, member), path / member, catalogs)
        yield _described(found, path / member, (own,) if own else ())
    if own:
        own.check_all_used()


def _archive_order(member: str) -> tuple[tuple[int, str], ...]:
    """Files before subfolders, each by name: as folders are walked."""
    *folders, name = member.split("/")
    return (*((1, folder) for folder in folders), (0, name))


def _described(book: BookFile, path: Path, catalogs: tuple[Catalog, ...]) -> BookFile:
    for catalog in catalogs:  # the nearest says it last
        title, author = catalog.describe(readable(path.relative_to(catalog.folder).as_posix()))
        book = replace(book, title=title or book.title, author=author or book.author)
    return book


def _catalogs_beside(path: Path) -> tuple[Catalog, ...]:
    try:
        names = [name for name in CATALOG_NAMES if (path.parent / name).is_file()]
    except OSError:
        names = []
    found = _catalog_in(path.parent, names)
    return (found,) if found else ()


def _catalog_in(folder: Path, names: Sequence[str]) -> Catalog | None:
    found = [name for name in names if name.lower() in CATALOG_NAMES]
    if len(found) > 1:
        raise DataError(f"{readable(folder)} holds {' and '.join(found)}", "one of them")
    if not found:
        return None
    file = BookFile(folder / found[0])
    return read_catalog(file.read_bytes(), file.location, folder)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_dir(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists() or path.is_symlink()
    except (OSError, ValueError):
        return False


def _cause(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return reason[:1].lower() + reason[1:]
