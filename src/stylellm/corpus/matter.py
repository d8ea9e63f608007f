"""What a publisher or a digitiser put around the text: colophons, the licence of Project Gutenberg,
tables of contents. Whole lines go, or none.
"""

from __future__ import annotations

import re

from stylellm.corpus.headings import heading_key, is_heading_line
from stylellm.corpus.linetable import LineTable

Edit = tuple[int, int, str]


_PG_START = re.compile(
    r"(?:\*{3} ?START OF (?:THE|THIS) PROJECT GUTENBERG|\*END\*? ?THE SMALL PRINT)[^\n]*\n"
    r"(?:\s*(?:Produced by|E-text prepared by|Credits:)[^\n]*\n(?:[^\n]+\n)*)?",
    re.IGNORECASE,
)
_PG_HEADER = 40_000  # characters, the old "small print" included
_PG_END = re.compile(
    r"^(?:\*{3} ?END OF (?:THE|THIS) PROJECT GUTENBERG|End of (?:the )?Project Gutenberg)",
    re.IGNORECASE | re.MULTILINE,
)

# Fields of a colophon or a title page, and words that only a colophon has.
_FIELD = re.compile(
    "[\\s【\\[（(]*(?:[书書]\\s*名|作\\s*者|著\\s*者|[译譯]\\s*者|[编編]\\s*者|主\\s*[编編]|[丛叢][书書]名|出版(?:社|者|[发發]行|[时時][间間]|日期|年月)?|"
    "[发發]\\s*行(?:者|人|所)?|[经經]\\s*[销銷]|印\\s*[刷次张張数數]者?|版\\s*次|[开開]\\s*本|字\\s*[数數]|定\\s*[价價]|"
    "[书書]\\s*[号號]|[责責]任(?:[编編][辑輯]|校[对對])|特[约約][编編][辑輯]|封面[设設][计計]|[装裝][帧幀][设設][计計]|策\\s*划|"
    "制作(?:者|人)?|[扫掃]描(?:者)?|校[对對](?:者)?|[录錄]入(?:者)?|OCR|[来來]源|[类類]\\s*型|[类類]\\s*[别別]|[状狀]\\s*[态態]|"
    "[更][新](?:[时時][间間])?|[邮郵][编編]|地址|[电電][话話]|[网網]址)\\s*[】\\]）)]?\\s*[：:]\\s*[^。\\n]{0,60}$"
)
_COLOPHON = re.compile(
    "ISBN|[图圖][书書]在版[编編]目|CIP\\s*[数數]据|版[权權]所有|翻印必究|侵[权權]必究|不得翻印|[统統]一[书書][号號]|"
    "^\\s*(?:定\\s*[价價]|印\\s*[张張数數次]|版\\s*次|[开開]\\s*本|字\\s*[数數]|[书書]\\s*[号號])\\s*[：:]|"
    "\\d{4}年\\d{1,2}月第?[\\d一二三四五六七八九十]+版|第\\s*[\\d一二三四五六七八九十]+\\s*次印刷|"
    "新[华華][书書]店[^。]{0,8}[发發经經][行销銷]|"
    "^\\s*[^。，\\n]{2,16}(?:出版社|[书書]局|印刷[厂廠])(?:出版|[发發]行|印[刷制])?\\s*$|"
    "Copyright ?[©(]|All rights reserved",
    re.IGNORECASE,
)
_NO_PROSE = re.compile("[。！？][^\\d\\s]")
_ZONE = 80
_MAX_FIELD = 100

_MAX_CLOSING = 40
_CLOSING_HINT = re.compile("[完終终]|待[续續]|[Ee][Nn][Dd]")
_CLOSING = re.compile(
    "[\\s（(【\\[《—～~－=*＊-]*(?:[^\\s。，！？]{1,20}》)?[\\s（(【\\[—～~－=*＊-]*"
    "(?:(?:全[书書文]|正文|本[书書]|大?[结結]局)已?[完終终][结結]?|未完待[续續]|待[续續]|"
    "(?<=[（(【\\[—～~－-])[完終终]|(?<=[—～~－-] )[完終终]|[剧劇]终|the ?end)"
    "[\\s）)】\\]—～~－=*＊。.！!…-]*",
    re.IGNORECASE,
)


def find_publisher_matter(text: str, title: str) -> list[Edit]:
    """The header and licence of Project Gutenberg, colophons at either end, "the end" notices.

    A colophon is a run of lines "field: value" and the like near the start or the end, of which one
    at least says what only a colophon says (ISBN, price, edition). Two fields at the very start
    (書名, 作者) are a title page.
    """
    edits = _gutenberg(text)
    table = LineTable(text)
    zones = [table.filled[:_ZONE], table.filled[max(_ZONE, len(table.filled) - _ZONE) :]]
    for number, zone in enumerate(zones):
        for block in table.runs([index for index in zone if _is_field(table.all[index])]):
            strong = any(_COLOPHON.search(table.all[index]) for index in block)
            title_page = number == 0 and len(block) >= 2 and block[0] in table.filled[:2]
            if strong or title_page:
                edits.append(table.edit(block[0], block[-1], len(text)))
    edits += _closing_lines(text, table)
    return _apart(sorted(edits))


def _gutenberg(text: str) -> list[Edit]:
    if "utenberg" not in text and "UTENBERG" not in text:
        return []
    edits: list[Edit] = []
    start = _PG_START.search(text, 0, _PG_HEADER)
    if start:
        edits.append((0, start.end(), ""))
    end = _PG_END.search(text, start.end() if start else 0)
    if end and (start or end.start() > len(text) // 2):
        edits.append((end.start(), len(text), ""))
    return edits


def _is_field(line: str) -> bool:
    if len(line) > _MAX_FIELD:
        return False
    return bool(_FIELD.match(line) or (_COLOPHON.search(line) and not _NO_PROSE.search(line)))


def _closing_lines(text: str, table: LineTable) -> list[Edit]:
    return [
        table.edit(index, index, len(text))
        for index in table.filled
        if len(line := table.all[index]) <= _MAX_CLOSING
        and _CLOSING_HINT.search(line)
        and _CLOSING.fullmatch(line)
    ]


def _apart(edits: list[Edit]) -> list[Edit]:
    """Without those that begin inside the one before."""
    kept: list[Edit] = []
    for edit in edits:
        if not kept or edit[0] >= kept[-1][1]:
            kept.append(edit)
    return kept


_CONTENTS = re.compile(r"[\s【\[〔《*=—-]*(?:目\s*[录錄次]|CONTENTS|Contents)[\s】\]〕》：:*=—-]*")
_LEADERS = re.compile(r"[\s.．·…‥—_\-]*[(（]?\d{0,4}[)）]?\s*$")
_MIN_ENTRIES = 4
_MAX_ENTRIES = 3000
_MAX_ENTRY = 60
_MAX_TABLES = 20


def find_contents(text: str, title: str) -> list[Edit]:
    """Tables of contents: runs of headings, without text between them, that all come again later.

    At least four entries; where the word 目錄 stands above them, titles without a number count
    too. The run ends where an entry comes again, for that is the first chapter itself.
    """
    table = LineTable(text)
    short = {index for index in table.filled if len(table.all[index]) <= _MAX_ENTRY}
    entries = [index for index in short if _is_entry(table.all[index])]
    runs = [run for run in table.runs(sorted(entries)) if len(run) >= _MIN_ENTRIES]
    named = [index for index in sorted(short) if _CONTENTS.fullmatch(table.all[index])]
    if not runs and not named:
        return []
    last = {_entry(table.all[index]): index for index in sorted(short)}
    edits: list[Edit] = []
    for index in named[:_MAX_TABLES]:
        at = table.place(index) + 1
        following = [line for line in table.filled[at : at + _MAX_ENTRIES] if line in short]
        block = _recurring(table, last, table.runs(following)[:1], index + 1)
        if block:
            edits.append(table.edit(index, block[-1], len(text)))
    for run in runs:
        block = _recurring(table, last, [run], run[0])
        if block:
            edits.append(table.edit(block[0], block[-1], len(text)))
    return _apart(sorted(edits))


def _entry(line: str) -> str:
    """What an entry and its chapter have in common: the number, or the words without the page."""
    bare = _without_page(line)
    return heading_key(bare) or re.sub(r"\s", "", bare)


def _without_page(line: str) -> str:
    line = line.strip()
    return (_LEADERS.sub("", line) or line) if line[-1].isdigit() or line[-1] in ")）" else line


def _is_entry(line: str) -> bool:
    return is_heading_line(line) or (line[-1:].isdigit() and is_heading_line(_without_page(line)))


def _recurring(
    table: LineTable, last: dict[str, int], runs: list[list[int]], start: int
) -> list[int]:
    """The lines of the run, up to the first entry said twice, if nearly all come again below."""
    block: list[int] = []
    seen: set[str] = set()
    for index in runs[0] if runs and (not runs[0] or runs[0][0] >= start) else []:
        key = _entry(table.all[index])
        if key in seen:
            break
        seen.add(key)
        block.append(index)
    end = block[-1] if block else 0
    while block and last[_entry(table.all[block[-1]])] <= end:
        block.pop()  # a line of the title page, or the heading of the text that follows
    again = sum(last[_entry(table.all[index])] > end for index in block)
    return block if len(block) >= _MIN_ENTRIES and again * 10 >= len(block) * 9 else []
