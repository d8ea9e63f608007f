from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylellm.corpus.epub import read_epub, read_html
from stylellm.corpus.read import find_books, find_files, read_book
from stylellm.errors import DataError

TEXT = "话说江湖之上，有一少年，提剑夜行，遇雨而止。他笑道：“好雨！”\n" * 3


def write(path: Path, text: str = TEXT, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def make_epub(pages: dict[str, str], order: list[str], **metadata: str) -> bytes:
    """A minimal epub: `pages` by file name, in the reading order of `order`."""
    fields = "".join(f"<dc:{key}>{value}</dc:{key}>" for key, value in metadata.items())
    items = "".join(
        f'<item id="{name}" href="text/{name}" media-type="application/xhtml+xml"/>'
        for name in pages
    )
    spine = "".join(f'<itemref idref="{name}"/>' for name in order)
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<metadata>{fields}</metadata><manifest>{items}"
        '<item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>'
        f'</manifest><spine><itemref idref="nav"/>{spine}</spine></package>'
    )
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="OEBPS/book.opf" media-type="application/oebps-package+xml"/>'
        "</rootfiles></container>"
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("META-INF/container.xml", container)
        archive.writestr("OEBPS/book.opf", package)
        for name, page in pages.items():
            archive.writestr(f"OEBPS/text/{name}", page)
    return buffer.getvalue()


def test_books_are_found_in_order_once_and_others_are_listed(tmp_path: Path) -> None:
    for name in (
        "乙.txt",
        "甲 with space.TXT",
        "深/处/丙.md",
        "丁.jsonl",
        ".hidden.txt",
        ".git/x.txt",
    ):
        write(tmp_path / "金庸" / name)
    write(tmp_path / "金庸" / "封面.jpg")
    books, skipped = find_files([tmp_path, tmp_path / "金庸" / "乙.txt"])
    assert [book.name for book in books] == ["丁.jsonl", "乙.txt", "甲 with space.TXT", "丙.md"]
    assert [path.name for path in skipped] == ["封面.jpg"]
    assert find_books([tmp_path]) == books


def test_symbolic_link_loops_end(tmp_path: Path) -> None:
    write(tmp_path / "a" / "书.txt")
    try:
        (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    except OSError:
        pytest.skip("no symbolic links here")
    assert len(find_books([tmp_path])) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: [folder / "没有.txt"], "没有.txt does not exist"),
        (lambda folder: [folder], "no books in"),
        (lambda folder: [], "no books in an empty list"),
        (lambda folder: [write(folder / "书.doc")], "书.doc is not a book"),
    ],
)
def test_nothing_to_read_is_one_clear_line(tmp_path: Path, make, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        find_books(make(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "first_line", "title", "author"),
    [
        ("《射雕英雄传》作者：金庸.txt", "", "射雕英雄传", "金庸"),
        ("《多情剑客无情剑》古龙(校对版).txt", "", "多情剑客无情剑", "古龙"),
        ("萍踪侠影录 作者：梁羽生.txt", "", "萍踪侠影录", "梁羽生"),
        ("shediao.txt", "《射雕英雄传》作者：金庸\n\n", "射雕英雄传", "金庸"),
        ("水浒传.txt", "《水浒传》施耐庵\n\n", "水浒传", "施耐庵"),
        ("古龙/绝代双骄.txt", "", "绝代双骄", "古龙"),
        ("武侠小说/绝代双骄.txt", "", "绝代双骄", ""),
        ("books/novel.txt", "《出关》的“关”\n\n", "novel", ""),
    ],
)
def test_title_and_author(
    tmp_path: Path, name: str, first_line: str, title: str, author: str
) -> None:
    book = read_book(write(tmp_path / "corpus" / name, first_line + TEXT))
    assert (book.title, book.author) == (title, author)


def test_what_a_book_knows_of_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "书.txt", encoding="gb18030")
    book = read_book(path)
    assert book.text == TEXT
    assert book.encoding == "gb18030"
    assert book.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert book.num_bytes == path.stat().st_size
    assert book.documents == (TEXT,)


def test_json_lines_give_a_document_each(tmp_path: Path) -> None:
    rows = [{"text": "第一篇。", "source": "x"}, {"text": "第二\n篇。\ud800"}]
    lines = "\n".join(json.dumps(row) for row in rows)
    book = read_book(write(tmp_path / "百科.jsonl", lines + "\n\n"))
    assert book.documents == ("第一篇。", "第二\n篇。\ufffd")


@pytest.mark.parametrize("line", ["{", "[1]", '{"body": "x"}', '{"text": 3}', "[" * 100_000])
def test_a_bad_json_line_is_named(tmp_path: Path, line: str) -> None:
    path = write(tmp_path / "坏.jsonl", '{"text": "好的一行"}\n' + line)
    with pytest.raises(DataError, match=r"坏\.jsonl, line 2"):
        read_book(path)


def test_markdown_headings_become_lines_of_their_own(tmp_path: Path) -> None:
    book = read_book(write(tmp_path / "书.md", "# 第一章 雨 #\n正文。\n## 第二章\n"))
    assert [line for line in book.text.split("\n") if line] == ["第一章 雨", "正文。", "第二章"]


def test_html_keeps_text_and_drops_the_rest() -> None:
    page = "<html><head><title>题</title></head><body><h1>第一章</h1><p>一 &amp;\n二<br>三</p>"
    page += "<script>var x;</script><p><ruby>汉<rt>hàn</rt></ruby>字</p></body></html>"
    lines = [line for line in read_html(page).split("\n") if line]
    assert lines == ["第一章", "一 & 二", "三", "汉字"]


def test_epub_follows_the_spine(tmp_path: Path) -> None:
    pages = {
        "b.xhtml": "<html><body><h2>第二章</h2><p>后文。</p></body></html>",
        "a.xhtml": "<html><body><h2>第一章</h2><p>前文。</p></body></html>",
    }
    data = make_epub(pages, ["a.xhtml", "b.xhtml"], title="夜行 录", creator="无名氏")
    (tmp_path / "x.epub").write_bytes(data)
    book = read_book(tmp_path / "x.epub")
    assert [line for line in book.text.split("\n") if line] == [
        "第一章",
        "前文。",
        "第二章",
        "后文。",
    ]
    assert (book.title, book.author) == ("夜行 录", "无名氏")


def test_broken_epubs_are_refused(tmp_path: Path) -> None:
    good = make_epub({"a.xhtml": "<p>" + TEXT + "</p>"}, ["a.xhtml"], title="书")
    for data in (b"PK", good[: len(good) // 2], good.replace(b"rootfile ", b"toorfile ")):
        with pytest.raises(DataError, match=r"书\.epub"):
            read_epub(data, "书.epub")
    bomb = make_epub({"a.xhtml": "<p>&x;</p>"}, ["a.xhtml"]).replace(b"<package", b"<!ENTITY")
    with pytest.raises(DataError):
        read_epub(bomb, "书.epub")


def test_zip_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylellm.corpus.epub.MAX_UNPACKED", 1000)
    data = make_epub({"a.xhtml": "<p>" + "大" * 2000 + "</p>"}, ["a.xhtml"], title="书")
    with pytest.raises(DataError, match="unpacks to more"):
        read_epub(data, "书.epub")


@given(st.binary(max_size=60), st.integers(0, 2000))
@settings(max_examples=60, deadline=None)
def test_damaged_epubs_are_refused_or_read(noise: bytes, position: int) -> None:
    good = make_epub({"a.xhtml": "<p>" + TEXT + "</p>"}, ["a.xhtml"], title="书")
    data = good[:position] + noise + good[position + len(noise) :]
    try:
        text, _, _ = read_epub(data, "书.epub")
    except DataError:
        return
    assert isinstance(text, str)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "is empty"), (b"\n \n", "is empty"), (bytes(range(256)) * 50, "书.txt")],
)
def test_what_is_no_book_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "书.txt"
    path.write_bytes(data)
    with pytest.raises(DataError, match=re.escape(message)):
        read_book(path)
    with pytest.raises(DataError, match=r"没有\.txt does not exist"):
        read_book(tmp_path / "没有.txt")
