"""Writes what `evaluate_policy` found: evaluation.json, report.md and report.html.

The page is one file: its plots are inline SVG, it has no script, and a content security policy
keeps every request inside it. Everything is rendered before anything is written, each file under a
temporary name first.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stylellm.errors import DataError, OutputError
from stylellm.evaluation import plots, verdict
from stylellm.evaluation.gate_table import gate_rows
from stylellm.evaluation.marked import marked_samples
from stylellm.evaluation.measure_table import measure_rows
from stylellm.evaluation.scale import positions
from stylellm.evaluation.style_plots import style_plots
from stylellm.evaluation.tables import (
    AUTHOR_STYLE,
    MISSING,
    ROW_STYLES,
    Cell,
    Label,
    Table,
    harness_rows,
    likelihood_rows,
    style_rows,
    suffix_rows,
)
from stylellm.evaluation.words import word_tables, words_verdict

JSON_FILE, MARKDOWN_FILE, HTML_FILE = "evaluation.json", "report.md", "report.html"
FIRST_KEYS = ("author", "general", "drift_kl", "ngram_overlap", "function_word_jsd")
TEMPLATES = Path(__file__).with_name("templates")
TITLE = Label("风格评测报告", "Style report")
SAMPLES_OPEN = 4
"""Prompts whose texts are shown at once; the others open on a click."""

_PROVENANCE = {
    "model": "底座模型",
    "adapter": "适配器",
    "prepared": "数据",
    "author": "作者",
    "date": "日期",
    "seed": "随机种子",
    "kl_beta": "KL 权重",
    "versions": "版本",
}
_MEASURES = {
    "function_word_jsd": Label("虚词习惯", "function words"),
    "ngram_overlap": Label("字串重合", "n-gram overlap"),
}


def write_report(
    result: Mapping[str, Any], output_dir: Path | str, *, training_log: Path | None = None
) -> Path:
    """Writes the three files of a report and returns the path of report.html.

    Args:
        result: what `evaluate_policy` returns, plus ``provenance``: scalars, or mappings of them,
            that say what made it. Parts that were not measured may be None or absent.
        output_dir: made where it does not exist.
        training_log: the run's ``train_log.jsonl``; curves are shown where it exists.

    Raises:
        DataError: the result has no likelihood of the author's text.
        OutputError: the folder cannot be written.
    """
    if not result.get("author"):
        raise DataError(
            "the result holds no likelihood of the author's text", "what evaluate_policy returns"
        )
    files = {
        JSON_FILE: to_json(result),
        MARKDOWN_FILE: to_markdown(result),
        HTML_FILE: to_html(result, training_log=training_log),
    }
    folder = Path(output_dir)
    write_files(folder, files)
    return folder / HTML_FILE


def to_json(result: Mapping[str, Any]) -> str:
    """The result as strict JSON, the design's keys first; a number that is not finite is null."""
    ordered = {key: result.get(key) for key in FIRST_KEYS} | dict(result)
    return json.dumps(_plain(ordered), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def to_html(result: Mapping[str, Any], *, training_log: Path | None = None) -> str:
    """The page."""
    log = plots.read_training_log(training_log)
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            title=TITLE,
            subtitle=_subtitle(result),
            verdict=verdict.judge(result),
            scales=_scales(result),
            small=bool(result.get("small_sample")),
            style=style_rows(result),
            runs=_runs(result),
            likelihood=likelihood_rows(result),
            harness=harness_rows(result),
            suffix=suffix_rows(result),
            suffix_verdict=verdict.suffix_verdict(result),
            plots=[*style_plots(result), *plots.training_plots(log)],
            measures=measure_rows(result),
            gate=gate_rows(result),
            words=word_tables(result),
            words_verdict=words_verdict(result),
            samples=marked_samples(result),
            samples_open=SAMPLES_OPEN,
            row_styles=ROW_STYLES,
            provenance=list(_provenance(result)),
        )
    )


def environment() -> Any:
    """Where the templates of the pages live."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    # The author's ink is the page's own: light on a dark page.
    found.filters["css"] = lambda colour: "var(--ink)" if colour == AUTHOR_STYLE.colour else colour
    return found


def to_markdown(result: Mapping[str, Any]) -> str:
    """The same without plots, for a terminal or a repository."""
    judged, suffix = verdict.judge(result), suffix_rows(result)
    parts = [f"# {TITLE.zh} {TITLE.en}", _md(_subtitle(result))]
    parts.append(f"## {judged.headline.zh} · {judged.headline.en}")
    parts += [_md("".join(s.zh for s in judged.sentences))]
    parts += [_md(" ".join(s.en for s in judged.sentences))]
    parts += ["## 文字 Style", markdown_table(style_rows(result))]
    measures, gate = measure_rows(result), gate_rows(result)
    parts += ["## 各项测量 All measures", markdown_table(measures)] if measures else []
    parts += ["## 关口 Gate", markdown_table(gate)] if gate else []
    if words := word_tables(result):
        parts += ["## 作者的词 The author's words", *map(markdown_table, words)]
    parts += ["## 似然 Likelihood", markdown_table(likelihood_rows(result))]
    if tasks := harness_rows(result):
        parts += ["## 通用能力 General ability", markdown_table(tasks)]
    line = verdict.suffix_verdict(result)
    parts += [
        "## 填空 Infilling",
        _md(f"{line.zh} {line.en}"),
        markdown_table(suffix) if suffix else "",
    ]
    parts.append("## 样例 Samples")
    parts += [_md_sample(sample) for sample in result.get("samples") or []] or ["未提供 not given"]
    parts.append("## 设置与来源 Settings and provenance")
    lines = [f"| {_md(name)} | {_md(value)} |" for name, _, value in _provenance(result)]
    parts.append(
        "\n".join(["| 项 key | 值 value |", "|---|---|", *lines]) if lines else "未提供 not given"
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Writes all files of a page, each under a temporary name first."""
    temporary = {name: folder / f".{name}.tmp" for name in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            temporary[name].write_text(content, encoding="utf-8", newline="\n")
        for name, path in temporary.items():
            path.replace(folder / name)
    except OSError as error:
        raise OutputError(
            f"the report cannot be written to {folder} ({error})",
            "a folder that can be written",
            "Give another --output_dir.",
        ) from error
    finally:
        for path in temporary.values():
            if path.is_file():
                path.unlink()


def _plain(value: Any) -> Any:
    """Only what strict JSON knows: numpy scalars become numbers, NaN and infinity null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def _subtitle(result: Mapping[str, Any]) -> str:
    provenance = result.get("provenance") or {}
    shown = (provenance.get(key) for key in ("author", "model", "adapter", "date"))
    return " · ".join(str(value) for value in shown if value)


def _provenance(result: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Key, Chinese name (or nothing) and value; nested mappings as ``a.b``."""
    for key, value in _flat(result.get("provenance") or {}):
        yield key, _PROVENANCE.get(key.split(".")[0], ""), value


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list | tuple):
            yield f"{prefix}{key}", ", ".join(map(str, value)) or MISSING
        else:
            yield f"{prefix}{key}", MISSING if value is None else str(value)


def _scales(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every measure's line from base (0) to held-out author (1); positions in percent of it."""
    scales = []
    for measure, places in positions(result).items():
        if places is None or "policy" not in places:
            continue
        kept = {name: min(max(value, -1.0), 2.0) for name, value in places.items()}
        low, high = min(0.0, *kept.values()) - 0.12, max(1.0, *kept.values()) + 0.12
        marks = [
            {"style": style, "at": _along(kept[name], low, high), "value": places[name]}
            for name, style in ROW_STYLES.items()
            if name in kept
        ]
        ends = _along(0, low, high), _along(1, low, high)
        value = verdict.place(places["policy"]).zh
        scales.append({"label": _MEASURES[measure], "value": value, "marks": marks, "ends": ends})
    return scales


def _along(value: float, low: float, high: float) -> float:
    return round(100 * (value - low) / (high - low), 2)


def _runs(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The longest copied run of each row that has one."""
    copies = result.get("longest_copy") or {}
    return [
        {"style": style, "length": copies[name]["length"], "text": copies[name]["text"]}
        for name, style in ROW_STYLES.items()
        if copies.get(name) and copies[name].get("text")
    ]


def _md(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]#|~])", r"\\\1", line)


def markdown_table(table: Table) -> str:
    """A table and its notes in Markdown."""

    def label(words: Label) -> str:
        return _md(words.zh if words.zh == words.en else f"{words.zh} {words.en}")

    head = [label(table.corner), *map(label, table.columns)]
    lines = [head, ["---"] + ["---:"] * len(table.columns)]
    for row in table.rows:
        if row.group:
            lines.append([f"**{label(row.group)}**"] + [""] * len(table.columns))
        lines.append([label(row.label), *(_md(_plain_cell(cell)) for cell in row.cells)])
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return "\n\n".join([text, *(f"{_md(note.zh)} {_md(note.en)}" for note in table.notes)])


def _plain_cell(cell: Cell) -> str:
    """Value, interval and n on one line; a number from too small a sample is marked."""
    text = cell.text + (f" ({cell.detail})" if cell.detail else "")
    return text + (" 小样本 small" if cell.small and cell.detail else "")


def _md_sample(sample: Mapping[str, str]) -> str:
    lines = [f"**{_md(sample['prompt'])}**"]
    for name in ("base", "policy"):
        label = ROW_STYLES[name].label
        lines.append(f"- {label.zh} {label.en}: {_md(sample[name]) or MISSING}")
    return "\n\n".join([lines[0], "\n".join(lines[1:])])
