"""How much does a text look like Chinese (or ASCII) prose? The measure that encodings are told by.

The few hundred characters below make up 60% of any Chinese prose, while text read in the wrong
encoding, or from the wrong byte on, consists of rare characters.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

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
_NOTHING = -3.0
_PRIVATE = -2.0


def plausibility(text: str) -> float:
    """Mean weight of the UTF-16 units of a text.

    Between about -3 (nothing decoded) and 1; ordinary prose lies at 0.6 to 0.8, text in the wrong
    encoding below 0.2.
    """
    return float(weights(text).mean()) if text else _NOTHING


def weights(text: str) -> npt.NDArray[np.float32]:
    """The weight of each UTF-16 unit of a text, of shape (units,)."""
    return weight_table()[units(text)]


def units(text: str) -> npt.NDArray[np.uint16]:
    """The UTF-16 units of a text, of shape (units,)."""
    return np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype="<u2")


def run_weights(text: str, length: int) -> npt.NDArray[np.float32]:
    """Mean weights of consecutive runs of `length` units, of shape (units // length,)."""
    found = weights(text)
    whole = len(found) // length * length
    return found[:whole].reshape(-1, length).mean(axis=1)


@lru_cache(maxsize=1)
def weight_table() -> npt.NDArray[np.float32]:
    """The weight of every UTF-16 unit, of shape (65536,)."""
    table = np.full(65536, -0.4, np.float32)
    table[:0x80] = [
        0.5 if chr(c).isprintable() or chr(c) in "\t\n\r" else -2.0 for c in range(0x80)
    ]
    table[0x2010:0x2670] = -0.1  # dashes, frames, stars: books decorate with them
    table[0x3041:0x3100] = -0.3  # kana: rare, but more at home here than the rest
    table[_points(_common_characters())] = 0.2
    table[0xFF01:0xFF5F] = 0.3
    table[_points(FREQUENT | _PUNCTUATION)] = 1.0
    table[0xD800:0xE000] = -0.2  # halves of characters beyond U+FFFF
    table[0xE000:0xF900] = _PRIVATE
    table[0xFFFD] = _NOTHING
    table.flags.writeable = False
    return table


def _points(characters: frozenset[str]) -> list[int]:
    return [ord(char) for char in characters]


def _common_characters() -> frozenset[str]:
    """Chinese characters in GB 2312 or in the first (frequent) level of Big5."""
    simplified = _plane(range(0xB0, 0xF8), range(0xA1, 0xFF)).decode("gb2312", "ignore")
    trails = (*range(0x40, 0x7F), *range(0xA1, 0xFF))
    traditional = _plane(range(0xA4, 0xC7), trails).decode("big5", "ignore")
    return frozenset(c for c in simplified + traditional if "\u4e00" <= c <= "\u9fff")


def _plane(leads: range, trails: range | tuple[int, ...]) -> bytes:
    return bytes(byte for lead in leads for trail in trails for byte in (lead, trail))
