"""Letters of a text as one edition-independent sequence of codes, for comparing texts.

Punctuation, white space, width, case, script (traditional or simplified) and common variant
characters belong to an edition; what is left when they are folded away is what the author wrote.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import numpy as np

from stylellm.corpus.script import converter

_LAST_LETTER = 0x33480  # nothing beyond the planes of ideographs is a letter
_VARIANTS = "著着祇只箇个裡里喫吃纔才妳你嗎吗甚什"
"""Pairs: a variant and what it counts as. OpenCC leaves these alone, or has them by phrase only."""
_USUAL = dict(zip(_VARIANTS[::2], _VARIANTS[1::2], strict=True))
_UNSET = np.uint32(0xFFFFFFFF)


def fold(text: str) -> np.ndarray:
    """Every character's letter code, uint32 `[len(text)]`; 0 for what is no letter or digit."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    table = _table()
    found = table[codes]
    if found.size and found.max() == _UNSET:
        new = np.unique(codes[found == _UNSET])
        table[new] = _letter_codes([chr(code) for code in new.tolist()])
        found = table[codes]
    return found


@lru_cache(maxsize=1)
def _table() -> np.ndarray:
    """Code point -> code of the letter it counts as, uint32 `[0x110000]`; filled as texts need it."""
    table = np.full(0x110000, _UNSET, dtype=np.uint32)
    table[_LAST_LETTER:] = 0
    return table


def _letter_codes(chars: list[str]) -> list[int]:
    """The code of the letter that each character counts as; 0 for what is no letter or digit."""
    letters = [char for char in chars if char.isalnum()]
    folded = _simplified([_plain(char) for char in letters])
    codes = {old: ord(_USUAL.get(new, new)) for old, new in zip(letters, folded, strict=True)}
    return [codes.get(char, 0) for char in chars]


def _plain(char: str) -> str:
    """Without width, ligature or case, where one character is left of it."""
    plain = unicodedata.normalize("NFKC", char).lower()
    return plain if len(plain) == 1 else char


def _simplified(chars: list[str]) -> list[str]:
    """Each character by itself in simplified form."""
    if not chars:
        return []
    converted = converter("t2s").convert("\n".join(chars)).split("\n")
    return [new if len(new) == 1 else old for old, new in zip(chars, converted, strict=True)]
