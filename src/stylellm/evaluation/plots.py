"""The report's plots as inline SVG: text stays text, no legend or title inside.

Labels are kept short and legends are left to the page, because Matplotlib cannot measure Chinese
without a Chinese font, while the browser that shows the SVG can.
"""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stylellm.evaluation.tables import (
    AUTHOR_STYLE,
    ROW_STYLES,
    Label,
    RowStyle,
    is_number,
)

WIDTH = 4.4
"""Inches; about the width of a phone, so that labels stay readable there."""
FONTS = ["Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "SimHei", "sans-serif"]
INK, GRID = "#4b5563", "#e5e7eb"
GENERAL = "#009e73"
"""General text in training curves; the author's training text is black, his held-out text blue."""
_EVAL_NOISE = ("runtime", "per_second", "epoch")


@dataclass(frozen=True)
class Key:
    """One entry of a legend."""

    label: Label
    colour: str
    glyph: str


@dataclass(frozen=True)
class Plot:
    """A figure of the page: its title, its legend and the SVG element."""

    name: str
    title: Label
    svg: str
    legend: list[Key] = field(default_factory=list)


@dataclass(frozen=True)
class Curve:
    """One line of a training plot."""

    label: Label
    colour: str
    xs: list[float]
    ys: list[float]
    marker: str = ""


def training_plots(rows: Sequence[Mapping[str, Any]]) -> list[Plot]:
    """Curves of a training log by step: the loss, the KLs, and whatever else was evaluated."""
    groups: dict[str, list[Curve]] = {"loss": [], "kl": []}
    author, held_out = AUTHOR_STYLE.colour, ROW_STYLES["held_out_author"].colour
    _add(groups["loss"], rows, "reconstruction", Label("训练", "training"), author)
    _add(groups["kl"], rows, "kl", Label("作者文本", "author text"), author)
    if any(row.get("num_general", 1) for row in rows if "general_kl" in row):
        _add(groups["kl"], rows, "general_kl", Label("普通文本", "general text"), GENERAL)
    for key in _evaluated(rows):
        if key == "eval_loss":  # the author's NLL again, under the name that the Trainer looks for
            continue
        name = key.removeprefix("eval_").replace("_", " ")
        group = "loss" if "nll" in key or "loss" in key else "kl" if "kl" in key else key
        colour = GENERAL if "general" in key or "drift" in key else held_out
        label = Label("验证", f"validation: {name}")
        _add(groups.setdefault(group, []), rows, key, label, colour, marker="o")
    titles = {
        "loss": Label(
            "训练曲线：重建损失（每词元奈特）", "Training: reconstruction, nats per token"
        ),
        "kl": Label(
            "训练曲线：与底座的 KL（每词元奈特）", "Training: KL from the base, nats per token"
        ),
        "eval_longest_copy": Label(
            "训练曲线：最长照抄（字）", "Training: longest copy, characters"
        ),
        "eval_function_word_jsd": Label("训练曲线：虚词距离", "Training: function-word JSD"),
    }
    plots = []
    for group, curves in groups.items():
        if curves:
            name = group.removeprefix("eval_").replace("_", " ")
            title = titles.get(group, Label("训练曲线：验证", f"Training: {name}"))
            plots.append(_curve_plot(re.sub(r"\W+", "-", f"train-{group}"), title, curves))
    return plots


def read_training_log(path: Path | None) -> list[dict[str, Any]]:
    """Rows of a ``train_log.jsonl`` that have a step; broken lines of a killed run are skipped."""
    if path is None or not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and is_number(row.get("step")):
            rows.append(row)
    return sorted(rows, key=lambda row: row["step"])


def _evaluated(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys of what was measured at evaluations, in order of first appearance."""
    keys = dict.fromkeys(k for row in rows for k, v in row.items() if is_number(v))
    noise = _EVAL_NOISE
    return [k for k in keys if k.startswith("eval_") and not any(n in k for n in noise)]


def _add(
    curves: list[Curve],
    rows: Sequence[Mapping[str, Any]],
    key: str,
    label: Label,
    colour: str,
    marker: str = "",
) -> None:
    points = [(row["step"], row[key]) for row in rows if is_number(row.get(key))]
    if points:
        xs, ys = zip(*points, strict=True)
        curves.append(Curve(label, colour, list(xs), list(ys), marker))


def _curve_plot(name: str, title: Label, curves: Sequence[Curve]) -> Plot:
    with canvas(name, 2.9, bottom=0.55) as (axes, out):
        for curve in curves:
            marker = curve.marker or ("." if len(curve.xs) == 1 else None)
            axes.plot(
                curve.xs, curve.ys, color=curve.colour, marker=marker, ms=4.5,
                lw=1.6 if curve.marker else 1.1, ls="--" if curve.marker else "-",
            )  # fmt: skip
        axes.margins(y=0.08)
        axes.set_xlim(left=0)
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        axes.set_xlabel("步 step")
    return Plot(
        name, title, out[0], [Key(c.label, c.colour, "●" if c.marker else "━") for c in curves]
    )


def dots(style: RowStyle) -> dict[str, Any]:
    """How the marks of a row are scattered."""
    size = {"D": 30, "^": 44}.get(style.marker, 36)
    return {"marker": style.marker, "s": size, "color": style.colour, "ec": "white", "lw": 0.7}


@contextmanager
def canvas(name: str, height: float, *, bottom: float) -> Iterator[tuple[Any, list[str]]]:
    """A figure with one axes in the report's look; its SVG lies in the list when the block ends."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    out: list[str] = []
    with _quiet(), rc_context(_look(name)):
        figure = Figure(figsize=(WIDTH, height))
        left, top = 0.52, 0.12
        axes = figure.add_axes(
            (left / WIDTH, bottom / height, 1 - (left + 0.15) / WIDTH, 1 - (bottom + top) / height)
        )
        axes.set_axisbelow(True)
        yield axes, out
        file = io.StringIO()
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", metadata=no_metadata, transparent=True)
        out.append(_inline(file.getvalue(), name))


def _look(name: str) -> Any:
    """Matplotlib settings of a figure, in effect while it is drawn and nowhere else."""
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.family": FONTS,
        "font.size": 9.5,
        "axes.edgecolor": "#9ca3af",
        "axes.labelcolor": INK,
        "axes.grid": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.8,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "xtick.color": INK,
        "ytick.color": INK,
        "xtick.major.size": 3,
        "ytick.major.size": 0,
        "text.usetex": False,
        "text.parse_math": False,
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings about fonts or glyphs that only the reader's browser needs to have."""
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*[Gg]lyph.*")
            yield
    finally:
        logger.setLevel(level)


def _inline(svg: str, name: str) -> str:
    """The bare svg element, its ids made unique in the page, without prolog and namespaces."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"([^>]*?) width="[^"]*"', r"\1\2", svg, count=1)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
