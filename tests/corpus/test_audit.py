from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from stylellm.corpus.audit import visible
from stylellm.corpus.prepare import prepare


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any, make_book: Any) -> Path:
    root = tmp_path_factory.mktemp("audit")
    (root / "book").mkdir()
    text = make_book(10, seed=8).replace("“", "「").replace("”", "」")
    text += "\n更多小说<script>请下载</script>www.example.com\n" + text.split("\n")[2]
    (root / "book" / "夜行 & 录.txt").write_text(text, encoding="utf-8")
    prepare([root / "book"], tokenizer=tokenizer, output_dir=root / "out", progress=False)
    return root / "out"


class Reader(HTMLParser):
    """Cells, tags and links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_is_self_contained_and_says_what_was_done(folder: Path) -> None:
    page = (folder / "audit.html").read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(page)
    text = "".join(reader.text)
    assert reader.links == []
    assert "script" not in reader.tags  # what a book holds is shown, never run
    for words in ("夜行 & 录", "数据审计 Data audit", "引号统一", "train", "utf-8"):
        assert words in text
    assert text.index("no general text") < text.index("书 Books")  # warnings first
    samples = text[text.index("样例 Samples") :]
    assert "「" in samples
    assert "“" in samples


def test_markdown_has_a_row_for_each_book_split_and_rule(folder: Path) -> None:
    lines = (folder / "audit.md").read_text(encoding="utf-8").split("\n")
    for name in ("夜行 & 录", "train", "validation", "test", "quotes", "ads"):
        assert sum(line.startswith(f"| {name} |") for line in lines) == 1, name
    tables = [line for line in lines if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)


def test_blanks_can_be_seen() -> None:
    assert visible("一\n二\u3000三\u200b") == "一↵二□三‹200B›"
