"""Where chapters begin: headings on lines of their own, and headings run into the text."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DIGITS = {char: value for value, char in enumerate("零一二三四五六七八九")} | {
    "〇": 0, "○": 0, "两": 2, "兩": 2, "壹": 1, "贰": 2, "貳": 2, "叁": 3, "肆": 4, "伍": 5,
    "陆": 6, "陸": 6, "柒": 7, "捌": 8, "玖": 9, "廿": 20, "卅": 30, "卌": 40,
}  # fmt: skip
_UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_TENS = frozenset("廿卅卌")
_DIGIT = "[0-9０-９零〇○一二两兩三四五六七八九十百千廿卅卌壹贰貳叁肆伍陆陸柒捌玖拾佰仟]"
_NUMERAL = _DIGIT + "{1,9}"
_CLOSERS = "。！？…”’」』）)》〉】!?"

# "第三回", "卷三", "第十二、十三章"; units that also stand in prose (第一夜) need a blank behind them.
_NUMBERED = re.compile(
    rf"(?:正文\s*)?(?:第\s*({_NUMERAL})(?:[-—~～、至]第?{_NUMERAL})?\s*"
    r"(?:([回章节節卷部集篇折册冊幕])(?!合)|([话話夜场場讲講出则則辑輯品])(?=[\s：:]|$))|"
    rf"(卷|[Cc]hapter |CHAPTER )\s*({_NUMERAL})(?=[\s：:、．.]|$)|([上中下])([卷部篇册冊集])(?=[\s：:]|$))"
)
_NAMED = re.compile(
    r"(?:楔子|序[言章曲幕篇]?|自序|代序|原序|[总總]序|再版序|前言|前記|前记|凡例|小引|引[子言]|入[话話]|"
    r"题[记辞词]|題[記辭詞]|[献獻][词詞辭]|[缘緣]起|[开開]篇|卷首[语語]?|"
    r"尾[声聲]|后记|後記|跋[语語]?|[终終]章|[终終]曲|[结結][语語局尾]|大[结結]局|番外[篇]?|外[传傳]|附[录錄記记]|[译譯]后[记記]|譯後記|"
    r"緣起首回|缘起首回)"
)
_FIRST = frozenset(
    "第卷正上中下cC楔序自代原总總再前凡小引入题題献獻缘緣开開尾后後跋终終结結大番外附译譯"
)
_DECORATION = "【】[]〖〗=-*#～~— \t\u3000\xa0"
_MAX_HEADING = 40

# Words that open the narration after a heading in novels of the huaben tradition.
_OPENERS = re.compile(
    "詩曰|诗曰|詞曰|词曰|詩云|诗云|詞云|词云|又詞云|又词云|話說|话说|且說|且说|卻說|却说|卻表|却表|話分|话分|"
    "上回書|上回书|這回書|这回书|上回|如今|古風|古风|按：|按:|調寄|调寄|"
    "只見|只见|當時|当时|當下|当下|"
    "[詩诗詞词]："
)
_UNIT = re.compile(rf"[回章节節卷](?:(?<=卷)|(?<={_DIGIT}.)(?!合))")
_BEFORE_UNIT = re.compile(rf"(第?)({_NUMERAL})$")
_AFTER_UNIT = re.compile(_NUMERAL)
_BREAK = re.compile("[，。：；？！、…—「」『』“”‘’（）《》\\s]")
_SPACED_TITLE = re.compile(  # one part, or the two of a couplet
    r"[ \u3000\t]{1,4}[^\s，。：；？！、…“”「」]{1,20}"
    r"(?:[ \u3000]{1,2}[^\s，。：；？！、…“”「」]{2,12})?(?=[ \u3000\t])"
)
_TALKED_ABOUT = re.compile("[中裡里裏內内書书的》」』”，。；、：]|交代|說到|说到|已|還|还")
_TALKING = re.compile("(?:[這这那在到此看至與与及和《從从把於于]|(?<!正)是)$")
_NEXT_TIME = re.compile("分解|分曉|分晓|交代|下回|回終|回终|下文|[終终]")
_MAX_NUMBER = 9999
_MAX_GAP = 9
_NONE = (float("-inf"), -1)
_MAX_NUMERAL = 9
_SECTION_WEIGHT = 3.0  # 节 is also a festival, a bamboo joint, a paragraph
_CERTAIN = 5.0  # after a full stop that follows "next time": a heading whatever its number


@dataclass(frozen=True)
class Heading:
    """A heading inside a text: `text[start:end]`, its title part being `text[title_start:end]`."""

    start: int
    title_start: int
    end: int
    number: int


def parse_number(numeral: str) -> int:
    """A Chinese or Arabic numeral as an integer: "一百零八", "第一一" style digits, "３", "廿四".

    Returns 0 for what is not a number.
    """
    numeral = numeral.strip()
    if numeral.isdigit() and not set(numeral) & set(_DIGITS):
        return int(numeral)
    if not set(numeral) & (set(_UNITS) | _TENS):  # positional: 一一 is 11, 一○八 is 108
        digits = [str(_DIGITS.get(char, 0)) for char in numeral]
        return int("".join(digits)) if digits else 0
    total = current = 0
    for char in numeral:
        if char in _UNITS:
            total += max(current, 1) * _UNITS[char]
            current = 0
        elif char in _TENS:
            total += _DIGITS[char]
        else:
            current = _DIGITS.get(char, 0)
    return total + current


def is_heading_line(line: str) -> bool:
    """Whether a line is a chapter heading by its words ("第三回 …", "楔子", "番外一")."""
    line = line.strip(_DECORATION)
    if not line or line[0] not in _FIRST or len(line) > _MAX_HEADING or line[-1] in "。；，":
        return False
    match = _NUMBERED.match(line)
    if match:
        rest = line[match.end() :]
        if rest and not re.match(r"[\s：:、．.·（(《“「]", rest):
            return _is_bare_title(rest, match[2] or "")
        return "。" not in rest
    named = _NAMED.match(line)
    return named is not None and bool(
        re.match(r"[\s：:（(一二三四五六七八九十\d之]|$", line[named.end() :])
    )


def _is_bare_title(rest: str, unit: str) -> bool:
    """Whether what stands right behind "第X回" is a title ("第五回風雪驚變") and not a sentence.

    Titles may ask or exclaim behind 回 and 章, which open no sentences; "第一集我看完了！" is one.
    """
    if len(rest) > 24 or re.search("[。，；]", rest) or rest[-1] in "…”’」』：:":
        return False
    return unit in ("回", "章") or rest[-1] not in "！？!?"


def heading_key(line: str) -> str:
    """The unit and number of a numbered heading, however written ("第三回 …" is "回3"), else ""."""
    match = _NUMBERED.match(line.strip(_DECORATION))
    if not match:
        return ""
    if match[6]:
        return match[6] + match[7]
    unit = match[2] or match[3] or match[4].strip().lower()
    return unit.replace("節", "节").replace("冊", "册") + str(parse_number(match[1] or match[5]))


def looks_like_title(line: str) -> bool:
    """Whether a line alone between blank lines could be a title (short, no full stop)."""
    line = line.strip()
    return (
        0 < len(line) <= 30 and line[-1] not in "。；，、：:,.;…!?！？" and line[0] not in "（(*※-—"
    )


def inline_headings(text: str) -> list[Heading]:
    """Headings run into unbroken text, as in "…且聽下回分解。第二回奎星兆夢忠良降生且說包員外…".

    A mention ("第三回中說過") is told from a heading by what stands around it and by order: the
    headings returned are the heaviest chain of strictly increasing numbers, of the unit (回, 章,
    卷) that gives the heaviest chain, and whatever stands right behind "且聽下回分解。" (digital
    editions lose characters: "第一回" there is the hundredth). Fewer than three make no chapters.
    """
    candidates = _candidates(text)
    chains = {unit: _best_chain(found) for unit, found in candidates.items()}
    best = max(chains, key=lambda unit: sum(weight for weight, _ in chains[unit]), default="")
    if len(chains.get(best, ())) < 3:
        return []
    chosen = {heading for _, heading in chains[best]}
    chosen |= {heading for weight, heading in candidates[best] if weight >= _CERTAIN}
    return [_with_title(text, heading) for heading in sorted(chosen, key=lambda found: found.start)]


def _candidates(text: str) -> dict[str, list[tuple[float, Heading]]]:
    """By unit (回, 章, 卷, 节): what may be a heading, with its weight."""
    found: dict[str, list[tuple[float, Heading]]] = {unit: [] for unit in "回章卷节"}
    for match in _UNIT.finditer(text):
        at, unit = match.start(), match[0].replace("節", "节")
        begin = max(0, at - _MAX_NUMERAL - 1)
        before = _BEFORE_UNIT.search(text[begin:at])
        after = None if before else _AFTER_UNIT.match(text, at + 1)
        numeral = before or after
        if not numeral or (after and unit != "卷"):
            continue
        number = parse_number(before[2] if before else numeral[0])
        start, end = (begin + before.start(), at + 1) if before else (at, numeral.end())
        weight = _weight(text, start, end, bool(before), bool(before and before[1]))
        if 0 < number <= _MAX_NUMBER and weight >= (_SECTION_WEIGHT if unit == "节" else 0.5):
            found[unit].append((weight, Heading(start, end, end, number)))
    return found


def _weight(text: str, start: int, end: int, behind: bool, ordinal: bool) -> float:
    """How much a "第X回" looks like a heading and not like a mention of one.

    `behind`: the unit stands behind its number (X回, not 卷X); `ordinal`: 第 is there.
    """
    before = text[max(0, start - 12) : start]
    after = text[end : end + 4]
    weight = 1.0 if behind else 0.5
    weight -= 4.0 if behind and not ordinal else 0.0  # "三十一回" for "第三十一回"
    weight += 2.0 if not before or before[-1] in _CLOSERS else 0.0
    weight += 2.0 if _NEXT_TIME.search(before) else 0.0
    weight -= 2.5 if _TALKED_ABOUT.match(after) and after[0] != "：" else 0.0
    weight -= 2.5 if _TALKING.search(before) else 0.0
    return weight


def _best_chain(candidates: list[tuple[float, Heading]]) -> list[tuple[float, Heading]]:
    """The heaviest subsequence with strictly increasing numbers; gaps in the numbering cost."""
    ends = _ChainEnds()
    previous: list[int] = []
    for index, (weight, heading) in enumerate(candidates):
        number = heading.number
        gain, where = weight - _gap_cost(number), -1  # a book begins at 1
        for back in range(1, _MAX_GAP):
            total, last = ends.at(number - back)
            if total + weight - _gap_cost(back) > gain:
                gain, where = total + weight - _gap_cost(back), last
        total, last = ends.best_up_to(number - _MAX_GAP)
        if total + weight - _gap_cost(_MAX_GAP) > gain:
            gain, where = total + weight - _gap_cost(_MAX_GAP), last
        previous.append(where)
        ends.put(number, gain, index)
    index = ends.best_up_to(_MAX_NUMBER)[1]
    chain = []
    while index >= 0:
        chain.append(candidates[index])
        index = previous[index]
    return chain[::-1]


def _gap_cost(step: int) -> float:
    return 0.5 * (min(step, _MAX_GAP) - 1)


class _ChainEnds:
    """For each number, the weight of the best chain ending there, and its last candidate.

    A Fenwick tree of maxima: both operations take logarithmic time.
    """

    def __init__(self) -> None:
        self._single: dict[int, tuple[float, int]] = {}
        self._tree: dict[int, tuple[float, int]] = {}

    def put(self, number: int, weight: float, candidate: int) -> None:
        entry = (weight, candidate)
        self._single[number] = max(self._single.get(number, _NONE), entry)
        while number <= _MAX_NUMBER:
            self._tree[number] = max(self._tree.get(number, _NONE), entry)
            number += number & -number

    def at(self, number: int) -> tuple[float, int]:
        return self._single.get(number, _NONE)

    def best_up_to(self, number: int) -> tuple[float, int]:
        best = _NONE
        while number > 0:
            best = max(best, self._tree.get(number, _NONE))
            number -= number & -number
        return best


def _with_title(text: str, heading: Heading) -> Heading:
    start = heading.end
    return Heading(
        heading.start, start, start + _title_length(text[start : start + 48]), heading.number
    )


def _title_length(after: str) -> int:
    """How many of the characters after "第X回" belong to its title: 0 when nothing marks its end.

    What stands between blanks is a title. Else a title ends where the narrator begins (話說, 詩曰,
    ...), where a verse begins (two clauses of equal length, as in
    "莊子休鼓盆成大道|富貴五更春夢，功名一片浮雲。"), or it is a couplet "：A，B" of equal halves.
    """
    spaced = _SPACED_TITLE.match(after)
    if spaced:
        return spaced.end()
    couplet = re.match(r"[：:]([^，。：；？！、]{4,10})，([^，。：；？！、]{4,10})", after)
    if couplet:
        return couplet.start(2) + min(len(couplet[1]), len(couplet[2]))
    stop = _BREAK.search(after)
    end = stop.end() if stop else len(after)
    opener = _OPENERS.search(after, 4, min(len(after), end + 2))
    if opener and opener.start() <= 24 and (not stop or opener.start() <= stop.start()):
        return opener.start()
    verse = re.match(
        r"([^，。：；？！、「」]{9,26})，([^，。：；？！、「」]{5,7})[，。！？]", after
    )
    if verse:
        length = len(verse[1]) - len(verse[2])
        if 5 <= length <= 9 or (10 <= length <= 18 and length % 2 == 0):
            return length
    return 0
