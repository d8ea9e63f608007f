"""Text out of epub and html files, with the standard library only."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from html.parser import HTMLParser
from urllib.parse import unquote
from xml.etree import ElementTree

from stylellm.corpus.encoding import decode
from stylellm.errors import DataError

MAX_UNPACKED = 400 * 1024 * 1024
"""Bytes an epub may unpack to; more is a zip bomb, or mostly pictures nobody reads here."""

_BLOCKS = frozenset(
    (
        *("p", "div", "br", "li", "ul", "ol", "tr", "table", "section", "article", "blockquote"),
        *("hr", "body", "dt", "dd", "pre", "figure", "header", "footer"),
    )
)
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_SILENT = frozenset(("script", "style", "head", "rt", "rp", "noscript", "template", "svg"))


class _TextExtractor(HTMLParser):
    """Collects text: a block a line, headings between blank lines, ruby readings left out."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._silent: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _SILENT:
            self._silent.append(tag)
        elif tag in _HEADINGS:
            self.parts.append("\n\n\n")
        elif tag in _BLOCKS:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._silent:
            del self._silent[self._silent.index(tag) :]
        elif tag in _HEADINGS:
            self.parts.append("\n\n")
        elif tag in _BLOCKS:
            self.parts.append("\n")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _BLOCKS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.parts.append(re.sub(r"[ \t\r\n]+", " ", data))


def read_html(markup: str) -> str:
    """The text of an HTML page: a block a line, headings between blank lines."""
    parser = _TextExtractor()
    parser.feed(markup)
    parser.close()
    lines = (line.strip(" ") for line in "".join(parser.parts).split("\n"))
    return re.sub("\n{4,}", "\n\n\n", "\n".join(lines)).strip("\n") + "\n"


def read_epub(data: bytes, name: str) -> tuple[str, str, str]:
    """(text in spine order, title, author) of an epub.

    Raises:
        DataError: not an epub, encrypted, broken, or unpacking to more than 400 MB.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_UNPACKED:
                raise DataError(
                    f"{name} unpacks to more than {MAX_UNPACKED >> 20} MB", "an epub of text"
                )
            package, folder = _package(archive)
            pages = [read_html(_page(archive, path, name)) for path in _spine(package, folder)]
            return "\n\n\n".join(pages), _meta(package, "title"), _meta(package, "creator")
    except DataError:
        raise
    except (zipfile.BadZipFile, ElementTree.ParseError, KeyError, RuntimeError, ValueError, OSError,
            EOFError, NotImplementedError, AttributeError, IndexError) as error:  # fmt: skip
        raise DataError(
            f"{name} is not a readable epub ({type(error).__name__}: {error})",
            "an unencrypted epub",
        ) from None
    except Exception as error:  # zlib.error, lzma.LZMAError: damaged compressed data
        raise DataError(f"{name} is a damaged epub ({error})", "an unencrypted epub") from None


def _package(archive: zipfile.ZipFile) -> tuple[ElementTree.Element, str]:
    """The package document, and the folder its paths are relative to."""
    container = _parse(archive.read("META-INF/container.xml"))
    rootfile = next(element for element in container.iter() if _local(element) == "rootfile")
    path = rootfile.attrib["full-path"]
    return _parse(archive.read(path)), posixpath.dirname(path)


def _parse(data: bytes) -> ElementTree.Element:
    if b"<!ENTITY" in data:
        raise ValueError("entity definitions are not accepted")
    return ElementTree.fromstring(data)


def _local(element: ElementTree.Element) -> str:
    return element.tag.rsplit("}", 1)[-1] if isinstance(element.tag, str) else ""


def _spine(package: ElementTree.Element, folder: str) -> list[str]:
    """Paths of the pages in reading order; the table of contents (nav) is left out."""
    items = {e.attrib.get("id", ""): e for e in package.iter() if _local(e) == "item"}
    paths = []
    for reference in (e for e in package.iter() if _local(e) == "itemref"):
        item = items.get(reference.attrib.get("idref", ""))
        if item is None or "nav" in item.attrib.get("properties", "").split():
            continue
        if "html" in item.attrib.get("media-type", ""):
            paths.append(posixpath.normpath(posixpath.join(folder, unquote(item.attrib["href"]))))
    return paths


def _page(archive: zipfile.ZipFile, path: str, name: str) -> str:
    data = archive.read(path)
    return decode(data, f"{name}:{path}").text if data.strip() else ""


def _meta(package: ElementTree.Element, field: str) -> str:
    for element in package.iter():
        if _local(element) == field and element.text and element.text.strip():
            return " ".join(element.text.split())
    return ""
