"""What commands print: one table of four rows in 80 columns, Chinese counted as two."""

from __future__ import annotations

import unicodedata

import pytest

from stylellm.cli.show import print_result, print_row

NAMES = ("base", "policy", "other_author", "held_out_author")


def width(line: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


@pytest.fixture
def result():
    rows = {name: 0.0123 * i for i, name in enumerate(NAMES, start=1)}
    bits = {"base": {"bits_per_character": 5.5}, "policy": {"bits_per_character": 5.25}}
    return {
        "author": bits,
        "general": None,
        "function_word_jsd": rows,
        "ngram_overlap": {name: {str(n): 0.5 / n for n in range(1, 7)} for name in NAMES},
        "rep_4": rows,
        "longest_copy": {name: {"length": 14} for name in NAMES},
        "num_characters": dict.fromkeys(NAMES, 52711),
        "small_sample": True,
        "drift_kl": None,
        "suffix_gain": {"base": {"suffix_gain": -0.08}, "policy": {"suffix_gain": 0.02}},
    }


def test_the_table_has_the_four_rows_and_fits(result, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    print_result(result)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(width, lines)) <= 80
    table = {line.split("  ")[0].strip(): line for line in lines if "52,711" in line}
    assert list(table) == ["base", "policy", "other author", "held out author"]
    assert "5.500" in table["base"] and "5.250" in table["policy"] and "0.0123" in table["base"]
    assert not any("…" in line for line in lines)
    assert any("few: noisy" in line for line in lines)
    assert not any("drift" in line for line in lines)
    assert "policy 0.020" in lines[-1]


def test_the_drift_is_named_where_it_was_measured(result, capsys):
    print_result(result | {"drift_kl": 0.01234, "small_sample": False})
    shown = capsys.readouterr().out
    assert "KL 0.0123 nats" in shown and "noisy" not in shown


def test_chinese_text_is_wrapped_by_its_width(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    print_row({"prompt": "剑光一闪", "base": "，他却退了三步。" * 6, "policy": "甲\n\n  乙 \n"})
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert max(map(width, lines)) <= 40
    assert out.replace("\n", "").replace(" ", "").count("他却退了三步") == 6
    assert lines[-3].strip() == "policy  剑光一闪甲" and lines[-2].strip() == "乙"


def test_one_text_alone(capsys):
    print_row({"prompt": "剑", "policy": "光"})
    assert "base" not in capsys.readouterr().out
