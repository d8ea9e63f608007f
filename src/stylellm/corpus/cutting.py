"""Third stage: sections cut into windows, in worker processes; what was cut before is not cut again.

Only where windows end and how many tokens they have travels back; the texts stay where they are.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stylellm.corpus.cache import Cache, key_of
from stylellm.corpus.chunk import cut_windows, token_counter
from stylellm.corpus.packing import Row
from stylellm.corpus.split import Section
from stylellm.corpus.tokens import TokenPlaces
from stylellm.corpus.windows import Cut, cut_texts
from stylellm.corpus.workers import map_ordered, num_processes

_GROUP = 1_000_000  # characters of one task


@dataclass(frozen=True)
class CutTask:
    """Texts of one file to cut."""

    key: str
    texts: tuple[str, ...]
    max_length: int
    cache: Cache


@dataclass
class _State:
    """The tokenizer of this process."""

    places: TokenPlaces | None = None
    tokenizer: Any = None


_STATE = _State()


def cut_sections(
    sections: Sequence[Section],
    tokenizer: Any,
    tokenizer_hash: str,
    max_length: int,
    cache: Cache,
    num_workers: int,
) -> Iterator[tuple[list[Section], list[Cut]]]:
    """Groups of sections of one file, in order, each with its windows.

    Args:
        sections: those of a file stand together.
        tokenizer: a transformers tokenizer.
        tokenizer_hash: of its rules and vocabulary.
        num_workers: 0 = one per core, 1 = this process.
    """
    groups = _groups(sections)
    keys = [""] * len(groups)
    if cache.lasting:
        keys = [_key(group, tokenizer_hash, max_length) for group in groups]
    missing = [n for n, key in enumerate(keys) if not (key and cache.path(key).is_file())]
    size = sum(3 * section.characters for n in missing for section in groups[n])
    backend = getattr(tokenizer, "backend_tokenizer", None)
    processes = num_processes(num_workers, size, len(missing)) if backend is not None else 1
    tasks = _Tasks(missing, groups, keys, max_length, cache)
    _STATE.places, _STATE.tokenizer = None, tokenizer
    if backend is not None and processes > 1:
        results = map_ordered(cut, tasks, processes, start, (backend.to_str(),))
    else:
        results = map_ordered(cut, tasks, 1)
    wanted = set(missing)
    for number, key in enumerate(keys):
        found = next(results) if number in wanted else cache.load(key)
        if found is None:  # a damaged entry
            found = cut(_Tasks([number], groups, keys, max_length, cache)[0])
        yield groups[number], found
        groups[number] = []


class _Tasks(Sequence[CutTask]):
    """Tasks made when they are asked for, so that texts that were cut can be let go."""

    def __init__(
        self,
        numbers: list[int],
        groups: list[list[Section]],
        keys: list[str],
        max_length: int,
        cache: Cache,
    ) -> None:
        self._numbers, self._groups, self._keys = numbers, groups, keys
        self._max_length, self._cache = max_length, cache

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        number = self._numbers[index]
        texts = tuple(section.text for section in self._groups[number])
        return CutTask(self._keys[number], texts, self._max_length, self._cache)


def _groups(sections: Sequence[Section]) -> list[list[Section]]:
    """Consecutive sections of one file, about a million characters together."""
    groups: list[list[Section]] = []
    size = 0
    for section in sections:
        if not groups or size > _GROUP or section.source != groups[-1][0].source:
            groups.append([])
            size = 0
        groups[-1].append(section)
        size += section.characters
    return groups


def _key(group: list[Section], tokenizer_hash: str, max_length: int) -> str:
    digest = hashlib.blake2b(digest_size=32)
    for section in group:
        data = section.text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return key_of("windows", tokenizer_hash, max_length, digest.hexdigest())


def start(backend: str) -> None:
    """Set up a worker process."""
    _STATE.places = TokenPlaces(backend)


def cut(task: CutTask) -> list[Cut]:
    """The windows of each text of a task; they are stored in the cache, if that can be."""
    places = _places()
    if places is not None:
        found = cut_texts(task.texts, places, task.max_length)
    else:
        found = [_cut_slowly(text, task.max_length) for text in task.texts]
    if task.cache.lasting:
        with contextlib.suppress(OSError):  # what is not stored is cut again next time
            task.cache.store(task.key, found)
    return found


def _places() -> TokenPlaces | None:
    """This process's fast tokenizer; None where there is only a slow one."""
    if _STATE.places is None:
        backend = getattr(_STATE.tokenizer, "backend_tokenizer", None)
        _STATE.places = None if backend is None else TokenPlaces(backend)
    return _STATE.places


def _cut_slowly(text: str, max_length: int) -> Cut:
    """By way of a tokenizer that only counts."""
    count = token_counter(_STATE.tokenizer)
    windows = cut_windows(text, count, max_length, ends_document=False)
    ends = np.cumsum([len(window.text) for window in windows], dtype=np.int64)
    return ends, np.array([window.num_tokens for window in windows], dtype=np.int64)


def rows_of(section: Section, text: str, cut: Cut) -> list[Row]:
    """The windows of a section as they are written. `text`: of the section.

    Raises:
        AssertionError: they do not make up the section, which would be a bug of ours.
    """
    ends, tokens = (column.tolist() for column in cut)
    starts = [0, *ends[:-1]]
    whole = bool(ends) and ends[-1] == len(text)
    if not whole or any(a >= b for a, b in zip(starts, ends, strict=True)):
        raise AssertionError(f"cutting {section.work} {section.chapter} into windows lost text")
    rows = []
    for start, end, count in zip(starts, ends, tokens, strict=True):
        eos = section.ends_document and end == ends[-1]
        rows.append(Row(text[start:end], count + eos, section.work, section.chapter, eos,
                        (end - start,), section.source))  # fmt: skip
    return rows
