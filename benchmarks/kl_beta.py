"""What kl_beta does: the same run at several weights, author's gain and drift drawn against it.

    python benchmarks/kl_beta.py --book ../shared/corpus/wuxia/三俠五義.txt \
        --general ../shared/corpus/modern/wikipedia.jsonl --output_dir output/kl_beta

The runs are those of pilot.py (infill prefix-first, the last third of the book held out) without the
general anchor, so that kl_beta alone holds the policy. Rows go to ``kl_beta.jsonl`` as they come; weights
that are there are skipped. At the end: a Markdown table, and ``kl_beta.png``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pilot import ANCHORS, FORMATS, run_arm

BETAS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)


def table(rows: list[dict[str, Any]]) -> str:
    """Changes against the base in nats per token."""
    lines = [
        "| kl_beta | author NLL, change | general NLL, change | drift KL |",
        "|--:|--:|--:|--:|",
    ]
    for r in rows:
        lines.append(
            f"| {r['kl_beta']:g} | {r['author_policy'] - r['author_base']:+.4f} | "
            f"{r['general_policy'] - r['general_base']:+.4f} | {r['drift_kl']:.4f} |"
        )
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Two curves over kl_beta: what is gained on the author, what is moved on general text."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    places = range(len(rows))
    figure, left = plt.subplots(figsize=(6.4, 3.4), dpi=150)
    gain = [r["author_base"] - r["author_policy"] for r in rows]
    drift = [r["drift_kl"] for r in rows]
    right = left.twinx()
    (a,) = left.plot(places, gain, "o-", color="#b5402d", label="style: gain on the author's text")
    (b,) = right.plot(places, drift, "s--", color="#2f6f9f", label="drift: KL on general text")
    left.set_ylabel("gain, nats per token", color=a.get_color())
    right.set_ylabel("drift, nats per token", color=b.get_color())
    left.set_xticks(list(places), [f"{r['kl_beta']:g}" for r in rows])
    left.set_xlabel("kl_beta   (larger = closer to the base)")
    left.set_ylim(bottom=0)
    right.set_ylim(bottom=0)
    left.spines["top"].set_visible(False)
    right.spines["top"].set_visible(False)
    left.legend(handles=[a, b], loc="lower left", frameon=False)
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--book", type=Path, required=True)
    parser.add_argument("--general", type=Path, required=True)
    parser.add_argument("--output_dir", type=Path, default=Path("output/kl_beta"))
    parser.add_argument("--model", default="stylellm-tiny")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--windows", type=int, default=40, help="windows measured of each text")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--bf16", action="store_true", help="where the processor has bfloat16")
    parser.add_argument("--kl_beta", type=float, nargs="+", default=list(BETAS))
    args = parser.parse_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    log = args.output_dir / "kl_beta.jsonl"
    rows = (
        [json.loads(line) for line in log.read_text("utf-8").splitlines()] if log.exists() else []
    )
    for beta in args.kl_beta:
        if beta in {row["kl_beta"] for row in rows}:
            continue
        keys = [*FORMATS["infill prefix-first"], *ANCHORS["no"], f"objective.kl_beta={beta}"]
        rows.append({"kl_beta": beta} | run_arm(f"kl_beta {beta:g}", keys, args))
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(rows[-1], ensure_ascii=False) + "\n")
    rows.sort(key=lambda row: row["kl_beta"])
    print(table(rows))
    draw(rows, args.output_dir / "kl_beta.png")


if __name__ == "__main__":
    main()
