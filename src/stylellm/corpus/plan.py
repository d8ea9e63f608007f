"""Second stage, in one process: what stands twice, which split each chapter is in, what leaks.

It sees signatures first, and the text of what is left only when the splits are decided.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from stylellm.corpus.balance import balance
from stylellm.corpus.cache import Cache
from stylellm.corpus.dedup import DuplicatePlan, Match, find_duplicates
from stylellm.corpus.digest import ChapterEntry, Digest, StoredChapter
from stylellm.corpus.leaks import Leak, enforce
from stylellm.corpus.read import BookFile
from stylellm.corpus.script import to_simplified
from stylellm.corpus.split import Chapter, Section, Work, split_works

AUTHOR, GENERAL, OTHER = "author", "general", "other"
SPLITS = {
    AUTHOR: {"train": "train", "validation": "validation", "test": "test"},
    GENERAL: {"train": "general_train", "test": "general_test"},
    OTHER: {"test": "other_test"},
}
TRAINING = ("train", "general_train")
GENERAL_TEST_FRACTION = 0.2
_EXAMPLES = 5
_PLACES = 200


@dataclass
class Repeats:
    """What a file repeats of earlier text: how much, and where it stands.

    Attributes:
        chapters, paragraphs: how many were dropped whole.
        characters: what that came to.
        of: work -> characters of this file that stand there.
        places: (chapter here, work and chapter there, similarity) of dropped chapters.
        examples: (there, here, text) of a few.
    """

    chapters: int = 0
    paragraphs: int = 0
    characters: int = 0
    of: dict[str, int] = field(default_factory=dict)
    places: list[tuple[str, str, float]] = field(default_factory=list)
    examples: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass
class Source:
    """One file on its way: what was read, and what was left of it."""

    role: str
    file: BookFile
    digest: Digest
    chapters: int = 0
    repeats: Repeats = field(default_factory=Repeats)
    balanced: int = 0
    leaked: int = 0
    kept: int = 0


@dataclass
class Leaks:
    """What stood in held-out text, too, and was cut out of training text."""

    found: list[Leak] = field(default_factory=list)
    characters: int = 0
    dropped: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _StoredWork(Work):
    """A work that knows its length without reading its text."""

    characters: int = 0

    @property
    def num_characters(self) -> int:
        return self.characters


@dataclass(frozen=True)
class _Unit:
    """A work before the duplicates are known: a file, or a document of a general .jsonl."""

    source: int
    title: str
    label: str
    author: str
    entries: tuple[ChapterEntry, ...]


def works_of(
    sources: Sequence[Source], cache: Cache, threshold: float, author: str | None
) -> list[tuple[str, Work]]:
    """(role, work) of all that is left when duplicates are gone; counts them in the sources.

    Args:
        sources: in reading order; of two that are alike the first is kept.
        threshold: see `dedup.find_duplicates`.
        author: who wrote the author's books where they do not say it themselves.
    """
    units = [unit for index, source in enumerate(sources) for unit in _units(index, source, author)]
    signatures = [one for source in sources for unit in _signed(source) for one in unit]
    places = [(w, c) for w, unit in enumerate(units) for c in range(len(unit.entries))]
    signed = [(*place, one) for place, one in zip(places, signatures, strict=True)]
    plan = find_duplicates(signed, threshold=threshold)
    for source in sources:
        source.digest = replace(source.digest, signatures=())
    found: list[tuple[str, Work]] = []
    for number, unit in enumerate(units):
        source = sources[unit.source]
        kept, characters = _remaining(number, units, plan, source, cache)
        source.chapters += len(kept)
        source.kept += characters
        if kept:
            chapters = cast(tuple[Chapter, ...], tuple(kept))
            work = _StoredWork(unit.title, chapters, unit.source, unit.label, unit.author,
                               characters=characters)  # fmt: skip
            found.append((source.role, work))
    return found


def _units(index: int, source: Source, author: str | None) -> list[_Unit]:
    digest = source.digest
    name = digest.author or (author or "" if source.role == AUTHOR else "")
    if source.role != GENERAL or len(digest.documents) == 1:
        entries = tuple(entry for document in digest.documents for entry in document)
        return [_Unit(index, digest.title, "", name, entries)]
    return [_Unit(index, digest.title, f"{number:04}", name, document)
            for number, document in enumerate(digest.documents, start=1)]  # fmt: skip


def _signed(source: Source) -> Sequence[Sequence[Any]]:
    return source.digest.signatures


def _remaining(
    number: int, units: Sequence[_Unit], plan: DuplicatePlan, source: Source, cache: Cache
) -> tuple[list[StoredChapter], int]:
    """The chapters that stay, with their characters; what goes is counted in the source."""
    unit, kept, characters = units[number], [], 0
    for index, entry in enumerate(unit.entries):
        chapter = StoredChapter(cache, source.digest.key, entry)
        match = plan.chapters.get((number, index))
        paragraphs = plan.paragraphs.get((number, index), {})
        if match:
            source.repeats.chapters += 1
            _note(source.repeats, units, chapter, entry.characters, match, unit)
            continue
        left = entry.characters
        if paragraphs:
            chapter = replace(chapter, dropped=frozenset(paragraphs))
            left = len(chapter.text)
            source.repeats.paragraphs += len(paragraphs)
            first = paragraphs[min(paragraphs)]
            _note(source.repeats, units, chapter, entry.characters - left, first, unit, paragraphs)
        if left:
            kept.append(chapter)
            characters += left
    return kept, characters


def _note(
    repeats: Repeats,
    units: Sequence[_Unit],
    chapter: StoredChapter,
    characters: int,
    match: Match,
    unit: _Unit,
    paragraphs: Mapping[int, Match] | None = None,
) -> None:
    """Count what is dropped of a chapter, and where it stands already."""
    other = units[match.work]
    there = _place(other, other.entries[match.chapter].title)
    here = _place(unit, chapter.title)
    repeats.characters += characters
    repeats.of[other.title] = repeats.of.get(other.title, 0) + characters
    if paragraphs is None and len(repeats.places) < _PLACES:
        repeats.places.append((here, there, round(float(match.similarity), 3)))
    if len(repeats.examples) < _EXAMPLES:
        whole = replace(chapter, dropped=frozenset())
        text = whole.paragraphs[min(paragraphs)] if paragraphs else "".join(whole.paragraphs[:1])
        repeats.examples.append((there, here, text[:60]))


def _place(unit: _Unit, chapter: str) -> str:
    return " ".join(f"{unit.title} {unit.label} {chapter}".split())


def split_all(works: Sequence[tuple[str, Work]], settings: Mapping[str, Any]) -> list[Section]:
    """Every chapter with its split, named as the split's dataset is."""
    keys = ("split_by", "validation_fraction", "test_fraction", "held_out")
    whole = {"validation_fraction": 0.0, "test_fraction": 0.0, "split_by": "chapter"}
    sections: list[Section] = []
    for role, names in SPLITS.items():
        mine = [work for one, work in works if one == role]
        options: dict[str, Any] = whole
        if role == AUTHOR:
            options = {key: settings[key] for key in keys}
            options["held_out_works"] = _matching_titles(settings["held_out_works"], mine)
        elif role == GENERAL:
            options = {"validation_fraction": 0.0, "test_fraction": GENERAL_TEST_FRACTION}
        for section in split_works(mine, seed=settings["seed"], **options):
            split = "test" if role == OTHER else section.split
            sections.append(section.placed(names[split]))
    return sections


def _matching_titles(wanted: Sequence[str], works: Sequence[Work]) -> list[str]:
    """Titles as the works spell them, of titles written in either script, with or without 《》."""
    spelt = {to_simplified(work.title): work.title for work in works}
    return [spelt.get(to_simplified(title.strip("《》 ")), title) for title in wanted]


def balance_and_guard(
    sections: list[Section], sources: Sequence[Source], settings: Mapping[str, Any]
) -> tuple[list[Section], Leaks]:
    """Training text limited by work and author, then freed of what the held-out text holds."""
    kept, dropped = balance(
        sections,
        max_characters_per_work=settings["max_characters_per_work"],
        max_characters_per_author=settings["max_characters_per_author"],
        author_weights=settings["author_weights"] or None,
        seed=settings["seed"],
    )
    for section in dropped:
        sources[section.source].balanced += section.characters
        sources[section.source].kept -= section.characters
    others = [section for section in kept if section.split in SPLITS[OTHER].values()]
    guarded = enforce(
        [section for section in kept if section.split not in SPLITS[OTHER].values()],
        train=TRAINING,
    )
    for number, removed in guarded.removed_by_source.items():
        sources[number].leaked += removed
        sources[number].kept -= removed
    leaks = Leaks(guarded.leaks, sum(guarded.removed_by_source.values()), guarded.dropped)
    return guarded.sections + others, leaks
