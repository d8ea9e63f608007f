"""The reference's hidden states on disk, for tokens that come again unchanged.

The reference never changes, so what it made of a sequence of tokens holds for the whole run and for
later ones. Windows without masks and general text come again in every epoch; masked ones hardly ever.
A file of H numbers a token is appended to and read through a memory map; its index says which tokens
lie where. A run that was killed leaves at most a last part that no line of the index names. Each
process writes a pair of files of its own, which it holds by a lock, and reads all that it finds.

Shapes: T tokens, H hidden size.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import IO, Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from stylellm.errors import OutputError


@torch.no_grad()
def fingerprint(policy: Any, settings: Mapping[str, Any]) -> str:
    """A short name for the reference under these settings (number format, attention, versions).

    It contains what the weights make of a fixed input, so that other weights under the same name
    are noticed.
    """
    from stylellm.model.reference import reference_hidden

    device = policy.get_input_embeddings().weight.device
    ids = torch.arange(16, device=device)[None]
    was_training = policy.training
    policy.eval()
    states = reference_hidden(policy, ids)
    policy.train(was_training)
    digest = hashlib.sha256(_bytes_of(states[0]))
    told = {
        **settings,
        "torch": torch.__version__,
        "config": policy.get_base_model().config.to_dict(),
    }
    digest.update(json.dumps(told, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


class HiddenCache:
    """Hidden states [T, H] by their tokens, in a folder of one reference.

    Args:
        folder: named after the reference's ``fingerprint``; other processes may use it at the same
            time.

    Raises:
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._places: dict[str, tuple[int, int, int, str]] = {}
        self._maps: dict[int, mmap.mmap] = {}
        self.hits = self.misses = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.number, self._lock = _free_number(folder)
            for index in sorted(folder.glob("index-*.jsonl")):
                self._read_index(index)
            self._data: IO[bytes] = self._data_file(self.number).open("ab")
            self._index: IO[str] = (folder / f"index-{self.number}.jsonl").open(
                "a", encoding="utf-8"
            )
            self._index.write("\n")  # ends a line that a killed run may have left unfinished
        except OSError as error:
            raise self._failure(error) from error

    def get(self, tokens: Tensor) -> Tensor | None:
        """[T, H] on the CPU, or None where these tokens [T] were not met before."""
        place = self._places.get(_name(tokens))
        if place is None:
            self.misses += 1
            return None
        self.hits += 1
        number, start, size, dtype = place
        raw = torch.frombuffer(bytearray(self._map(number, start + size)[start : start + size]),
                               dtype=torch.uint8)  # fmt: skip
        return raw.view(getattr(torch, dtype)).reshape(len(tokens), -1)

    def put(self, tokens: Tensor, hidden: Tensor) -> None:
        """Keeps the states [T, H] of tokens [T].

        Raises:
            OutputError: the disk is full.
        """
        name, data = _name(tokens), _bytes_of(hidden)
        if name in self._places:
            return
        dtype = str(hidden.dtype).removeprefix("torch.")
        try:
            start = self._data.seek(0, 2)
            self._data.write(data)
            self._data.flush()
            self._index.write(json.dumps([name, start, len(data), dtype]) + "\n")
            self._index.flush()
        except OSError as error:
            raise self._failure(error) from error
        self._places[name] = (self.number, start, len(data), dtype)

    def close(self) -> None:
        """Lets the files go; Windows cannot remove them before."""
        for held in self._maps.values():
            held.close()
        self._maps.clear()
        self._data.close()
        self._index.close()
        self._lock.release()

    def _data_file(self, number: int) -> Path:
        return self.folder / f"hidden-{number}.bin"

    def _read_index(self, index: Path) -> None:
        number = int(index.stem.partition("-")[2])
        data = self._data_file(number)
        length = data.stat().st_size if data.is_file() else 0
        for line in index.read_text(encoding="utf-8").splitlines():
            try:
                name, start, size, dtype = json.loads(line)
            except ValueError:  # cut off
                continue
            if start + size <= length:
                self._places[name] = (number, start, size, dtype)

    def _map(self, number: int, end: int) -> mmap.mmap:
        held = self._maps.get(number)
        if held is None or len(held) < end:  # the file has grown since
            with self._data_file(number).open("rb") as file:
                self._maps[number] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if held is not None:
                held.close()
        return self._maps[number]

    def _failure(self, error: OSError) -> OutputError:
        return OutputError(
            f"the reference's hidden states cannot be kept in {self.folder} ({error.strerror})",
            "a writable folder with room for 2 to 4 bytes x hidden size a token",
            "Set objective.reference: adapter_off, or data.cache_dir to another disk.",
        )


def _free_number(folder: Path) -> tuple[int, FileLock]:
    """The first pair of files that no living process writes, and the lock on it."""
    for number in count():
        lock = FileLock(folder / f"hidden-{number}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        return number, lock
    raise AssertionError  # count() does not end


def _name(tokens: Tensor) -> str:
    return hashlib.sha256(tokens.to("cpu", torch.int32).numpy().tobytes()).hexdigest()[:32]


def _bytes_of(states: Tensor) -> bytes:
    return states.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()
