"""The page of `stylellm compare`: compare.html, compare.md, compare.json."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stylellm.evaluation.compare import Compared, compare, not_comparable, table
from stylellm.evaluation.plots import Key, Plot, canvas
from stylellm.evaluation.report import environment, markdown_table, write_files
from stylellm.evaluation.tables import ROW_STYLES, Label

JSON_FILE, MARKDOWN_FILE, HTML_FILE = "compare.json", "compare.md", "compare.html"
TITLE = Label("多次训练对比", "Runs compared")


def write_comparison(results: Mapping[str, Mapping[str, Any]], output_dir: Path) -> Path:
    """Writes the three files and returns the path of compare.html.

    Args:
        results: label -> what ``evaluation.json`` holds; at least one.
        output_dir: made where it does not exist.

    Raises:
        OutputError: the folder cannot be written.
    """
    runs, odd = compare(results), not_comparable(results)
    notes = [_warning(odd)] if odd else []
    files = {
        JSON_FILE: json.dumps(
            {"runs": [asdict(run) for run in runs], "not_comparable": odd},
            ensure_ascii=False, indent=2,
        ) + "\n",
        MARKDOWN_FILE: _markdown(runs, notes),
        HTML_FILE: environment().get_template("compare.html.j2").render(
            title=TITLE, runs=runs, table=table(runs), plots=front_plots(runs), notes=notes,
        ),
    }  # fmt: skip
    write_files(output_dir, files)
    return output_dir / HTML_FILE


def front_plots(runs: Sequence[Compared]) -> list[Plot]:
    """Gain on the author against drift, the unbeaten runs joined; none without two known drifts."""
    known = [run for run in runs if run.drift is not None]
    if len(known) < 2:
        return []
    colour, faint = ROW_STYLES["policy"].colour, ROW_STYLES["base"].colour
    front = sorted((run for run in known if run.front), key=lambda run: run.drift or 0.0)
    with canvas("front", 3.4, bottom=0.55) as (axes, out):
        axes.plot([r.drift for r in front], [r.gain for r in front], color=colour, lw=1.4, zorder=1)
        for run in known:
            shade = colour if run.front else faint
            axes.scatter([run.drift], [run.gain], s=40, color=shade, ec="white", lw=0.7, zorder=2)
            axes.annotate(
                run.name, (run.drift, run.gain), xytext=(0, 7), textcoords="offset points",
                ha="center", fontsize=9, color=shade,
            )  # fmt: skip
        axes.margins(x=0.16, y=0.18)
        axes.set_xlabel("漂移 drift: KL, nats/token  (← 更好 better)")
        axes.set_ylabel("")
    title = Label(
        "学到的作者文风（纵轴，每字比特，越高越好）与忘掉的（横轴）",
        "Learnt of the author (upwards, bits per character saved) against drift",
    )
    keys = [
        Key(Label("前沿：没有别的运行胜过它", "on the front: nothing beats it"), colour, "●"),
        Key(Label("被胜过", "beaten"), faint, "●"),
    ]
    return [Plot("front", title, out[0], keys)]


def _markdown(runs: Sequence[Compared], notes: Sequence[Label]) -> str:
    parts = [f"# {TITLE.zh} {TITLE.en}", *(f"{note.zh} {note.en}" for note in notes)]
    return "\n\n".join([*parts, markdown_table(table(runs))]) + "\n"


def _warning(odd: Sequence[str]) -> Label:
    return Label(
        f"底座或测试文本与第一个运行不同，数字不可直接比较：{'、'.join(odd)}。",
        "Another base or other texts than those of the first run, so not directly comparable: "
        f"{', '.join(odd)}.",
    )
