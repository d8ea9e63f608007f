"""The whole stage: books in, windows, chapters, manifest and audit out.

Three parts: every file is read and cleaned on its own (`digest`, in worker processes, remembered in
a cache); what stands twice and what is held out is decided for all together (`plan`); the text is
cut into windows and written as it comes (`cutting`, in worker processes, remembered; `store`).
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stylellm.corpus.cache import Cache
from stylellm.corpus.cutting import cut_sections, rows_of
from stylellm.corpus.intake import check_refused, digest_all, find_books
from stylellm.corpus.manifest import (
    Counts,
    Manifest,
    build_manifest,
    fingerprint,
    tokenizer_fingerprint,
    tokenizer_identity,
)
from stylellm.corpus.packing import Row
from stylellm.corpus.packing import pack as pack_rows
from stylellm.corpus.plan import (
    AUTHOR,
    GENERAL,
    OTHER,
    SPLITS,
    TRAINING,
    Source,
    balance_and_guard,
    split_all,
    works_of,
)
from stylellm.corpus.read import Skipped
from stylellm.corpus.settings import settings_of
from stylellm.corpus.split import Section
from stylellm.corpus.store import (
    CHAPTERS,
    PreparedFolder,
    check_output,
    load_manifest,
    load_windows,
    output_errors,
)
from stylellm.corpus.workers import collector_paused
from stylellm.errors import DataError, ModelError, StyleLLMError
from stylellm.progress import track

__all__ = ["Manifest", "is_current", "load_manifest", "load_windows", "prepare"]


def prepare(
    books: Sequence[str | Path],
    *,
    tokenizer: Any,
    output_dir: str | Path,
    author: str | None = None,
    general_text: Sequence[str | Path] = (),
    other_author: Sequence[str | Path] = (),
    max_length: int = 512,
    pack: bool = False,
    script: str = "simplified",
    split_by: str = "auto",
    validation_fraction: float = 0.05,
    test_fraction: float = 0.1,
    held_out: str = "spread",
    held_out_works: Sequence[str] = (),
    clean_rules: str | Sequence[str] = "all",
    accept_damaged: bool = False,
    modern_words: str = "count",
    modern_word_list: str | Path | None = None,
    near_duplicates: float = 0.8,
    max_characters_per_work: int | None = None,
    max_characters_per_author: int | None = None,
    author_weights: Mapping[str, float] | None = None,
    seed: int = 42,
    num_workers: int = 1,
    cache_dir: str | Path | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Manifest:
    """Read, clean, split and cut books, and write `output_dir`.

    Written are `windows/<split>/` (Arrow, columns text, num_tokens, work, chapter, ends_document),
    `chapters.jsonl`, `manifest.json`, `audit.html` and `audit.md`: to a temporary name first, then
    renamed.

    Args:
        books: files, folders and zip archives of the author's books.
        tokenizer: a transformers tokenizer with an end-of-text token.
        output_dir: the folder to make.
        author: the author's name; by default the one the books name.
        general_text: other prose, on which loss of general ability is seen (80% train, 20% test).
        other_author: books of another author, all of them test.
        max_length: tokens of a training sequence; windows leave 8 of them free for sentinels.
        pack: put several short texts into one training window (column `documents`).
        script: "simplified", "traditional" or "keep".
        split_by, validation_fraction, test_fraction, held_out, held_out_works, seed: see
            `split.split_works`.
        clean_rules: "all", or names of `rules.RULES`.
        accept_damaged: read files with many damaged places, too.
        modern_words, modern_word_list: see `clean.clean`.
        near_duplicates: share of a text that must stand elsewhere for it to be dropped; 0 looks for
            exact repeats only.
        max_characters_per_work, max_characters_per_author, author_weights: see `balance.balance`.
        num_workers: processes; 0 = one per core, 1 = this one. Scripts that ask for more must keep
            their own work behind `if __name__ == "__main__"`.
        cache_dir: where what was done to each book is kept for the next run; None keeps nothing.
        overwrite: replace an `output_dir` that holds prepared data.
        progress: show progress.

    Returns:
        The manifest, as written.

    Raises:
        DataError: books that cannot be read or used. ModelError: an unusable tokenizer.
        OutputError: `output_dir` exists, cannot be written, or no space is left.
    """
    settings = settings_of(
        author, max_length, pack, script, split_by, validation_fraction, test_fraction, held_out,
        held_out_works, clean_rules, accept_damaged, modern_words, modern_word_list,
        near_duplicates, max_characters_per_work, max_characters_per_author, author_weights, seed,
    )  # fmt: skip
    output = Path(output_dir)
    if getattr(tokenizer, "eos_token_id", None) is None:
        raise ModelError(
            "the tokenizer has no end-of-text token", "the tokenizer of a causal model"
        )
    check_output(output, overwrite)
    files, skipped = find_books({AUTHOR: books, GENERAL: general_text, OTHER: other_author})
    with collector_paused(), PreparedFolder(output, overwrite) as folder:
        cache = _open_cache(cache_dir, folder)
        sources, refused = digest_all(files, settings, cache, num_workers, progress)
        check_refused(refused, [*books, *general_text, *other_author])
        works = works_of(sources, cache, near_duplicates, author)
        _check_something_left(sources)
        sections, leaks = balance_and_guard(split_all(works, settings), sources, settings)
        del works
        identity = tokenizer_identity(tokenizer)
        cut = cut_sections(sections, tokenizer, identity["fingerprint"], max_length, cache,
                           num_workers)  # fmt: skip
        splits = list(dict.fromkeys([*SPLITS[AUTHOR].values(), *(s.split for s in sections)]))
        del sections
        counts = _write(folder, cut, splits, settings, progress)
        left_out = skipped + [Skipped(file.location, one.found) for file, one in refused]
        manifest = build_manifest(settings, sources, counts, splits, leaks, left_out, identity)
        if cache_dir is not None:
            cache.prune()
        folder.commit(manifest)
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
        files, _ = find_books({AUTHOR: books, GENERAL: general_text, OTHER: other_author})
        refused = {one["name"] for one in manifest["skipped"]}
        hashes = [(role, file.name, file.title, file.author, file.sha256())
                  for role, file in files if file.location not in refused]  # fmt: skip
        defaults: dict[str, Any] = {
            name: parameter.default
            for name, parameter in inspect.signature(prepare).parameters.items()
            if name in inspect.signature(settings_of).parameters
        }
        given = {name: options[name] for name in options if name in defaults}
        settings = settings_of(**(defaults | given))
    except (StyleLLMError, OSError, KeyError, TypeError):
        return False
    wanted = fingerprint(settings, hashes, tokenizer_fingerprint(tokenizer))
    return manifest.get("fingerprint") == wanted


def _open_cache(cache_dir: str | Path | None, folder: PreparedFolder) -> Cache:
    """The cache; one that goes with the temporary folder where none is wanted or possible."""
    if cache_dir is not None:
        cache = Cache(Path(cache_dir))
        if cache.prepare():
            return cache
    return Cache(folder.scratch, "--output_dir", lasting=False)


def _check_something_left(sources: Sequence[Source]) -> None:
    if not any(source.kept for source in sources if source.role == AUTHOR):
        raise DataError(
            "nothing is left of the author's books after cleaning",
            "books with text",
            "Check the books, or switch rules off with data.clean_rules.",
        )


def _write(
    folder: PreparedFolder,
    cut: Iterator[tuple[list[Section], list[Any]]],
    splits: Sequence[str],
    settings: dict[str, Any],
    progress: bool,
) -> Counts:
    """Windows and chapters, written as they come."""
    counts = Counts()
    for split in splits:
        folder.writer(split, packed=settings["pack"])
    chapters = folder.open_text(CHAPTERS)
    for sections, found in track(cut, "cutting" if progress else None, "group"):
        rows: dict[str, list[Row]] = {}
        for section, windows in zip(sections, found, strict=True):
            text = section.text  # it may be read from a file
            rows.setdefault(section.split, []).extend(rows_of(section, text, windows))
            with output_errors(folder.output):
                chapters.write(_chapter_line(section, text))
        for split, mine in rows.items():
            packed = settings["pack"] and split in TRAINING
            final = list(pack_rows(mine, settings["max_length"])) if packed else mine
            counts.add(split, final)
            with output_errors(folder.output):
                folder.writer(split, settings["pack"]).write(final)
    return counts


def _chapter_line(section: Section, text: str) -> str:
    """A chapter for other trainers, as a line of JSON."""
    record = {"text": text, "work": section.work, "author": section.author,
              "chapter": section.chapter, "split": section.split}  # fmt: skip
    return json.dumps(record, ensure_ascii=False) + "\n"
