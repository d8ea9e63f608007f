"""The settings of a preparation: what, besides books and tokenizer, decides the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stylellm.corpus.clean import rule_names
from stylellm.corpus.modern import MODES
from stylellm.corpus.read import BookFile
from stylellm.corpus.script import SCRIPTS
from stylellm.errors import DataError

MIN_LENGTH = 32


def settings_of(
    author: str | None,
    max_length: int,
    pack: bool,
    script: str,
    split_by: str,
    validation_fraction: float,
    test_fraction: float,
    held_out: str,
    held_out_works: Sequence[str],
    clean_rules: str | Sequence[str],
    accept_damaged: bool,
    modern_words: str,
    modern_word_list: str | Path | None,
    near_duplicates: float,
    max_characters_per_work: int | None,
    max_characters_per_author: int | None,
    author_weights: Mapping[str, float] | None,
    seed: int,
) -> dict[str, Any]:
    """The arguments of `prepare` that decide the result, checked where that needs no book.

    Raises:
        DataError: a value that cannot be.
    """
    if max_length < MIN_LENGTH:
        raise DataError(
            f"max_length is {max_length}", f"at least {MIN_LENGTH}", "Raise data.max_length."
        )
    _check_choice("script", script, SCRIPTS)
    _check_choice("modern_words", modern_words, MODES)
    if not 0 <= near_duplicates <= 1:
        raise DataError(f"near_duplicates is {near_duplicates}", "a share from 0 to 1")
    return {
        "author": author,
        "max_length": max_length,
        "pack": pack,
        "script": script,
        "split_by": split_by,
        "validation_fraction": validation_fraction,
        "test_fraction": test_fraction,
        "held_out": held_out,
        "held_out_works": list(held_out_works),
        "clean_rules": rule_names(clean_rules),
        "accept_damaged": accept_damaged,
        "modern_words": modern_words,
        "modern_word_list": str(modern_word_list) if modern_word_list else None,
        "modern_word_list_sha256": _hash_of_list(modern_word_list),
        "near_duplicates": near_duplicates,
        "max_characters_per_work": max_characters_per_work,
        "max_characters_per_author": max_characters_per_author,
        "author_weights": dict(author_weights or {}),
        "seed": seed,
    }


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise DataError(f"{name} is {value!r}", f"one of {', '.join(choices)}",
                        f"Change data.{name}.")  # fmt: skip


def _hash_of_list(path: str | Path | None) -> str | None:
    if not path:
        return None
    return BookFile(Path(path)).sha256()
