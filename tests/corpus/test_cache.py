from __future__ import annotations

import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest

from stylellm.corpus.cache import Cache, key_of
from stylellm.corpus.clean import Removed
from stylellm.errors import OutputError


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "缓 存")
    assert cache.prepare()
    head = (Removed("ads", 2, [("甲", "乙")]), np.arange(5, dtype=np.uint64), {"a": [1]})
    cache.store("ab" * 32, head, "剑光".encode())
    removed, numbers, other = cache.load("ab" * 32)
    assert (removed, numbers.tolist(), other) == (head[0], [0, 1, 2, 3, 4], {"a": [1]})
    assert cache.body("ab" * 32, 3, 6).decode() == "光"
    assert cache.load("cd" * 32) is None


def test_entries_of_one_run_lie_flat(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "scratch", lasting=False)
    cache.store("ab" * 32, ["head"], b"body")
    assert [path.is_file() for path in cache.folder.iterdir()] == [True]
    assert cache.body("ab" * 32, 1, 3) == b"od"


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_entry_is_no_entry(tmp_path: Path, damage: str) -> None:
    cache = Cache(tmp_path)
    cache.store("ab" * 32, ["head"], b"body")
    path = cache.path("ab" * 32)
    data = bytearray(path.read_bytes())
    data[-8] ^= damage == "flip" and 0xFF
    path.write_bytes({"cut": data[:-2], "flip": data, "empty": b""}[damage])
    assert cache.load("ab" * 32) is None


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo run",)


@pytest.mark.parametrize("evil", [_Evil(), Path("x"), np.load])
def test_nothing_but_our_own_data_is_unpickled(tmp_path: Path, evil: object) -> None:
    cache = Cache(tmp_path)
    cache.store("ab" * 32, [evil])
    assert pickle.dumps(evil)
    assert cache.load("ab" * 32) is None


def test_old_entries_go(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.store("ab" * 32, 1)
    cache.store("cd" * 32, 2)
    long_ago = time.time() - 40 * 24 * 3600
    os.utime(cache.path("ab" * 32), (long_ago, long_ago))
    cache.prune()
    assert (cache.load("ab" * 32), cache.load("cd" * 32)) == (None, 2)


def test_keys_depend_on_every_part() -> None:
    assert len({key_of("a", 1), key_of("a", 2), key_of("b", 1), key_of("a", [1])}) == 4


def test_an_entry_deleted_while_it_is_needed_is_one_line(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    key = key_of("digest", "x")
    cache.store(key, {"n": 1}, b"body")
    assert cache.body(key, 1, 3) == b"od"
    cache.path(key).unlink()
    with pytest.raises(OutputError, match="Run the same command again") as caught:
        cache.body(key, 0, 4)
    assert "\n" not in str(caught.value)
