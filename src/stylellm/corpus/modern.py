"""Modern vocabulary: counted by word, and, if asked for, dropped with its sentence or paragraph.

The words stand in `assets/modern_words.txt`, which explains its format, or in a list of the user's
own. A word with an old meaning as well is told apart by the phrase it stands in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Literal

from stylellm.corpus.pairs import PairSearch
from stylellm.corpus.script import to_traditional
from stylellm.errors import DataError

ModernMode = Literal["count", "sentence", "paragraph", "off"]
MODES: tuple[str, ...] = ("count", "sentence", "paragraph", "off")

_EXAMPLES = 3
_CONTEXT = 12


@dataclass(frozen=True)
class Word:
    """A modern word and the phrases that decide whether it is meant.

    Attributes:
        text: the word, at least two characters.
        name: how it is reported (the spelling in the list).
        old: phrases holding the word in an old meaning, or a chance neighbourhood of characters.
        modern: if there are any, the word counts only inside one of these phrases.
    """

    text: str
    name: str
    old: tuple[str, ...] = ()
    modern: tuple[str, ...] = ()

    def is_meant(self, text: str, start: int) -> bool:
        """Whether the word at `text[start:]` has its modern meaning."""
        for phrase in self.old:
            if _within(text, start, self.text, phrase):
                return False
        return not self.modern or any(
            _within(text, start, self.text, phrase) for phrase in self.modern
        )


@dataclass(frozen=True)
class Found:
    """What was found: places by word, a few examples of each, and places protected by context."""

    places: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)
    protected: Counter[str] = field(default_factory=Counter)
    spans: list[tuple[int, int]] = field(default_factory=list)


class WordList:
    """Modern words made ready for the search; each also matches in traditional characters."""

    def __init__(self, words: Iterable[Word]) -> None:
        self._by_pair: dict[str, list[Word]] = {}
        for word in words:
            self._by_pair.setdefault(word.text[:2], []).append(word)
        for same in self._by_pair.values():
            same.sort(key=lambda word: -len(word.text))
        self._search = PairSearch(self._by_pair)

    def find(self, text: str) -> Found:
        """All modern words of a text, the longest at each place, in order and apart."""
        found = Found()
        end = 0
        for start in self._search.places(text):
            if start < end:
                continue
            for word in self._by_pair[text[start : start + 2]]:
                if not text.startswith(word.text, start) or _inside_latin(text, start, word.text):
                    continue
                if not word.is_meant(text, start):
                    found.protected[word.name] += 1
                    continue
                end = start + len(word.text)
                found.spans.append((start, end))
                found.places[word.name] += 1
                examples = found.examples.setdefault(word.name, [])
                if len(examples) < _EXAMPLES:
                    examples.append(text[max(0, start - _CONTEXT) : end + _CONTEXT])
                break
        return found


def _within(text: str, start: int, word: str, phrase: str) -> bool:
    """Whether the word at `start` is part of the phrase standing there."""
    at = phrase.find(word)
    while at >= 0:
        if start >= at and text.startswith(phrase, start - at):
            return True
        at = phrase.find(word, at + 1)
    return False


def _inside_latin(text: str, start: int, word: str) -> bool:
    """Whether a word in Latin letters is only a part of a longer one."""
    before, after = text[start - 1 : start], text[start + len(word) : start + len(word) + 1]
    return (_latin(word[0]) and _latin(before)) or (_latin(word[-1]) and _latin(after))


def _latin(char: str) -> bool:
    return char.isascii() and char.isalnum()


def parse_words(text: str, name: str = "the list") -> list[Word]:
    """The words of a list in the format of `assets/modern_words.txt`.

    Raises:
        DataError: a line that does not follow the format, with its number.
    """
    words = []
    for number, line in enumerate(text.splitlines(), start=1):
        word, *phrases = line.split("#", 1)[0].split() or [""]
        if not word:
            continue
        wrong = next((p for p in phrases if p[0] not in "+-" or word not in p[1:]), None)
        if len(word) < 2 or word[0] in "+-":
            wrong = word
        if wrong is not None:
            raise DataError(
                f"{name}, line {number}: {wrong!r} in {line.strip()!r}",
                "a word of two characters or more, then phrases that hold the word, each behind "
                "'-' (old meaning, not counted) or '+' (counted only there)",
                "Correct the line, or put # in front of it.",
            )
        old = tuple(phrase[1:] for phrase in phrases if phrase[0] == "-")
        modern = tuple(phrase[1:] for phrase in phrases if phrase[0] == "+")
        words.append(Word(word, word, old, modern))
    return words


def load_words(path: str | Path | None = None) -> WordList:
    """The shipped word list, or the one at `path`, in simplified and traditional characters.

    Raises:
        DataError: the list cannot be read, or a line of it is wrong.
    """
    if path is None:
        return _shipped()
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the list of modern words {path} cannot be read: {error}",
            "a text file in UTF-8, a word a line",
            "Correct data.modern_word_list, or leave it out to use the shipped list.",
        ) from error
    return _word_list(text, str(path))


@lru_cache(maxsize=1)
def _shipped() -> WordList:
    source = files("stylellm").joinpath("assets/modern_words.txt")
    return _word_list(source.read_text(encoding="utf-8"), "assets/modern_words.txt")


@lru_cache(maxsize=4)
def _word_list(text: str, name: str) -> WordList:
    words = parse_words(text, name)
    return WordList([*_in_both_scripts(words), *_in_capitals(words)])


def _in_both_scripts(words: list[Word]) -> list[Word]:
    """The words in simplified and in traditional spelling, each with its phrases in both."""
    phrases = [phrase for word in words for phrase in (word.text, *word.old, *word.modern)]
    spelled = dict(zip(phrases, to_traditional("\n".join(phrases)).split("\n"), strict=True))

    def both(phrases: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*phrases, *(spelled[phrase] for phrase in phrases)]))

    return [
        Word(spelling, word.name, both(word.old), both(word.modern))
        for word in words
        for spelling in both((word.text,))
    ]


def _in_capitals(words: list[Word]) -> list[Word]:
    return [
        Word(spelling, word.name, word.old, word.modern)
        for word in words
        for spelling in {word.text.lower(), word.text.upper()} - {word.text}
    ]
