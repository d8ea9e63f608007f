"""Find books and read them: .txt, .md, .jsonl, .epub and .html, in whatever encoding they are."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from stylellm.corpus.encoding import Damage, Decoded, decode
from stylellm.corpus.epub import read_epub
from stylellm.corpus.markup import read_html, read_markdown
from stylellm.corpus.names import readable
from stylellm.corpus.sources import BookFile, Found, Skipped, find_sources
from stylellm.corpus.titles import from_file_name, from_first_line, from_folder
from stylellm.errors import DataError

__all__ = [
    "Book",
    "BookFile",
    "Damage",
    "Decoded",
    "Found",
    "Skipped",
    "decode",
    "find_sources",
    "read_book",
]

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
        replacements: characters lost to damage (now U+FFFD).
        margin: how clearly that encoding was the best (see `Decoded`).
        sha256: of the file's bytes.
        num_bytes: the file's size.
        name: what to call it: the file's name, "shelf.zip/甲/乙.txt" inside an archive.
        damage: where the first damaged places are.
        mojibake: how the text had been garbled before it was undone, such as
            "utf-8 read as gb18030"; "" for ordinary files.
        left_out: characters that belong to the page and not to the text, by kind: "ruby readings",
            "footnotes", "footnote marks" (see `markup`).
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
    name: str = ""
    damage: tuple[Damage, ...] = ()
    mojibake: str = ""
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All documents, with a blank line between."""
        return "\n\n".join(self.documents)


def read_book(source: BookFile | Path | str, *, accept_damaged: bool = False) -> Book:
    """Read one book.

    Args:
        source: what `find_sources` found, or the path of a plain file.
        accept_damaged: read a file with more damaged places than are usually accepted.

    Raises:
        DataError: the file is missing, unreadable, empty, or not text.
    """
    file = source if isinstance(source, BookFile) else BookFile(Path(source))
    data, name = file.read_bytes(), file.location
    text = _text(data, file, accept_damaged)
    if not any(document.strip() for document in text.documents):
        raise DataError(f"{name} is empty", "a file with text in it")
    decoded = text.decoded
    book = Book(
        path=file.path,
        title=file.title or text.title,
        author=file.author or text.author,
        documents=text.documents,
        encoding=decoded.encoding,
        replacements=decoded.replacements,
        margin=decoded.margin,
        sha256=hashlib.sha256(data).hexdigest(),
        num_bytes=len(data),
        name=file.name,
        damage=decoded.damage,
        mojibake=decoded.mojibake,
        left_out=dict(text.left_out),
    )
    return _named(book, file)


@dataclass(frozen=True)
class _Text:
    """The documents of a file, and what the file itself says of them."""

    decoded: Decoded
    documents: tuple[str, ...]
    title: str = ""
    author: str = ""
    left_out: Counter[str] = field(default_factory=Counter)


def _text(data: bytes, file: BookFile, accept_damaged: bool) -> _Text:
    suffix, name = file.suffix, file.location
    if suffix == ".epub":
        book = read_epub(data, name, accept_damaged=accept_damaged)
        return _Text(book.decoded, (book.decoded.text,), book.title, book.author, book.left_out)
    decoded = decode(data, name, accept_damaged=accept_damaged)
    if suffix == ".jsonl":
        return _Text(decoded, tuple(_json_lines(decoded.text, name)))
    if suffix in (".html", ".htm", ".xhtml"):
        text, left_out = read_html(decoded.text, name)
        return _Text(decoded, (text,), left_out=left_out)
    if suffix in (".md", ".markdown"):
        text, title, author, left_out = read_markdown(decoded.text)
        return _Text(decoded, (text,), title, author, left_out)
    return _Text(decoded, (decoded.text,))


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


def _named(book: Book, file: BookFile) -> Book:
    """Fill in title and author: first what the file name says, then the text, then the folder."""
    file_title, file_author = from_file_name(file.stem)
    line_title, line_author = from_first_line(book.documents[0]) if book.documents else ("", "")
    marked = file_title != file.stem.strip()
    title = book.title or (file_title if marked else line_title or file_title)
    author = book.author or file_author or line_author or _folder_author(file)
    return replace(book, title=title, author=author)


def _folder_author(file: BookFile) -> str:
    """The nearest folder, the archive counting as one of them, that is named after an author."""
    folder = readable(file.path.absolute().parent.name)
    if not file.member:
        return from_folder(folder)
    inner = PurePosixPath(file.member).parent.name
    names = [inner] if inner else [readable(file.path.stem), folder]
    return next((name for name in map(from_folder, names) if name), "")
