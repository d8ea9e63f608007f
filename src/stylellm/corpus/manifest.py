"""The manifest of prepared data: where it came from, what was done, how much came out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stylellm import __version__
from stylellm.corpus.clean import Removed
from stylellm.corpus.dedup import Duplicates
from stylellm.corpus.read import Book
from stylellm.corpus.split import Work

Manifest = dict[str, Any]
Columns = dict[str, list[Any]]

VERSION = 1
"""Of the format and of what preparing does; raised when either changes."""

AUTHOR, GENERAL, OTHER = "author", "general", "other"
SPLITS = {
    AUTHOR: {"train": "train", "validation": "validation", "test": "test"},
    GENERAL: {"train": "general_train", "test": "general_test"},
    OTHER: {"test": "other_test"},
}

_SMALL_BOOK = 20_000
_DOUBTFUL_MARGIN = 0.15
_LARGE_SHARE = 0.1
_EXPECTED_LOSSES = ("line_ends", "spaces", "layout")


@dataclass
class Source:
    """One file on its way: what was read, what cleaning did, the works it gave."""

    role: str
    book: Book
    works: list[Work] = field(default_factory=list)
    report: list[Removed] = field(default_factory=list)
    characters_in: int = 0
    characters_clean: int = 0
    duplicates: Duplicates = field(default_factory=Duplicates)

    @property
    def characters_kept(self) -> int:
        """Characters that go into windows."""
        return sum(work.num_characters for work in self.works)


def build_manifest(
    settings: dict[str, Any],
    sources: Sequence[Source],
    windows: dict[str, Columns],
    skipped: Sequence[Path],
    tokenizer: Any,
) -> Manifest:
    """Everything known about one run of `prepare`, as plain JSON values."""
    hashes = [(source.role, source.book.path.name, source.book.sha256) for source in sources]
    counts = _counts(windows)
    entries = [_source_entry(source, counts.get(i, {})) for i, source in enumerate(sources)]
    _check_conserved(entries)
    manifest = {
        "version": VERSION,
        "stylellm": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "author": settings["author"] or _author(sources),
        "fingerprint": fingerprint(settings, hashes, tokenizer),
        "tokenizer": {
            "name": str(getattr(tokenizer, "name_or_path", "")),
            "fingerprint": tokenizer_fingerprint(tokenizer),
            "eos_token": tokenizer.eos_token,
        },
        "settings": settings,
        "splits": {name: _split_entry(columns) for name, columns in windows.items()},
        "sources": entries,
        "skipped": [str(path) for path in skipped],
        "warnings": _warnings(sources, windows, skipped),
    }
    return json.loads(json.dumps(manifest))  # lists for tuples, as a reader of the file gets them


def fingerprint(
    settings: dict[str, Any], hashes: Iterable[tuple[str, str, str]], tokenizer: Any
) -> str:
    """Hash of all that decides the result; `hashes` are (role, name, sha256) of the files."""
    decisive = [VERSION, settings, list(hashes), tokenizer_fingerprint(tokenizer)]
    return _hash(json.dumps(decisive, sort_keys=True, ensure_ascii=True))


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Hash of the tokenizer's rules and vocabulary, not of its name or padding."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return _hash(json.dumps(sorted(tokenizer.get_vocab().items())))
    rules = json.loads(backend.to_str())
    rules.pop("truncation", None)
    rules.pop("padding", None)
    return _hash(json.dumps(rules, sort_keys=True) + str(tokenizer.eos_token))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:32]


def _author(sources: Sequence[Source]) -> str:
    names = {source.book.author for source in sources if source.role == AUTHOR} - {""}
    return "、".join(sorted(names))


def _source_entry(source: Source, splits: dict[str, dict[str, int]]) -> dict[str, Any]:
    book = source.book
    return {
        "role": source.role,
        "path": str(book.path),
        "name": book.path.name,
        "title": book.title,
        "author": book.author,
        "sha256": book.sha256,
        "bytes": book.num_bytes,
        "encoding": book.encoding,
        "encoding_margin": book.margin,
        "replacements": book.replacements,
        "documents": len(book.documents),
        "chapters": sum(len(work.chapters) for work in source.works),
        "characters": _characters(source),
        "rules": [asdict(rule) for rule in source.report if rule.count],
        "duplicates": asdict(source.duplicates),
        "splits": splits,
    }


def _characters(source: Source) -> dict[str, int]:
    """in - removed + added - line_breaks - duplicates = kept, each counted where it happened."""
    removed = sum(rule.removed for rule in source.report)
    added = sum(rule.added for rule in source.report)
    return {
        "in": source.characters_in,
        "removed": removed,
        "added": added,
        "changed": sum(rule.changed for rule in source.report),
        "line_breaks": source.characters_in - removed + added - source.characters_clean,
        "duplicates": source.characters_clean - source.characters_kept,
        "kept": source.characters_kept,
    }


def _counts(windows: dict[str, Columns]) -> dict[int, dict[str, dict[str, int]]]:
    """Source number -> split -> windows, tokens, characters and documents (EOS) in it."""
    counts: dict[int, dict[str, dict[str, int]]] = {}
    zero = {"windows": 0, "tokens": 0, "characters": 0, "documents": 0}
    for split, columns in windows.items():
        rows = (columns[name] for name in ("source", "num_tokens", "text", "ends_document"))
        for source, tokens, text, ends in zip(*rows, strict=True):
            count = counts.setdefault(source, {}).setdefault(split, dict(zero))
            count["windows"] += 1
            count["tokens"] += tokens
            count["characters"] += len(text)
            count["documents"] += ends
    return counts


def _split_entry(columns: Columns) -> dict[str, Any]:
    return {
        "windows": len(columns["text"]),
        "tokens": sum(columns["num_tokens"]),
        "characters": sum(map(len, columns["text"])),
        "documents": sum(columns["ends_document"]),
        "works": len(set(columns["work"])),
    }


def _check_conserved(entries: Sequence[dict[str, Any]]) -> None:
    """Every kept character of every file is in exactly one window."""
    for entry in entries:
        in_windows = sum(count["characters"] for count in entry["splits"].values())
        if in_windows != entry["characters"]["kept"]:
            raise AssertionError(f"{entry['title']}: {in_windows} characters in windows, "
                                 f"{entry['characters']['kept']} kept")  # fmt: skip


def _warnings(
    sources: Sequence[Source], windows: dict[str, Columns], skipped: Sequence[Path]
) -> list[str]:
    """What a person should look at before training."""
    found = []
    for source in sources:
        found += [f"{source.book.path.name}: {problem}" for problem in _problems(source)]
    for name, columns in windows.items():
        if not columns["text"] and name in SPLITS[AUTHOR].values():
            found.append(f"the {name} split is empty: the books are too small to hold text out")
    if GENERAL not in {source.role for source in sources}:
        found.append(
            "no general text: loss of general ability cannot be measured (data.general_text)"
        )
    if skipped:
        names = ", ".join(path.name for path in skipped[:5])
        found.append(f"{len(skipped)} files skipped, as they are no books: {names}")
    return found


def _problems(source: Source) -> list[str]:
    book = source.book
    found = []
    if book.replacements:
        found.append(f"{book.replacements} damaged places (encoding {book.encoding})")
    if book.margin < _DOUBTFUL_MARGIN:
        found.append(f"the encoding is doubtful ({book.encoding}, margin {book.margin:.2f})")
    if not source.works:
        found.append("nothing is left of it after cleaning")
    for rule in source.report:
        if rule.rule not in _EXPECTED_LOSSES and rule.removed > _LARGE_SHARE * source.characters_in:
            share = rule.removed / source.characters_in
            found.append(f"rule {rule.rule} removed {share:.0%} of it; look at the samples")
    if source.role == AUTHOR and source.characters_in < _SMALL_BOOK:
        found.append(f"only {source.characters_in} characters")
    if source.role == AUTHOR and len(source.works) == 1 and len(source.works[0].chapters) == 1:
        found.append("no chapters were found in it")
    return found
