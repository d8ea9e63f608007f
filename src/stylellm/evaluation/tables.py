"""The numbers of a result as tables of formatted cells, shared by report.html and report.md.

Also the words, colours and marks of the four rows, so that a row looks the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

MISSING = "—"


class Label(NamedTuple):
    """The same words in Chinese and English."""

    zh: str
    en: str


@dataclass(frozen=True)
class RowStyle:
    """How a row is named and drawn: colour (safe for colour-blind readers), glyph, plot marker."""

    label: Label
    colour: str
    glyph: str
    marker: str


ROW_STYLES: dict[str, RowStyle] = {
    "base": RowStyle(Label("底座模型", "base"), "#6b7280", "●", "o"),
    "policy": RowStyle(Label("训练后", "policy"), "#d55e00", "◆", "D"),
    "other_author": RowStyle(Label("另一作者", "another author"), "#a4508b", "■", "s"),
    "held_out_author": RowStyle(Label("作者留出", "held-out author"), "#0072b2", "▲", "^"),
}
AUTHOR_STYLE = RowStyle(Label("作者训练文本", "author, training text"), "#1c1f24", "┃", "|")
"""The author's training text: what the others are compared with, never a row of its own."""


@dataclass(frozen=True)
class Cell:
    """A formatted value; ``small`` marks a number from too small a sample.

    Attributes:
        text: the value.
        small: whether it is grey.
        detail: its interval, in small print below it.
        n: what it was counted over, shown on hovering.
    """

    text: str
    small: bool = False
    detail: str = ""
    n: str = ""


@dataclass(frozen=True)
class Row:
    """A labelled line of cells, with the style of its row and the group it opens, where it has one."""

    label: Label
    cells: list[Cell]
    style: RowStyle | None = None
    group: Label | None = None


@dataclass(frozen=True)
class Table:
    """Column labels, rows, notes that explain the columns, and the styles of texts as columns."""

    corner: Label
    columns: list[Label]
    rows: list[Row]
    notes: list[Label] = field(default_factory=list)
    column_styles: list[RowStyle] = field(default_factory=list)


def fixed(value: Any, digits: int) -> str:
    """A number with so many decimals; scientific where it would round to 0, a dash where absent."""
    if not is_number(value):
        return MISSING
    text = f"{value:,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = f"{value:.1e}" if value else f"{0:.{digits}f}"
    return text.replace("-", "−")


def percent(value: Any, digits: int = 1) -> str:
    """A share from 0 to 1 as a percentage; "<0.1%" where it would round to 0."""
    if not is_number(value):
        return MISSING
    text = f"{100 * value:.{digits}f}"
    if value > 0 and float(text) == 0:
        return f"<{10**-digits:.{digits}f}%"
    return f"{text.replace('-', '−')}%"


def integer(value: Any) -> str:
    """A count with thousands separators, or a dash."""
    return f"{round(value):,}" if is_number(value) else MISSING


def is_number(value: Any) -> bool:
    """Whether the value is a finite number."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return False
    return math.isfinite(float(value))


def pick(result: Mapping[str, Any], *keys: str) -> Any:
    """A nested value, or None where any key on the way is absent."""
    value: Any = result
    for key in keys:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def ngram_orders(result: Mapping[str, Any]) -> list[int]:
    """The n for which an overlap was measured, in order."""
    rows = (result.get("ngram_overlap") or {}).values()
    return sorted({int(n) for row in rows for n in row})


def style_rows(result: Mapping[str, Any]) -> Table:
    """Base, policy, another author and held-out author by every measure of style."""
    small = bool(result.get("small_sample"))
    orders = ngram_orders(result)
    rows = []
    for name, style in ROW_STYLES.items():
        texts = [fixed(pick(result, "function_word_jsd", name), 4)]
        texts += [percent(pick(result, "ngram_overlap", name, str(n))) for n in orders]
        texts += [
            percent(pick(result, "rep_4", name), 2),
            percent(pick(result, "distinct_2", name)),
            integer(pick(result, "longest_copy", name, "length")),
        ]
        cells = [Cell(text, small and text != MISSING) for text in texts]
        size = Cell(integer(pick(result, "num_characters", name)))
        rows.append(Row(style.label, [*cells, size], style))
    columns = [
        Label("虚词距离", "function-word JSD"),
        *(Label(f"{n} 字串重合", f"{n}-gram overlap") for n in orders),
        Label("四字重复", "rep-4"),
        Label("二字多样", "distinct-2"),
        Label("最长照抄", "longest copy"),
        Label("字数", "characters"),
    ]
    return Table(Label("文本", "text"), columns, rows, _style_notes(result, small))


def _style_notes(result: Mapping[str, Any], small: bool) -> list[Label]:
    notes = []
    if small:
        size = integer(pick(result, "num_characters", "policy"))
        notes.append(
            Label(
                f"灰色数字：样本太小（训练后文本只有 {size} 字），相近文本之间的差别可能只是偶然。",
                f"Grey numbers: too small a sample (only {size} characters of policy text); "
                "differences between near texts may be chance.",
            )
        )
    absent = [s.label for name, s in ROW_STYLES.items() if not _is_given(result, name)]
    if absent:
        notes.append(
            Label(
                f"未提供：{'、'.join(label.zh for label in absent)}。",
                f"Not given: {', '.join(label.en for label in absent)}.",
            )
        )
    notes.append(
        Label(
            "虚词距离：与作者训练文本的 Jensen–Shannon 散度（比特），越小越像。"
            "字串重合：文本的 n 字串有多少在作者训练文本中出现过。"
            "四字重复、二字多样：文本自身的重复程度。"
            "最长照抄：与作者训练文本逐字相同的最长一段（字）。"
            "各项都与文本长短有关，所以四行取相近的长度，并以作者留出文本为参照。",
            "Function-word JSD: Jensen–Shannon divergence from the author's training text in bits, "
            "lower is closer. n-gram overlap: share of the text's character n-grams found there. "
            "rep-4, distinct-2: how much the text repeats itself. Longest copy: the longest run of "
            "characters shared verbatim with the training text. All depend on length, so the rows "
            "are cut to similar lengths; the author's held-out text is the reference.",
        )
    )
    return notes


def _is_given(result: Mapping[str, Any], name: str) -> bool:
    keys = ("num_characters", "function_word_jsd", "ngram_overlap")
    return any(pick(result, key, name) is not None for key in keys)


def likelihood_rows(result: Mapping[str, Any]) -> Table:
    """Likelihood of author and general text under base and policy."""
    texts = {
        "author": Label("作者留出文本", "author, held out"),
        "general": Label("普通文本", "general text"),
    }
    rows = []
    for name, label in texts.items():
        for which in ("base", "policy"):
            style = ROW_STYLES[which]
            values = pick(result, name, which) or {}
            cells = [
                Cell(fixed(values.get("nll_per_token"), 4)),
                Cell(fixed(values.get("perplexity"), 2)),
                Cell(fixed(values.get("bits_per_character"), 4)),
                Cell(integer(pick(result, "num_tokens", name) if values else None)),
            ]
            full = Label(f"{label.zh} · {style.label.zh}", f"{label.en} · {style.label.en}")
            rows.append(Row(full, cells, style))
    columns = [
        Label("每词元 NLL", "NLL per token (nats)"),
        Label("困惑度", "perplexity"),
        Label("每字比特", "bits per character"),
        Label("词元数", "tokens"),
    ]
    return Table(Label("文本 · 模型", "text · model"), columns, rows, _likelihood_notes(result))


def _likelihood_notes(result: Mapping[str, Any]) -> list[Label]:
    notes = [
        Label(
            "三项都是越小越好。比较不同分词器的模型时，只看每字比特。",
            "Lower is better in all three. Only bits per character compares across tokenizers.",
        )
    ]
    drift = result.get("drift_kl")
    if is_number(drift):
        notes.append(
            Label(
                f"漂移：在普通文本上，训练后相对底座的 KL 散度为每词元 {fixed(drift, 4)} 奈特"
                "（0 为毫无变化）。",
                f"Drift: on general text KL(policy || base) is {fixed(drift, 4)} nats per token "
                "(0 is no change at all).",
            )
        )
    else:
        notes.append(
            Label(
                "普通文本：未提供，漂移未测。",
                "General text: not given, so drift was not measured.",
            )
        )
    return notes


def suffix_rows(result: Mapping[str, Any]) -> Table | None:
    """Filling a gap with and without the text behind it; None where it was not measured."""
    gain = result.get("suffix_gain")
    if not gain:
        return None
    rows = []
    for which in ("base", "policy"):
        style, values = ROW_STYLES[which], gain.get(which) or {}
        keys = ("nll_prefix_only", "nll_infill", "suffix_gain")
        cells = [Cell(fixed(values.get(key), 4)) for key in keys]
        rows.append(Row(style.label, [*cells, Cell(integer(gain.get("n")))], style))
    columns = [
        Label("只看前文", "prefix only"),
        Label("兼看后文", "prefix and suffix"),
        Label("后文增益", "suffix gain"),
        Label("词元数", "tokens"),
    ]
    notes = [
        Label(
            "填空处每词元的 NLL（奈特）。后文增益 = 只看前文 − 兼看后文，大于 0 才说明用上了后文。",
            "NLL per token of the gap, in nats. Suffix gain = prefix only − prefix and suffix; "
            "only above 0 does the model use what stands behind the gap.",
        )
    ]
    return Table(Label("模型", "model"), columns, rows, notes)


def harness_rows(result: Mapping[str, Any]) -> Table | None:
    """Tasks of lm-evaluation-harness, base beside policy; None where none were run."""
    found = result.get("lm_eval") or []
    if not found:
        return None
    arrows = {True: "↑", False: "↓", None: ""}
    rows = [
        Row(
            Label(*[f"{r['task']} · {r['metric']} {arrows[r['higher_is_better']]}"] * 2),
            [_with_error(r, which) for which in ("base", "policy")],
        )
        for r in found
    ]
    note = Label(
        "lm-evaluation-harness；↑ 越大越好，↓ 越小越好；小字为一个标准误。",
        "By lm-evaluation-harness; ↑ higher is better, ↓ lower; small print: one standard error.",
    )
    columns = [ROW_STYLES[which].label for which in ("base", "policy")]
    return Table(Label("任务", "task"), columns, rows, [note])


def _with_error(row: Mapping[str, Any], which: str) -> Cell:
    error, n = (row.get("stderr") or {}).get(which), row.get("n")
    detail = f"± {fixed(error, 3)}" if is_number(error) else ""
    return Cell(fixed(row[which], 4), detail=detail, n=f"n = {n:,}" if n else "")
