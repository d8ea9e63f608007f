"""Every measure of the four rows with its interval and n: measures downwards, texts across.

A figure is what the suite writes: ``{"value", "low", "high", "n", "small"}``. Cells without one stay
empty, lines without any cell are left out, so that a result of an older version still makes a table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from stylellm.evaluation.tables import (
    MISSING,
    ROW_STYLES,
    Cell,
    Label,
    Row,
    Table,
    fixed,
    integer,
    is_number,
    percent,
    pick,
)

Format = Callable[[Any], str]


def _digits(count: int) -> Format:
    return lambda value: fixed(value, count)


@dataclass(frozen=True)
class Measure:
    """One line: where its figure lies under ``style.<row>`` and how it is written."""

    label: Label
    path: tuple[str, ...]
    format: Format


@dataclass(frozen=True)
class Group:
    """Lines that answer one question."""

    title: Label
    measures: tuple[Measure, ...]


NEARNESS = Group(
    Label("像不像作者", "How near to the author"),
    (
        Measure(Label("虚词距离", "function-word JSD"), ("function_word_jsd",), _digits(4)),
        Measure(Label("Burrows Delta", "Burrows's Delta"), ("burrows_delta", "author"), _digits(3)),
        Measure(Label("余弦 Delta", "Cosine Delta"), ("cosine_delta", "author"), _digits(3)),
        Measure(Label("冒充者检验", "General Imposters"), ("imposters",), percent),
        Measure(Label("判给作者（SVM）", "attributed, SVM"), ("attribution", "svm", "share"), percent),
        Measure(Label("判给作者（贝叶斯）", "attributed, Bayes"),
                ("attribution", "bayes", "share"), percent),
        Measure(Label("与真文可分性", "told from real, AUC"), ("two_sample",), _digits(3)),
        Measure(Label("MAUVE（作者留出为 1）", "MAUVE, held-out = 1"), ("mauve",), _digits(3)),
        Measure(Label("句长距离（字）", "sentence length, W1"),
                ("rhythm", "sentences", "wasserstein"), _digits(2)),
        Measure(Label("分句长距离（字）", "clause length, W1"),
                ("rhythm", "clauses", "wasserstein"), _digits(2)),
        Measure(Label("对话比重", "share of dialogue"), ("rhythm", "dialogue_share"), percent),
        Measure(Label("标点距离", "punctuation distance"),
                ("rhythm", "punctuation_distance"), _digits(3)),
        Measure(Label("文白（−1 白，1 文）", "register, −1 to 1"), ("register", "index"), _digits(3)),
        Measure(Label("词汇丰富度", "richness, MATTR"), ("richness", "mattr"), _digits(3)),
    ),
)  # fmt: skip
COPYING = Group(
    Label("抄了没有", "Did it copy"),
    (
        Measure(Label("最长照抄（字）", "longest copy"),
                ("memorisation", "author", "longest", "length"), integer),
        Measure(Label("照抄过长的篇数", "texts with a long copy"),
                ("memorisation", "author", "copied"), percent),
        Measure(Label("10 字串为新", "new 10-grams"),
                ("memorisation", "author", "novelty", "10"), percent),
        Measure(Label("20 字串为新", "new 20-grams"),
                ("memorisation", "author", "novelty", "20"), percent),
        Measure(Label("与作者留出书", "longest, held-out book"),
                ("memorisation", "held_out_author", "longest", "length"), integer),
        Measure(Label("与另一作者", "longest, another author"),
                ("memorisation", "other_author", "longest", "length"), integer),
    ),
)  # fmt: skip
REPETITION = Group(
    Label("重复不重复", "Does it repeat itself"),
    tuple(
        Measure(label, ("degeneration", key), _digits(3))
        for key, label in {
            "rep_4": Label("四字重复", "rep-4"),
            "distinct_2": Label("二字多样", "distinct-2"),
            "self_bleu": Label("篇间雷同", "Self-BLEU"),
            "compression_ratio": Label("压缩比", "compression ratio"),
        }.items()
    ),
)
GROUPS = (NEARNESS, COPYING, REPETITION)


def measure_rows(result: Mapping[str, Any]) -> Table | None:
    """All measures that the result holds; None where it holds no ``style``."""
    names = [name for name in ROW_STYLES if pick(result, "style", name)]
    rows = [row for group in GROUPS for row in _rows(group, result, names)]
    if not rows:
        return None
    columns = [ROW_STYLES[name].label for name in names]
    return Table(Label("", ""), columns, rows, _notes(rows), [ROW_STYLES[name] for name in names])


def figure(value: Any, form: Format) -> Cell:
    """A figure, or a bare number, as a cell: value, interval, n."""
    if not isinstance(value, Mapping):
        return Cell(form(value))
    low, high = value.get("low"), value.get("high")
    detail = f"{form(low)} – {form(high)}" if is_number(low) and is_number(high) else ""
    n = value.get("n")
    return Cell(
        form(value.get("value")), bool(value.get("small")), detail, f"n = {n:,}" if n else ""
    )


def _rows(group: Group, result: Mapping[str, Any], names: list[str]) -> Iterator[Row]:
    title: Label | None = group.title
    for measure in group.measures:
        values = [pick(result, "style", name, *measure.path) for name in names]
        cells = [_cell(value, measure.format) for value in values]
        if any(cell.text != MISSING for cell in cells):
            yield Row(measure.label, cells, group=title)
            title = None


def _cell(value: Any, form: Format) -> Cell:
    cell = figure(value, form)
    real = value.get("real") if isinstance(value, Mapping) else None
    if not isinstance(real, Mapping):
        return cell
    around = figure(real, form).detail
    return Cell(cell.text, cell.small, f"真文 real {around}" if around else "", cell.n)


def _notes(rows: list[Row]) -> list[Label]:
    notes = [
        Label(
            "小字是 95% 区间；指针悬停可见 n。距离、Delta 越小越像；AUC 为 0.5 时与真文分不开。"
            "“真文”是同样长短的真实文字的区间。",
            "Small print: 95% intervals; hover for n. Distances and Delta: lower is nearer. An AUC of "
            "0.5 cannot be told from real text. “Real” is the range of real text of the same lengths.",
        )
    ]
    if any(cell.small for row in rows for cell in row.cells):
        notes.append(
            Label(
                "灰色斜体：样本太小，只能参考。",
                "Grey italics: too small a sample, a hint at most.",
            )
        )
    return notes
