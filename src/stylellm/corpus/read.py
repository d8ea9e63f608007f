"""Find books and read them: .txt, .md, .jsonl, .epub and .html, in whatever encoding they are."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from stylellm.corpus.encoding import Decoded, decode
from stylellm.corpus.epub import read_epub, read_html
from stylellm.corpus.titles import from_file_name, from_first_line, from_folder
from stylellm.errors import DataError

__all__ = ["Book", "Decoded", "decode", "find_books", "find_files", "read_book"]

SUFFIXES = (".txt", ".md", ".jsonl", ".epub", ".html", ".htm", ".xhtml")
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Book:
    """One source file, read.

    Attributes:
        path: where it was read.
        title: from "《书名》作者：某某.txt", an epub's metadata, the first line, or the file name.
        author: from the same places, or a folder named after the author; "" where none says.
        documents: its texts; one, except for .jsonl, where every line is one.
        encoding: the Python codec that read it.
        replacements: damaged places (now U+FFFD).
        margin: how clearly that encoding was the best (see `Decoded`).
        sha256: of the file's bytes.
        num_bytes: the file's size.
    """

    path: Path
    title: str
    author: str
    documents: tuple[str, ...]
    encoding: str
    replacements: int
    margin: float
    sha256: str
    num_bytes: int

    @property
    def text(self) -> str:
        """All documents, with a blank line between."""
        return "\n\n".join(self.documents)


def find_files(paths: Iterable[str | Path]) -> tuple[list[Path], list[Path]]:
    """The books under files and folders, and the files skipped, each in sorted order.

    Folders are walked to the bottom, without following symbolic links; hidden files are passed
    over. A file reached twice is listed once.

    Raises:
        DataError: a path that does not exist, a file named directly that is no kind of book, or no
            book at all.
    """
    given = [Path(path).expanduser() for path in paths]
    books: dict[Path, Path] = {}
    skipped = []
    for path in given:
        if path.is_file() and path.suffix.lower() not in SUFFIXES:
            raise DataError(f"{path} is not a book", f"a file ending in {', '.join(SUFFIXES)}")
        for file in _walk(path):
            if file.suffix.lower() in SUFFIXES:
                books.setdefault(file.resolve(), file)
            else:
                skipped.append(file)
    if not books:
        where = ", ".join(map(str, given)) or "an empty list"
        raise DataError(
            f"no books in {where}",
            f"files ending in {', '.join(SUFFIXES)}",
            "Put the author's books there, or name another folder: stylellm prepare PATH...",
        )
    return list(books.values()), skipped


def find_books(paths: Iterable[str | Path]) -> list[Path]:
    """The books under files and folders, in sorted order (see `find_files`)."""
    return find_files(paths)[0]


def _walk(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(
            f"{path} does not exist", "a book, or a folder of books", "Check the path (data.books)."
        )
    found: list[Path] = []
    for folder, subfolders, names in os.walk(path):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        found += [Path(folder) / name for name in sorted(names) if not name.startswith(".")]
    return found


def read_book(path: str | Path) -> Book:
    """Read one book.

    Raises:
        DataError: the file is missing, unreadable, empty, or not text.
    """
    path = Path(path)
    data = _read_bytes(path)
    sha256 = hashlib.sha256(data).hexdigest()
    suffix = path.suffix.lower()
    title = author = ""
    documents: tuple[str, ...]
    if suffix == ".epub":
        text, title, author = read_epub(data, str(path))
        decoded, documents = Decoded(text, "utf-8", 0), (text,)
    else:
        decoded = decode(data, str(path))
        documents = _documents(decoded.text, suffix, str(path))
    if not any(document.strip() for document in documents):
        raise DataError(f"{path} is empty", "a file with text in it")
    book = Book(path, title, author, documents, decoded.encoding, decoded.replacements,
                decoded.margin, sha256, len(data))  # fmt: skip
    return _named(book)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", "a book") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def _documents(text: str, suffix: str, name: str) -> tuple[str, ...]:
    if suffix == ".jsonl":
        return tuple(_json_lines(text, name))
    if suffix in (".html", ".htm", ".xhtml"):
        return (read_html(text),)
    if suffix == ".md":
        return (re.sub(r"(?m)^#{1,6}[ \t]+(.*?)[ \t#]*$", r"\n\n\1\n", text),)
    return (text,)


def _json_lines(text: str, name: str) -> list[str]:
    """The `text` of every line; each line is one document."""
    documents = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            document = record["text"]
            if not isinstance(document, str):
                raise TypeError
        except (ValueError, KeyError, TypeError, RecursionError):
            raise DataError(
                f'{name}, line {number}: {line[:40]!r} is not {{"text": "..."}}',
                "one JSON object with a text field on every line",
            ) from None
        documents.append(_SURROGATES.sub("\ufffd", document))
    return documents


def _named(book: Book) -> Book:
    """Fill in title and author: first what the file name says, then the text, then the folder."""
    file_title, file_author = from_file_name(book.path.stem)
    line_title, line_author = from_first_line(book.documents[0]) if book.documents else ("", "")
    marked = file_title != book.path.stem.strip()
    title = book.title or (file_title if marked else line_title or file_title)
    author = (
        book.author or file_author or line_author or from_folder(book.path.absolute().parent.name)
    )
    return replace(book, title=title, author=author)
