"""`stylellm style`: tables, JSON, errors."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from stylellm.cli import main as cli
from stylellm.stylometry import function_words


@pytest.fixture
def style(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setitem(cli.COMMANDS, "style", "the style of texts")
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: object) -> tuple[int, str, str]:
        code = cli.main(["style", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def sample(repo_root: Path) -> list[Path]:
    return sorted((repo_root / "recipes" / "demo_sample" / "text").glob("*.txt"))


def width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def test_tables_fit_80_columns(style, sample: list[Path]) -> None:
    code, out, _ = style(sample[0], "--reference", *sample[1:])
    assert code == 0
    assert max(map(width, out.splitlines())) <= 80
    for word in (sample[0].stem, "cosine delta", "function words that differ", "avoided (Zeta)"):
        assert word in out


def test_several_texts_without_reference(style, sample: list[Path]) -> None:
    code, out, _ = style(*sample[:3], "--top", 3)
    assert code == 0
    assert "nearest pairs" in out
    assert max(map(width, out.splitlines())) <= 80


def test_json_holds_the_figures_of_the_modules(style, sample: list[Path], tmp_path: Path) -> None:
    text, other = tmp_path / "文 一.txt", tmp_path / "其他.txt"
    text.write_text("劍光一閃，他「走」了。" * 300, encoding="gb18030")
    other.write_text("剑光之中，其人已去。" * 300, encoding="utf-8")
    code, out, _ = style(text, "--reference", other, "--json")
    found = json.loads(out)["texts"]["文 一"]
    plain = "剑光一闪，他“走”了。" * 300
    assert code == 0
    assert found["characters"] == len(plain)
    rates = {row["word"]: row["rate"]["value"] for row in found["function_words"]}
    assert rates == pytest.approx(function_words.rates(plain))
    expected = function_words.jsd(plain, "剑光之中，其人已去。" * 300)
    assert found["jsd"]["value"] == pytest.approx(expected)
    assert found["longest_copy"]["text"] == "。剑光"
    assert found["distances"] == {}


def test_own_words_and_names(style, sample: list[Path], tmp_path: Path) -> None:
    words, names = tmp_path / "words.txt", tmp_path / "names.txt"
    words.write_text("# mine\n的 了", encoding="utf-8")
    names.write_text("的", encoding="utf-8")
    _, out, _ = style(sample[0], "--words", words, "--names", names, "--json")
    rows = json.loads(out)["texts"][sample[0].stem]["function_words"]
    assert [row["word"] for row in rows] == ["的", "了"]
    assert rows[0]["rate"]["value"] == 0 < rows[1]["rate"]["value"]


def test_a_text_of_one_word(style, tmp_path: Path) -> None:
    text = tmp_path / "短.txt"
    text.write_text("剑", encoding="utf-8")
    for arguments in ([text], [text, "--reference", text]):
        code, out, _ = style(*arguments)
        assert code == 0
        assert "mostly noise" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.txt"], "absent.txt does not exist"),
        ([".", "--top", "0"], "--top 0"),
        ([".", "--words", "absent.txt"], "absent.txt cannot be read"),
    ],
)
def test_errors_are_one_line(style, tmp_path: Path, monkeypatch, arguments, message) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = style(*arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
