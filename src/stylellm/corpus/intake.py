"""Which files are books, and what is known of each after reading and cleaning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stylellm.corpus.cache import Cache
from stylellm.corpus.digest import Digest, DigestTask, Refused, digest, digest_key
from stylellm.corpus.plan import AUTHOR, Source
from stylellm.corpus.read import BookFile, Skipped, find_sources
from stylellm.corpus.store import output_errors
from stylellm.corpus.workers import map_ordered, num_processes
from stylellm.errors import DataError, StyleLLMError
from stylellm.progress import track


def find_books(
    paths: dict[str, Sequence[str | Path]],
) -> tuple[list[tuple[str, BookFile]], list[Skipped]]:
    """(role, file) of every book, and what was skipped. A file has one role."""
    files: list[tuple[str, BookFile]] = []
    skipped: list[Skipped] = []
    roles: dict[tuple[Path, str], str] = {}
    for role, given in paths.items():
        if not given and role != AUTHOR:
            continue
        found = find_sources([given] if isinstance(given, str | Path) else given)
        skipped += found.skipped
        for file in found.files:
            first = roles.setdefault((file.path.resolve(), file.member), role)
            if first != role:
                raise DataError(
                    f"{file.location} is given both as {first} and as {role} text",
                    "each book once",
                )
            files.append((role, file))
    return files, skipped


def digest_all(
    files: list[tuple[str, BookFile]],
    settings: dict[str, Any],
    cache: Cache,
    num_workers: int,
    progress: bool,
) -> tuple[list[Source], list[tuple[BookFile, Refused]]]:
    """Read and clean what the cache does not know yet: the books, and what cannot be used.

    Raises:
        OutputError: the cache cannot be written.
    """
    keys = [_key(file, settings) for _, file in files]
    known: list[Digest | Refused | None] = [
        key if isinstance(key, Refused) else cache.load(key) for key in keys
    ]
    todo = [i for i, found in enumerate(known) if found is None]
    tasks = [DigestTask(files[i][1], str(keys[i]), settings, cache) for i in todo]
    size = sum(files[i][1].path.stat().st_size for i in todo)
    results = map_ordered(digest, tasks, num_processes(num_workers, size, len(tasks)))
    with output_errors(cache.folder, cache.option):
        for i, found in zip(todo, track(results, "reading" if progress else None, "book",
                                        total=len(todo)), strict=True):  # fmt: skip
            known[i] = found
    sources, refused = [], []
    for (role, file), one in zip(files, known, strict=True):
        if isinstance(one, Refused):
            refused.append((file, one))
        elif one is not None:
            sources.append(Source(role, file, one))
    return sources, refused


def _key(file: BookFile, settings: dict[str, Any]) -> str | Refused:
    try:
        return digest_key(file, file.sha256(), settings)
    except StyleLLMError as error:
        return Refused(error.found, error.expected, error.hint)


def check_refused(refused: list[tuple[BookFile, Refused]], given: list[str | Path]) -> None:
    """A file that was named itself must be usable; in a folder it is left out and reported."""
    named = {Path(path).expanduser().resolve() for path in given}
    for file, reason in refused:
        if not file.member and file.path.resolve() in named:
            raise DataError(reason.found, reason.expected, reason.hint)
