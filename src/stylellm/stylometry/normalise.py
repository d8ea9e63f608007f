"""One spelling of punctuation for all editions, before texts are compared.

Script (simplified or traditional) is another matter: convert with `stylellm.corpus.script` first.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_CJK = "\u3007\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_AFTER = f"{_CJK}“”‘’《》（）…—，。、；：？！"
_TO_FULL_WIDTH = str.maketrans(",;:?!.()", "，；：？！。（）")
_HALF_WIDTH = re.compile(rf"(?<=[{_AFTER}])(?:[,;:?!()]|\.(?![.\w]))+|[,;:?!()]+(?=[{_AFTER}])")
_ELLIPSIS = re.compile(r"(?:[.．]{3,}|…|。{3,}|[·•・･]{3,})+")
_DASH = re.compile(r"(?:-{2,}|[—―─])+")
_STRAIGHT_PAIR = re.compile(r'"([^"\n]*)"')
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"


def _same_marks() -> dict[int, int | str | None]:
    quotes = zip("「」『』﹁﹂﹃﹄〝〞｢｣＂", '“”‘’“”‘’“”“”"', strict=True)
    marks = zip("﹐﹑﹒﹔﹕﹖﹗｡､﹙﹚", "，、。；：？！。、（）", strict=True)
    table: dict[int, int | str | None] = {ord(a): b for a, b in [*quotes, *marks]}
    for first, last in ("０９", "ＡＺ", "ａｚ"):
        table |= {c: c - 0xFEE0 for c in range(ord(first), ord(last) + 1)}
    return table | dict.fromkeys(map(ord, _INVISIBLE))


_SAME_MARK = _same_marks()


def normalise(text: str) -> str:
    """Bring punctuation and widths to one Chinese form; words and line breaks stay.

    Quotes become “ ” ‘ ’ (straight ones in pairs within a paragraph), runs of dots ……, dashes ——;
    half-width marks that touch Chinese text become full-width; full-width digits and Latin letters
    become ASCII; all blanks but line breaks become one kind of space; invisible characters go;
    compatibility ideographs become the usual ones (Unicode NFC). Unlike NFKC this keeps ，。？ as
    they are.
    """
    text = unicodedata.normalize("NFC", text.translate(_SAME_MARK))
    text = re.sub(r"\r\n?", "\n", text)
    text = re.sub(r"[^\S\n]", " ", text)
    text = _ELLIPSIS.sub("……", text)
    text = _DASH.sub("——", text)
    text = _STRAIGHT_PAIR.sub(r"“\1”", text)
    text = _HALF_WIDTH.sub(lambda found: found.group().translate(_TO_FULL_WIDTH), text)
    return _ELLIPSIS.sub("……", text)  # a full stop made just now may be the third of a run


NAME_MARK = "〓"


def without_names(text: str, names: Iterable[str]) -> str:
    """Replace every character of the given names by 〓, longest name first.

    Names of persons and places tell works apart, not authors. Lengths, offsets and denominators of
    rates stay; 〓 is a symbol, so lists of frequent items and Zeta leave it out.

    Args:
        text: any text.
        names: the names, in the script of the text; blank ones are ignored.
    """
    longest_first = sorted({name for name in names if name.strip()}, key=lambda n: (-len(n), n))
    if not longest_first:
        return text
    pattern = re.compile("|".join(map(re.escape, longest_first)))
    return pattern.sub(lambda found: NAME_MARK * len(found.group()), text)
