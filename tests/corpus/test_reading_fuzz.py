"""Whatever a file holds, reading it gives a book or one clear line."""

from __future__ import annotations

import io
import random
import zipfile
from pathlib import Path

import pytest
from epub_maker import make_epub
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stylellm.corpus.read import find_sources, read_book
from stylellm.errors import DataError

TEXT = "话说江湖之上，有一少年，提剑夜行，遇雨而止。他笑道：“好雨！”\n" * 30
CODECS = (
    "utf-8",
    "utf-8-sig",
    "gb18030",
    "big5hkscs",
    "utf-16",
    "utf-16-le",
    "utf-16-be",
    "hz",
    "utf-32",
)
SUFFIXES = (".txt", ".md", ".jsonl", ".html", ".epub", ".zip")
SEEDS = {
    ".md": "# 第一章\n**好**雨[^1]。\n\n[^1]: 注\n" + TEXT,
    ".jsonl": '{"text": "好雨。"}\n' * 20,
    ".html": "<html><body><h1>第一章</h1><p>雨<ruby>汉<rt>h</rt></ruby></p></body></html>" * 4,
}


def try_to_read(path: Path) -> int:
    """Characters read; 0 when refused in one line."""
    try:
        found = find_sources([path])
        return sum(len(read_book(file, accept_damaged=True).text) for file in found.files)
    except DataError as error:
        message = str(error)
        assert "\n" not in message
        assert message.encode("utf-8")
        return 0


def seed_file(suffix: str) -> bytes:
    if suffix == ".epub":
        return make_epub({"a.xhtml": "<p>" + TEXT + "</p>"}, ["a.xhtml"], title="书")
    if suffix == ".zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("甲/乙.txt", TEXT)
            archive.writestr("books.yaml", "甲: {author: 丙}")
        return buffer.getvalue()
    return SEEDS.get(suffix, TEXT).encode("utf-8")


def spoil(data: bytes, chance: random.Random) -> bytes:
    """Change, remove, insert, repeat or cut some bytes."""
    broken = bytearray(data)
    for _ in range(chance.randrange(1, 12)):
        at = chance.randrange(len(broken) + 1)
        kind = chance.randrange(5)
        if kind == 0 and at < len(broken):
            broken[at] = chance.randrange(256)
        elif kind == 1:
            del broken[at : at + chance.randrange(1, 9)]
        elif kind == 2:
            broken[at:at] = chance.randbytes(chance.randrange(1, 9))
        elif kind == 3:
            broken[at:at] = broken[max(0, at - 40) : at]
        elif chance.random() < 0.2:
            del broken[at:]
    return bytes(broken)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_random_bytes(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"书{suffix}"
    chance = random.Random(suffix)
    for size in (0, 1, 2, 3, 10, 100, 1000, 5000):
        for head in (b"", b"\xff\xfe", b"\xef\xbb\xbf", b"PK\x03\x04"):
            path.write_bytes(head + chance.randbytes(size))
            # No text out of nothing, but for the line end that HTML gets.
            assert try_to_read(path) <= path.stat().st_size + 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_spoiled_files(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"书{suffix}"
    chance = random.Random(suffix)
    good = seed_file(suffix)
    path.write_bytes(good)
    assert try_to_read(path) > 0
    for _ in range(60):
        path.write_bytes(spoil(good, chance))
        try_to_read(path)


@pytest.mark.parametrize("codec", CODECS)
def test_truncated_text_of_every_length(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "书.txt"
    data = TEXT[:40].encode(codec, "ignore")
    for size in range(1, len(data), 3):
        path.write_bytes(data[:size])
        assert try_to_read(path) <= size


@given(st.text(max_size=80), st.sampled_from(CODECS), st.binary(max_size=8), st.integers(0, 200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
def test_any_text_with_any_noise(
    tmp_path: Path, text: str, codec: str, noise: bytes, at: int
) -> None:
    data = text.encode(codec, "ignore")
    path = tmp_path / "书.txt"
    path.write_bytes(data[:at] + noise + data[at:])
    assert try_to_read(path) <= len(data) + len(noise)


@given(st.text(min_size=1, max_size=12), st.binary(min_size=1, max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80)
def test_any_name_in_an_archive(tmp_path: Path, name: str, raw: bytes) -> None:
    name = name.encode("utf-8", "replace").decode("utf-8").replace("\0", "") or "x"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name + ".txt", "雨。")
        archive.writestr("Q" * len(raw), "夜。")
    path = tmp_path / "书.zip"
    path.write_bytes(buffer.getvalue().replace(b"Q" * len(raw), raw))
    assert try_to_read(path) <= len("雨。夜。")
