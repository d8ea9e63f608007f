"""The books that `bench_prepare.py` measures on: real ones, changed copies, reprints of chapters."""

from __future__ import annotations

import os
import random
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILE_BYTES = 1_000_000
CHAPTER = re.compile(r"(?=第[一二三四五六七八九十百]{1,5}回)")


def corpus_books() -> list[str]:
    """The texts of the real books."""
    folder = Path(os.environ.get("STYLELLM_CORPUS") or ROOT.parent / "shared" / "corpus")
    files = sorted([*folder.glob("wuxia/*.txt"), *folder.glob("classic/*.txt")])
    if not files:
        sys.exit(f"no books in {folder}: set STYLELLM_CORPUS")
    return [file.read_text(encoding="utf-8") for file in files]


def exchanged(text: str, generator: random.Random) -> str:
    """The text with a third of its kinds of characters exchanged among themselves."""
    kinds = sorted({char for char in text if "\u4e00" <= char <= "\u9fff"} - set("第回章卷"))
    some = generator.sample(kinds, len(kinds) // 3)
    return text.translate(dict(zip(map(ord, some), generator.sample(some, len(some)), strict=True)))


def retouched(text: str, generator: random.Random) -> str:
    """The text with one character in a hundred replaced, as another edition might have it."""
    chars = list(text)
    for _ in range(len(chars) // 100):
        chars[generator.randrange(len(chars))] = "某"
    return "".join(chars)


def make_shelf(folder: Path, megabytes: float) -> int:
    """Write books of a megabyte at most, `megabytes` in all; the bytes written.

    After every two books comes an anthology of retouched chapters of theirs: a tenth.
    """
    generator = random.Random(0)
    books = corpus_books()
    written = number = 0
    seen: list[str] = []
    while written < megabytes * 1e6 - 3000:
        room = int(min(megabytes * 1e6 - written, FILE_BYTES) / 3)
        if number % 3 == 2:
            text, seen = anthology(seen, generator), []
        else:
            book = books[number % len(books)]
            text = book if number < len(books) else exchanged(book, generator)
            chapters = CHAPTER.split(text[:room])
            seen += generator.sample(chapters, len(chapters) // 10)
        data = text[:room].encode("utf-8")
        (folder / f"{number:04}.txt").write_bytes(data)
        written += len(data)
        number += 1
    return written


def anthology(chapters: list[str], generator: random.Random) -> str:
    """Chapters as another edition might reprint them, under headings of its own."""
    return "\n\n".join(
        f"第{number}回 重刊\n\n{retouched(chapter.replace(chr(10), ''), generator)}"
        for number, chapter in enumerate(chapters, start=1)
    )
