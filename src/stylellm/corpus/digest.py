"""First stage, one file at a time: read, clean, find the chapters, sign them for the duplicates.

What comes out is small (counts, titles, signatures) but for the text, which goes to the cache and
is read from there chapter by chapter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from stylellm.corpus.cache import Cache, key_of
from stylellm.corpus.clean import Cleaned, Removed, clean, merge_reports
from stylellm.corpus.dedup import Signature, sign
from stylellm.corpus.read import Book, BookFile, Damage, read_book
from stylellm.corpus.split import Chapter, chapters
from stylellm.errors import StyleLLMError

_MODERN_EXAMPLES = 3
_ENCODING = ("utf-8", "surrogatepass")


@dataclass(frozen=True)
class ChapterEntry:
    """A chapter without its text: that is [start, end) of the cached body, in bytes."""

    title: str
    characters: int
    start: int
    end: int


@dataclass(frozen=True)
class Digest:
    """What is known of one file after reading and cleaning. Fields as in `read.Book`.

    Attributes:
        key: of the cache entry that holds the text.
        documents: the chapters of each document.
        signatures: of each chapter of each document; let go once the duplicates are known.
        characters_in: characters read.
        characters_clean: characters of the chapters: what cleaning kept, less the line breaks
            between chapters.
        report: what each cleaning rule did.
        modern: places of each modern word; `modern_examples` shows some.
    """

    key: str
    title: str
    author: str
    encoding: str
    replacements: int
    margin: float
    damage: tuple[Damage, ...]
    mojibake: str
    sha256: str
    num_bytes: int
    documents: tuple[tuple[ChapterEntry, ...], ...]
    signatures: tuple[tuple[Signature, ...], ...]
    characters_in: int
    characters_clean: int
    report: tuple[Removed, ...]
    modern: Counter[str] = field(default_factory=Counter)
    modern_examples: dict[str, list[str]] = field(default_factory=dict)
    modern_protected: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Refused:
    """A file that cannot be used, and why, as `StyleLLMError` words it."""

    found: str
    expected: str
    hint: str


@dataclass(frozen=True)
class DigestTask:
    """One file to digest. `settings`: those of `DIGEST_SETTINGS`, and near_duplicates."""

    file: BookFile
    key: str
    settings: dict[str, Any]
    cache: Cache


DIGEST_SETTINGS = (
    "clean_rules",
    "script",
    "accept_damaged",
    "modern_words",
    "modern_word_list",
    "modern_word_list_sha256",
)


def digest_key(file: BookFile, sha256: str, settings: dict[str, Any]) -> str:
    """The cache key of a file: all that decides its `Digest` (its names may give the title)."""
    names = [file.path.absolute().parent.name, file.path.name, file.member, file.title, file.author]
    decisive = {name: settings[name] for name in DIGEST_SETTINGS}
    decisive["near"] = _near(settings)
    return key_of("digest", sha256, names, decisive)


def _near(settings: dict[str, Any]) -> bool:
    """Whether sketches are needed: any threshold may use the same ones."""
    return bool(settings["near_duplicates"] > 0)


def digest(task: DigestTask) -> Digest | Refused:
    """Digest one file and store it; runs in a worker process.

    Raises:
        OSError: the cache folder cannot be written.
    """
    try:
        book = read_book(task.file, accept_damaged=task.settings["accept_damaged"])
        cleaned = [_clean(document, book.title, task.settings) for document in book.documents]
    except StyleLLMError as error:
        return Refused(error.found, error.expected, error.hint)
    body = bytearray()
    found = [_chapters(one, book.title) for one in cleaned]
    documents = tuple(tuple(_entries(one, body)) for one in found)
    near = _near(task.settings)
    signatures = tuple(tuple(sign(chapter, near=near) for chapter in one) for one in found)
    result = _digest_of(task.key, book, cleaned, documents, signatures)
    task.cache.store(task.key, result, bytes(body))
    return result


def _clean(document: str, title: str, settings: dict[str, Any]) -> Cleaned:
    cleaned = clean(
        document,
        rules=settings["clean_rules"],
        script=settings["script"],
        title=title,
        modern_words=settings["modern_words"],
        modern_word_list=settings["modern_word_list"],
    )
    check_conserved(len(document), cleaned, title)
    return cleaned


def check_conserved(characters_in: int, cleaned: Cleaned, title: str) -> None:
    """Characters read - removed + added, rule by rule, are the characters that came out.

    Raises:
        AssertionError: they are not, which would be a bug of ours.
    """
    total = characters_in
    for rule in cleaned.removed:
        if min(rule.removed, rule.added, rule.changed, rule.count) < 0 or rule.removed > total:
            raise AssertionError(f"rule {rule.rule} lost count of the characters of {title}")
        total += rule.added - rule.removed
    if total != len(cleaned.text) or cleaned.characters_in != characters_in:
        raise AssertionError(f"cleaning lost count of the characters of {title}")


def _chapters(cleaned: Cleaned, title: str) -> list[Chapter]:
    found = chapters(cleaned.text)
    if "".join(one.text for one in found).replace("\n", "") != cleaned.text.replace("\n", ""):
        raise AssertionError(f"cutting {title} into chapters lost text")
    return found


def _entries(found: list[Chapter], body: bytearray) -> Iterator[ChapterEntry]:
    """The chapters of one document, their text appended to the body."""
    for chapter in found:
        start, text = len(body), chapter.text
        body += text.encode(*_ENCODING)
        yield ChapterEntry(chapter.title, len(text), start, len(body))


def _digest_of(
    key: str,
    book: Book,
    cleaned: list[Cleaned],
    documents: tuple[tuple[ChapterEntry, ...], ...],
    signatures: tuple[tuple[Signature, ...], ...],
) -> Digest:
    modern: Counter[str] = Counter()
    protected: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for one in cleaned:
        modern.update(one.modern)
        protected.update(one.modern_protected)
        for word, places in one.modern_examples.items():
            kept = examples.setdefault(word, [])
            kept += places[: _MODERN_EXAMPLES - len(kept)]
    return Digest(
        key, book.title, book.author, book.encoding, book.replacements, book.margin,
        tuple(book.damage), book.mojibake, book.sha256, book.num_bytes, documents, signatures,
        sum(len(document) for document in book.documents),
        sum(entry.characters for document in documents for entry in document),
        tuple(merge_reports([one.removed for one in cleaned])),
        modern, examples, protected,
    )  # fmt: skip


@dataclass(frozen=True)
class StoredChapter:
    """A `split.Chapter` whose text is read from the cache whenever it is asked for.

    Attributes:
        title: its heading.
        dropped: indices of its paragraphs that are left out.
    """

    cache: Cache
    key: str
    entry: ChapterEntry
    dropped: frozenset[int] = frozenset()

    @property
    def title(self) -> str:
        return self.entry.title

    @property
    def text(self) -> str:
        """Heading and paragraphs, a line each. OutputError: the cache entry has gone."""
        body = self.cache.body(self.key, self.entry.start, self.entry.end)
        text = body.decode(*_ENCODING)
        if len(text) != self.entry.characters:
            raise AssertionError(f"the cached text of {self.title!r} has changed")
        if not self.dropped:
            return text
        chapter = chapter_of(self.title, text)
        kept = [part for i, part in enumerate(chapter.paragraphs) if i not in self.dropped]
        return Chapter(self.title, tuple(kept)).text

    @property
    def characters(self) -> int:
        """Length of the text; only where paragraphs were left out it must be read."""
        return len(self.text) if self.dropped else self.entry.characters

    @property
    def paragraphs(self) -> tuple[str, ...]:
        return chapter_of(self.title, self.text).paragraphs


def chapter_of(title: str, text: str) -> Chapter:
    """The inverse of `Chapter.text`."""
    rest = text[len(title) :]
    if title:
        return Chapter(title, tuple(rest[1:].split("\n")) if rest else ())
    return Chapter("", tuple(text.split("\n")) if text else ())
