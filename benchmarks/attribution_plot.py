"""Draws what attribution.py measured: accuracy by length, and the confusion matrix.

    python benchmarks/attribution_plot.py attribution.json docs/assets/attribution.svg

Text stays text in the SVG, so that the reader's own Chinese font shows it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("svg")
from matplotlib import pyplot as plt

FONT = ["Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "sans-serif"]
KINDS = {"works": "unseen works 未见作品", "blocks": "unseen chapters 未见章节"}
LOOKS = {("svm", "works"): ("#b5402d", "-"), ("svm", "blocks"): ("#2f6f9f", "-"),
         ("bayes", "works"): ("#b5402d", "--"), ("bayes", "blocks"): ("#2f6f9f", "--")}  # fmt: skip


def accuracy(axes: Any, results: dict[str, Any]) -> None:
    """Share of passages given to their author; the band is the 95% interval over works."""
    lengths = sorted(results, key=int)
    places = range(len(lengths))
    for (name, kind), (colour, line) in LOOKS.items():
        rows = [results[length][name][kind] for length in lengths]
        axes.plot(places, [row["value"] for row in rows], line, color=colour, marker="o", ms=3,
                  label=f"{KINDS[kind]}, {name}")  # fmt: skip
        if line == "-":
            axes.fill_between(places, [r["low"] for r in rows], [r["high"] for r in rows],
                              color=colour, alpha=0.15, lw=0)  # fmt: skip
    axes.set_xticks(list(places), [f"{int(length):,}" for length in lengths])
    axes.set_xlabel("characters of a passage 段落字数")
    axes.set_ylabel("attributed to its author 判对")
    axes.set_ylim(0, 1.02)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8, loc="lower right")


def confusion(figure: Any, axes: Any, row: dict[str, Any], length: int) -> None:
    """Rows: who wrote it; columns: whom it was given to; shares of a row."""
    counts = np.array(row["confusion"], dtype=float)
    shares = counts / counts.sum(axis=1, keepdims=True)
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", lw=0.4,
                    rasterized=True)  # fmt: skip
    axes.invert_yaxis()
    axes.set_aspect("equal")
    ticks = np.arange(len(counts)) + 0.5
    axes.set_xticks(ticks, row["authors"], rotation=90, fontsize=6)
    axes.set_yticks(ticks, row["authors"], fontsize=6)
    axes.tick_params(length=0)
    axes.set_xlabel(f"given to 判给（svm, {length:,} characters 字）")
    axes.set_ylabel("written by 作者")
    for i, k in zip(*np.nonzero(counts), strict=True):
        axes.text(k + 0.5, i + 0.5, int(counts[i, k]), ha="center", va="center", fontsize=4.5,
                  color="white" if shares[i, k] > 0.5 else "#1f2933")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Picture of the attribution on the real shelf.")
    parser.add_argument("figures", type=Path, help="what attribution.py --output wrote")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--confusion_at", type=int, default=2000)
    args = parser.parse_args()
    results = json.loads(args.figures.read_text(encoding="utf-8"))["results"]
    plt.rcParams |= {"svg.fonttype": "none", "font.family": FONT, "svg.hashsalt": "stylellm"}
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11.5, 6.4), width_ratios=(1, 1.55), layout="constrained"
    )
    accuracy(left, results)
    left.set_box_aspect(1)
    confusion(figure, right, results[str(args.confusion_at)]["svm"], args.confusion_at)
    figure.savefig(args.picture, metadata={"Date": None})


if __name__ == "__main__":
    main()
