from __future__ import annotations

import hashlib
import json
import re
import zipfile
from pathlib import Path

import pytest
from epub_maker import make_epub

from stylellm.corpus.read import BookFile, find_sources, read_book
from stylellm.errors import DataError

TEXT = "话说江湖之上，有一少年，提剑夜行，遇雨而止。他笑道：“好雨！”\n" * 3


def write(path: Path, text: str = TEXT, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


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


def test_a_book_in_an_archive_is_read_like_a_file(tmp_path: Path) -> None:
    path = tmp_path / "古龙.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("绝代双骄.txt", TEXT.encode("gb18030"))
        archive.writestr("金庸/《书剑》.md", TEXT)
    found = [read_book(file) for file in find_sources([path]).files]
    assert [(book.name, book.title, book.author) for book in found] == [
        ("古龙.zip/绝代双骄.txt", "绝代双骄", "古龙"),
        ("古龙.zip/金庸/《书剑》.md", "书剑", "金庸"),
    ]
    assert found[0].text == TEXT
    assert found[0].sha256 == hashlib.sha256(TEXT.encode("gb18030")).hexdigest()
    assert found[0].path == path


def test_what_a_catalog_says_comes_first(tmp_path: Path) -> None:
    path = write(tmp_path / "《甲》作者：乙.txt")
    book = read_book(BookFile(path, title="丙", author="丁"))
    assert (book.title, book.author) == ("丙", "丁")


def test_damage_is_located_and_shown(tmp_path: Path) -> None:
    data = bytearray(TEXT.encode("gb18030") * 20)
    at = data.index("雨而止".encode("gb18030"), 400)
    data[at] = 0xFF
    (tmp_path / "书.txt").write_bytes(data)
    book = read_book(tmp_path / "书.txt")
    assert book.replacements == 1 and len(book.damage) == 1
    damage = book.damage[0]
    assert damage.offset == at
    assert damage.line == data[:at].count(b"\n") + 1
    assert "遇\ufffd而止" in damage.context
    assert book.text.replace("\ufffd", "雨") == TEXT * 20


def test_too_much_damage_is_refused_unless_accepted(tmp_path: Path) -> None:
    data = bytearray(TEXT.encode("utf-8") * 20)
    for at in range(100, 100 + 30 * 60, 60):
        data[at] = 0xFF
    (tmp_path / "书.txt").write_bytes(data)
    with pytest.raises(DataError, match=r"too damaged.*first at byte 100, line 2") as caught:
        read_book(tmp_path / "书.txt")
    assert "\n" not in str(caught.value)
    book = read_book(tmp_path / "书.txt", accept_damaged=True)
    assert 25 <= book.replacements <= 60
    assert len(book.damage) == 20


def test_epub_damage_and_footnotes_reach_the_book(tmp_path: Path) -> None:
    page = '<p>前文<a class="noteref" href="#n">[1]</a>。</p><p class="footnote" id="n">注文</p>'
    data = make_epub({"a.xhtml": page}, ["a.xhtml"], title="夜行 录", creator="无名氏 著")
    (tmp_path / "x.epub").write_bytes(data)
    book = read_book(tmp_path / "x.epub")
    assert (book.title, book.author) == ("夜行 录", "无名氏")
    assert book.text.strip() == "前文。"
    assert book.left_out == {"footnotes": 2, "footnote marks": 3}


def test_markdown_front_matter_names_the_book(tmp_path: Path) -> None:
    text = "---\ntitle: 夜行录\nauthor: '无名氏'\n---\n# 第一章\n" + TEXT
    book = read_book(write(tmp_path / "x.md", text))
    assert (book.title, book.author) == ("夜行录", "无名氏")
    assert "title" not in book.text
