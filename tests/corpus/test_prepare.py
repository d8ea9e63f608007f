from __future__ import annotations

import errno
import json
import re
from pathlib import Path
from typing import Any

import pytest

from stylellm.corpus import prepare as stage
from stylellm.corpus.prepare import is_current, load_manifest, load_windows, prepare
from stylellm.errors import DataError, ModelError, OutputError, StyleLLMError

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory, make_book: Any) -> dict[str, Path]:
    """An author's folder of two books in two encodings, general text, another author."""
    root = tmp_path_factory.mktemp("书 架")
    author = root / "author"
    author.mkdir()
    (author / "《夜行录》作者：甲某.txt").write_bytes(
        ("《夜行录》\r\n\r\n" + make_book(16, seed=1).replace("\n", "\r\n")).encode("gb18030")
    )
    (author / "雨停.txt").write_text(make_book(12, seed=2), encoding="utf-8")
    (author / "cover.jpg").write_bytes(b"\xff\xd8")
    general = root / "general.jsonl"
    rows = [{"text": make_book(1, 1, seed=100 + n).split("\n\n")[1]} for n in range(30)]
    general.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    other = root / "other.txt"
    other.write_text(make_book(5, seed=3), encoding="utf-8")
    return {"author": author, "general": general, "other": other, "root": root}


@pytest.fixture(scope="module")
def prepared(shelf: dict[str, Path], tokenizer: Any) -> Path:
    output = shelf["root"] / "prepared 甲"
    prepare(
        [shelf["author"]],
        tokenizer=tokenizer,
        output_dir=output,
        general_text=[shelf["general"]],
        other_author=[shelf["other"]],
        max_length=160,
        progress=False,
    )
    return output


def test_every_split_is_there_with_its_columns(prepared: Path) -> None:
    manifest = load_manifest(prepared)
    names = [*SPLITS, "general_train", "general_test", "other_test"]
    assert sorted(manifest["splits"]) == sorted(names)
    for name in names:
        windows = load_windows(prepared, name)
        assert windows.column_names == ["text", "num_tokens", "work", "chapter", "ends_document"]
        assert len(windows) == manifest["splits"][name]["windows"] > 0
        assert sum(windows["num_tokens"]) == manifest["splits"][name]["tokens"]
        assert max(windows["num_tokens"]) <= 160


def test_num_tokens_counts_the_text_and_its_eos(prepared: Path, tokenizer: Any) -> None:
    for row in load_windows(prepared, "test"):
        length = len(tokenizer(row["text"], add_special_tokens=False)["input_ids"])
        assert row["num_tokens"] == length + row["ends_document"]
        assert length <= 160 - 8 - 1


def test_windows_of_a_chapter_join_to_the_chapter(prepared: Path, make_book: Any) -> None:
    joined: dict[tuple[str, str], str] = {}
    ends: dict[tuple[str, str], list[bool]] = {}
    for split in SPLITS:
        for row in load_windows(prepared, split):
            key = (row["work"], row["chapter"])
            joined[key] = joined.get(key, "") + row["text"]
            ends.setdefault(key, []).append(row["ends_document"])
    wanted = {}
    for title, book in (("夜行录", make_book(16, seed=1)), ("雨停", make_book(12, seed=2))):
        for part in re.split(r"\n\n(?=第)", book):
            heading, body = part.split("\n\n")
            wanted[title, heading] = f"{heading}\n{body}"
    assert joined == wanted
    assert all(flags == [False] * (len(flags) - 1) + [True] for flags in ends.values())


def test_splits_share_no_chapter(prepared: Path) -> None:
    found = [{(r["work"], r["chapter"]) for r in load_windows(prepared, s)} for s in SPLITS]
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]


def test_general_text_is_split_by_document(prepared: Path) -> None:
    train, test = (load_windows(prepared, f"general_{name}") for name in ("train", "test"))
    documents = [set(windows["chapter"]) for windows in (train, test)]
    assert not documents[0] & documents[1]
    assert len(documents[0] | documents[1]) == 30
    assert 4 <= len(documents[1]) <= 8
    assert sum(train["ends_document"]) + sum(test["ends_document"]) == 30


def test_the_manifest_accounts_for_every_character(prepared: Path) -> None:
    manifest = json.loads((prepared / "manifest.json").read_text(encoding="utf-8"))
    night = next(source for source in manifest["sources"] if source["title"] == "夜行录")
    assert (night["encoding"], night["author"], night["role"]) == ("gb18030", "甲某", "author")
    assert night["chapters"] == 16
    for source in manifest["sources"]:
        counts = source["characters"]
        kept = counts["in"] - counts["removed"] + counts["added"]
        lost = sum(counts[name] for name in ("line_breaks", "duplicates", "balanced", "leaked"))
        assert kept - lost == counts["kept"]
        assert counts["kept"] == sum(split["characters"] for split in source["splits"].values())
        assert counts["removed"] == sum(rule["removed"] for rule in source["rules"])
        assert counts["line_breaks"] >= 0
    assert manifest["author"] == "甲某"
    assert [Path(one["name"]).name for one in manifest["skipped"]] == ["cover.jpg"]
    assert any("cover.jpg" in warning for warning in manifest["warnings"])


def test_nothing_temporary_is_left(prepared: Path) -> None:
    assert sorted(path.name for path in prepared.iterdir()) == [
        "audit.html",
        "audit.md",
        "chapters.jsonl",
        "manifest.json",
        "windows",
    ]
    assert not [path for path in prepared.parent.iterdir() if ".tmp-" in path.name]


def test_the_same_books_and_seed_give_the_same_result(
    prepared: Path, shelf: dict[str, Path], tokenizer: Any, tmp_path: Path
) -> None:
    arguments: dict[str, Any] = {
        "tokenizer": tokenizer,
        "general_text": [shelf["general"]],
        "other_author": [shelf["other"]],
        "max_length": 160,
    }
    again = prepare([shelf["author"]], output_dir=tmp_path / "again", progress=False, **arguments)
    first = load_manifest(prepared)
    assert again["fingerprint"] == first["fingerprint"]
    assert again["sources"] == first["sources"]
    for split in first["splits"]:
        assert load_windows(tmp_path / "again", split)[:] == load_windows(prepared, split)[:]
    assert is_current(prepared, [shelf["author"]], **arguments)
    assert not is_current(prepared, [shelf["author"]], **(arguments | {"max_length": 161}))
    assert not is_current(prepared, [shelf["author"]], seed=1, **arguments)
    assert not is_current(prepared, [shelf["other"]], tokenizer=tokenizer, max_length=160)
    assert not is_current(tmp_path / "nothing", [shelf["author"]], **arguments)


def test_a_changed_book_or_tokenizer_is_noticed(
    shelf: dict[str, Path], tokenizer: Any, tmp_path: Path, make_book: Any
) -> None:
    import copy

    book = tmp_path / "书.txt"
    book.write_text(make_book(9, seed=5), encoding="utf-8")
    prepare([book], tokenizer=tokenizer, output_dir=tmp_path / "out", progress=False)
    assert is_current(tmp_path / "out", [book], tokenizer=tokenizer)
    larger = copy.deepcopy(tokenizer)
    larger.add_tokens(["剑光"])
    assert not is_current(tmp_path / "out", [book], tokenizer=larger)
    book.write_text(make_book(9, seed=6), encoding="utf-8")
    assert not is_current(tmp_path / "out", [book], tokenizer=tokenizer)


def test_held_out_works_are_named_in_either_script(
    shelf: dict[str, Path], tokenizer: Any, tmp_path: Path
) -> None:
    prepare(
        [shelf["author"]],
        tokenizer=tokenizer,
        output_dir=tmp_path / "out",
        held_out_works=["《夜行錄》"],
        progress=False,
    )
    assert set(load_windows(tmp_path / "out", "test")["work"]) == {"夜行录"}
    assert set(load_windows(tmp_path / "out", "train")["work"]) == {"雨停"}


def test_an_existing_folder_is_only_replaced_when_told(
    shelf: dict[str, Path], tokenizer: Any, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()  # an empty folder is no obstacle
    arguments: dict[str, Any] = {"tokenizer": tokenizer, "output_dir": output, "progress": False}
    prepare([shelf["other"]], **arguments)
    with pytest.raises(OutputError, match=r"exists already.*--overwrite"):
        prepare([shelf["other"]], **arguments)
    prepare([shelf["other"]], max_length=100, overwrite=True, **arguments)
    assert load_manifest(output)["settings"]["max_length"] == 100
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    foreign = tmp_path / "my thesis"
    foreign.mkdir()
    (foreign / "thesis.doc").write_bytes(b"irreplaceable")
    with pytest.raises(OutputError, match="will not be replaced"):
        prepare([shelf["other"]], **(arguments | {"output_dir": foreign, "overwrite": True}))
    assert (foreign / "thesis.doc").read_bytes() == b"irreplaceable"


@pytest.mark.parametrize(
    ("number", "message"), [(errno.ENOSPC, "no space left"), (errno.EACCES, "cannot be written")]
)
def test_a_disk_that_refuses_leaves_nothing_half_written(
    shelf: dict[str, Path],
    tokenizer: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    message: str,
) -> None:
    def refuse(*args: Any) -> None:
        raise OSError(number, "refused by the test")

    monkeypatch.setattr("stylellm.corpus.store.write_audit", refuse)
    with pytest.raises(OutputError, match=message):
        prepare([shelf["other"]], tokenizer=tokenizer, output_dir=tmp_path / "out", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_replacement_keeps_the_old_data(
    shelf: dict[str, Path], tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {"tokenizer": tokenizer, "output_dir": tmp_path / "out"}
    prepare([shelf["other"]], progress=False, **arguments)
    monkeypatch.setattr(
        "stylellm.corpus.store.write_audit", lambda *_: (_ for _ in ()).throw(OSError(28, "full"))
    )
    with pytest.raises(OutputError):
        prepare([shelf["other"]], seed=7, overwrite=True, progress=False, **arguments)
    assert load_manifest(tmp_path / "out")["settings"]["seed"] == 42
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def _bad(name: str, data: bytes) -> Any:
    def make(folder: Path) -> list[Path]:
        (folder / name).write_bytes(data)
        return [folder / name]

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: [], "no books"),
        (lambda folder: [folder / "缺.txt"], r"缺\.txt does not exist"),
        (_bad("空.txt", b""), r"空\.txt .*empty"),
        (_bad("图.txt", bytes(range(256)) * 40), r"图\.txt"),
        (_bad("广告.txt", b"www.example.com\n"), "nothing is left"),
    ],
)
def test_bad_books_are_one_clear_line_and_nothing_is_written(
    tokenizer: Any, tmp_path: Path, make: Any, message: str
) -> None:
    books = make(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DataError, match=message) as caught:
        prepare(books, tokenizer=tokenizer, output_dir=tmp_path / "out", progress=False)
    assert "\n" not in str(caught.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 16}, "max_length is 16"),
        ({"script": "latin"}, "script is 'latin'"),
        ({"clean_rules": ["adds"]}, "unknown clean rule 'adds'"),
        ({"held_out": "first"}, "held_out is 'first'"),
        ({"held_out_works": ["没有的书"]}, "没有的书"),
    ],
)
def test_bad_options_are_refused(
    shelf: dict[str, Path], tokenizer: Any, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(StyleLLMError, match=message):
        prepare(
            [shelf["other"]],
            tokenizer=tokenizer,
            output_dir=tmp_path / "out",
            progress=False,
            **options,
        )


def test_a_book_has_one_role(shelf: dict[str, Path], tokenizer: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="both as author and as other"):
        prepare(
            [shelf["other"]],
            tokenizer=tokenizer,
            output_dir=tmp_path / "out",
            other_author=[shelf["other"]],
            progress=False,
        )


def test_a_tokenizer_without_an_end_of_text_is_refused(
    shelf: dict[str, Path], tmp_path: Path, tokenizer: Any
) -> None:
    class Endless:
        eos_token_id = None

    with pytest.raises(ModelError, match="end-of-text"):
        prepare([shelf["other"]], tokenizer=Endless(), output_dir=tmp_path / "out")


def test_a_tiny_book_trains_and_warns(tokenizer: Any, tmp_path: Path) -> None:
    book = tmp_path / "短.txt"
    book.write_text("只有一句话。", encoding="utf-8")
    manifest = prepare([book], tokenizer=tokenizer, output_dir=tmp_path / "out", progress=False)
    assert len(load_windows(tmp_path / "out", "train")) == 1
    assert len(load_windows(tmp_path / "out", "test")) == 0
    assert any("test split is empty" in warning for warning in manifest["warnings"])


def test_missing_splits_name_the_next_command(
    shelf: dict[str, Path], tokenizer: Any, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"does not exist.*stylellm prepare"):
        load_windows(tmp_path / "nothing", "train")
    prepare([shelf["other"]], tokenizer=tokenizer, output_dir=tmp_path / "out", progress=False)
    with pytest.raises(DataError, match=r"no split 'general_test'.*--general_text"):
        load_windows(tmp_path / "out", "general_test")
    (tmp_path / "out" / "manifest.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"manifest\.json cannot be read"):
        load_manifest(tmp_path / "out")


def test_is_current_takes_every_setting_of_prepare() -> None:
    import inspect

    decided = set(inspect.signature(stage.settings_of).parameters)
    taken = set(inspect.signature(prepare).parameters)
    elsewhere = {"books", "tokenizer", "output_dir", "general_text", "other_author"}
    assert taken - decided == elsewhere | {"overwrite", "progress", "num_workers", "cache_dir"}


@pytest.mark.corpus
@pytest.mark.slow
def test_a_real_novel(corpus_dir: Path, tokenizer: Any, tmp_path: Path) -> None:
    manifest = prepare(
        [corpus_dir / "wuxia" / "三俠五義.txt"],
        tokenizer=tokenizer,
        output_dir=tmp_path / "out",
        test_fraction=1 / 3,
        held_out="last",
        progress=False,
    )
    splits, (source,) = manifest["splits"], manifest["sources"]
    assert source["chapters"] == 120
    total = sum(counts["characters"] for counts in splits.values())
    assert splits["test"]["characters"] == pytest.approx(total / 3, rel=0.03)
    assert load_windows(tmp_path / "out", "train")[0]["text"].startswith("第一回 设阴谋临产换太子")
    assert manifest["warnings"] == [
        "no general text: loss of general ability cannot be measured (data.general_text)"
    ]
