"""Where chapters begin: headings on lines of their own, and headings run into the text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_DIGITS = {char: value for value, char in enumerate("零一二三四五六七八九")} | {
    "〇": 0, "○": 0, "两": 2, "兩": 2, "壹": 1, "贰": 2, "貳": 2, "叁": 3, "肆": 4, "伍": 5,
    "陆": 6, "陸": 6, "柒": 7, "捌": 8, "玖": 9, "廿": 20, "卅": 30,
}  # fmt: skip
_UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_NUMERAL = "[0-9０-９零〇○一二两兩三四五六七八九十百千廿卅壹贰貳叁肆伍陆陸柒捌玖拾佰仟]{1,9}"
_CLOSERS = "。！？…”’」』）)》〉】!?"

_NUMBERED = re.compile(
    rf"(?:正文\s*)?(?:第\s*{_NUMERAL}\s*[回章节節卷部集篇折册冊幕](?!合)|卷\s*{_NUMERAL}(?=[\s：:、．.]|$))"
)
_NAMED = re.compile(
    r"(?:楔子|序[言章曲幕]?|自序|前言|前記|前记|小引|引[子言]|题[记辞]|題[記辭]|"
    r"尾[声聲]|后记|後記|跋|[终終]章|大[结結]局|番外|附[录錄]|緣起首回|缘起首回)"
)
_MAX_HEADING = 40

# Words that open the narration after a heading in novels of the huaben tradition.
_OPENERS = re.compile(
    "詩曰|诗曰|詞曰|词曰|詩云|诗云|詞云|词云|又詞云|又词云|話說|话说|且說|且说|卻說|却说|卻表|却表|話分|话分|"
    "上回書|上回书|這回書|这回书|上回|如今|古風|古风|按：|按:|調寄|调寄|"
    "只見|只见|當時|当时|當下|当下|"
    "[詩诗詞词]："
)
_INLINE = re.compile(rf"(第?)({_NUMERAL})([回章卷])(?!合)|(卷)({_NUMERAL})")
_BREAK = re.compile("[，。：；？！、…—「」『』“”‘’（）《》\\s]")
_TALKED_ABOUT = re.compile("[中裡里裏內内書书的》」』”，。；、：]|交代|說到|说到|已|還|还")
_TALKING = re.compile("(?:[這这那在到此看至與与及和《從从把於于]|(?<!正)是)$")
_NEXT_TIME = re.compile("分解|分曉|分晓|交代|下回|回終|回终|下文|[終终]")
_MAX_NUMBER = 9999
_MAX_GAP = 9
_NONE = (float("-inf"), -1)
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
    if not set(numeral) & (set(_UNITS) | {"廿", "卅"}):  # positional: 一一 is 11, 一○八 is 108
        digits = [str(_DIGITS.get(char, 0)) for char in numeral]
        return int("".join(digits)) if digits else 0
    total = current = 0
    for char in numeral:
        if char in _UNITS:
            total += max(current, 1) * _UNITS[char]
            current = 0
        elif char in ("廿", "卅"):
            total += _DIGITS[char]
        else:
            current = _DIGITS.get(char, 0)
    return total + current


def is_heading_line(line: str) -> bool:
    """Whether a line is a chapter heading by its words ("第三回 …", "楔子", "番外一")."""
    line = line.strip().strip("【】[]〖〗=-*#").strip()
    if not line or len(line) > _MAX_HEADING or line[-1] in "。；，":
        return False
    match = _NUMBERED.match(line)
    if match:
        rest = line[match.end() :]
        if rest and not re.match(r"[\s：:、．.·（(《“「]", rest):
            return len(rest) <= 24 and not re.search("[。，；]", rest)
        return "。" not in rest
    named = _NAMED.match(line)
    return named is not None and bool(
        re.match(r"[\s：:一二三四五六七八九十\d之]|$", line[named.end() :])
    )


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
    candidates = [list(_candidates(text, unit)) for unit in "回章卷"]
    chains = [_best_chain(found) for found in candidates]
    best = max(range(3), key=lambda unit: sum(weight for weight, _ in chains[unit]))
    if len(chains[best]) < 3:
        return []
    chosen = {heading for _, heading in chains[best]}
    chosen |= {heading for weight, heading in candidates[best] if weight >= _CERTAIN}
    return [_with_title(text, heading) for heading in sorted(chosen, key=lambda found: found.start)]


def _candidates(text: str, unit: str) -> Iterator[tuple[float, Heading]]:
    for match in _INLINE.finditer(text):
        if (match[3] or match[4]) != unit:
            continue
        number = parse_number(match[2] or match[5])
        weight = _weight(text, match)
        if 0 < number <= _MAX_NUMBER and weight >= 0.5:
            yield weight, Heading(match.start(), match.end(), match.end(), number)


def _weight(text: str, match: re.Match[str]) -> float:
    """How much a "第X回" looks like a heading and not like a mention of one."""
    before = text[max(0, match.start() - 12) : match.start()]
    after = text[match.end() : match.end() + 4]
    weight = 1.0 if match[3] else 0.5
    weight -= 4.0 if match[3] and not match[1] else 0.0  # "三十一回" for "第三十一回"
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

    A title ends where the narrator begins (話說, 詩曰, ...), where a verse begins (two clauses of
    equal length, as in "莊子休鼓盆成大道|富貴五更春夢，功名一片浮雲。"), or it is a couplet
    "：A，B" of equal halves.
    """
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
