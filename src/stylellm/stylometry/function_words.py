"""Function words: how often an author uses the small words that carry no subject.

Rates are occurrences per 1000 non-whitespace characters. Words are matched in the text as given,
left to right without overlap, longest first (罢了 before 罢); a word never spans white space. The
list expects simplified characters: convert and normalise both texts first.

Sample size matters: below about 2,000 characters `jsd` is mostly noise.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from stylellm.errors import DataError
from stylellm.stylometry.divergence import jensen_shannon
from stylellm.stylometry.text import without_whitespace


def parse_words(content: str, source: str = "the word list") -> tuple[str, ...]:
    """Words of a list file: separated by white space, `#` lines are comments, order kept.

    Raises:
        DataError: no word, or a word that stands twice.
    """
    lines = (line for line in content.splitlines() if not line.lstrip().startswith("#"))
    words = tuple(" ".join(lines).split())
    if not words:
        raise DataError(f"{source} holds no word", "at least one word per list")
    doubled = [word for word, count in Counter(words).items() if count > 1]
    if doubled:
        raise DataError(f"{source} holds twice: {' '.join(doubled)}", "each word once")
    return words


def load_words(path: Path | str) -> tuple[str, ...]:
    """Words of a UTF-8 list file of the form of `function_words.txt`.

    Raises:
        DataError: the file cannot be read as UTF-8, is empty, or holds a word twice.
    """
    try:
        content = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error})", "a UTF-8 word list") from error
    return parse_words(content, str(path))


def _shipped_words() -> tuple[str, ...]:
    file = resources.files("stylellm.stylometry").joinpath("function_words.txt")
    return parse_words(file.read_text(encoding="utf-8-sig"), "function_words.txt")


FUNCTION_WORDS: tuple[str, ...] = _shipped_words()


@lru_cache(maxsize=16)
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    longest_first = sorted(words, key=len, reverse=True)
    long = [re.escape(word) for word in longest_first if len(word) > 1]
    single = [re.escape(word) for word in longest_first if len(word) == 1]
    # One character class instead of many branches: several times faster on a book.
    return re.compile("|".join([*long, f"[{''.join(single)}]"] if single else long))


def counts(text: str, words: Iterable[str] | None = None) -> dict[str, int]:
    """Occurrences of each word in the text, in the order of the list (0 where absent).

    Args:
        text: any string.
        words: the list (default `FUNCTION_WORDS`).

    Raises:
        DataError: the list is empty or holds an empty word.
    """
    chosen = FUNCTION_WORDS if words is None else tuple(dict.fromkeys(words))
    if not chosen or "" in chosen:
        raise DataError("the word list is empty or holds an empty word", "one or more words")
    found = Counter(_pattern(chosen).findall(text))
    return {word: found[word] for word in chosen}


def rates(text: str, words: Iterable[str] | None = None) -> dict[str, float]:
    """Occurrences of each word per 1000 non-whitespace characters of the text.

    All rates are 0 for a text without characters. Errors as in `counts`.
    """
    length = len(without_whitespace(text))
    return {
        word: 1000 * count / length if length else 0.0
        for word, count in counts(text, words).items()
    }


def jsd(text_a: str, text_b: str, words: Iterable[str] | None = None) -> float:
    """Jensen-Shannon divergence of the function-word distributions of two texts, in bits.

    The distribution is pooled over the whole text: one bin per word with its rate as the share,
    and one bin "other" for the remaining non-whitespace characters, so that the amount of function
    words counts as well as the choice among them. An occurrence of 罢了 counts once.

    Returns:
        From 0 (same shares) to 1. Symmetric. Source: Lin (1991); the same as
        `scipy.spatial.distance.jensenshannon(p, q, base=2) ** 2`.

    Raises:
        DataError: a text without characters, or a bad word list.
    """
    chosen = None if words is None else tuple(words)
    return jensen_shannon(_bins(text_a, chosen), _bins(text_b, chosen))


def _bins(text: str, words: tuple[str, ...] | None) -> np.ndarray:
    length = len(without_whitespace(text))
    if not length:
        raise DataError("a text without characters has no function-word distribution", "text")
    occurrences = list(counts(text, words).values())
    return np.array([*occurrences, length - sum(occurrences)], dtype=np.float64)
