"""Simplified and traditional characters, converted phrase by phrase with OpenCC."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal

from stylellm.errors import DataError
from stylellm.stylometry.normalise import normalise

Script = Literal["simplified", "traditional", "keep"]
SCRIPTS: tuple[str, ...] = ("simplified", "traditional", "keep")

# OpenCC leaves 著 and 祇 alone, because they are also simplified characters. In old traditional
# editions they mostly stand for the particle 着 and for 只, which a style is measured by.
_PARTICLE = re.compile(
    "著(?<![名显卓昭原专巨论编土遗译拙彰].)(?!名(?![姓字单])|作(?![什么几甚])|者|述|称|录|书立|书人|于)"
)
_ONLY = re.compile("祇(?<![神地灵].)(?![园洹树])")

# Simplified texts use these as they are; OpenCC would take them for traditional forms.
_ALSO_SIMPLIFIED = re.compile("[乾拚捱藉覆徵夥瞭摺麴坏苧]")
_SAMPLE = 4000


@lru_cache(maxsize=2)
def converter(profile: str) -> Any:
    """OpenCC's, made once: it takes a tenth of a second."""
    import opencc

    return opencc.OpenCC(profile)


def to_simplified(text: str) -> str:
    """Traditional to simplified, phrase level ("乾坤" stays, "乾淨" becomes "干净").

    In a text that is simplified already, only stray traditional characters are converted, and 乾,
    拚, 藉 and the like stay.
    """
    if not text:
        return text
    converted = converter("t2s").convert(text)
    if is_simplified(text):
        return _keep_simplified(text, converted)
    return _ONLY.sub("只", _PARTICLE.sub("着", converted))


def comparable(text: str) -> str:
    """Simplified characters and one form of punctuation: script and edition are no style."""
    return normalise(to_simplified(text))


def is_simplified(text: str) -> bool:
    """Whether the text (its beginning) holds more simplified characters than traditional ones."""
    sample = text[:_SAMPLE]
    simplified = sum(a != b for a, b in zip(sample, to_traditional(sample), strict=False))
    traditional = sum(
        a != b for a, b in zip(sample, converter("t2s").convert(sample), strict=False)
    )
    return simplified > traditional


def _keep_simplified(text: str, converted: str) -> str:
    if len(text) != len(converted):
        return converted
    pieces, at = [], 0
    for kept in _ALSO_SIMPLIFIED.finditer(text):
        pieces += [converted[at : kept.start()], kept[0]]
        at = kept.end()
    return "".join([*pieces, converted[at:]])


def to_traditional(text: str) -> str:
    """Simplified to traditional, phrase level ("头发" to "頭髮", "发现" to "發現")."""
    return converter("s2t").convert(text) if text else text


def convert(text: str, script: str = "simplified") -> str:
    """Convert to the wanted script; "keep" returns the text as it is.

    Raises:
        DataError: `script` is none of simplified, traditional, keep.
    """
    if script == "keep":
        return text
    if script == "simplified":
        return to_simplified(text)
    if script == "traditional":
        return to_traditional(text)
    raise DataError(f"script is {script!r}", f"one of {', '.join(SCRIPTS)}", "Change data.script.")
