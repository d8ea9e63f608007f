"""Write data/demo from the clean originals in text/: the same prose, as users have books.

    python recipes/demo_sample/build.py [FOLDER]        (default: data/demo)

Four works in four encodings, with the dirt that such files collect: site advertisements, download
notices, hard-wrapped lines, HTML entities, zero-width characters, repeated titles, traditional
characters. All sites are invented (.example is reserved, RFC 2606). No randomness: the same input
gives the same bytes everywhere, which tests/corpus/test_demo_sample.py checks.
"""

from __future__ import annotations

import argparse
import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import opencc

HERE = Path(__file__).resolve().parent
TEXT = HERE / "text"
DEFAULT_OUTPUT = HERE.parent.parent / "data" / "demo"

INDENT = "\u3000\u3000"
WRAP_WIDTH = 38

_HEADING = re.compile(r"第[一二三四五六七八九十]{1,3}[章回] \S.*|楔子")

GBK_NOTICE = (
    "声明：本书由半页书屋（www.banye-shuwu.example）整理，仅供试读，请在下载后24小时内删除。",
    "更多好书请访问：http://www.banye-shuwu.example/",
    "==============================",
)
GBK_ADS = (
    "【手机用户请到 m.banye-shuwu.example 阅读】",
    "本书由半页书屋（www.banye-shuwu.example）整理，更多好书请访问本站！",
    "请记住本站网址：www.banye-shuwu.example",
    "书友QQ群：123456789，欢迎加入！",
    "最新章节请到半页书屋免费阅读：http://www.banye-shuwu.example/book/1029/",
    "☆☆☆☆☆☆☆☆☆☆",
    "半页书屋 TXT全集下载 www.banye-shuwu.example",
)
GBK_INLINE_AD = "（www.banye-shuwu.example）"
CHAPTER_ENDS = "（本章完）"
WRAPPED_NOTICE = (
    "本电子书来自隔窗论坛，由会员手打、校对。",
    "欢迎访问 http://bbs.gechuang-luntan.example ，txt电子书免费下载。",
)
ZERO_WIDTH_EVERY = 41  # characters
ZERO_WIDTH = "\u200b\ufeff\u200d"

# What OpenCC's phrases get wrong in this text, and the forms that Taiwanese editions print.
S2T_FIXES = (
    ("抖幹水", "抖乾水"),
    ("沒幹的字", "沒乾的字"),
    ("像只蝦", "像隻蝦"),
    ("系一截", "繫一截"),
    ("往上卷", "往上捲"),
    ("腳伕", "腳夫"),
)
TAIWANESE = str.maketrans("爲喫麪裏着", "為吃麵裡著")
CORNER_QUOTES = str.maketrans("“”‘’", "「」『』")


@dataclass(frozen=True)
class Work:
    """A work of the sample: `lines` holds headings and paragraphs, one a line, none empty."""

    title: str
    author: str
    lines: list[str]


def is_heading(line: str) -> bool:
    """Whether a line of an original is a chapter heading."""
    return _HEADING.fullmatch(line) is not None


def read_work(title: str) -> Work:
    """Read text/TITLE.txt: title, author, then headings and paragraphs."""
    text = (TEXT / f"{title}.txt").read_text(encoding="utf-8")
    first, second, *lines = [line for line in text.splitlines() if line]
    if first != f"《{title}》" or not second.startswith("作者："):
        raise ValueError(f"{title}.txt does not begin with its title and author")
    return Work(title, second.removeprefix("作者："), lines)


def gbk_with_ads(work: Work) -> bytes:
    """GB18030, CRLF, indented paragraphs, advertisements between them and a few inside."""
    out = [f"《{work.title}》", f"作者：{work.author}", "", *GBK_NOTICE]
    ads = paragraphs = 0
    for line in work.lines:
        if is_heading(line):
            out += [INDENT + CHAPTER_ENDS] if paragraphs else []
            out += ["", line, ""]
            continue
        paragraphs += 1
        inline = paragraphs % 97 == 0
        out.append(INDENT + line + (GBK_INLINE_AD if inline else ""))
        if paragraphs % 23 == 0:
            out.append(INDENT + GBK_ADS[ads % len(GBK_ADS)])
            ads += 1
    out += ["", "（全书完）", GBK_ADS[1]]
    return ("\r\n".join(out) + "\r\n").encode("gb18030")


def wrapped_with_entities(work: Work) -> bytes:
    """UTF-8 with a byte order mark; lines broken at 38 characters, HTML and zero-width residue."""
    out = [f"《{work.title}》", f"作者：{work.author}", *WRAPPED_NOTICE, ""]
    for number, line in enumerate(work.lines):
        if is_heading(line):
            out += ["", line, ""]
            continue
        wrapped = list(_wrap(INDENT + line))
        if number % 9 == 0:
            wrapped[0] = "&nbsp;&nbsp;" + wrapped[0].removeprefix(INDENT)
        out += [piece.replace("……", "&hellip;&hellip;") for piece in wrapped]
    out += ["", "全文完"]
    return codecs.BOM_UTF8 + _sprinkle("\n".join(out) + "\n").encode("utf-8")


def _wrap(line: str) -> Iterator[str]:
    for start in range(0, len(line), WRAP_WIDTH):
        yield line[start : start + WRAP_WIDTH]


def _sprinkle(text: str) -> str:
    """Put a zero-width character into the prose now and then (not inside entities or addresses)."""
    pieces = []
    for index, char in enumerate(text):
        pieces.append(char)
        if index % ZERO_WIDTH_EVERY == 0 and "\u4e00" <= char <= "\u9fff":
            pieces.append(ZERO_WIDTH[index % len(ZERO_WIDTH)])
    return "".join(pieces)


def traditional(work: Work) -> bytes:
    """UTF-16 little-endian with its mark, CRLF, traditional characters, the title repeated."""
    title, author = to_traditional(work.title), to_traditional(work.author)
    out = [title, title, f"《{title}》", f"作者：{author}", ""]
    for line in work.lines:
        line = to_traditional(line)
        out += ["", line, ""] if is_heading(line) else [INDENT + line]
    out += ["", f"《{title}》全書完"]
    return codecs.BOM_UTF16_LE + ("\r\n".join(out) + "\r\n").encode("utf-16-le")


def to_traditional(text: str) -> str:
    """Traditional characters as a Taiwanese edition would print them."""
    converted = _to_traditional().convert(text)
    for wrong, right in S2T_FIXES:
        converted = converted.replace(wrong, right)
    return converted.translate(TAIWANESE).translate(CORNER_QUOTES)


@lru_cache(maxsize=1)
def _to_traditional() -> opencc.OpenCC:
    return opencc.OpenCC("s2t")


def plain(work: Work) -> bytes:
    """UTF-8 without a mark, an empty line between paragraphs."""
    lines = [f"《{work.title}》", f"作者：{work.author}", *work.lines, "（完）"]
    return ("\n\n".join(lines) + "\n").encode("utf-8")


def general() -> bytes:
    """One JSON object a line, as the original."""
    rows = (TEXT / "general.jsonl").read_text(encoding="utf-8").splitlines()
    return "".join(json.dumps(json.loads(row), ensure_ascii=False) + "\n" for row in rows).encode()


def build(output: Path) -> list[Path]:
    """Write the sample into a folder; returns the files written."""
    files = {
        "general/general.jsonl": general(),
    }
    for folder, title, write in (
        ("author", "霜桥渡", gbk_with_ads),
        ("author", "灯下客", wrapped_with_entities),
        ("author", "断雁行", traditional),
        ("other_author", "金鳞会", plain),
    ):
        work = read_work(title)
        files[f"{folder}/《{title}》作者：{work.author}.txt"] = write(work)
    for name, data in files.items():
        path = output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return [output / name for name in files]


def main() -> None:
    """Build into the folder named on the command line."""
    parser = argparse.ArgumentParser(description="Write the demo sample.")
    parser.add_argument("output", nargs="?", type=Path, default=DEFAULT_OUTPUT, metavar="FOLDER")
    for path in build(parser.parse_args().output):
        print(path)


if __name__ == "__main__":
    main()
