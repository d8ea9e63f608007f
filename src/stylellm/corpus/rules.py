"""The cleaning rules: each finds its edits in a text and knows nothing of the others.

A rule is a function `(text, title) -> edits`, an edit being (start, end, replacement), in order.
The rules run in the order of `RULES`; those on lines need the line ends made equal by the first.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from stylellm.corpus.chunk import sentences
from stylellm.corpus.layout import cut_one_line, lay_out, unwrap
from stylellm.corpus.titles import find_repeated_titles

Edit = tuple[int, int, str]


@dataclass(frozen=True)
class Rule:
    """A cleaning rule: its function and what it does, in Chinese and in English."""

    find: Callable[[str, str], list[Edit]]
    chinese: str
    english: str


_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_BLANKS = " \t\u3000\xa0\u1680\u2000-\u200a\u202f\u205f"

_LINE_ENDS = re.compile("\r\n?|[\u2028\u2029\x85\x0b\x0c]")
_CONTROL = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff0-\uffff"
    "\ud800-\udfff\ue000-\uf8ff\U000f0000-\U0010ffff]+|<\\|[a-z_]{2,30}\\|>"
)
_TAGS = (
    "a|abbr|article|b|big|blockquote|body|br|center|code|dd|div|dl|dt|em|font|h[1-6]|head|hr|html|"
    "i|img|li|link|meta|ol|p|pre|rp|rt|ruby|s|script|section|small|span|strong|style|sub|sup|"
    "table|tbody|td|th|title|tr|tt|u|ul"
)
_HTML = re.compile(
    rf"<!--.{{0,2000}}?-->|<(script|style)\b[^>]{{0,200}}>.{{0,20000}}?</\1>|"
    rf"</?(?P<tag>{_TAGS})\b[^<>\n]{{0,400}}>|&(?:[a-zA-Z]{{2,8}}|#\d{{2,6}}|#x[0-9a-fA-F]{{2,5}});",
    re.IGNORECASE | re.DOTALL,
)
_BREAKING_TAGS = frozenset(("br", "p", "div", "li", "tr", "hr", "h1", "h2", "h3", "h4", "h5", "h6"))

_URL = (
    r"(?:https?://|www\.)[A-Za-z0-9./?=&%_:#~-]+|"
    r"[A-Za-z0-9-]{2,30}\.(?:com|net|org|cn|cc|tw|info|example)\b(?:/[\w./?=&-]*)?"
)
_ADDRESS = re.compile(_URL + r"|[\w.-]{1,40}@[\w-]{1,40}\.[a-z]{2,4}", re.IGNORECASE)
_BRACKETED = re.compile(rf"[（(【\[]\s?(?:{_ADDRESS.pattern})\s?[）)】\]]", re.IGNORECASE)
_AD = re.compile(
    "本(?:[书書文]|[电電]子[书書]|作品)[^。\n]{0,12}(?:由|[来來]自)[^。\n]{0,30}"
    "(?:整理|制作|製作|提供|下[载載]|收集|[扫掃]描|校[对對]|上[传傳]|首[发發])|"
    "(?:更多|最新)[^。\n]{0,20}(?:小[说說]|[电電]子[书書]|章[节節]|好[书書])[^。\n]{0,20}"
    "(?:[请請]|[访訪]|登[录錄陆陸]|[尽盡]在|下[载載]|[关關]注)|"
    "[欢歡]迎[您你]?(?:光[临臨]|[访訪][问問]|加入|[来來]到)[^。\n]{0,30}(?:[网網]|[论論][坛壇]|[书書][库庫屋]|群)|"
    "(?:[Tt][Xx][Tt]|全集|全本|免[费費]|[电電]子[书書])[^。\n]{0,6}下[载載]|"
    "(?:[Qq][Qq]|微信|公[众眾][号號])\\s*(?:群|[号號])?\\s*[：:]?\\s*[A-Za-z0-9_]{5,}|"
    "手[机機](?:用[户戶]|[阅閱][读讀])[^。\n]{0,20}|(?:文字|[会會][员員])手打|[书書]友上[传傳]|"
    "(?:求|投)(?:月票|推[荐薦]票)|[（(【\\[](?:未完待[续續]|本章完)[）)】\\]]",
    re.IGNORECASE,
)
_MAX_AD = 150

_NOTE = r"[（(\[〔【]\d{1,3}[）)\]〕】]"
_MARKER = re.compile(rf"(?<=[^\n\s])(?:{_NOTE}|[①-⑳㉑-㊿])")
_NOTE_LINE = re.compile(rf"^[{_BLANKS}]*({_NOTE}|[①-⑳㉑-㊿])(?=\S)[^\n]*\n?", re.MULTILINE)
_SEPARATOR = re.compile(
    rf"^[{_BLANKS}]*(?:[※＊*=_#~◆◇★☆●○·.-][{_BLANKS}]*){{3,}}$\n?", re.MULTILINE
)

_WIDE = re.compile("[Ａ-Ｚａ-ｚ０-９]+")
_NARROW = re.compile(f"(?<=[{_HAN}”’」』）》])[,;:?!]+|[,;:?!](?=[{_HAN}“‘「『《])")
_PARENS = re.compile(f"\\(([^()\n]{{0,80}}[{_HAN}][^()\n]{{0,80}})\\)")
_DOTS = re.compile(
    f"(?<=[{_HAN}”’」』）》，、！？])\\.{{3,}}+|"
    f"(?<!\\.)\\.{{3,}}+(?=[{_HAN}“‘「『”’」』，。！？])|。{{3,}}+|．{{3,}}+"
)
_STOPS = re.compile(f"(?<=[{_HAN}”’」』）》])[．｡](?![．｡.])")
_DASHES = re.compile(f"[―─]{{1,4}}|(?<=[{_HAN}])-{{2,4}}|-{{2,4}}(?=[{_HAN}])")
_MIDDLE_DOTS = re.compile(f"(?<=[{_HAN}])[‧•・∙](?=[{_HAN}])|[∼](?=[{_HAN}])")
_TO_FULL = str.maketrans(",;:?!", "，；：？！")

_CORNERS = {
    "「": "“",
    "」": "”",
    "『": "‘",
    "』": "’",
    "﹁": "“",
    "﹂": "”",
    "﹃": "‘",
    "﹄": "’",
    "〝": "“",
    "〞": "”",
    "＂": '"',
}
_CORNER = re.compile("[" + "".join(_CORNERS) + "]")
_SINGLE = re.compile(f"(?<![A-Za-z])'([^'\n]{{0,80}}[{_HAN}][^'\n]{{0,80}})'(?![A-Za-z])")


def _replace(
    pattern: re.Pattern[str], new: Callable[[re.Match[str]], str]
) -> Callable[[str, str], list[Edit]]:
    def find(text: str, title: str) -> list[Edit]:
        return [(match.start(), match.end(), new(match)) for match in pattern.finditer(text)]

    return find


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Each line with its offset, without its line break."""
    start = 0
    for line in text.split("\n"):
        yield start, line
        start += len(line) + 1


def _html_text(match: re.Match[str]) -> str:
    if match["tag"]:
        return "\n" if match["tag"].lower() in _BREAKING_TAGS else ""
    if match[0].startswith("&"):
        unescaped = html.unescape(match[0])
        return " " if unescaped == "\xa0" else unescaped
    return ""


def find_ads(text: str, title: str) -> list[Edit]:
    """Sentences that advertise are removed, with their line where nothing else is on it.

    An address in brackets goes alone; so does one in a sentence too long to be an advertisement.
    """
    edits: list[Edit] = []
    for start, line in lines(text):
        if len(line) <= _MAX_AD and not (_AD.search(line) or _ADDRESS.search(line)):
            continue
        found = list(_ads_in(line, start))
        removed = sum(end - begin for begin, end, _ in found)
        if removed and removed >= len(line.strip()):
            found = [(start, min(start + len(line) + 1, len(text)), "")]
        edits += found
    return edits


def _ads_in(line: str, start: int) -> Iterator[Edit]:
    for sentence in sentences(line):
        short = len(sentence) <= _MAX_AD
        bare = _BRACKETED.sub("", sentence)
        if short and (_AD.search(sentence) or _ADDRESS.search(bare)):
            yield start, start + len(sentence), ""
        else:
            pattern = _BRACKETED if bare != sentence else _ADDRESS
            for match in pattern.finditer(sentence):
                yield start + match.start(), start + match.end(), ""
        start += len(sentence)


def find_notes(text: str, title: str) -> list[Edit]:
    """Note markers, and the lines of notes they point to.

    A line that begins "(3)" is a note if the marker (3) stood in the text before it (since the last
    notes), or if it goes on from a note above; otherwise it is the author's own list and stays.
    """
    markers = [(match.start(), match[0]) for match in _MARKER.finditer(text)]
    edits: list[Edit] = []
    for block in _note_blocks(text):
        start, end = block[0].start(), block[-1].end()
        previous = edits[-1][1] if edits else 0
        open_markers = {mark for position, mark in markers if previous <= position < start}
        if open_markers & {match[1] for match in block}:
            edits.append((start, end, ""))
    edits += [(at, at + len(mark), "") for at, mark in markers if not _inside(at, edits)]
    return sorted(edits)


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
    from bisect import bisect_right

    index = bisect_right(spans, (position, 1 << 60, "")) - 1
    return index >= 0 and spans[index][0] <= position < spans[index][1]


def find_width(text: str, title: str) -> list[Edit]:
    """Full-width letters and digits made half-width; punctuation beside Chinese, full-width."""
    edits: list[Edit] = []
    for match in _WIDE.finditer(text):
        edits.append((match.start(), match.end(), "".join(chr(ord(c) - 0xFEE0) for c in match[0])))
    for match in _NARROW.finditer(text):
        edits.append((match.start(), match.end(), match[0].translate(_TO_FULL)))
    for match in _PARENS.finditer(text):
        edits.append((match.start(), match.start() + 1, "（"))
        edits.append((match.end() - 1, match.end(), "）"))
    for pattern, new in ((_DOTS, "……"), (_STOPS, "。"), (_DASHES, "——"), (_MIDDLE_DOTS, "·")):
        edits += [
            (match.start(), match.end(), "～" if match[0] == "∼" else new)
            for match in pattern.finditer(text)
        ]
    return sorted(edits)


def find_quotes(text: str, title: str) -> list[Edit]:
    """Corner brackets, and straight quotes that pair up within a line, made “” and ‘’."""
    edits = [(match.start(), match.end(), _CORNERS[match[0]]) for match in _CORNER.finditer(text)]
    if '"' in text or "'" in text:
        for start, line in lines(text):
            if line.count('"') % 2 == 0 and re.search(f"[{_HAN}]", line):
                places = [match.start() for match in re.finditer('"', line)]
                edits += [(start + at, start + at + 1, "“”"[i % 2]) for i, at in enumerate(places)]
            for match in _SINGLE.finditer(line):
                edits.append((start + match.start(), start + match.start() + 1, "‘"))
                edits.append((start + match.end() - 1, start + match.end(), "’"))
    return sorted(edits)


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
        _replace(_CONTROL, lambda _: ""),
        "控制、零宽、私用字符",
        "control, zero-width, private-use and damaged characters",
    ),
    "html": Rule(_replace(_HTML, _html_text), "HTML 残留", "HTML tags and entities"),
    "ads": Rule(
        find_ads, "网站广告、下载说明、网址", "site advertisements, download notices, addresses"
    ),
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
}
