"""Progress: a bar only on a terminal, plain lines in a log."""

from __future__ import annotations

import io
import sys

import pytest

from stylellm import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_file_gets_one_plain_line(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    assert list(progress.track([1, 2, 3], "reading", "book")) == [1, 2, 3]
    assert log.getvalue().startswith("reading: 3 books, ")
    assert all(c.isprintable() or c == "\n" for c in log.getvalue())
    assert log.getvalue().count("\n") == 1


def test_long_work_says_how_far_it_is(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    clock = iter(range(0, 1000, 40))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    list(progress.track(iter("abcd"), "samples", "batch", total=4))
    lines = log.getvalue().splitlines()
    assert lines[0] == "samples: 2 of 4 batches, 80 s"
    assert lines[-1].startswith("samples: 4 batches, ")


def test_a_terminal_gets_a_bar_that_is_gone_at_the_end(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(progress.track(range(5), "cutting", "chapter")) == [0, 1, 2, 3, 4]
    assert "cutting" in terminal.getvalue()
    assert terminal.getvalue().rsplit("\r", 1)[-1].strip() == ""


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_work_without_a_name_is_silent(monkeypatch, stream):
    shown = stream()
    monkeypatch.setattr(sys, "stderr", shown)
    assert list(progress.track((x for x in "ab"), None, "book")) == ["a", "b"]
    assert shown.getvalue() == ""


def test_a_text_on_one_line_has_no_control_characters():
    assert progress.one_line("甲\t乙\x0f\n  丙\u2028丁 ") == "甲 乙 丙 丁"
