"""Literary (文言) against vernacular (白话): how many markers of each a text holds.

The two lists are ours, of words that grammars of Chinese name as belonging to one register; they
are files (`wenyan.txt`, `baihua.txt`) and can be replaced. Single characters are ambiguous (也 ends
a literary clause and means "also" in the vernacular): the index orders texts, it does not classify
a sentence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources

from stylellm.errors import DataError
from stylellm.stylometry import function_words


def _shipped(name: str) -> tuple[str, ...]:
    file = resources.files("stylellm.stylometry").joinpath(name)
    return function_words.parse_words(file.read_text(encoding="utf-8-sig"), name)


WENYAN: tuple[str, ...] = _shipped("wenyan.txt")
BAIHUA: tuple[str, ...] = _shipped("baihua.txt")


@dataclass(frozen=True)
class Register:
    """Markers per 1000 non-whitespace characters, and where the text lies between the two.

    Attributes:
        wenyan, baihua: rates of all markers of a list together.
        index: (wenyan - baihua) / (wenyan + baihua): 1 literary, -1 vernacular; 0 without markers.
        words: marker -> rate, literary ones first.
    """

    wenyan: float
    baihua: float
    index: float
    words: dict[str, float]


def register(
    text: str, wenyan: Iterable[str] | None = None, baihua: Iterable[str] | None = None
) -> Register:
    """Where a text (simplified) lies between literary and vernacular Chinese.

    Args:
        text: normalised, simplified.
        wenyan, baihua: lists to use instead of the shipped ones.

    Raises:
        DataError: an empty list, or a word on both lists.
    """
    literary = WENYAN if wenyan is None else tuple(dict.fromkeys(wenyan))
    spoken = BAIHUA if baihua is None else tuple(dict.fromkeys(baihua))
    both = set(literary) & set(spoken)
    if both or not literary or not spoken:
        raise DataError(
            f"marker lists of {len(literary)} and {len(spoken)} words, {len(both)} on both",
            "two lists with words that have none in common",
        )
    rates = function_words.rates(text, (*literary, *spoken))
    one, other = (sum(rates[word] for word in words) for words in (literary, spoken))
    index = (one - other) / (one + other) if one + other else 0.0
    return Register(one, other, index, rates)
