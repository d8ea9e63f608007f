"""Text out of epub files: the pages in the order of the spine."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import unquote
from xml.etree import ElementTree

from stylellm.corpus.encoding import Damage, Decoded, decode
from stylellm.corpus.markup import read_html
from stylellm.errors import DataError

MAX_UNPACKED = 400 * 1024 * 1024
"""Bytes the pages of an epub may unpack to; more is no book."""
_ENCRYPTION = "META-INF/encryption.xml"
_AUTHOR_OF = re.compile(r"\s*[(（【\[]?[著着编編撰][)）】\]]?$")


@dataclass(frozen=True)
class Epub:
    """What an epub holds.

    Attributes:
        decoded: the text of its pages, with blank lines between, and how it was read.
        title, author: of its metadata; "" where there is none.
        left_out: characters left out, by kind (see `markup`).
    """

    decoded: Decoded
    title: str
    author: str
    left_out: Counter[str]


def read_epub(data: bytes, name: str, *, accept_damaged: bool = False) -> Epub:
    """Read an epub.

    Raises:
        DataError: not an epub, encrypted, broken, or of pages that unpack to more than 400 MB.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            package, folder = _package(archive)
            pages, left_out = [], Counter[str]()
            for path in _readable(archive, _spine(package, folder), name):
                page, missing = _page(archive.read(path), f"{name}:{path}", accept_damaged)
                pages.append(page)
                left_out += missing
            author = _AUTHOR_OF.sub("", _meta(package, "creator"))
            return Epub(_joined(pages), _meta(package, "title"), author, left_out)
    except DataError:
        raise
    except (zipfile.BadZipFile, ElementTree.ParseError, KeyError, RuntimeError, ValueError, OSError,
            EOFError, NotImplementedError, AttributeError, IndexError) as error:  # fmt: skip
        reason = f"{type(error).__name__}: {str(error).split(chr(10), 1)[0]}"
        raise DataError(
            f"{name} is not a readable epub ({reason})", "an unencrypted epub"
        ) from None
    except Exception as error:  # zlib.error, lzma.LZMAError, StopIteration: a broken file
        reason = str(error).split("\n", 1)[0] or type(error).__name__
        raise DataError(f"{name} is a damaged epub ({reason})", "an unencrypted epub") from None


def _package(archive: zipfile.ZipFile) -> tuple[ElementTree.Element, str]:
    """The package document, and the folder its paths are relative to."""
    container = _parse(_small(archive, "META-INF/container.xml"))
    rootfile = next(element for element in container.iter() if _local(element) == "rootfile")
    path = rootfile.attrib["full-path"]
    return _parse(_small(archive, path)), posixpath.dirname(path)


def _small(archive: zipfile.ZipFile, path: str) -> bytes:
    if archive.getinfo(path).file_size > MAX_UNPACKED:
        raise ValueError(f"{path} is too large")
    return archive.read(path)


def _parse(data: bytes) -> ElementTree.Element:
    if b"<!ENTITY" in data.replace(b"\x00", b""):
        raise ValueError("entity definitions are not accepted")
    return ElementTree.fromstring(data)


def _local(element: ElementTree.Element) -> str:
    return element.tag.rsplit("}", 1)[-1] if isinstance(element.tag, str) else ""


def _spine(package: ElementTree.Element, folder: str) -> list[str]:
    """Paths of the pages in reading order, without the table of contents (nav).

    Pages outside the linear order (linear="no": notes, covers) are left out if others are in it.
    """
    items = {e.attrib.get("id", ""): e for e in package.iter() if _local(e) == "item"}
    paths: list[str] = []
    aside: list[str] = []
    for reference in (e for e in package.iter() if _local(e) == "itemref"):
        item = items.get(reference.attrib.get("idref", ""))
        if item is None or "nav" in item.attrib.get("properties", "").split():
            continue
        if "html" in item.attrib.get("media-type", ""):
            path = posixpath.normpath(posixpath.join(folder, unquote(item.attrib["href"])))
            (aside if reference.attrib.get("linear") == "no" else paths).append(path)
    return list(dict.fromkeys(paths or aside))


def _readable(archive: zipfile.ZipFile, paths: list[str], name: str) -> Iterator[str]:
    """The names that the pages have in the archive; checks that they can and may be unpacked."""
    names = set(archive.namelist())
    any_case = {entry.lower(): entry for entry in names}
    if _ENCRYPTION in names:
        hidden = archive.read(_ENCRYPTION).decode("utf-8", "replace")
        if any(path in unquote(hidden) for path in paths):  # fonts alone may well be scrambled
            raise DataError(f"{name} is encrypted (DRM)", "an unencrypted epub")
    total = 0
    for path in paths:
        found = path if path in names else any_case.get(path.lower())
        if found is None:
            raise DataError(f"{name} lacks its page {path}", "a complete epub")
        total += archive.getinfo(found).file_size
        if total > MAX_UNPACKED:
            raise DataError(
                f"{name} unpacks to more than {MAX_UNPACKED >> 20} MB", "an epub of text"
            )
        yield found


def _page(data: bytes, name: str, accept_damaged: bool) -> tuple[Decoded, Counter[str]]:
    if not data.strip():
        return Decoded("", "utf-8", 0), Counter()
    decoded = decode(data, name, accept_damaged=accept_damaged)
    text, left_out = read_html(decoded.text, name)
    page = name.rpartition(":")[2]
    places = (Damage(d.offset, d.line, f"{page}: {d.context}") for d in decoded.damage)
    return replace(decoded, text=text, damage=tuple(places)), left_out


def _joined(pages: list[Decoded]) -> Decoded:
    """All pages as one text; the encodings that occur, and the least margin."""
    encodings = dict.fromkeys(page.encoding for page in pages if page.text)
    return Decoded(
        "\n\n\n".join(page.text for page in pages),
        ", ".join(encodings) or "utf-8",
        sum(page.replacements for page in pages),
        min((page.margin for page in pages), default=1.0),
        tuple(place for page in pages for place in page.damage)[:20],
        next((page.mojibake for page in pages if page.mojibake), ""),
    )


def _meta(package: ElementTree.Element, field: str) -> str:
    for element in package.iter():
        if _local(element) == field and element.text and element.text.strip():
            return " ".join(element.text.split())
    return ""
