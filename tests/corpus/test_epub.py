from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from epub_maker import make_epub
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.corpus.epub import read_epub
from stylellm.corpus.read import read_book
from stylellm.errors import DataError

TEXT = "话说江湖之上，有一少年，提剑夜行，遇雨而止。他笑道：“好雨！”\n" * 3
PAGES = {
    "b.xhtml": "<html><body><h2>第二章</h2><p>后文。</p></body></html>",
    "a.xhtml": "<html><body><h2>第一章</h2><p>前文。</p></body></html>",
    "n.xhtml": "<html><body><p>旁注。</p></body></html>",
}


def lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


def test_epub_follows_the_spine(tmp_path: Path) -> None:
    data = make_epub(PAGES, ["a.xhtml", "n.xhtml|no", "b.xhtml"], title="夜行录", creator="无名氏")
    (tmp_path / "x.epub").write_bytes(data)
    book = read_book(tmp_path / "x.epub")
    assert lines(book.text) == ["第一章", "前文。", "第二章", "后文。"]
    assert (book.title, book.author, book.encoding) == ("夜行录", "无名氏", "utf-8")


def test_pages_that_are_all_aside_are_read() -> None:
    assert lines(read_epub(make_epub(PAGES, ["b.xhtml|no"]), "x").decoded.text)[-1] == "后文。"


def test_pages_in_gbk_and_in_other_case_are_found() -> None:
    data = make_epub({"A.xhtml": ""}, ["A.xhtml"])
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            page = entry.filename.endswith("A.xhtml")
            body = f"<p>{TEXT}</p>".encode("gb18030") if page else old.read(entry)
            new.writestr(entry.filename.replace("A.xhtml", "a.XHTML"), body)
    book = read_epub(buffer.getvalue(), "x")
    assert book.decoded.text.startswith("话说江湖之上")
    assert book.decoded.encoding == "gb18030"


def test_broken_epubs_are_refused() -> None:
    good = make_epub({"a.xhtml": "<p>" + TEXT + "</p>"}, ["a.xhtml"], title="书")
    for data in (b"PK", good[: len(good) // 2], good.replace(b"rootfile ", b"toorfile ")):
        with pytest.raises(DataError, match=r"书\.epub"):
            read_epub(data, "书.epub")
    bomb = make_epub({"a.xhtml": "<p>&x;</p>"}, ["a.xhtml"]).replace(b"<package", b"<!ENTITY")
    with pytest.raises(DataError):
        read_epub(bomb, "书.epub")


def test_a_missing_page_and_encryption_are_named() -> None:
    whole = make_epub(PAGES, ["a.xhtml"])
    with pytest.raises(DataError, match=r"lacks its page OEBPS/text/a\.xhtml"):
        read_epub(whole.replace(b"OEBPS/text/a.xhtml", b"OEBPS/text/z.xhtml"), "书.epub")
    buffer = io.BytesIO(whole)
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("META-INF/encryption.xml", '<x URI="OEBPS/text/a.xhtml"/>')
    with pytest.raises(DataError, match="encrypted"):
        read_epub(buffer.getvalue(), "书.epub")


def test_zip_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylellm.corpus.epub.MAX_UNPACKED", 3000)
    data = make_epub({"a.xhtml": "<p>" + "大" * 2000 + "</p>"}, ["a.xhtml"], title="书")
    with pytest.raises(DataError, match="unpacks to more"):
        read_epub(data, "书.epub")


@given(st.binary(max_size=60), st.integers(0, 2000))
@settings(max_examples=60, deadline=None)
def test_damaged_epubs_are_refused_or_read(noise: bytes, position: int) -> None:
    good = make_epub({"a.xhtml": "<p>" + TEXT + "</p>"}, ["a.xhtml"], title="书")
    data = good[:position] + noise + good[position + len(noise) :]
    try:
        found = read_epub(data, "书.epub").decoded.text
    except DataError as error:
        found = str(error).replace("\n", "LINE")
    assert "LINE" not in found
