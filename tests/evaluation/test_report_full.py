"""The report of a full result: every number with its interval, copies with their sources, the gate."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from typing import Any

import pytest
from full_result import full_result
from hypothesis import given
from hypothesis import strategies as st

from stylellm.evaluation.marked import by_runs, marked_samples
from stylellm.evaluation.measure_table import GROUPS, measure_rows
from stylellm.evaluation.report import to_html, to_markdown
from stylellm.evaluation.tables import AUTHOR_STYLE, fixed, percent
from stylellm.evaluation.verdict import judge
from stylellm.evaluation.words import word_tables, words_verdict

VOID = {"meta", "link", "input", "br", "img", "hr"}


@pytest.fixture(scope="module")
def result() -> dict[str, Any]:
    return full_result()


@pytest.fixture(scope="module")
def html(result: dict[str, Any]) -> str:
    return to_html(result)


class Nesting(HTMLParser):
    """Fails where an element is closed that was not the last opened."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        pass


def test_elements_are_closed_in_order(html: str) -> None:
    parser = Nesting()
    parser.feed(html)
    assert parser.open == []


def test_all_parts_are_there(html: str) -> None:
    for part in (
        "verdict",
        "style",
        "gate",
        "measures",
        "words",
        "likelihood",
        "suffix",
        "samples",
    ):
        assert f'<section id="{part}"' in html or f'id="{part}"' in html
    for plot in ("words", "overlap", "map", "tree", "rolling", "rhythm", "copies"):
        assert f'id="plot-{plot}"' in html


def test_measures_are_the_figures_with_interval_and_n(result: dict[str, Any], html: str) -> None:
    table = measure_rows(result)
    assert table is not None
    assert len(table.rows) == sum(len(group.measures) for group in GROUPS)
    by_label = {row.label.en: row for row in table.rows}
    for column, name in enumerate(("base", "policy", "other_author", "held_out_author")):
        row = result["style"][name]
        jsd = row["function_word_jsd"]
        cell = by_label["function-word JSD"].cells[column]
        assert cell.text == fixed(jsd["value"], 4)
        assert cell.detail == f"{fixed(jsd['low'], 4)} – {fixed(jsd['high'], 4)}"
        assert cell.n == "n = 60" and cell.n in html and cell.detail in html
        share = row["attribution"]["svm"]["share"]["value"]
        assert by_label["attributed, SVM"].cells[column].text == percent(share)
    assert by_label["rep-4"].cells[0].detail == "真文 real 0.030 – 0.080"


def test_small_figures_are_grey(result: dict[str, Any]) -> None:
    small = copy.deepcopy(result)
    small["style"]["policy"]["imposters"]["small"] = True
    table = measure_rows(small)
    assert table is not None
    (row,) = [row for row in table.rows if row.label.en == "General Imposters"]
    assert [cell.small for cell in row.cells] == [False, True, False, False]
    assert any("Grey" in note.en for note in table.notes)
    assert 'class="small" title="n = 100"' in to_html(small)


def test_absent_parts_leave_no_trace(result: dict[str, Any]) -> None:
    partial = copy.deepcopy(result)
    for key in ("gate", "zeta", "map", "tree", "rolling", "reference"):
        del partial[key]
    del partial["style"]["other_author"]
    partial["style"]["base"] = None
    page = to_html(partial)
    for part in ('<section id="gate"', '<section id="words"', 'id="plot-map"', 'id="plot-rolling"'):
        assert part not in page
    table = measure_rows(partial)
    assert table is not None and [c.en for c in table.columns] == ["policy", "held-out author"]


def test_copies_are_marked_with_their_source(result: dict[str, Any], html: str) -> None:
    found = re.findall(r'<mark tabindex="0" title="([^"]*)"[^>]*>([^<]*)</mark>', html)
    assert len(found) == 6
    title, text = found[0]
    assert text == result["samples"][0]["policy"][9:26]
    assert title == "17 字 characters: 霜桥渡 · 第三章 空棺 @ 1,204"
    assert marked_samples(result)[0]["base"][0].copied is False


runs = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 45)), max_size=6)


@given(st.text(max_size=40), runs)
def test_cutting_at_runs_keeps_the_text(text: str, places: list[tuple[int, int]]) -> None:
    given = [{"start": a, "end": b, "work": "w"} for a, b in places]
    pieces = list(by_runs(text, given))
    assert "".join(piece.text for piece in pieces) == text
    covered = {i for a, b in places for i in range(a, min(b, len(text)))}
    marked, at = set(), 0
    for piece in pieces:
        if piece.copied:
            marked |= set(range(at, at + len(piece.text)))
        at += len(piece.text)
    assert marked == covered


def test_the_gate_is_in_verdict_and_table(result: dict[str, Any], html: str) -> None:
    sentence = judge(result).sentences[-1]
    assert sentence.en == "It failed the gate: longest copy 60."
    assert "≤ 50" in html and "霜桥渡 · 第三章 空棺" in html and "not measured" in html
    passed = copy.deepcopy(result)
    passed["gate"] = {"passed": True, "limits": [result["gate"]["limits"][1]]}
    assert judge(passed).sentences[-1].en == "It passed every limit of the gate."


def test_words_of_the_author(result: dict[str, Any]) -> None:
    preferred, avoided = word_tables(result)
    assert [row.label.zh for row in preferred.rows] == ["却", "竟", "便", "乃", "剑", "雪"]
    assert [cell.text for cell in preferred.rows[0].cells] == [
        "1.60",
        "4.10",
        "0.50",
        "2.20",
        "3.90",
    ]
    assert avoided.corner.en == "words he avoids"
    verdict = words_verdict(result)
    assert verdict is not None and "40 words" in verdict.en
    assert words_verdict({}) is None and word_tables({}) == []


def test_markdown_holds_the_same(result: dict[str, Any]) -> None:
    text = to_markdown(result)
    assert "霜桥渡" in text and "General Imposters" in text and "却" in text
    jsd = result["style"]["policy"]["function_word_jsd"]
    assert f"{fixed(jsd['value'], 4)} ({fixed(jsd['low'], 4)} – {fixed(jsd['high'], 4)})" in text


def test_the_authors_keys_show_on_a_dark_page(html: str) -> None:
    """His ink is near black: as a key it takes the page's, which turns with the page."""
    assert 'style="color:var(--ink)"' in html
    assert f'class="glyph" style="color:{AUTHOR_STYLE.colour}"' not in html
