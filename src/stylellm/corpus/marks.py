"""Punctuation and width: forms made equal, and what is missing or doubled counted.

The patterns begin with the rare character, not with what stands before it, so that they skip
through Chinese text at the speed of a search.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from stylellm.corpus.headings import is_heading_line
from stylellm.corpus.pairs import CharacterSearch

Edit = tuple[int, int, str]

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_AFTER = f"{_HAN}”’」』）》"  # half-width marks behind these belong to Chinese text
_BEFORE = f"{_HAN}“‘「『《"

_HYPHEN = "\\-"
_PARENS = re.compile(f"\\(([^()\n]{{0,80}}[{_HAN}][^()\n]{{0,80}})\\)")
_FORMS = dict(
    zip(
        "﹐﹑﹒﹔﹕﹖﹗﹙﹚︵︶︿﹀︽︾︻︼︰︱｢｣､",
        "，、。；：？！（）（）〈〉《》【】：—「」、",
        strict=True,
    )
)  # small, vertical and half-width
# One search for any first character (a set, which `re` looks for fast), then what follows it.
_ANY = re.compile(
    f"[Ａ-Ｚａ-ｚ０-９,;:?!.．｡·・‧•∙∼―─━－{_HYPHEN}{''.join(_FORMS)}](?:"
    "(?<=[Ａ-Ｚａ-ｚ０-９])(?P<wide>[Ａ-Ｚａ-ｚ０-９]*)|"
    f"(?<=[,;:?!])(?P<narrow>(?<=[{_AFTER}].)[,;:?!]*|(?=[{_BEFORE}]))|"
    "(?<=[.])(?P<dots>[.]{2,}+)|(?<=．)(?P<wide_dots>．{2,}+)|(?<=[·・])(?P<points>[·・]{2,}+)|"
    f"(?<=[{_AFTER}][．｡])(?P<stop>(?![．｡.]))|(?<=[{_HAN}][.])(?P<end>(?=[”’」』\n]|\\Z))|"
    f"(?<=[―─━])(?P<dash>[―─━]{{0,3}})|(?<=－)(?P<wide_dash>－{{1,3}})|(?<=-)(?P<hyphens>(?<=[{_HAN}]-)-{{1,3}}|-{{1,3}}(?=[{_HAN}]))|"
    f"(?<=[{_HAN}][‧•・∙])(?P<point>(?=[{_HAN}]))|(?<=∼)(?P<wave>)|(?<=[{''.join(_FORMS)}])(?P<form>))"
)
_CHINESE_BEFORE = re.compile(f"[{_AFTER}，、！？]")
_CHINESE_AFTER = re.compile(f"[{_BEFORE}”’」』，。！？]")
_RING_DOTS = re.compile("。{3,}+")
_NEW = {
    **dict.fromkeys(("dots", "wide_dots", "points"), "……"),
    **dict.fromkeys(("stop", "end"), "。"),
    **dict.fromkeys(("dash", "wide_dash", "hyphens"), "——"),
    "point": "·",
    "wave": "～",
}
_TO_FULL = str.maketrans(",;:?!", "，；：？！")


def find_width(text: str, title: str) -> list[Edit]:
    """Full-width letters and digits made half-width; punctuation beside Chinese, full-width."""
    edits = [(match.start(), match.end(), _equal_form(match)) for match in _ANY.finditer(text)]
    for match in _PARENS.finditer(text) if "(" in text else ():
        edits.append((match.start(), match.start() + 1, "（"))
        edits.append((match.end() - 1, match.end(), "）"))
    if "。。。" in text:
        edits += [(match.start(), match.end(), "……") for match in _RING_DOTS.finditer(text)]
    return sorted(edits)


def _between_chinese(match: re.Match[str]) -> bool:
    before, after = (
        match.string[match.start() - 1 : match.start()],
        match.string[match.end() : match.end() + 1],
    )
    return bool(_CHINESE_BEFORE.match(before) or _CHINESE_AFTER.match(after))


def _equal_form(match: re.Match[str]) -> str:
    kind = match.lastgroup or ""
    if kind == "narrow":
        return match[0].translate(_TO_FULL)
    if kind == "dots" and not _between_chinese(match):
        return match[0]
    if kind == "wide":
        return "".join(chr(ord(char) - 0xFEE0) for char in match[0])
    return _FORMS[match[0]] if kind == "form" else _NEW[kind]


_CORNERS = dict(zip("「」『』﹁﹂﹃﹄〝〞〟", "“”‘’“”‘’“””", strict=True))
_CORNER = re.compile("[" + "".join(_CORNERS) + "]")
_STRAIGHT = re.compile('["＂]')
_SINGLE = re.compile(
    f"(?<![A-Za-z])['＇]([^'＇\n]{{0,80}}[{_HAN}][^'＇\n]{{0,80}})['＇](?![A-Za-z])"
)


def find_quotes(text: str, title: str) -> list[Edit]:
    """Corner brackets, and straight quotes that pair up within a line, made “” and ‘’."""
    edits = [(match.start(), match.end(), _CORNERS[match[0]]) for match in _CORNER.finditer(text)]
    if any(mark in text for mark in "\"＂'＇"):
        for start, line in lines(text):
            if '"' in line or "＂" in line:
                edits += _paired(line, start)
            if "'" in line or "＇" in line:
                for match in _SINGLE.finditer(line):
                    edits.append((start + match.start(), start + match.start() + 1, "‘"))
                    edits.append((start + match.end() - 1, start + match.end(), "’"))
    return sorted(edits)


def _paired(line: str, start: int) -> Iterator[Edit]:
    places = [match.start() for match in _STRAIGHT.finditer(line)]
    if len(places) % 2 == 0 and re.search(f"[{_HAN}]", line):
        for number, at in enumerate(places):
            yield start + at, start + at + 1, "“”"[number % 2]


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line with its offset, without its line break."""
    start = 0
    for line in text.split("\n"):
        yield start, line
        start += len(line) + 1


_MARKS = re.compile("[，、；：。！？]")
_EMPHASIS = re.compile("[！？]+|。{3,}")  # ！！ and ？！ are meant; 。。。 is an ellipsis
_MIN_SENTENCE = 20


def find_doubled_marks(text: str, title: str) -> list[Edit]:
    """Two marks where one belongs ("，，", "。。", "，。"): counted, not changed."""
    found = [(start, end, text[start:end]) for start, end in _mark_search().runs(text, 2)]
    return [edit for edit in found if not _EMPHASIS.fullmatch(edit[2])]


@lru_cache(maxsize=1)
def _mark_search() -> CharacterSearch:
    return CharacterSearch(_MARKS)


def find_missing_marks(text: str, title: str) -> list[Edit]:
    """Paragraphs of prose that end without a full stop, and quotation marks that do not pair up
    within a paragraph: counted, not changed. (A speech of several paragraphs opens each anew.)"""
    edits: list[Edit] = []
    for start, line in lines(text):
        if len(line) < _MIN_SENTENCE:
            continue
        end = start + len(line)
        unpaired = line.count("“") - line.count("”")
        if unpaired < 0 or unpaired > 1 or (unpaired == 1 and line[0] != "“"):
            edits.append((start, start, ""))
        last = line[-1]
        if (
            last not in "。！？…”’」』）)】]!?：:—.～~》"
            and "。" in line
            and not is_heading_line(line)
        ):
            edits.append((end, end, ""))
    return edits
