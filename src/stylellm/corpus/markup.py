"""Text out of HTML and Markdown, with the standard library only.

What belongs to the page and not to the text is left out and counted: readings beside characters
(ruby), footnotes and the marks that lead to them.
"""

from __future__ import annotations

import re
from collections import Counter
from html import escape
from html.parser import HTMLParser

from stylellm.errors import DataError

_BLOCKS = frozenset(
    (
        *("p", "div", "br", "li", "ul", "ol", "tr", "table", "section", "article", "blockquote"),
        *("hr", "body", "dl", "dt", "dd", "pre", "figure", "figcaption", "header", "footer"),
        *("main", "aside", "nav", "form", "center", "address", "details", "summary"),
    )
)
_HEADINGS = frozenset(("h1", "h2", "h3", "h4", "h5", "h6"))
_SILENT = frozenset(("script", "style", "head", "noscript", "template", "svg"))
_RUBY = frozenset(("rt", "rp", "rtc"))
_VOID = frozenset(
    (
        *("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source"),
        *("track", "wbr"),
    )
)
_NOTE = re.compile(r"(?:doc-|duokan-)?(?:footnote|endnote|rearnote)s?(?:-content|-item)?$")
_NOTE_MARK = re.compile(r"(?:doc-)?noteref$|duokan-footnote$")
_SIGN = re.compile(
    r"\s*(?:[\[［【(（〔][注註]?\s*[\d０-９一二三四五六七八九十*＊†]{1,4}[\]］】)）〕]"
    r"|[\u2460-\u2473\u2776-\u2793]|[注註][\d一二三四五六七八九十]{0,3})\s*"
)
_HAN = re.compile("[\u3400-\u9fff\U00020000-\U0003ffff]")
_WIDE = "[\u2e80-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef“”‘’…—]"
_BREAK_IN_CHINESE = re.compile(f"(?<={_WIDE})[ \t]*[\r\n][ \t\r\n]*(?={_WIDE})")
_SECTION = re.compile(r"<!\[(?!CDATA\[)[^>]*>")
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)

RUBY, NOTES, MARKS = "ruby readings", "footnotes", "footnote marks"


class _TextExtractor(HTMLParser):
    """Collects text: a block a line, headings between blank lines."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.left_out: Counter[str] = Counter()
        self._block: list[str] = []
        self._is_note = False  # the block began with a bracketed sign that links somewhere
        self._silent: list[str] = []  # open elements since what is left out began
        self._reason = ""
        self._anchor: int | None = None  # where in the block a link inside the book began
        self._superscript = 0
        self._preformatted = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._silent:
            self._start_in_silence(tag)
            if self._silent:
                return
        values = {name: value or "" for name, value in attrs}
        reason = _reason(tag, values)
        if reason is not None and tag not in _VOID:
            self._end_block("\n" if tag in _BLOCKS else "")
            self._silent, self._reason = [tag], reason
        elif tag in _HEADINGS:
            self._end_block("\n\n\n")
        elif tag in _BLOCKS:
            self._end_block("\n")
            self._preformatted += tag == "pre"
        elif tag == "a" and "#" in values.get("href", ""):
            self._anchor = len(self._block)
        elif tag == "img" and len(values.get("alt", "")) == 1 and _HAN.match(values["alt"]):
            self._block.append(values["alt"])  # a rare character, shown as a picture
        self._superscript += tag == "sup"

    def _start_in_silence(self, tag: str) -> None:
        if tag == "body" or (self._silent[0] in _RUBY and tag in (_BLOCKS | _HEADINGS | {"rb"})):
            self._silent = []  # the end tag was left out
        elif self._silent[0] in _RUBY and tag in _RUBY:
            self._silent = [tag]
        elif tag not in _VOID:
            self._silent.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._silent:
            if tag in self._silent:
                last = len(self._silent) - 1 - self._silent[::-1].index(tag)
                del self._silent[last:]
            elif tag == "ruby" and self._silent[0] in _RUBY:
                self._silent = []
            return
        if tag in _HEADINGS:
            self._end_block("\n\n")
        elif tag in _BLOCKS:
            self._end_block("\n")
            self._preformatted -= tag == "pre" and self._preformatted > 0
        elif tag == "a":
            self._end_anchor()
        self._superscript -= tag == "sup" and self._superscript > 0

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID or tag in _BLOCKS:
            self.handle_starttag(tag, attrs)  # anything else that is empty holds no text

    def handle_data(self, data: str) -> None:
        if self._silent:
            if self._reason:
                self.left_out[self._reason] += len("".join(data.split()))
        elif self._preformatted:
            self._block.append(data)
        else:
            data = _BREAK_IN_CHINESE.sub("", data)
            self._block.append(re.sub(r"[ \t\r\n]+", " ", data))

    def _end_anchor(self) -> None:
        """Drop the sign of a link to a footnote; at the start of a block it begins the footnote."""
        start, self._anchor = self._anchor, None
        if start is None:
            return
        sign = "".join(self._block[start:])
        numbered = self._superscript and re.fullmatch(r"\s*[\d*†]{1,4}\s*", sign)
        if not (numbered or _SIGN.fullmatch(sign)):
            return
        if not "".join(self._block[:start]).strip():
            self._is_note = True
            return
        del self._block[start:]
        self.left_out[MARKS] += len(sign.strip())

    def _end_block(self, end: str) -> None:
        text = "".join(self._block)
        self._block, self._anchor = [], None
        if self._is_note and not _SIGN.fullmatch(text):
            self.left_out[NOTES] += len(text.strip())
            text = ""
        self._is_note = False
        self.parts += (text, end)

    def close(self) -> None:
        super().close()
        self._end_block("")


def _reason(tag: str, values: dict[str, str]) -> str | None:
    """What is left out with an element; "" for what is never seen as text, None to keep it."""
    if tag in _SILENT:
        return ""
    if tag in _RUBY:
        return RUBY
    names = " ".join(values.get(key, "") for key in ("class", "epub:type", "role")).split()
    if tag == "a" and any(_NOTE_MARK.match(name) for name in names):
        return MARKS
    if tag not in ("a", "img") and any(_NOTE.match(name) for name in names):
        return NOTES
    return None


def read_html(markup: str, name: str = "the page") -> tuple[str, Counter[str]]:
    """The text of an HTML page, and how many characters of what were left out.

    A block is a line, headings stand between blank lines, of ruby the characters are kept.

    Raises:
        DataError: markup that cannot be parsed at all.
    """
    parser = _TextExtractor()
    markup = _CDATA.sub(lambda section: escape(section[1]), _SECTION.sub("", markup))
    try:
        parser.feed(markup)
        parser.close()
    except (AssertionError, ValueError, IndexError, RecursionError) as error:
        reason = str(error).split("\n", 1)[0]
        raise DataError(f"{name} is broken HTML ({reason})", "a page that browsers show") from None
    lines = (line.strip(" ") for line in "".join(parser.parts).split("\n"))
    text = re.sub("\n{4,}", "\n\n\n", "\n".join(lines)).strip("\n") + "\n"
    return text, parser.left_out


_FRONT = re.compile(r"\A---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FIELD = re.compile(r"(?m)^(title|author)[ \t]*:[ \t]*[\"']?(.*?)[\"']?[ \t]*$")
_MARKDOWN = (
    (re.compile(r"(?m)^#{1,6}[ \t]+(.*?)[ \t#]*$"), r"\n\n\1\n"),
    (re.compile(r"(?m)^([^\n]+)\n(?:={3,}|-{3,})[ \t]*$"), r"\n\n\1\n"),  # underlined headings
    (re.compile(r"(?m)^(?:[ \t]*[-*_]){3,}[ \t]*$"), ""),  # rules
    (re.compile(r"(?m)^[ \t]{0,3}>[ \t]?"), ""),  # quotations
    (re.compile(r"(?m)^(?:```|~~~).*$"), ""),
    (re.compile(r"!\[[^\]\n]*\]\([^)\n]*\)"), ""),  # pictures
    (re.compile(r"\[([^\]\n]+)\]\([^)\n]*\)"), r"\1"),
    (re.compile(r"(\*\*|__)(?=\S)([^\n]*?\S)\1"), r"\2"),
    (re.compile(r"(?<![\\*\w])([*_])(?=[^\s*_])([^*_\n]*?[^\s*_])\1(?![*\w])"), r"\2"),
    (re.compile(r"\\([\\`*_{}\[\]()#+.!>~|-])"), r"\1"),
)
_MD_NOTE = re.compile(r"(?m)^\[\^[^\]\n]+\]:.*(?:\n[ \t]+\S.*)*$")
_MD_MARK = re.compile(r"\[\^[^\]\n]+\]")


def read_markdown(text: str) -> tuple[str, str, str, Counter[str]]:
    """(text, title, author, characters left out) of a Markdown file.

    Title and author are those of the front matter, "" where there is none.
    """
    fields: dict[str, str] = {}
    front = _FRONT.match(text)
    if front and _FIELD.search(front[1]):
        fields = {field: value.strip() for field, value in _FIELD.findall(front[1])}
        text = text[front.end() :]
    left_out: Counter[str] = Counter()
    for kind, pattern in ((NOTES, _MD_NOTE), (MARKS, _MD_MARK)):
        left_out[kind] = sum(len(found[0]) for found in pattern.finditer(text))
        text = pattern.sub("", text)
    for pattern, with_ in _MARKDOWN:
        text = pattern.sub(with_, text)
    return text, fields.get("title", ""), fields.get("author", ""), +left_out
