"""What a copy index holds, built from texts or read memory-mapped from a folder.

Characters are numbered by how frequent they are, so that common ones are short to sort
(`suffixes`), and what is left of a book is 2 bytes a character and 4 for its suffix.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from stylellm.errors import OutputError
from stylellm.stylometry.suffixes import suffix_array
from stylellm.stylometry.text import END, WHITESPACE, code_points

VERSION = 1
_PARTS = ("alphabet", "codes", "order", "begins", "blanks", "blank_begins")


@dataclass(frozen=True)
class Layout:
    """Where compared characters stand in the text as given.

    `before[j]` is the number of compared characters in front of the j-th one left out, so that a
    book needs memory for its white space only.
    """

    before: np.ndarray

    def span(self, begin: int, length: int) -> tuple[int, int]:
        """First place and end, in the text as given, of a run of compared characters."""
        first, last = (
            at + int(np.searchsorted(self.before, at, side="right"))
            for at in (begin, begin + length - 1)
        )
        return first, last + 1


@dataclass(frozen=True)
class Stored:
    """The arrays of an index: W works, N compared characters and W ends.

    Attributes:
        alphabet: code points by rank, int32 `[A]`, the most frequent first.
        codes: ranks, uint16 (or uint32) `[N + W]`.
        order: suffix array, int32 `[N + W]`.
        begins: where each work begins in `codes`, int64 `[W]`.
        blanks, blank_begins: `Layout.before` of all works joined, and where each work's begins.
    """

    alphabet: np.ndarray
    codes: np.ndarray
    order: np.ndarray
    begins: np.ndarray
    blanks: np.ndarray
    blank_begins: np.ndarray

    @property
    def total(self) -> int:
        return len(self.codes)

    def ranks(self, codes: np.ndarray) -> np.ndarray:
        """Ranks of code points, int32; one above all for those that stand in no work."""
        return self._table[codes]

    @cached_property
    def _table(self) -> np.ndarray:
        table = np.full(END + 1, len(self.alphabet), dtype=np.int32)
        table[self.alphabet] = np.arange(len(self.alphabet), dtype=np.int32)
        table[END] = len(self.alphabet)
        return table

    def work_of(self, place: int) -> tuple[int, int]:
        """Number of the work that holds a place, and where that work begins."""
        work = int(np.searchsorted(self.begins, place, side="right")) - 1
        return work, int(self.begins[work])

    def layout(self, work: int) -> Layout:
        """The layout of one work."""
        return Layout(self.blanks[self.blank_begins[work] : self.blank_begins[work + 1]])


def compared(text: str, ignore_whitespace: bool) -> tuple[np.ndarray, Layout]:
    """Code points that are compared, and where they stand."""
    codes = code_points(text)
    if not ignore_whitespace:
        return codes, Layout(np.zeros(0, dtype=np.int64))
    blank = np.isin(codes, WHITESPACE)
    left_out = np.flatnonzero(blank)
    return codes[~blank], Layout(left_out - np.arange(len(left_out)))


def stored(texts: Sequence[str], ignore_whitespace: bool, cache: Path | None) -> Stored:
    """The arrays for these texts: built, or memory-mapped from the cache.

    Raises:
        OutputError: the cache cannot be written.
    """
    if cache is None:
        return build(texts, ignore_whitespace)
    folder = cache / _name(texts, ignore_whitespace)
    if not folder.is_dir():
        _write(folder, build(texts, ignore_whitespace))
    parts = {part: np.load(folder / f"{part}.npy", mmap_mode="r") for part in _PARTS}
    return Stored(**parts)


def build(texts: Sequence[str], ignore_whitespace: bool) -> Stored:
    """Numbers the characters and sorts the suffixes."""
    counts = np.zeros(END + 1, dtype=np.int64)
    sizes, blanks = [], []
    for codes, layout in _each(texts, ignore_whitespace):
        values, found = np.unique(codes, return_counts=True)
        counts[values] += found
        sizes.append(len(codes))
        blanks.append(layout.before)
    counts[END] += len(texts)
    used = np.flatnonzero(counts)
    alphabet = used[np.argsort(-counts[used], kind="stable")].astype(np.int32)
    table = np.zeros(END + 1, dtype=np.uint16 if len(alphabet) < 1 << 16 else np.uint32)
    table[alphabet] = np.arange(len(alphabet))
    begins = np.concatenate([[0], np.cumsum(np.array(sizes, dtype=np.int64) + 1)])
    ranks = np.full(int(begins[-1]), table[END], dtype=table.dtype)
    for begin, (codes, _) in zip(
        begins[:-1].tolist(), _each(texts, ignore_whitespace), strict=True
    ):
        ranks[begin : begin + len(codes)] = table[codes]
    ends = np.concatenate([[0], np.cumsum([len(row) for row in blanks])]).astype(np.int64)
    joined = np.concatenate([np.zeros(0, dtype=np.int64), *blanks])
    order = suffix_array(ranks, len(alphabet))
    return Stored(alphabet, ranks, order, begins[:-1], joined, ends)


def _each(texts: Sequence[str], ignore_whitespace: bool) -> Iterator[tuple[np.ndarray, Layout]]:
    for text in texts:
        yield compared(text, ignore_whitespace)


def _name(texts: Sequence[str], ignore_whitespace: bool) -> str:
    digest = hashlib.sha256(f"{VERSION} {ignore_whitespace}".encode())
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(f"|{len(data)}|".encode())
        digest.update(data)
    return digest.hexdigest()[:20]


def _write(folder: Path, found: Stored) -> None:
    """The folder whole or not at all."""
    staging = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    try:
        staging.mkdir(parents=True, exist_ok=True)
        for part in _PARTS:
            np.save(staging / f"{part}.npy", getattr(found, part))
        if folder.is_dir():  # another process was first
            shutil.rmtree(staging)
        else:
            staging.replace(folder)
    except OSError as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise OutputError(
            f"the copy index cannot be kept in {folder} ({error.strerror})",
            "a writable folder",
            "Set data.cache_dir to one, or to off.",
        ) from error
