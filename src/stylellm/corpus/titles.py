"""Titles and authors: repeated in the text, and read from file names."""

from __future__ import annotations

import re

from stylellm.corpus.headings import inline_headings, is_heading_line
from stylellm.corpus.script import to_simplified

Edit = tuple[int, int, str]

_REPEATED = re.compile(r"\s*([^\s。，！？“”「」]{2,20}?)(?:\s*\1)+")
_THE_END = re.compile(
    r"(?:《[^《》\n]{1,30}》\s*)?"
    r"(?:全[书書文]?[完终終]|[（(]?(?:全[书書文]完|完)[）)]?|[Tt]he [Ee]nd)\s*$"
)
_MAX_FRONT = 80
_NAME = re.compile(r"《([^《》]{1,40})》\s*(?:作者[：:]?)?\s*([^\s《》（(【\[]{0,20})")
_FIRST_LINE = re.compile(
    r"《([^《》]{1,40})》\s*(?:(?:作者|著者)[：:]\s*(\S{2,20})|"
    r"(?!.*(?:[的序跋]|[简簡]介|目[录錄]|全[集文书書]|[译譯]本|前言|后记|後記|正文|[导導][读讀]))"
    r"([\u4e00-\u9fff·]{2,8})(?:\s*[著编編])?)?"
)
_GENERIC_FOLDER = re.compile(
    r"小[说說]|[书書]|[语語]料|[数數][据據]|[武侠俠]{2}|作品|全集|文集|下[载載]|[文本]{2}"
)
_HAN = re.compile("[\u4e00-\u9fff]")


def find_repeated_titles(text: str, title: str) -> list[Edit]:
    """The title standing (repeatedly) at the start and again at the end, and title-page matter.

    The title is the one given, or what the text repeats at its start three times or more.
    Title-page matter is what stands before the first heading if it is short and no sentence.
    """
    edits: list[Edit] = []
    start, repeated = _leading(text, title)
    start = _front_matter(text, start)
    if start:
        edits.append((0, start, ""))
    end = _trailing(text, repeated or title)
    if end < len(text) and end > start:
        edits.append((end, len(text), ""))
    return edits


def _leading(text: str, title: str) -> tuple[int, str]:
    """Where the repeated title ends (0: there is none), and the title as the text spells it."""
    match = _REPEATED.match(text)
    if match:
        name = match[1]
        times = match[0].count(name)
        if len(set(name)) > 1 and (times >= 3 or to_simplified(name) == to_simplified(title)):
            return match.end(), name
    if title and len(text) > 4 * len(title):
        match = re.match(rf"\s*《?{re.escape(title)}》?(?=\s*\n)", text)
        if match:
            return match.end(), title
    return 0, ""


def _front_matter(text: str, start: int) -> int:
    """Extend `start` over title-page matter ("书名…", "某某著") up to the first heading."""
    head = text[start : start + 400]
    first = _first_heading(head, text, start)
    matter = head[:first]
    if 0 < first <= _MAX_FRONT and not re.search("[。！？，；]", matter):
        return start + first
    return start


def _first_heading(head: str, text: str, start: int) -> int:
    """Offset in `head` of the first heading, on its own line or run into the text; 0 if none."""
    if "\n" in head:
        at = 0
        for line in head.split("\n"):
            if is_heading_line(line):
                return at
            at += len(line) + 1
        return 0
    if not re.search("[第卷]", head[: _MAX_FRONT + 1]):
        return 0
    found = inline_headings(text[start : start + 100_000])
    return found[0].start if found else 0


def _trailing(text: str, title: str) -> int:
    """Where the text ends before "全书完" and a title repeated behind it."""
    end = len(text.rstrip())
    if title and text.endswith(title, 0, end) and end > 2 * len(title):
        before = text[: end - len(title)].rstrip()
        if before.endswith("《") or not before:
            return len(text)
        end = len(before)
    finale = _THE_END.search(text, max(0, end - 50), end)
    if finale and (finale.start() == 0 or text[finale.start() - 1] in "。！？”’」』…\n）)"):
        end = len(text[: finale.start()].rstrip())
    return end if end < len(text.rstrip()) else len(text)


def from_file_name(stem: str) -> tuple[str, str]:
    """(title, author) of a file name: "《书名》作者：某某", "书名 作者：某某", or the name."""
    match = _NAME.search(stem)
    if match:
        return match[1].strip(), match[2].strip()
    match = re.search(r"^(.{1,40}?)\s*[-_ ]*(?:作者|著者)[：:]\s*(\S{1,20})$", stem)
    if match:
        return match[1].strip(), match[2].strip()
    return stem.strip(), ""


def from_first_line(text: str) -> tuple[str, str]:
    """(title, author) of a first line like "《书名》作者"; empty strings where there is none."""
    first = text.lstrip()[:80].split("\n", 1)[0].strip()
    match = _FIRST_LINE.fullmatch(first)
    return (match[1].strip(), (match[2] or match[3] or "").strip()) if match else ("", "")


def from_folder(name: str) -> str:
    """The author that a folder is named after: a Chinese name, not "小说" and the like; else ""."""
    if not _HAN.search(name) or len(name) > 12 or _GENERIC_FOLDER.search(name):
        return ""
    return name.strip()
