"""stylellm write: one-shot, batch, gaps, authors, and a conversation with all its commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stylellm.cli.batch import read_partial
from stylellm.cli.main import main
from stylellm.cli.repl import Conversation
from stylellm.cli.writer import Options, Writer
from stylellm.progress import one_line

SHORT = ["--max_new_tokens", "12"]


@pytest.fixture(scope="module")
def folder(trained: Path) -> str:
    return str(trained / "run")


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def written(folder: str, path: Path, *options: str) -> list[dict[str, Any]]:
    command = ["write", folder, "--prompt", "剑光一闪", "--prompt", "他", "--output", str(path)]
    assert main([*command, *SHORT, *options]) == 0
    return rows_of(path)


@pytest.mark.parametrize("method", ["adapter", "logits"])
def test_strength_from_the_command_line(folder: str, tmp_path: Path, method: str) -> None:
    plain = written(folder, tmp_path / "1.jsonl")
    zero, one = (
        written(folder, tmp_path / f"{s}.jsonl", "--strength", s, "--strength_method", method)
        for s in ("0", "1")
    )
    assert [row["policy"] for row in zero] == [row["base"] for row in plain]
    assert one == plain


def test_batch_goes_on_where_it_was(folder: str, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("\n".join(f"第{n}夜，雪" for n in range(20)), encoding="gb18030")
    whole, again = tmp_path / "whole.jsonl", tmp_path / "again.jsonl"
    command = ["write", folder, "--prompts", str(prompts), *SHORT, "--copy_watch", "3", "--output"]
    assert main([*command, str(whole)]) == 0
    rows = rows_of(whole)
    assert [row["prompt"] for row in rows] == [f"第{n}夜，雪" for n in range(20)]
    assert all(set(row) == {"prompt", "seed", "base", "policy", "copies"} for row in rows)
    assert not list(tmp_path.glob("*.partial"))
    # Cut off in the middle of a line after ten rows, one of them marked to see that it is kept.
    from stylellm.cli import batch

    headers: list[dict[str, Any]] = []
    original = batch.read_partial
    partial = tmp_path / "again.jsonl.partial"

    def spy(path: Path, header: dict[str, Any]) -> list[dict[str, Any]]:
        headers.append(header)
        marked = [{**rows[0], "policy": "记号"}, *rows[1:10]]
        lines = [json.dumps(x, ensure_ascii=False) for x in (header, *marked)]
        path.write_text("\n".join([*lines, '{"prompt": "第十']), encoding="utf-8")
        return original(path, header)

    batch.read_partial = spy
    try:
        assert main([*command, str(again)]) == 0
    finally:
        batch.read_partial = original
    assert rows_of(again) == [{**rows[0], "policy": "记号"}, *rows[1:]]
    partial.write_text(json.dumps(headers[0]) + "\n" + json.dumps(rows[0]) + "\n", encoding="utf-8")
    assert read_partial(partial, headers[0]) == rows[:1]
    assert read_partial(partial, {**headers[0], "base": False}) == []
    assert read_partial(tmp_path / "none", headers[0]) == []


def test_gaps_from_the_command_line(
    folder: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "fill.jsonl"
    command = ["write", folder, "--fill", "剑光一闪，____{5}便灭了。", "--alternatives", "2"]
    assert main([*command, *SHORT, "--output", str(out)]) == 0
    rows = rows_of(out)
    assert all(row["text"] == f"剑光一闪，{row['answers'][0]}便灭了。" for row in rows)
    assert "nats per token" in capsys.readouterr().out
    (tmp_path / "gap.txt").write_text("剑光一闪，____{5}便灭了。", encoding="gb18030")
    again = tmp_path / "again.jsonl"
    command[3] = str(tmp_path / "gap.txt")
    assert main([*command, *SHORT, "--output", str(again)]) == 0
    assert rows_of(again) == rows


def test_forbidden_copies(folder: str, tmp_path: Path) -> None:
    from stylellm.generation.copy_guard import comparable

    writer = Writer(Path(folder), Options(forbid_copies=3, changes={"max_new_tokens": 40}))
    texts = writer.continue_texts(["剑光一闪", "他"], seeds=[1, 2])
    for text in texts:
        assert writer.watch().index.longest_copy(comparable(text)).length < 3


def test_authors_from_the_command_line(folder: str, tmp_path: Path) -> None:
    plain = written(folder, tmp_path / "0.jsonl", "--no_base")
    same = written(folder, tmp_path / "1.jsonl", "--no_base", "--authors", f"乙={folder}",
                   "--author", "乙")  # fmt: skip
    half = written(folder, tmp_path / "2.jsonl", "--no_base", "--strength", "0.5")
    mixed = written(folder, tmp_path / "3.jsonl", "--no_base", "--authors", f"乙={folder}",
                    "--author", "乙=0.2,default=0.3")  # fmt: skip
    assert same == plain
    assert mixed == half


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--strength", "3"], "from 0 to 2"),
        (["--forbid_copies", "1"], "2 or more"),
        (["--max_chars", "0"], "1 or more"),
        (["--authors", "乙"], "NAME=DIR"),
        (["--author", "丙", "--prompt", "他"], "no author"),
        (["--author", "丙=x", "--prompt", "他"], "names with weights"),
        (["--chat", "on", "--prompt", "他"], "chat template"),
        (["--fill", "没有空"], "no gap"),
        (["--books", "nowhere", "--copy_watch", "9", "--prompt", "他"], "nowhere"),
    ],
)
def test_bad_options_are_one_line(
    folder: str, capsys: pytest.CaptureFixture, options: list[str], words: str
) -> None:
    assert main(["write", folder, *SHORT, *options]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


@pytest.fixture
def talk(folder: str) -> Callable[[list[str]], tuple[Conversation, str]]:
    """Runs a conversation of given lines; returns it and all that was said."""
    writer = Writer(Path(folder), Options(changes={"max_new_tokens": 12}, copy_watch=3))

    def run(lines: list[str]) -> tuple[Conversation, str]:
        given, said = iter(lines), []

        def ask(_: str) -> str:
            try:
                return next(given)
            except StopIteration:
                raise EOFError from None

        conversation = Conversation(writer, ask, said.append)
        conversation.run()
        return conversation, "".join(said)

    return run


def test_a_story_grows_and_is_taken_back(talk: Any) -> None:
    one, _ = talk(["剑光一闪"])
    story, said = talk(["剑光一闪", "", "他道：\\", "“走！”"])
    assert story.story().startswith(one.story()) and len(story.turns) == 3
    assert story.turns[2].given == "他道：\n“走！”"
    for turn in story.turns:
        assert turn.written.replace("\ufffd", "").strip()[:3] in said.replace("\ufffd", "")
    back, _ = talk(["剑光一闪", "", "/undo"])
    assert back.story() == one.story()
    new, _ = talk(["剑光一闪", "/new", "/undo", ""])
    assert new.turns == []


def test_retry_draws_anew_and_a_seed_repeats(talk: Any) -> None:
    once, _ = talk(["剑光一闪"])
    retried, _ = talk(["剑光一闪", "/retry"])
    assert len(retried.turns) == 1 and retried.story() != once.story()
    repeated, _ = talk(["剑光一闪", "/seed 42", "/retry"])
    assert repeated.story() == once.story()


def test_strength_zero_is_what_compare_shows(talk: Any, capsys: pytest.CaptureFixture) -> None:
    story, _ = talk(["剑光一闪", "/compare"])
    shown = capsys.readouterr().out
    zero, said = talk(["/strength 0", "剑光一闪", "/strength 1"])
    assert "strength 0" in said
    (base,) = story.writer.continue_texts(["剑光一闪"], seeds=[42], which="base")
    assert zero.turns[0].written == base != story.turns[0].written
    for text in (base, story.turns[0].written):
        assert one_line(text.splitlines()[0]) in shown


def test_numbers_files_and_mistakes(talk: Any, tmp_path: Path) -> None:
    path = tmp_path / "故事.txt"
    story, said = talk(
        ["/length 5", "/temperature 0", "剑光一闪", f"/save {path}", "/show", "/strength 7",
         "/strength x", "/author 丙", "/author", "/nothing", "/help", "/save", "/temperature"]
    )  # fmt: skip
    assert len(story.turns[0].written) <= 5
    assert path.read_text(encoding="utf-8") == story.story() + "\n"
    for words in ("from 0 to 2", "no author '丙'", "loaded: default", "no command /nothing",
                  "/undo", "/save FILE"):  # fmt: skip
        assert words in said
    talk(["/length 200"])


def test_gaps_in_a_conversation(talk: Any, capsys: pytest.CaptureFixture) -> None:
    story, _ = talk(["剑光一闪，____{4}便灭了。"])
    assert story.turns == []
    assert "lower is better" in capsys.readouterr().out


def test_ctrl_c_keeps_what_was_written(talk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: Writer, prompts: Any, *, on_text: Any, **_: Any) -> list[str]:
        on_text("半句")
        raise KeyboardInterrupt

    monkeypatch.setattr(Writer, "continue_texts", interrupted)
    story, said = talk(["剑光一闪", "/show"])
    assert story.turns[0].written == "半句" and "(stopped)" in said


def test_a_piped_conversation(folder: str, capsys: pytest.CaptureFixture, monkeypatch: Any) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("剑光一闪\n/strength 0.5\n/quit\n"))
    assert main(["write", folder, *SHORT]) == 0
    said = capsys.readouterr().out
    assert "strength 0.5" in said and "剑光一闪" in said
