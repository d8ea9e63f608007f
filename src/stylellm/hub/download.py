"""Downloads a model: chooses the source, checks the space, brings what is missing, verifies, records."""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from stylellm.errors import ModelError, OutputError
from stylellm.hub.choose import needed_files
from stylellm.hub.huggingface import MIRROR, HuggingFace
from stylellm.hub.layout import CacheLayout, FolderLayout
from stylellm.hub.modelscope import ModelScope, installed
from stylellm.hub.names import model_id
from stylellm.hub.progress import Quiet
from stylellm.hub.record import Record, load, record_folder, record_path, save
from stylellm.hub.source import Listing, RemoteFile, Source, Unreachable, short_host
from stylellm.hub.transfer import fetch_verified
from stylellm.hub.verify import problem

_REVISION = re.compile(r"[\w.][\w./-]*")
SOURCES = ("auto", "hf", "mirror", "modelscope")


@dataclass(frozen=True)
class Result:
    """A model on the disk.

    Attributes:
        record: where it lies, where it came from, its files.
        fetched: the files that this call brought; none where all were there and right.
    """

    record: Record
    fetched: tuple[RemoteFile, ...]


def download(
    model: str,
    *,
    source: str = "auto",
    revision: str | None = None,
    local_dir: str | Path | None = None,
    max_workers: int = 4,
    dry_run: bool = False,
    progress: Quiet | None = None,
    endpoints: Mapping[str, str] | None = None,
    pause: float = 1.0,
) -> Result:
    """Brings the files of ``model`` that are missing, verifies all, and records where they lie.

    Args:
        model: a hub id, or the address of its page.
        source: one of SOURCES; auto tries them in turn until one answers.
        revision: branch, tag or commit; None for the newest.
        local_dir: a folder for the files; None for the hub's own cache.
        max_workers: files received at a time.
        dry_run: bring nothing; ``fetched`` is what would come.
        endpoints: addresses in place of the sources' own, by name.
        pause: seconds before the second attempt of a request.

    Raises:
        ModelError: no such model or revision, no access, nothing usable, damaged twice.
        OutputError: no space, or another download of the model is running.
    """
    name, progress = model_id(model), progress or Quiet()
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise ModelError(f"{revision!r} is no revision", "a branch, tag or commit")
    if _offline():
        return _verify_offline(name, revision, progress)
    try:
        origin, everything = _first_answer(name, revision, source, endpoints or {}, progress, pause)
    except Unreachable as error:
        known = load(name, revision)
        if known is None or local_dir is not None or dry_run:
            raise
        progress.say(f"{error.found}; verifying what was downloaded before")
        return _verify_offline(name, revision, progress)
    listing = replace(everything, files=needed_files(everything.model, everything.files))
    layout = _layout(origin, listing, local_dir)
    with _only_one(listing.model, revision):
        missing = _missing(layout, listing, progress, max_workers, keep=dry_run)
        if not dry_run:
            _check_space(layout, missing, listing.model)
            _bring(origin, listing, layout, missing, progress, max_workers, pause)
            layout.finish(listing)
        record = Record(origin.name, origin.endpoint, layout.folder.absolute(), listing)
        if not dry_run:
            save(record)
    return Result(record, tuple(missing))


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _verify_offline(model: str, revision: str | None, progress: Quiet) -> Result:
    """Checks a recorded download against its record."""
    record = load(model, revision)
    if record is None:
        raise ModelError(
            f"{model} has not been downloaded, and offline mode is on (HF_HUB_OFFLINE)",
            "",
            "Unset HF_HUB_OFFLINE (and TRANSFORMERS_OFFLINE) to download it.",
        )
    layout = FolderLayout(record.folder)
    missing = _missing(layout, record.listing, progress, 4, keep=True)
    if missing:
        raise ModelError(
            f"{missing[0].path} in {record.folder} is "
            f"{problem(layout.target(missing[0]), missing[0])}",
            "the file as it was downloaded",
            "With a network `stylellm download` brings it again.",
        )
    return Result(record, ())


def _first_answer(
    model: str,
    revision: str | None,
    source: str,
    endpoints: Mapping[str, str],
    progress: Quiet,
    pause: float,
) -> tuple[Source, Listing]:
    """The listing of the first source that answers."""
    sources = list(_sources(source, model, endpoints, pause))
    failures: list[Unreachable] = []
    for origin in sources:
        progress.say(f"asking {short_host(origin.endpoint)} for {model}")
        try:
            return origin, origin.listing(model, revision)
        except Unreachable as error:
            failures.append(error)
            if len(sources) > 1:
                progress.say(f"  {error.found}")
    if len(failures) == 1:
        raise failures[0]
    hosts = ", ".join(short_host(origin.endpoint) for origin in sources)
    raise Unreachable(
        f"none of {hosts} can be reached",
        "a network connection",
        "Behind a proxy set HTTPS_PROXY. Or copy the model's folder from another machine and set "
        "model_name_or_path to it.",
    )


def _sources(
    source: str, model: str, endpoints: Mapping[str, str], pause: float
) -> Iterable[Source]:
    """The sources to ask, in turn. A token goes to the mirror only if the mirror was asked for."""
    hf, mirror = endpoints.get("hf"), endpoints.get("mirror", MIRROR)
    if source == "hf" or (source == "auto" and os.environ.get("HF_ENDPOINT") and not hf):
        yield HuggingFace(hf, pause=pause)
    elif source == "mirror":
        yield HuggingFace(mirror, name="mirror", pause=pause)
    elif source == "modelscope":
        yield ModelScope(endpoints.get("modelscope"))
    elif source == "auto":
        yield HuggingFace(hf, pause=pause)
        yield HuggingFace(mirror, name="mirror", use_token=False, pause=pause)
        if installed() and "/" in model:
            yield ModelScope(endpoints.get("modelscope"))
    else:
        raise ModelError(f"--source {source}", "one of " + ", ".join(SOURCES))


def _layout(origin: Source, listing: Listing, local_dir: str | Path | None) -> FolderLayout:
    if local_dir is not None:
        folder = Path(local_dir).expanduser()
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"--local_dir {folder} is a file", "a folder")
        return FolderLayout(folder)
    if isinstance(origin, ModelScope):
        return FolderLayout(origin.folder(listing))
    from huggingface_hub import constants

    return CacheLayout(Path(constants.HF_HUB_CACHE), listing)


def _only_one(model: str, revision: str | None) -> _Lock:
    return _Lock(record_path(model, revision).with_suffix(".lock"), model)


class _Lock:
    """Keeps a second download of the same model out: both would write the same part files."""

    def __init__(self, path: Path, model: str) -> None:
        from filelock import FileLock

        record_folder().mkdir(parents=True, exist_ok=True)
        self.lock, self.model = FileLock(str(path)), model

    def __enter__(self) -> None:
        from filelock import Timeout

        try:
            self.lock.acquire(timeout=0)
        except Timeout:
            raise OutputError(
                f"another download of {self.model} is running", "one at a time", "Wait for it."
            ) from None

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def _missing(
    layout: FolderLayout, listing: Listing, progress: Quiet, workers: int, *, keep: bool
) -> list[RemoteFile]:
    """Verifies what is there; returns what is not, or not right (and removes it unless ``keep``)."""
    for file in listing.files:
        if not keep:
            layout.adopt(file)
    there = [file for file in listing.files if layout.target(file).is_file()]
    progress.begin("verifying", sum(file.size for file in there))
    with ThreadPoolExecutor(max(1, min(workers, 4))) as pool:
        found = list(
            pool.map(lambda file: problem(layout.target(file), file, progress.advance), there)
        )
    for file, wrong in zip(there, found, strict=True):
        if wrong and not keep:
            progress.say(f"  {file.path} is damaged or of another version ({wrong}): again")
            layout.drop(file)
    right = {file.path for file, wrong in zip(there, found, strict=True) if not wrong}
    return [file for file in listing.files if file.path not in right]


def _check_space(layout: FolderLayout, missing: Sequence[RemoteFile], model: str) -> None:
    """Refuses before the first byte if the rest does not fit."""
    need = 0
    for file in missing:
        part = layout.part(file)
        need += file.size - (min(part.stat().st_size, file.size) if part.is_file() else 0)
    place = layout.folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if need > free:
        raise OutputError(
            f"{model} needs {gigabytes(need)} more, {place} has {gigabytes(free)} free",
            "",
            "Make space, or name a folder on another disk: --local_dir DIR (or set HF_HOME).",
        )


def _bring(
    origin: Source,
    listing: Listing,
    layout: FolderLayout,
    missing: Sequence[RemoteFile],
    progress: Quiet,
    workers: int,
    pause: float,
) -> None:
    """Receives the missing files, several at a time, the largest first."""
    if not missing:
        return
    progress.begin("downloading", sum(file.size for file in missing))
    stop = threading.Event()

    def advance(count: int) -> None:
        if stop.is_set():
            raise _Stopped
        progress.advance(count)

    def bring(file: RemoteFile) -> None:
        part = layout.part(file)
        if part.is_file():
            progress.say(f"  {file.path}: going on after {gigabytes(part.stat().st_size)}")
            progress.advance(part.stat().st_size)
        fetch_verified(origin, listing, file, part, advance=advance, say=progress.say, pause=pause)
        layout.place(file)
        progress.say(f"  {file.path}  {gigabytes(file.size)}")

    pool = ThreadPoolExecutor(max(1, workers))
    jobs = [pool.submit(partial(bring, file)) for file in sorted(missing, key=lambda f: -f.size)]
    pending, failed = set(jobs), False
    try:
        while pending and not failed:  # with a limit, so that Ctrl-C is heard on Windows
            done, pending = wait(pending, timeout=0.5, return_when=FIRST_EXCEPTION)
            failed = any(job.exception() is not None for job in done)
    finally:  # on an error or Ctrl-C the others stop at their next piece; parts stay
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)
    errors = [e for job in jobs if not job.cancelled() and (e := job.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, _Stopped)):
        raise error


class _Stopped(Exception):
    """Another file failed, or the user interrupted."""


def gigabytes(count: int) -> str:
    """Bytes for people, in powers of ten as disks are sold."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
