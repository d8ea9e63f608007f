"""The whole stage: books in, windows, manifest and audit out."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stylellm.corpus.chunk import TokenCounter, cut_windows, token_counter
from stylellm.corpus.clean import clean, merge_reports, rule_names
from stylellm.corpus.dedup import Deduplicator
from stylellm.corpus.manifest import (
    AUTHOR,
    GENERAL,
    OTHER,
    SPLITS,
    Columns,
    Manifest,
    Source,
    build_manifest,
    fingerprint,
)
from stylellm.corpus.read import find_files, read_book
from stylellm.corpus.script import SCRIPTS, to_simplified
from stylellm.corpus.split import Section, Work, chapters, split_works
from stylellm.corpus.store import (
    COLUMNS,
    check_output,
    load_manifest,
    load_windows,
    write_prepared,
)
from stylellm.errors import DataError, ModelError, StyleLLMError

__all__ = ["Manifest", "is_current", "load_manifest", "load_windows", "prepare"]

MIN_LENGTH = 32
GENERAL_TEST_FRACTION = 0.2


def prepare(
    books: Sequence[str | Path],
    *,
    tokenizer: Any,
    output_dir: str | Path,
    author: str | None = None,
    general_text: Sequence[str | Path] = (),
    other_author: Sequence[str | Path] = (),
    max_length: int = 512,
    script: str = "simplified",
    split_by: str = "auto",
    validation_fraction: float = 0.05,
    test_fraction: float = 0.1,
    held_out: str = "spread",
    held_out_works: Sequence[str] = (),
    clean_rules: str | Sequence[str] = "all",
    seed: int = 42,
    overwrite: bool = False,
    progress: bool = True,
) -> Manifest:
    """Read, clean, split and cut books, and write `output_dir`.

    Written are `windows/<split>/` (Arrow, columns text, num_tokens, work, chapter, ends_document),
    `manifest.json`, `audit.html` and `audit.md`: to a temporary name first, then renamed.

    Args:
        books: files and folders of the author's books.
        tokenizer: a transformers tokenizer with an end-of-text token.
        output_dir: the folder to make.
        author: the author's name; by default the one the books name.
        general_text: other prose, on which loss of general ability is seen (80% train, 20% test).
        other_author: books of another author, all of them test.
        max_length: tokens of a training sequence; windows leave 8 of them free for sentinels.
        script: "simplified", "traditional" or "keep".
        split_by, validation_fraction, test_fraction, held_out, held_out_works, seed: see
            `split.split_works`.
        clean_rules: "all", or names of `rules.RULES`.
        overwrite: replace an `output_dir` that holds prepared data.
        progress: show progress bars.

    Returns:
        The manifest, as written.

    Raises:
        DataError: books that cannot be read or used. ModelError: an unusable tokenizer.
        OutputError: `output_dir` exists, cannot be written, or no space is left.
    """
    settings = _settings(
        author, max_length, script, split_by, validation_fraction, test_fraction, held_out,
        held_out_works, clean_rules, seed,
    )  # fmt: skip
    output = Path(output_dir)
    if getattr(tokenizer, "eos_token_id", None) is None:
        raise ModelError(
            "the tokenizer has no end-of-text token", "the tokenizer of a causal model"
        )
    check_output(output, overwrite)
    files, skipped = _find({AUTHOR: books, GENERAL: general_text, OTHER: other_author})
    sources = _read_all(files, settings, progress)
    sections = _split_all(sources, settings)
    windows = _cut_all(sections, token_counter(tokenizer), max_length, progress)
    manifest = build_manifest(settings, sources, windows, skipped, tokenizer)
    write_prepared(output, windows, manifest, overwrite)
    return manifest


def is_current(
    output_dir: str | Path,
    books: Sequence[str | Path],
    *,
    tokenizer: Any,
    general_text: Sequence[str | Path] = (),
    other_author: Sequence[str | Path] = (),
    **options: Any,
) -> bool:
    """Whether `output_dir` holds what `prepare` with the same arguments would make.

    Compares a hash over the settings, the tokenizer and the bytes of every source file.
    """
    try:
        manifest = load_manifest(output_dir)
        files, _ = _find({AUTHOR: books, GENERAL: general_text, OTHER: other_author})
        hashes = [(role, file.name, _sha256(file)) for role, file in files]
    except (StyleLLMError, OSError):
        return False
    defaults: dict[str, Any] = {
        name: parameter.default
        for name, parameter in inspect.signature(prepare).parameters.items()
        if name in inspect.signature(_settings).parameters
    }
    settings = _settings(
        **(defaults | {name: options[name] for name in options if name in defaults})
    )
    return manifest.get("fingerprint") == fingerprint(settings, hashes, tokenizer)


def _settings(
    author: str | None,
    max_length: int,
    script: str,
    split_by: str,
    validation_fraction: float,
    test_fraction: float,
    held_out: str,
    held_out_works: Sequence[str],
    clean_rules: str | Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """What, besides books and tokenizer, decides the result; checked where that needs no book."""
    if max_length < MIN_LENGTH:
        raise DataError(
            f"max_length is {max_length}", f"at least {MIN_LENGTH}", "Raise data.max_length."
        )
    if script not in SCRIPTS:
        raise DataError(
            f"script is {script!r}", f"one of {', '.join(SCRIPTS)}", "Change data.script."
        )
    return {
        "author": author,
        "max_length": max_length,
        "script": script,
        "split_by": split_by,
        "validation_fraction": validation_fraction,
        "test_fraction": test_fraction,
        "held_out": held_out,
        "held_out_works": list(held_out_works),
        "clean_rules": rule_names(clean_rules),
        "seed": seed,
    }


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _find(paths: dict[str, Sequence[str | Path]]) -> tuple[list[tuple[str, Path]], list[Path]]:
    """(role, file) of every book, and what was skipped. A file has one role."""
    files: list[tuple[str, Path]] = []
    skipped: list[Path] = []
    roles: dict[Path, str] = {}
    for role, given in paths.items():
        if not given and role != AUTHOR:
            continue
        found, passed = find_files([given] if isinstance(given, str | Path) else given)
        skipped += passed
        for file in found:
            first = roles.setdefault(file.resolve(), role)
            if first != role:
                raise DataError(
                    f"{file} is given both as {first} and as {role} text", "each book once"
                )
            files.append((role, file))
    return files, skipped


def _read_all(
    files: list[tuple[str, Path]], settings: dict[str, Any], progress: bool
) -> list[Source]:
    deduplicator = Deduplicator()
    sources = [
        _read(number, role, file, settings, deduplicator)
        for number, (role, file) in enumerate(_bar(files, "reading", "book", progress))
    ]
    if not any(source.works for source in sources if source.role == AUTHOR):
        raise DataError(
            "nothing is left of the author's books after cleaning",
            "books with text",
            "Check the books, or switch rules off with data.clean_rules.",
        )
    return sources


def _read(
    number: int, role: str, file: Path, settings: dict[str, Any], deduplicator: Deduplicator
) -> Source:
    """Read and clean one file. It is one work, but every document of a general .jsonl is one."""
    source = Source(role, read_book(file))
    title = source.book.title
    reports, found = [], []
    for document in source.book.documents:
        cleaned = clean(
            document, rules=settings["clean_rules"], script=settings["script"], title=title
        )
        parts = chapters(cleaned.text)
        _check_only_breaks_lost(cleaned.text, [part.text for part in parts], title)
        kept, duplicates = deduplicator.keep_new(title, parts)
        source.characters_in += len(document)
        source.characters_clean += sum(len(part.text) for part in parts)
        source.duplicates.add(duplicates)
        reports.append(cleaned.removed)
        found.append(kept)
    if role != GENERAL or len(found) == 1:
        source.works = [Work(title, tuple(chapter for kept in found for chapter in kept), number)]
    else:
        source.works = [
            Work(title, tuple(kept), number, f"{i:04}") for i, kept in enumerate(found, start=1)
        ]
    source.works = [work for work in source.works if work.chapters]
    source.report = merge_reports(reports)
    return source


def _check_only_breaks_lost(text: str, parts: list[str], title: str) -> None:
    if "".join(parts).replace("\n", "") != text.replace("\n", ""):
        raise AssertionError(f"cutting {title} into chapters lost text")


def _split_all(sources: list[Source], settings: dict[str, Any]) -> list[Section]:
    """Every chapter with its split, named as the split's dataset is."""
    keys = ("split_by", "validation_fraction", "test_fraction", "held_out")
    whole = {"validation_fraction": 0.0, "test_fraction": 0.0, "split_by": "chapter"}
    sections: list[Section] = []
    for role in SPLITS:
        works = [work for source in sources if source.role == role for work in source.works]
        options: dict[str, Any] = whole
        if role == AUTHOR:
            options = {key: settings[key] for key in keys}
            options["held_out_works"] = _matching_titles(settings["held_out_works"], works)
        elif role == GENERAL:
            options = {"validation_fraction": 0.0, "test_fraction": GENERAL_TEST_FRACTION}
        for section in split_works(works, seed=settings["seed"], **options):
            split = "test" if role == OTHER else section.split
            sections.append(replace(section, split=SPLITS[role][split]))
    return sections


def _matching_titles(wanted: Sequence[str], works: Sequence[Work]) -> list[str]:
    """Titles as the works spell them, of titles written in either script, with or without 《》."""
    spelt = {to_simplified(work.title): work.title for work in works}
    return [spelt.get(to_simplified(title.strip("《》 ")), title) for title in wanted]


def _cut_all(
    sections: list[Section], count: TokenCounter, max_length: int, progress: bool
) -> dict[str, Columns]:
    """Windows per split, as columns, with the number of their source under "source"."""
    names = [*SPLITS[AUTHOR].values(), *(section.split for section in sections)]
    columns: dict[str, Columns] = {
        name: {column: [] for column in (*COLUMNS, "source")} for name in names
    }
    for section in _bar(sections, "cutting", "chapter", progress):
        windows = cut_windows(section.text, count, max_length, ends_document=section.ends_document)
        if "".join(window.text for window in windows) != section.text:
            raise AssertionError(f"cutting {section.work} into windows lost text")
        rows = columns[section.split]
        for number, window in enumerate(windows, start=1):
            last = number == len(windows)
            values = (window.text, window.num_tokens, section.work, section.chapter,
                      section.ends_document and last, section.source)  # fmt: skip
            for column, value in zip((*COLUMNS, "source"), values, strict=True):
                rows[column].append(value)
    return columns


def _bar(items: Sequence[Any], what: str, unit: str, progress: bool) -> Iterable[Any]:
    from tqdm import tqdm

    return tqdm(items, desc=what, unit=unit, disable=not progress or len(items) < 2)
