from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pytest

from stylellm.corpus import archive
from stylellm.corpus.read import BookFile, find_sources, read_book
from stylellm.errors import DataError

TEXT = "话说江湖之上，有一少年，提剑夜行，遇雨而止。他笑道：“好雨！”\n" * 3


def write(path: Path, text: str = TEXT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def names(*paths: Path) -> list[str]:
    return [file.name for file in find_sources(paths).files]


def reasons(*paths: Path) -> dict[str, str]:
    return {skipped.name: skipped.reason for skipped in find_sources(paths).skipped}


def write_zip(path: Path, files: dict[str | bytes, str], *, method: int = 8) -> Path:
    """A zip archive; names given as bytes are stored without saying their encoding."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", method) as made:
        for number, (name, text) in enumerate(files.items()):
            made.writestr(name if isinstance(name, str) else f"{number:0{len(name)}}", text)
    data = path.read_bytes()
    for number, name in enumerate(files):
        if isinstance(name, bytes):
            data = data.replace(f"{number:0{len(name)}}".encode(), name)
    path.write_bytes(data)
    return path


def test_books_are_found_in_order_once_and_others_are_named(tmp_path: Path) -> None:
    for name in (
        "乙.txt",
        "甲 with space.TXT",
        "深/处/丙.md",
        "丁.jsonl",
        ".hidden.txt",
        ".git/x.txt",
    ):
        write(tmp_path / "金庸" / name)
    for name in ("封面.jpg", "书.mobi", "空.txt", "无后缀"):
        write(tmp_path / "金庸" / name, "" if name == "空.txt" else TEXT)
    found = find_sources([tmp_path / "金庸", tmp_path / "金庸" / "乙.txt"])
    assert [file.name for file in found.files] == [
        "丁.jsonl",
        "乙.txt",
        "甲 with space.TXT",
        "丙.md",
    ]
    assert {skipped.name: skipped.reason.split(":")[0] for skipped in found.skipped} == {
        "金庸/封面.jpg": "no kind of book",
        "金庸/书.mobi": "an e-book format that is not read",
        "金庸/空.txt": "empty",
        "金庸/无后缀": "no kind of book",
    }
    assert find_sources(str(tmp_path / "金庸")).files == found.files


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: [folder / "没有.txt"], "没有.txt does not exist"),
        (lambda folder: [folder], "no books in"),
        (lambda folder: [], "no books in an empty list"),
        (lambda folder: [write(folder / "书.doc")], "书.doc is not a book"),
        (lambda folder: [write(folder / "书.txt", "")], "书.txt cannot be used: empty"),
        (lambda folder: [write(folder / "书.zip")], "书.zip cannot be used: is not a readable zip"),
        (lambda folder: [write_zip(folder / "书.zip", {"a.jpg": "x"})], "no books in"),
        (lambda folder: ["a\0b.txt"], "does not exist"),
        (lambda folder: ["长" * 5000], "does not exist"),
    ],
)
def test_nothing_to_read_is_one_clear_line(tmp_path: Path, make, message: str) -> None:
    with pytest.raises(DataError) as caught:
        find_sources(make(tmp_path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def link(tmp_path: Path):
    def make(at: Path, to: Path, folder: bool = False) -> None:
        try:
            at.symlink_to(to, target_is_directory=folder)
        except OSError:
            pytest.skip("no symbolic links here")

    return make


def test_symbolic_link_loops_end(tmp_path: Path, link) -> None:
    write(tmp_path / "a" / "书.txt")
    link(tmp_path / "a" / "loop", tmp_path, True)
    link(tmp_path / "a" / "自己.txt", tmp_path / "a" / "自己.txt")
    link(tmp_path / "a" / "同.txt", tmp_path / "a" / "书.txt")
    assert names(tmp_path) in (["书.txt"], ["同.txt"])  # one file under two names
    found = reasons(tmp_path)
    assert found[f"{tmp_path.name}/a/loop"] == "a link to a folder: name the folder itself"
    assert found[f"{tmp_path.name}/a/自己.txt"] == "a link that leads nowhere"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX files")
def test_what_cannot_be_opened_is_skipped_with_its_reason(tmp_path: Path) -> None:
    write(tmp_path / "书.txt")
    os.mkfifo(tmp_path / "管.txt")
    write(tmp_path / "锁.txt").chmod(0)
    found = find_sources([tmp_path])
    why = {skipped.name: skipped.reason for skipped in found.skipped}
    assert why[f"{tmp_path.name}/管.txt"] == "not a regular file"
    if os.geteuid() != 0:  # root may read everything
        assert why[f"{tmp_path.name}/锁.txt"] == "cannot be read: permission denied"
    assert "书.txt" in [file.name for file in found.files]


def test_a_folder_that_cannot_be_opened_is_skipped(tmp_path: Path, monkeypatch) -> None:
    write(tmp_path / "书.txt")
    write(tmp_path / "锁" / "甲.txt")
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "锁":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert names(tmp_path) == ["书.txt"]
    assert reasons(tmp_path) == {f"{tmp_path.name}/锁": "cannot be read: permission denied"}


@pytest.mark.skipif(sys.platform == "win32", reason="short paths only")
def test_folders_deeper_than_python_may_recurse(tmp_path: Path) -> None:
    here = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1200):
            Path("d").mkdir()
            os.chdir("d")
        Path("书.txt").write_text(TEXT, encoding="utf-8")
        os.chdir(here)
        found = find_sources([tmp_path])
        assert [file.name for file in found.files] == ["书.txt"]
        assert read_book(found.files[0]).documents == (TEXT,)
    finally:
        os.chdir(here)
        # Deeper than shutil.rmtree, with which pytest would clean up, can go.
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="only there names are bytes")
def test_names_in_gbk_bytes_are_decoded(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/" + "《笑傲江湖》作者：金庸.txt".encode("gbk")
    try:
        with open(raw, "wb") as stream:
            stream.write(TEXT.encode("gbk"))
    except OSError:
        pytest.skip("this disk wants UTF-8 names")
    book = read_book(find_sources([tmp_path]).files[0])
    assert (book.name, book.title, book.author) == (
        "《笑傲江湖》作者：金庸.txt",
        "笑傲江湖",
        "金庸",
    )
    assert book.name.encode("utf-8")


def test_ten_thousand_small_files_are_found(tmp_path: Path) -> None:
    for number in range(1000):  # a thousand on disk; the rest in an archive
        (tmp_path / f"{number:04}.txt").write_text("雨。", encoding="utf-8")
    write_zip(tmp_path / "z.zip", {f"{n:04}.txt": "夜。" for n in range(3000)}, method=0)
    found = find_sources([tmp_path]).files
    assert len(found) == 4000
    assert read_book(found[-1]).text == "夜。"


# Archives


def test_an_archive_is_a_folder_of_books(tmp_path: Path) -> None:
    files = {
        "甲.txt": TEXT,
        "乙/丙.txt": TEXT + "丙",
        "乙/封面.jpg": "x",
        "__MACOSX/._甲.txt": "x",
        "内.zip": "x",
        "空.txt": "",
    }
    path = write_zip(tmp_path / "架.zip", files)
    assert names(path) == ["架.zip/甲.txt", "架.zip/乙/丙.txt"]
    assert reasons(path) == {
        "架.zip/内.zip": "an archive inside an archive: unpack it first",
        "架.zip/空.txt": "empty",
        "架.zip/乙/封面.jpg": "no kind of book",
    }
    assert find_sources([path]).files[1].read_bytes().decode("utf-8") == TEXT + "丙"


@pytest.mark.parametrize("encoding", ["gbk", "big5", "utf-8"])
def test_names_of_unstated_encoding_in_archives(tmp_path: Path, encoding: str) -> None:
    wanted = {
        "gbk": ["天龙八部/第一册 剑气碧烟横.txt", "天龙八部/第二册 云雪花.txt"],
        "big5": ["天龍八部/第一冊 青衫磊落險峰行.txt", "天龍八部/第二冊 玉壁月華明.txt"],
        "utf-8": ["天龍八部/第二冊.txt", "天龙八部/第一册.txt"],
    }[encoding]
    path = write_zip(tmp_path / "x.zip", {name.encode(encoding): TEXT for name in wanted})
    assert names(path) == [f"x.zip/{name}" for name in wanted]
    assert read_book(find_sources([path]).files[0]).text == TEXT


def test_the_unicode_name_some_packers_add_is_used(tmp_path: Path) -> None:
    raw = "书.txt".encode("gbk")
    entry = zipfile.ZipInfo("?" * len(raw))
    body = b"\x01" + struct.pack("<I", zlib.crc32(raw)) + "書.txt".encode()
    entry.extra = struct.pack("<HH", 0x7075, len(body)) + body
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        made.writestr(entry, TEXT)
    (tmp_path / "x.zip").write_bytes(buffer.getvalue().replace(b"?" * len(raw), raw))
    assert names(tmp_path / "x.zip") == ["x.zip/書.txt"]


@pytest.mark.parametrize("name", ["../甲.txt", "a/../../甲.txt", "/etc/甲.txt", "C:\\甲.txt"])
def test_paths_that_leave_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    path = write_zip(tmp_path / "x.zip", {"好.txt": TEXT, name: TEXT})
    assert names(path) == ["x.zip/好.txt"]
    (reason,) = reasons(path).values()
    assert reason == "its path leads out of the archive"


def test_zip_bombs_are_refused_in_one_line(tmp_path: Path, monkeypatch) -> None:
    bomb = write_zip(tmp_path / "bomb.zip", {"零.txt": "0" * (20 << 20)})
    write(tmp_path / "书.txt")
    assert names(tmp_path) == ["书.txt"]
    assert "zip bomb" in reasons(tmp_path)[f"{tmp_path.name}/bomb.zip"]
    with pytest.raises(DataError, match="zip bomb"):
        find_sources([bomb])
    monkeypatch.setattr(archive, "MAX_MEMBER", 10)
    path = write_zip(tmp_path / "big.zip", {"书.txt": TEXT, "小.txt": "雨"})
    assert names(path) == ["big.zip/小.txt"]


def test_a_directory_that_lies_about_sizes_gives_no_more_than_it_says(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"书.txt": "0" * 100_000})
    data = path.read_bytes().replace(struct.pack("<I", 100_000), struct.pack("<I", 10))
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged") as caught:
        read_book(find_sources([path]).files[0])
    assert "\n" not in str(caught.value)


def test_encrypted_members_are_named(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"好.txt": TEXT, "密.txt": TEXT}, method=0)
    data = bytearray(path.read_bytes())
    central = data.rindex(b"PK\x01\x02")
    data[central + 8] |= 1
    path.write_bytes(data)
    assert reasons(path) == {"x.zip/密.txt": "encrypted: unpack it first"}
    with pytest.raises(DataError, match="is refused: encrypted"):
        BookFile(path, "密.txt").read_bytes()


def test_a_changed_archive_is_read_anew(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "x.zip", {"甲.txt": TEXT})
    first = find_sources([path]).files[0].sha256()
    write_zip(path, {"甲.txt": TEXT * 2})
    assert find_sources([path]).files[0].sha256() != first
    with pytest.raises(DataError, match="does not exist"):
        BookFile(path, "没有.txt").read_bytes()


# books.yaml


def test_a_catalog_names_titles_and_authors(tmp_path: Path) -> None:
    write(tmp_path / "shediao.txt")
    write(tmp_path / "古龙" / "1.txt")
    write_zip(tmp_path / "架.zip", {"a.txt": TEXT, "books.yaml": "a.txt: {title: 内}"})
    catalog = "shediao.txt: {title: 射雕英雄传, author: 金庸}\n古龙/: {author: 古龙}\n架.zip: {author: 梁羽生}\n"
    (tmp_path / "books.yaml").write_bytes(catalog.encode("gb18030"))
    found = find_sources([tmp_path])
    assert [(file.title, file.author) for file in found.files] == [
        ("射雕英雄传", "金庸"),
        ("内", "梁羽生"),
        ("", "古龙"),
    ]
    assert found.skipped == []
    alone = find_sources([tmp_path / "shediao.txt"]).files[0]
    assert (alone.title, alone.author) == ("射雕英雄传", "金庸")


@pytest.mark.parametrize(
    ("catalog", "message"),
    [
        ("书.txt: {titel: 甲}", "'titel', which is neither title nor author"),
        ("书.txt: {title: 1984}", "the title of 书.txt is a number"),
        ("书.txt: 金庸", "书.txt is text, not {title"),
        ("- 书.txt", "is a list"),
        ("没有.txt: {title: 甲}", "names 没有.txt, but there is no such book"),
        ("../书.txt: {title: 甲}", "leads out of the folder"),
        ("1: {title: 甲}", "1 is a number, not a path"),
        ("子: {title: 甲}", "子 holds several files"),
        ("书.txt: {title: [", "is not YAML"),
        ("书.txt: {title: 甲}\n书.txt: {title: 乙}", "stands there twice"),
        ("书.txt: {title: 甲}\n./书.txt: {title: 乙}", "stands there twice"),
        ("书.txt: {}\n书.txt.: {title: ''}\nx: {a: b}", "; x has 'a'"),
        ("!!python/object:os.system {}", "is not YAML"),
        ("[" * 1200, "is not YAML"),
        ("? [1]\n: 2", "not YAML"),
    ],
)
def test_a_wrong_catalog_is_one_clear_line(tmp_path: Path, catalog: str, message: str) -> None:
    write(tmp_path / "书.txt")
    write(tmp_path / "子" / "甲.txt")
    write(tmp_path / "books.yaml", catalog)
    with pytest.raises(DataError) as caught:
        find_sources([tmp_path])
    assert message in str(caught.value)
    assert "books.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
