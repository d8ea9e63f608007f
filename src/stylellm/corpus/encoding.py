"""Which encoding is this text in?

Chinese novels circulate in UTF-8, UTF-16, the GB family and the Big5 family, mostly without a mark
that says which. UTF-8 gives itself away; the others are tried, and the decoding that looks most
like Chinese wins: the few hundred characters below make up 60% of any Chinese prose, while text
read in the wrong encoding consists of rare characters.
"""

from __future__ import annotations

import codecs
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from stylellm.errors import DataError

# The 260 most frequent characters of simplified and of traditional prose, united.
FREQUENT = frozenset(
    "的一是不了人在有来道大中我上年他之这也以得为个说下去和到子出里而时日自那要于见地家只文生國可国此"
    "就所都将小后然便如前其三成多看行们作二公又主但事你十起者着用天与為面因两马月分军本学无同知山过名方"
    "等好却还先正西王心明头民被相江已当使回至外宋法教能及高些部太会何四今世路第南入么做李北城手定意新州"
    "把由对後士进没并且立发书位於门身政兵五代想长打最官安力众现开命斯海物老或平金原全从听女德即张东夫理"
    "叫水走口加话重通经死言時府样实处字武建學帝酒常问义利儿几特白各非次合内取直间美信向己朝期古化很會曾"
    "市未林再动宗杀少点性與种报清度住來個說這見著兩無將頭過兒裡門還們問曰麼聽話卻爺當笑才進玉沒甚娘若寶"
    "處馬聲坐請眾姐從開幾吃張怎親房書花弟往罷師必真邊兄情乃長內倒送父母間軍早喜放東錢氣敢連忙百故夜令拿"
    "難婦點神對呢別應氏亦風樣裏發哥聞望雲銀八尚半報"
)
_PUNCTUATION = frozenset("，。：；？！、“”‘’「」『』《》（）…—·　")
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f]")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_SAMPLE_BYTES = 1 << 16
MAX_DAMAGED = 20
MAX_DAMAGED_SHARE = 0.001


@dataclass(frozen=True)
class Decoded:
    """A text and how it was read.

    Attributes:
        text: the decoded characters, byte order mark removed.
        encoding: the Python codec that read it.
        replacements: damaged places, each now one U+FFFD; a character cut by the end of the data is
            left out and not counted.
        margin: how far ahead of the second-best encoding it was, as plausibility per character
            (about 0.7 for ordinary prose; below 0.2 is doubtful). 1.0 where no guess was needed.
    """

    text: str
    encoding: str
    replacements: int
    margin: float = 1.0


def decode(data: bytes, name: str = "the text") -> Decoded:
    """Decode bytes of unknown encoding.

    Args:
        data: the whole file.
        name: what to call it in an error.

    Raises:
        DataError: nothing in it, not text, or more than 20 damaged places that are above 0.1%.
    """
    if not data.strip():
        raise DataError(f"{name} is empty", "a file with text in it")
    decoded = _decode_marked(data) or _decode_utf8(data) or _decode_guessed(data)
    _check_is_text(decoded, name)
    return decoded


def _decode_marked(data: bytes) -> Decoded | None:
    """Text that begins with a byte order mark."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            text, damaged = _decode_as(data, encoding)
            return Decoded(text, encoding, damaged)
    return None


def _decode_utf8(data: bytes) -> Decoded | None:
    """Valid UTF-8, apart from a character cut by the end; None when it holds anything else."""
    try:
        text = codecs.getincrementaldecoder("utf-8")("strict").decode(data)
    except UnicodeDecodeError:
        return None
    if b"\x00" in data or (data.isascii() and b"~{" in data):  # perhaps UTF-16, perhaps HZ
        return None
    return Decoded(text, "utf-8", 0)


def _decode_guessed(data: bytes) -> Decoded:
    """Try each encoding on a sample and keep the most plausible."""
    sample = data[:_SAMPLE_BYTES]
    names = ["utf-8", "utf-16-le", "utf-16-be", "gb18030", "big5hkscs", "cp950"]
    if data.isascii():
        names.append("hz")
    scores = {name: plausibility(_decode_as(sample, name)[0]) for name in names}
    ranked = sorted(
        names, key=lambda name: -scores[name]
    )  # stable: big5hkscs before its twin cp950
    best = ranked[0]
    family = {"big5hkscs", "cp950"} if best in ("big5hkscs", "cp950") else {best}
    second = next(name for name in ranked if name not in family)
    text, damaged = _decode_as(data, best)
    return Decoded(text, best, damaged, round(scores[best] - scores[second], 3))


def _decode_as(data: bytes, encoding: str) -> tuple[str, int]:
    """The text, and the number of damaged places. A cut last character is dropped."""
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    text = decoder.decode(data, final=False)
    damaged = text.count("\ufffd")
    if damaged and encoding not in ("hz", "big5hkscs", "cp950"):  # some may have stood in the file
        mark = "\ufffd".encode(
            "utf-16-le" if encoding == "utf-16" else encoding.removesuffix("-sig")
        )
        damaged = max(0, damaged - data.count(mark))
    return text.removeprefix("\ufeff"), damaged


def plausibility(text: str) -> float:
    """How much the text looks like Chinese (or ASCII) prose: mean weight of its characters.

    Between about -3 (nothing decoded) and 1; ordinary prose lies at 0.6 to 0.8.
    """
    if not text:
        return -3.0
    counts = Counter(text)
    return sum(_weight(char) * count for char, count in counts.items()) / len(text)


@lru_cache(maxsize=65536)
def _weight(char: str) -> float:
    if char in FREQUENT or char in _PUNCTUATION:
        return 1.0
    code = ord(char)
    if code < 0x80:
        return 0.5 if char.isprintable() or char in "\t\n\r" else -2.0
    if char == "\ufffd":
        return -3.0
    if 0xE000 <= code < 0xF900 or 0xD800 <= code < 0xE000 or code >= 0xF0000:
        return -2.0
    if 0x4E00 <= code < 0xA000:
        return 0.2 if _is_common(char) else -0.4
    if 0xFF01 <= code < 0xFF5F:
        return 0.3
    if 0x3041 <= code < 0x3100:  # kana: rare, but more at home here than the rest
        return -0.3
    return -0.4


def _is_common(char: str) -> bool:
    """In GB 2312 or in the first (frequent) level of Big5."""
    try:
        char.encode("gb2312")
        return True
    except UnicodeEncodeError:
        pass
    try:
        return char.encode("big5")[0] <= 0xC6
    except UnicodeEncodeError:
        return False


def _check_is_text(decoded: Decoded, name: str) -> None:
    size = max(1, len(decoded.text))
    controls = len(_CONTROL.findall(decoded.text))
    if controls > max(2, size // 200):
        raise DataError(
            f"{name} is not a text file ({controls} control characters in {size} characters)",
            "plain text in UTF-8, UTF-16, GB18030 or Big5",
            "Convert it to .txt, or leave it out.",
        )
    damaged = decoded.replacements
    if damaged > MAX_DAMAGED and damaged > MAX_DAMAGED_SHARE * size:
        raise DataError(
            f"{name} cannot be read: {damaged} damaged places in {size} characters, "
            f"even as {decoded.encoding}, the encoding that fits best",
            "plain text in UTF-8, UTF-16, GB18030 or Big5",
            "Save it again as UTF-8, or leave it out.",
        )
    if not decoded.text.strip():
        raise DataError(f"{name} is empty", "a file with text in it")
