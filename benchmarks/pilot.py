"""The pilot: which format, and what the anchors do, on one real book at equal steps.

    python benchmarks/pilot.py --book ../shared/corpus/wuxia/三俠五義.txt \
        --general ../shared/corpus/modern/wikipedia.jsonl --output_dir output/pilot

Arms: {infill prefix-first, infill native, in place, plain} x {no anchor, anchor} at kl_beta 0.1, and
infill prefix-first at kl_beta 0 with and without the anchor (the anchor: general windows with KL and
no cross-entropy). One seed, equal optimizer steps. The last third of the book is held out. Rows go to
``pilot.jsonl`` as they come; arms that are there are skipped, so the run can be interrupted. --arm runs
one arm only, so that two processes can share the work.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

FORMATS = {
    "infill prefix-first": ["masking.format=infill", "masking.order=prefix_first"],
    "infill native": ["masking.format=infill", "masking.order=native"],
    "in place": ["masking.format=in_place"],
    "plain": [
        "masking.span_mask_ratio=0",
        "masking.token_mask_ratio=0",
        "masking.no_mask_ratio=1",
    ],
}
ANCHORS = {"no": ["objective.general_ratio=0"], "yes": []}


def arms() -> dict[str, list[str]]:
    """Name -> overrides of every arm."""
    found = {}
    for form, format_keys in FORMATS.items():
        for anchor, anchor_keys in ANCHORS.items():
            for beta in (0.1, 0.0) if form == "infill prefix-first" else (0.1,):
                name = f"{form}, kl_beta {beta:g}, anchor {anchor}"
                found[name] = [*format_keys, *anchor_keys, f"objective.kl_beta={beta:g}"]
    return found


def common(args: argparse.Namespace) -> list[str]:
    """Overrides that all arms share."""
    return [
        f"model.model_name_or_path={args.model}",
        f"data.books={json.dumps([str(args.book)], ensure_ascii=False)}",
        f"data.general_text={json.dumps([str(args.general)], ensure_ascii=False)}",
        f"data.prepared_dir={args.output_dir / 'prepared'}",
        "data.held_out=last",
        "data.test_fraction=0.3333",
        "lora.lora_r=16",
        "lora.lora_alpha=32",
        f"training.max_steps={args.steps}",
        "training.per_device_train_batch_size=4",
        "training.gradient_accumulation_steps=2",
        "training.learning_rate=1e-3",
        f"training.bf16={str(args.bf16).lower()}",
        "training.logging_steps=20",
        "training.eval_strategy='no'",
        "training.save_strategy='no'",
        "training.report_to=[none]",
        "training.disable_tqdm=true",
        "evaluation.sample_prompts_during_training=[]",
        f"training.seed={args.seed}",
    ]


def measure(policy: Any, tokenizer: Any, config: Any, windows: int) -> dict[str, float]:
    """Held-out author NLL, general NLL, drift KL, suffix gain; base and policy."""
    from stylellm.cli.build import windows_of
    from stylellm.evaluation.likelihood import suffix_gain, window_likelihood
    from stylellm.evaluation.texts import spread

    policy.eval()
    prepared = config.data.prepared_dir
    author = spread(windows_of(prepared, "test"), windows)
    general = spread(windows_of(prepared, "general_test"), windows)
    of_author = window_likelihood(policy, tokenizer, author)
    of_general = window_likelihood(policy, tokenizer, general)
    gain = suffix_gain(policy, tokenizer, author, order=config.masking.order, max_length=512)
    row = {"drift_kl": of_general.kl_per_token}
    for name, score in (("author", of_author), ("general", of_general)):
        for which in ("base", "policy"):
            row[f"{name}_{which}"] = score.summary(which)["nll_per_token"]
    for which in ("base", "policy"):
        row[f"suffix_gain_{which}"] = gain[which]["suffix_gain"]
    return row


def run_arm(name: str, keys: list[str], args: argparse.Namespace) -> dict[str, Any]:
    """Trains and measures one arm."""
    from stylellm.cli.train import train
    from stylellm.config import parse_config

    folder = args.output_dir / name.replace(", ", "-").replace(" ", "_")
    overrides = [*common(args), *keys, f"training.output_dir={folder}"]
    config = parse_config({}, overrides=overrides, source="the pilot")
    started = time.perf_counter()
    trainer = train(config, folder, overwrite=True)
    seconds = time.perf_counter() - started
    policy = trainer.accelerator.unwrap_model(trainer.model)
    row = measure(policy, trainer.processing_class, config, args.windows)
    return {"arm": name, "steps": args.steps, "seconds": round(seconds), **row}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown: changes against the base, in nats per token."""
    lines = [
        "| arm | author NLL | change | general NLL | change | drift KL | suffix gain |",
        "|---|---|---|---|---|---|---|",
    ]
    if rows:
        r = rows[0]
        lines.append(
            f"| base | {r['author_base']:.4f} | | {r['general_base']:.4f} | | | "
            f"{r['suffix_gain_base']:+.3f} |"
        )
    for r in rows:
        author, general = r["author_policy"], r["general_policy"]
        lines.append(
            f"| {r['arm']} | {author:.4f} | {author - r['author_base']:+.4f} | {general:.4f} | "
            f"{general - r['general_base']:+.4f} | {r['drift_kl']:.4f} | "
            f"{r['suffix_gain_policy']:+.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--book", type=Path, required=True)
    parser.add_argument("--general", type=Path, required=True)
    parser.add_argument("--output_dir", type=Path, default=Path("output/pilot"))
    parser.add_argument("--model", default="stylellm-tiny")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--windows", type=int, default=48, help="windows measured of each text")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--bf16", action="store_true", help="where the processor has bfloat16")
    parser.add_argument("--arm", action="append", choices=list(arms()), help="default: all")
    args = parser.parse_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    log = args.output_dir / "pilot.jsonl"
    for name, keys in arms().items():
        done = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        if name in {json.loads(line)["arm"] for line in done} or name not in (args.arm or arms()):
            continue
        row = run_arm(name, keys, args)
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    if log.exists():
        order = list(arms())
        rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
        print(table(sorted(rows, key=lambda row: order.index(row["arm"]))))


if __name__ == "__main__":
    main()
