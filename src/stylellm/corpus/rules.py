"""The cleaning rules: each finds its edits in a text and knows nothing of the others.

A rule is a function `(text, title) -> edits`, an edit being (start, end, replacement), in order.
The rules run in the order of `RULES`; those on lines need the line ends made equal by the first.
"""

from __future__ import annotations

import html
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from stylellm.corpus.adverts import find_ads, find_watermarks
from stylellm.corpus.layout import cut_one_line, lay_out, unwrap
from stylellm.corpus.marks import (
    find_doubled_marks,
    find_missing_marks,
    find_quotes,
    find_width,
    lines,
)
from stylellm.corpus.matter import find_contents, find_publisher_matter
from stylellm.corpus.pages import find_page_numbers, find_running_titles
from stylellm.corpus.pairs import CharacterSearch
from stylellm.corpus.titles import find_repeated_titles

Edit = tuple[int, int, str]


@dataclass(frozen=True)
class Rule:
    """A cleaning rule: its function and what it does, in Chinese and in English.

    `counts` rules change nothing: what they find is counted and shown.
    """

    find: Callable[[str, str], list[Edit]]
    chinese: str
    english: str
    counts: bool = False


_BLANKS = " \t\u3000\xa0\u1680\u2000-\u200a\u202f\u205f\u3164"

_LINE_ENDS = re.compile("[\r\u2028\u2029\x85\x0b\x0c](?:(?<=\r)\n)?")
_CONTROL = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff\ufff0-\uffff"
    "\ud800-\udfff\ue000-\uf8ff\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
_SPECIAL = re.compile("<\\|[a-z_]{2,30}\\|>")
_TAGS = (
    "a|abbr|article|b|big|blockquote|body|br|center|code|dd|div|dl|dt|em|font|footer|form|h[1-6]|"
    "head|header|hr|html|i|iframe|img|input|ins|label|li|link|main|meta|nav|ol|option|p|pre|rp|rt|"
    "ruby|s|script|section|select|small|span|strike|strong|style|sub|sup|svg|table|tbody|td|textarea|"
    "th|thead|title|tr|tt|u|ul"
)
_HTML = re.compile(
    rf"<!--.{{0,2000}}?-->|<!DOCTYPE[^>]{{0,200}}>|<\?xml[^>]{{0,200}}\?>|"
    rf"<(script|style)\b[^>]{{0,200}}>.{{0,20000}}?</\1>|(?:<|&lt;)/?(?P<tag>{_TAGS})"
    rf"(?:\s*/?|[\s/][^<>\n]{{0,200}}?=[^<>\n]{{0,400}}?)(?:>|&gt;)",
    re.IGNORECASE | re.DOTALL,
)
_ENTITY = re.compile(
    "&(?:amp;)*(?:[a-zA-Z]{2,8}|#\\d{2,6}|#[xX][0-9a-fA-F]{2,5});|&nbsp(?![A-Za-z;])"
)
_FORUM_TAG = re.compile(
    "\\[/?(?:b|i|u|s|url|img|color|size|font|quote|center|align)(?:=[^\\]\n]{0,200})?\\]",
    re.IGNORECASE,
)
_SCRIPT = re.compile(  # a line of JavaScript: it calls something, and holds nothing Chinese
    r"^[ \t\u3000]*(?:document\.write|function \w+\(|var \w+ ?=|(?:\w+\.){0,3}\w+\([^)\u2e80-\uffff\n]{0,120}\);)"
    r"[^\u2e80-\uffff\n]*$",
    re.MULTILINE | re.ASCII,
)
_BREAKING_TAGS = frozenset(("br", "p", "div", "li", "tr", "hr", "h1", "h2", "h3", "h4", "h5", "h6"))

_OPEN, _SHUT = r"（(\[〔【", r"）)\]〕】"
_SIGNS = "①-⑳㉑-㊿⑴-⒇"
_NOTE = rf"[{_OPEN}](?:[注註]\s?)?(?:[\d０-９]{{1,3}}|[①-⑳㉑-㊿])[{_SHUT}]"
_MARKER = re.compile(
    rf"[{_OPEN}{_SIGNS}¹²³⁰⁴-⁹](?:(?<=[{_OPEN}])(?:[注註]\s?)?(?:[\d０-９]{{1,3}}|[①-⑳㉑-㊿])[{_SHUT}]|"
    rf"(?<=[{_SIGNS}])|(?<=[¹²³⁰⁴-⁹])[¹²³⁰⁴-⁹]{{0,2}})"
)
_NOTE_LINE = re.compile(rf"^[{_BLANKS}]*({_NOTE}|[{_SIGNS}])(?=\S)[^\n]*\n?", re.MULTILINE)
_SEPARATOR = re.compile(
    rf"^[{_BLANKS}]*(?:[※＊*=_#~◆◇★☆●○·.—－-][{_BLANKS}]*){{3,}}$\n?", re.MULTILINE
)


def _replace(
    pattern: re.Pattern[str], new: Callable[[re.Match[str]], str]
) -> Callable[[str, str], list[Edit]]:
    def find(text: str, title: str) -> list[Edit]:
        return [(match.start(), match.end(), new(match)) for match in pattern.finditer(text)]

    return find


def find_control(text: str, title: str) -> list[Edit]:
    """Characters that show nothing, and the control tokens of language models."""
    edits = [(start, end, "") for start, end in _control_search().runs(text)]
    if "<|" in text:
        edits += [(match.start(), match.end(), "") for match in _SPECIAL.finditer(text)]
    return sorted(edits)


@lru_cache(maxsize=1)
def _control_search() -> CharacterSearch:
    return CharacterSearch(_CONTROL)


def find_html(text: str, title: str) -> list[Edit]:
    """Tags (a line break for those that break lines), entities, forum tags, lines of script."""
    edits: list[Edit] = []
    if "<" in text or "&lt;" in text:
        edits += [(match.start(), match.end(), _tag_text(match)) for match in _HTML.finditer(text)]
    if "&" in text:
        edits += [
            (match.start(), match.end(), _entity(match[0])) for match in _ENTITY.finditer(text)
        ]
    for sign, pattern in (("[", _FORUM_TAG), (");", _SCRIPT), ("var ", _SCRIPT)):
        if sign in text:
            edits += [(match.start(), match.end(), "") for match in pattern.finditer(text)]
    return sorted(edits, key=lambda edit: (edit[0], -edit[1]))  # the longest at each place


def _tag_text(match: re.Match[str]) -> str:
    return "\n" if (match["tag"] or "").lower() in _BREAKING_TAGS else ""


def _entity(entity: str) -> str:
    unescaped = html.unescape(re.sub("&(?:amp;)+", "&", entity))
    return " " if unescaped == "\xa0" else unescaped


_NEAR = 3  # markers between which a year in brackets may stand


def find_notes(text: str, title: str) -> list[Edit]:
    """Note markers, and the lines of notes they point to.

    A line that begins "(3)" is a note if the marker (3) stood in the text before it (since the last
    notes), or if it goes on from a note above; otherwise it is the author's own list and stays. A
    number in brackets is a marker if it is one of a count (2, 3, ...) or has a note.
    """
    markers = [
        (match.start(), match[0])
        for match in _MARKER.finditer(text)
        if match.start() and not text[match.start() - 1].isspace()
    ]
    if "¹" not in text:  # then ² and ³ are powers: 米², 光速²
        markers = [(place, marker) for place, marker in markers if marker not in "²³"]
    if not markers:
        return []
    edits: list[Edit] = []
    noted: set[str] = set()
    for block in _note_blocks(text):
        start, end = block[0].start(), block[-1].end()
        previous = edits[-1][1] if edits else 0
        first, behind = (bisect_right(markers, (at, "")) for at in (previous, start))
        shared = {mark for _, mark in markers[first:behind]} & {match[1] for match in block}
        if shared:
            edits.append((start, end, ""))
            noted |= shared
    chosen = _counted(text, markers, noted)
    edits += [(at, at + len(mark), "") for at, mark in chosen if not _inside(at, edits)]
    return sorted(edits)


def _counted(text: str, markers: list[tuple[int, str]], noted: set[str]) -> list[tuple[int, str]]:
    """The markers that are one of a count or have a note; an enumeration (：①…；②…) is none."""
    numbers = [_number(mark) for _, mark in markers]
    chosen = []
    for at, (place, mark) in enumerate(markers):
        near = numbers[max(0, at - _NEAR) : at], numbers[at + 1 : at + 1 + _NEAR]
        follows = numbers[at] - 1 in near[0] or numbers[at] + 1 in near[1]
        if text[place - 1] in "：:；;":
            continue
        if follows or mark in noted or mark[0] not in "（([〔【":
            chosen.append((place, mark))
    return chosen


def _number(mark: str) -> int:
    digits = re.sub(r"\D", "", unicodedata.normalize("NFKC", mark))
    return int(digits) if digits else -1


def _note_blocks(text: str) -> list[list[re.Match[str]]]:
    """Runs of adjacent lines that begin with a marker."""
    blocks: list[list[re.Match[str]]] = []
    for match in _NOTE_LINE.finditer(text):
        if blocks and not text[blocks[-1][-1].end() : match.start()].strip():
            blocks[-1].append(match)
        else:
            blocks.append([match])
    return blocks


def _inside(position: int, spans: list[Edit]) -> bool:
    index = bisect_right(spans, (position, 1 << 60, "")) - 1
    return index >= 0 and spans[index][0] <= position < spans[index][1]


_SPACE = re.compile(f"[{_BLANKS}]+")


def find_spaces(text: str, title: str) -> list[Edit]:
    """Blanks at the ends of lines go; others become one space; a stray one inside prose goes."""
    edits = []
    for start, line in lines(text):
        prose = len(line) >= 30 and "。" in line
        for match in _SPACE.finditer(line):
            at_edge = match.start() == 0 or match.end() == len(line)
            stray = (
                prose
                and not at_edge
                and match[0] == " "
                and _between_han(line, match.start(), match.end())
            )
            edits.append(
                (start + match.start(), start + match.end(), "" if at_edge or stray else " ")
            )
    return edits


def _between_han(line: str, start: int, end: int) -> bool:
    return line[start - 1] > "\u2e7f" and line[end] > "\u2e7f"


RULES: dict[str, Rule] = {
    "line_ends": Rule(_replace(_LINE_ENDS, lambda _: "\n"), "换行统一", "line ends made equal"),
    "control": Rule(
        find_control,
        "控制、零宽、私用字符",
        "control, zero-width, private-use and damaged characters",
    ),
    "html": Rule(find_html, "HTML 残留", "HTML tags and entities"),
    "publisher": Rule(
        find_publisher_matter,
        "版权页、古登堡声明、全书完",
        "colophons, the Gutenberg licence, notes of the end",
    ),
    "watermarks": Rule(
        find_watermarks, "用符号隔开的水印", "watermarks whose characters are parted by symbols"
    ),
    "ads": Rule(
        find_ads, "网站广告、下载说明、网址", "site advertisements, download notices, addresses"
    ),
    "contents": Rule(find_contents, "目录", "tables of contents"),
    "running_titles": Rule(find_running_titles, "页眉", "running titles"),
    "page_numbers": Rule(find_page_numbers, "页码", "page numbers"),
    "separators": Rule(
        _replace(_SEPARATOR, lambda _: ""), "分隔线", "lines of asterisks and the like"
    ),
    "notes": Rule(find_notes, "注释与注号", "note markers and the notes they point to"),
    "wrapped": Rule(lambda text, title: unwrap(text), "硬换行合并", "hard-wrapped lines joined"),
    "spaces": Rule(find_spaces, "空白", "indents, stray and repeated blanks"),
    "width": Rule(find_width, "全角半角", "full- and half-width forms, ellipses, dashes"),
    "quotes": Rule(find_quotes, "引号统一", "quotes made “” and ‘’"),
    "titles": Rule(
        find_repeated_titles, "书名重复与书前附文", "repeated titles, title-page matter"
    ),
    "one_line": Rule(
        lambda text, title: cut_one_line(text),
        "整本一行的书分章分段",
        "one-line novels cut into chapters and paragraphs",
    ),
    "layout": Rule(
        lambda text, title: lay_out(text), "章回标题独立、空行", "headings set apart, blank lines"
    ),
    "doubled_marks": Rule(
        find_doubled_marks, "重复标点（只计数）", "doubled punctuation (counted only)", counts=True
    ),
    "missing_marks": Rule(
        find_missing_marks,
        "缺失标点、引号不成对（只计数）",
        "missing punctuation, unpaired quotes (counted only)",
        counts=True,
    ),
}
