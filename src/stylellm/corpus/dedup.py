"""Exact duplicates: chapters and paragraphs that occur more than once, within and across books.

The first occurrence (in the order of the books) is kept. Paragraphs under 30 characters recur in
any novel ("众人都笑了。") and are left alone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from stylellm.corpus.split import Chapter

MIN_CHARACTERS = 30
_EXAMPLES = 5
_NOT_TEXT = re.compile(r"[\W_]+")


@dataclass
class Duplicates:
    """What was found: how many, and (first place, second place, text) of a few."""

    chapters: int = 0
    paragraphs: int = 0
    characters: int = 0
    examples: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, other: Duplicates) -> None:
        """Count what another search found, too."""
        self.chapters += other.chapters
        self.paragraphs += other.paragraphs
        self.characters += other.characters
        self.examples = (self.examples + other.examples)[:_EXAMPLES]


class Deduplicator:
    """Remembers what it has seen, book after book."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[int, str]] = {}
        self._number = 0

    def keep_new(self, work: str, chapters: Sequence[Chapter]) -> tuple[list[Chapter], Duplicates]:
        """The chapters without what was seen before (in this or an earlier work), and what went.

        A chapter all of whose text was seen goes as a whole; otherwise the paragraphs go.
        """
        kept, found = [], Duplicates()
        for chapter in chapters:
            self._number += 1
            place = f"{work} {chapter.title}".replace("\n", " ").strip()
            if self._is_repeat("\n".join(chapter.paragraphs), place, found):
                found.chapters += 1
                found.characters += len(chapter.text)
                continue
            fresh = [p for p in chapter.paragraphs if not self._is_repeat(p, place, found)]
            if not fresh and chapter.paragraphs:
                found.chapters += 1
                found.characters += len(chapter.text)
                continue
            found.paragraphs += len(chapter.paragraphs) - len(fresh)
            remaining = replace(chapter, paragraphs=tuple(fresh))
            found.characters += len(chapter.text) - len(remaining.text)
            kept.append(remaining)
        return kept, found

    def _is_repeat(self, text: str, place: str, found: Duplicates) -> bool:
        letters = _NOT_TEXT.sub("", text)
        if len(letters) < MIN_CHARACTERS:
            return False
        key = hashlib.blake2b(letters.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        number, first = self._seen.setdefault(key, (self._number, place))
        if number == self._number:  # new, or a refrain within one chapter
            return False
        if len(found.examples) < _EXAMPLES:
            found.examples.append((first, place, text[:60]))
        return True
