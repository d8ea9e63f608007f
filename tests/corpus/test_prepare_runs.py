"""Runs of prepare that repeat, stop half way, or meet odd shelves."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from stylellm.corpus import digest as digest_stage
from stylellm.corpus import prepare as stage
from stylellm.corpus.prepare import is_current, load_manifest, load_windows, prepare
from stylellm.errors import DataError, OutputError

SPLITS = ("train", "validation", "test")


@pytest.fixture
def shelf(tmp_path: Path, make_book: Any) -> Path:
    folder = tmp_path / "书架"
    folder.mkdir()
    for number in range(5):
        text = make_book(9, 5, seed=20 + number)
        (folder / f"书{number}.txt").write_text(text, encoding="utf-8")
    return folder


def _windows(folder: Path) -> dict[str, Any]:
    return {split: load_windows(folder, split)[:] for split in load_manifest(folder)["splits"]}


def _counting(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a book was read, and a group of chapters cut."""
    from stylellm.corpus import cutting

    calls: Counter[str] = Counter()
    read, cut = digest_stage.read_book, cutting.cut_texts

    def reading(*args: Any, **options: Any) -> Any:
        calls["read"] += 1
        return read(*args, **options)

    def cutting_(*args: Any, **options: Any) -> Any:
        calls["cut"] += 1
        return cut(*args, **options)

    monkeypatch.setattr(digest_stage, "read_book", reading)
    monkeypatch.setattr(cutting, "cut_texts", cutting_)
    return calls


def test_only_what_changed_is_done_again(
    shelf: Path, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_book: Any
) -> None:
    calls = _counting(monkeypatch)
    arguments: dict[str, Any] = {"tokenizer": tokenizer, "progress": False,
                                 "cache_dir": tmp_path / "cache"}  # fmt: skip
    prepare([shelf], output_dir=tmp_path / "one", **arguments)
    assert calls == {"read": 5, "cut": 5}
    calls.clear()
    prepare([shelf], output_dir=tmp_path / "two", **arguments)
    assert not calls
    assert _windows(tmp_path / "one") == _windows(tmp_path / "two")
    (shelf / "书2.txt").write_text(make_book(9, 5, seed=77), encoding="utf-8")
    prepare([shelf], output_dir=tmp_path / "three", **arguments)
    assert calls["read"] == 1
    plain = prepare([shelf], output_dir=tmp_path / "plain", tokenizer=tokenizer, progress=False)
    assert _windows(tmp_path / "three") == _windows(tmp_path / "plain")
    assert plain["fingerprint"] == load_manifest(tmp_path / "three")["fingerprint"]
    calls.clear()
    prepare([shelf], output_dir=tmp_path / "keep", script="keep", **arguments)
    assert calls["read"] == 5  # a setting that changes the text


def test_a_damaged_cache_is_made_again(shelf: Path, tokenizer: Any, tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"tokenizer": tokenizer, "progress": False,
                                 "cache_dir": tmp_path / "cache"}  # fmt: skip
    prepare([shelf], output_dir=tmp_path / "one", **arguments)
    for entry in (tmp_path / "cache").glob("??/*.bin"):
        entry.write_bytes(entry.read_bytes()[:-1])
    prepare([shelf], output_dir=tmp_path / "two", **arguments)
    assert _windows(tmp_path / "one") == _windows(tmp_path / "two")


def test_an_unwritable_cache_is_done_without(shelf: Path, tokenizer: Any, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be", encoding="utf-8")
    prepare([shelf], output_dir=tmp_path / "out", tokenizer=tokenizer, progress=False,
            cache_dir=tmp_path / "cache")  # fmt: skip
    assert load_manifest(tmp_path / "out")["splits"]["train"]["windows"]


def test_chapters_for_other_trainers_hold_the_same_text(
    shelf: Path, tokenizer: Any, tmp_path: Path
) -> None:
    prepare([shelf], output_dir=tmp_path / "out", tokenizer=tokenizer, progress=False)
    lines = (tmp_path / "out" / "chapters.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    assert set(records[0]) == {"text", "work", "author", "chapter", "split"}
    for split in SPLITS:
        windows = load_windows(tmp_path / "out", split)
        mine = [record["text"] for record in records if record["split"] == split]
        assert "".join(windows["text"]) == "".join(mine)
        assert sum(windows["ends_document"]) == len(mine)


def test_text_shared_with_held_out_text_is_cut_out_and_named(
    shelf: Path, tokenizer: Any, tmp_path: Path
) -> None:
    quoted = "却说那日众人齐聚聚贤庄前，人人手按兵刃，个个屏息凝神，只待一声令下便要动手厮杀。"
    for number in (0, 1, 2, 3, 4):  # a quotation, too short to be a repeated paragraph of its own
        file = shelf / f"书{number}.txt"
        text = file.read_text(encoding="utf-8")
        file.write_text(f"{text}\n{'甲乙丙丁戊'[number] * 40}，{quoted}", encoding="utf-8")
    manifest = prepare([shelf], output_dir=tmp_path / "out", tokenizer=tokenizer, progress=False)
    assert manifest["leaks"]["found"] >= 2
    assert any(quoted[:20] in one["text"] for one in manifest["leaks"]["examples"])
    assert any("held-out text" in warning for warning in manifest["warnings"])
    held = "".join("\n".join(load_windows(tmp_path / "out", s)["text"]) for s in SPLITS[1:])
    shared = {held[i : i + 30] for i in range(len(held))}
    for row in load_windows(tmp_path / "out", "train"):
        runs = {row["text"][i : i + 30] for i in range(len(row["text"]) - 29)}
        assert not runs & shared
    assert sum(source["characters"]["leaked"] for source in manifest["sources"]) > 0


def test_short_texts_are_packed_in_training_only(
    shelf: Path, tokenizer: Any, tmp_path: Path, make_book: Any
) -> None:
    general = tmp_path / "general.jsonl"
    rows = [{"text": make_book(1, 1, seed=200 + n).split("\n\n")[1]} for n in range(40)]
    general.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    arguments: dict[str, Any] = {"tokenizer": tokenizer, "general_text": [general],
                                 "max_length": 700, "progress": False}  # fmt: skip
    loose = prepare([shelf], output_dir=tmp_path / "loose", **arguments)["splits"]
    tight = prepare([shelf], output_dir=tmp_path / "tight", pack=True, **arguments)["splits"]
    assert tight["general_train"]["windows"] < loose["general_train"]["windows"] / 1.8
    for split, counts in loose.items():
        for name in ("tokens", "characters", "documents"):
            assert tight[split][name] == counts[name]
    for row in load_windows(tmp_path / "tight", "general_train"):
        assert sum(row["documents"]) == len(row["text"])
        assert row["num_tokens"] + 8 * len(row["documents"]) <= 700
    assert all(len(one) == 1 for one in load_windows(tmp_path / "tight", "test")["documents"])


def test_limits_on_works_are_counted(shelf: Path, tokenizer: Any, tmp_path: Path) -> None:
    manifest = prepare([shelf], output_dir=tmp_path / "out", tokenizer=tokenizer,
                       max_characters_per_work=2000, progress=False)  # fmt: skip
    for source in manifest["sources"]:
        train = source["splits"].get("train", {"characters": 0})["characters"]
        assert train <= 2000
        assert bool(source["characters"]["balanced"]) == bool(train)


def test_many_tiny_files_and_an_unusable_one(tokenizer: Any, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(300):
        (folder / f"{number:04}.txt").write_text(
            f"第{number}篇短文，只有这一句话。", encoding="utf-8"
        )
    (folder / "坏.txt").write_bytes(bytes(range(256)) * 40)
    manifest = prepare([folder], output_dir=tmp_path / "out", tokenizer=tokenizer, progress=False)
    assert len(manifest["sources"]) == 300
    assert [Path(one["name"]).name for one in manifest["skipped"]] == ["坏.txt"]
    assert len(manifest["warnings"]) < 10
    assert is_current(tmp_path / "out", [folder], tokenizer=tokenizer)
    with pytest.raises(DataError, match=r"坏\.txt"):
        prepare([folder / "坏.txt"], output_dir=tmp_path / "no", tokenizer=tokenizer)


def test_one_endless_line(tokenizer: Any, tmp_path: Path, make_book: Any) -> None:
    text = "".join(make_book(40, 30, seed=n).replace("\n", "") for n in range(3))
    (tmp_path / "行.txt").write_text(text, encoding="utf-8")
    manifest = prepare([tmp_path / "行.txt"], output_dir=tmp_path / "out", tokenizer=tokenizer,
                       progress=False)  # fmt: skip
    assert manifest["sources"][0]["characters"]["in"] == len(text) > 200_000


@pytest.mark.parametrize("where", ["fsync", "chapters", "cache"])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    shelf: Path, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*args: Any, **options: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    if where == "fsync":
        monkeypatch.setattr("stylellm.corpus.store.os.fsync", full)
    elif where == "chapters":
        monkeypatch.setattr(stage, "_chapter_line", full)
    else:
        monkeypatch.setattr("stylellm.corpus.cache.pickle.dumps", full)
    with pytest.raises(OutputError, match="no space left") as caught:
        prepare([shelf], output_dir=tmp_path / "out", tokenizer=tokenizer, progress=False)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["书架"]


def test_what_killed_runs_left_is_removed(shelf: Path, tokenizer: Any, tmp_path: Path) -> None:
    output = tmp_path / "out"
    prepare([shelf], output_dir=output, tokenizer=tokenizer, progress=False)
    output.rename(tmp_path / "out.old-12345678")  # killed between the two renames
    left = tmp_path / "out.tmp-999999999-12345678"
    left.mkdir()
    alive = tmp_path / f"out.tmp-{os.getpid()}-12345678"
    alive.mkdir()
    with pytest.raises(OutputError, match="exists already"):
        prepare([shelf], output_dir=output, tokenizer=tokenizer, progress=False)
    assert load_manifest(output)["splits"]["train"]["windows"]  # put back
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"书架", "out", alive.name} | ({left.name} if os.name != "posix" else set())


_CHILD = """
import signal, sys, time
from pathlib import Path
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast
from stylellm.corpus import cutting
from stylellm.corpus.prepare import prepare

def slow(*args, **options):
    print("cutting", flush=True)
    time.sleep(60)

cutting.cut_texts = slow
if __name__ == "__main__":
    # A shell's background jobs are started with the signal ignored, and hand that on.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    backend = Tokenizer.from_file(sys.argv[1])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>")
    prepare([sys.argv[2]], output_dir=sys.argv[3], cache_dir=sys.argv[4], tokenizer=tokenizer)
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_run_resumes(
    shelf: Path,
    tokenizer: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
) -> None:
    tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "child.py").write_text(_CHILD, encoding="utf-8")
    out, cache = tmp_path / "out", tmp_path / "cache"
    command = [sys.executable, "child.py", "tokenizer.json", str(shelf), str(out), str(cache)]
    child = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert child.stdout and child.stdout.readline().strip() == b"cutting"
    time.sleep(0.2)
    child.send_signal(number)
    child.wait(timeout=30)
    child.stdout.close()
    assert not out.exists()
    calls = _counting(monkeypatch)
    prepare([shelf], output_dir=out, cache_dir=cache, tokenizer=tokenizer, progress=False)
    assert calls["read"] == 0  # that part was done
    assert not [path for path in tmp_path.iterdir() if ".tmp-" in path.name]
