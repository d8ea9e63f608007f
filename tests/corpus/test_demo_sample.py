"""The sample in data/demo: its recipe gives these bytes, cleaning gives back the originals."""

from __future__ import annotations

import difflib
import importlib.util
import json
import re
import sys
from collections import Counter
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import pytest

from stylellm.corpus.clean import Cleaned, clean
from stylellm.corpus.read import Book, read_book
from stylellm.corpus.sources import find_sources
from stylellm.corpus.split import chapters

ROOT = Path(__file__).resolve().parent.parent.parent
DEMO = ROOT / "data" / "demo"

AUTHOR_WORKS = ("霜桥渡", "灯下客", "断雁行")
WORKS = (*AUTHOR_WORKS, "金鳞会")
ENCODINGS = {"霜桥渡": "gb18030", "灯下客": "utf-8-sig", "断雁行": "utf-16", "金鳞会": "utf-8"}
NUM_CHAPTERS = {"霜桥渡": 10, "灯下客": 10, "断雁行": 10, "金鳞会": 7}
HAN = re.compile("[\u4e00-\u9fff]")


def _load_recipe() -> ModuleType:
    path = ROOT / "recipes" / "demo_sample" / "build.py"
    spec = importlib.util.spec_from_file_location("demo_sample_build", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


recipe = _load_recipe()


def path_of(title: str) -> Path:
    (path,) = DEMO.glob(f"*/《{title}》*.txt")
    return path


def raw(title: str) -> str:
    return path_of(title).read_bytes().decode(ENCODINGS[title])


@lru_cache(maxsize=8)
def original(title: str) -> list[str]:
    return list(recipe.read_work(title).lines)


@lru_cache(maxsize=8)
def cleaned(title: str) -> tuple[Book, Cleaned]:
    book = read_book(path_of(title))
    return book, clean(book.text, title=book.title)


def cleaned_lines(title: str) -> list[str]:
    return [line for line in cleaned(title)[1].text.split("\n") if line.strip()]


def matched(left: list[str], right: list[str]) -> int:
    """Characters of `left` found in `right`, in order; exact lines first, then inside the rest."""
    total = 0
    blocks = difflib.SequenceMatcher(None, left, right, autojunk=False)
    for kind, a, b, c, d in blocks.get_opcodes():
        if kind == "equal":
            total += sum(map(len, left[a:b]))
        elif kind == "replace":
            inside = difflib.SequenceMatcher(
                None, "".join(left[a:b]), "".join(right[c:d]), autojunk=False
            )
            total += sum(block.size for block in inside.get_matching_blocks())
    return total


def size(lines: list[str]) -> int:
    return sum(map(len, lines))


# --- the recipe ------------------------------------------------------------------------------


def test_recipe_gives_the_files_in_data_demo(tmp_path: Path) -> None:
    built = recipe.build(tmp_path)
    names = {path.relative_to(tmp_path).as_posix() for path in built}
    stored = {path.relative_to(DEMO).as_posix() for path in DEMO.rglob("*") if path.is_file()}
    assert stored - {"README.md", ".gitattributes"} == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (DEMO / name).read_bytes(), name


def test_files_are_as_dirty_as_the_readme_says() -> None:
    ads = raw("霜桥渡")
    assert ads.count("\r\n") == ads.count("\n") > 400
    assert ads.count("banye-shuwu.example") > 15
    wrapped = raw("灯下客")
    pieces = re.sub("[\u200b\u200d\ufeff]", "", wrapped).split("\n")
    lengths = Counter(len(line) for line in pieces if "&" not in line and "http" not in line)
    assert max(lengths) == recipe.WRAP_WIDTH
    assert lengths[recipe.WRAP_WIDTH] > 150
    assert wrapped.count("&nbsp;") > 50
    assert min(wrapped.count(char) for char in recipe.ZERO_WIDTH) > 20
    old = raw("断雁行")
    assert old.startswith("斷雁行\r\n斷雁行\r\n")
    assert old.count("「") == old.count("」") > 200
    assert not re.search("[“”门说这]", old)


def test_every_address_is_reserved() -> None:
    """No real site is advertised: .example is reserved by RFC 2606."""
    addresses = [
        found
        for title in WORKS
        for found in re.findall(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", raw(title))
    ]
    assert len(addresses) > 15
    assert {address.rsplit(".", 1)[1] for address in addresses} == {"example"}


# --- reading and cleaning --------------------------------------------------------------------


def test_author_folder_holds_the_three_works() -> None:
    found = [read_book(path).title for path in find_sources([DEMO / "author"]).files]
    assert sorted(found) == sorted(AUTHOR_WORKS)


@pytest.mark.parametrize("title", WORKS)
def test_encoding_title_and_author(title: str) -> None:
    book, _ = cleaned(title)
    assert book.encoding == ENCODINGS[title]
    assert book.replacements == 0
    assert book.title == title
    assert book.author == ("柳三川" if title == "金鳞会" else "沈雁迟")


@pytest.mark.parametrize("title", WORKS)
def test_cleaning_recovers_the_original(title: str) -> None:
    """At least 99.5% of the original is there, and next to nothing that is not the original."""
    want, got = original(title), cleaned_lines(title)
    found = matched(want, got)
    assert found >= 0.995 * size(want)
    assert size(got) - found <= 0.003 * size(want)


@pytest.mark.parametrize("title", WORKS)
def test_cleaning_recovers_the_paragraphs(title: str) -> None:
    """Not only the characters: hard-wrapped lines are joined, no two paragraphs run together."""
    want, got = original(title), cleaned_lines(title)
    kept = sum((Counter(want) & Counter(got)).values())
    assert kept >= 0.98 * len(want)
    assert abs(len(got) - len(want)) <= 0.02 * len(want)


@pytest.mark.parametrize("title", WORKS)
def test_cleaning_leaves_no_dirt(title: str) -> None:
    text = cleaned(title)[1].text
    words = "example|http|书屋|论坛|QQ|TXT|txt|本章完|全书完|全文完|作者：|nbsp|hellip|下载|☆|==="
    assert not re.findall(words, text)
    assert not re.findall("[\u200b\u200d\ufeff\r\t\u3000\xa0&「」]", text)
    assert not re.findall("[ ]{2}|\n{3}", text)


def test_traditional_comes_back_as_the_simplified_original() -> None:
    want, got = original("断雁行"), cleaned_lines("断雁行")
    assert len(want) == len(got)
    differing = sum(
        sum(a != b for a, b in zip(one, two, strict=False)) + abs(len(one) - len(two))
        for one, two in zip(want, got, strict=True)
    )
    assert differing < 0.003 * size(want)


@pytest.mark.parametrize("title", WORKS)
def test_chapters_are_found(title: str) -> None:
    headings = [line for line in original(title) if recipe.is_heading(line)]
    assert len(headings) == NUM_CHAPTERS[title]
    assert [chapter.title for chapter in chapters(cleaned(title)[1].text)] == headings


def test_general_text_is_read_piece_by_piece() -> None:
    book = read_book(DEMO / "general" / "general.jsonl")
    rows = (recipe.TEXT / "general.jsonl").read_text(encoding="utf-8").splitlines()
    assert book.encoding == "utf-8"
    assert [json.loads(row)["text"] for row in rows] == list(book.documents)
    for document in book.documents:
        assert clean(document).text == document


# --- the prose -------------------------------------------------------------------------------


def general_lines() -> list[str]:
    rows = (recipe.TEXT / "general.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for row in rows for line in json.loads(row)["text"].split("\n")]


def test_lengths() -> None:
    han = {title: len(HAN.findall("".join(original(title)))) for title in WORKS}
    assert min(han.values()) >= 10_000
    assert sum(han[title] for title in AUTHOR_WORKS) >= 30_000
    han["general"] = len(HAN.findall("".join(general_lines())))
    assert han["general"] >= 10_000
    readme = (DEMO / "README.md").read_text(encoding="utf-8")
    for title, count in han.items():
        (row,) = [line for line in readme.splitlines() if line.startswith("|") and title in line]
        assert f"{count:,}" in row, title


@pytest.mark.parametrize("title", [*WORKS, "general"])
def test_no_machine_like_repetition(title: str) -> None:
    """No 12 characters in a row stand more than three times in a work; few stand twice."""
    lines = general_lines() if title == "general" else original(title)
    counts = Counter(line[i : i + 12] for line in lines for i in range(len(line) - 11))
    assert max(counts.values()) <= 3
    assert sum(n - 1 for n in counts.values()) < 0.01 * sum(counts.values())


def test_works_share_no_stock_sentences() -> None:
    """A clause of eight characters or more belongs to one work only."""
    seen: dict[str, str] = {}
    for title in WORKS:
        for clause in set(re.split("[，。！？：；、“”‘’…\n]", "\n".join(original(title)))):
            if len(clause) >= 8:
                assert clause not in seen, (clause, seen[clause], title)
                seen[clause] = title


def test_the_two_authors_write_differently() -> None:
    """Clipped against flowing: sentence length, and the density of 却 竟 便 乃."""

    def figures(titles: tuple[str, ...]) -> tuple[float, float]:
        text = "".join(line for title in titles for line in original(title))
        stops = [sentence for sentence in re.split("[。！？]", text) if HAN.search(sentence)]
        han = len(HAN.findall(text))
        return han / len(stops), len(re.findall("[却竟便乃]", text)) / han

    clipped, particles = figures(AUTHOR_WORKS)
    flowing, other_particles = figures(("金鳞会",))
    assert flowing > 2 * clipped
    assert particles > 1.2 * other_particles
