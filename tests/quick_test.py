#!/usr/bin/env python3
"""A check of the whole way in about a minute: python tests/quick_test.py

Prepares the sample in data/demo, trains the embedded model for a few steps, evaluates and writes, in a
temporary folder. Exit code 0 when every stage did what it should.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

from stylellm.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
STEPS = 12


def commands(work: Path, model: str) -> list[list[str]]:
    """The four stages as command lines."""
    sample, prepared, run = ROOT / "data" / "demo", work / "prepared", work / "run"
    return [
        ["prepare", str(sample / "author"), "--general_text", str(sample / "general"),
         "--other_author", str(sample / "other_author"), "--output_dir", str(prepared),
         "--model_name", model, "--max_length", "128", "--set", "data.split_by=chapter"],
        ["train", "--model_name", model, "--output_dir", str(run), "--max_length", "128",
         "--batch_size", "2", "--learning_rate", "1e-3", "--set", f"data.prepared_dir={prepared}",
         "--set", f"training.max_steps={STEPS}", "--set", "training.gradient_accumulation_steps=1",
         "--set", "training.logging_steps=4", "--set", "training.eval_steps=12",
         "--set", "training.report_to=[none]", "--set", "evaluation.num_windows=8"],
        ["evaluate", str(run), "--quick", "--set", "evaluation.num_samples=2",
         "--set", "evaluation.sample_chars=40"],
        ["write", str(run), "--prompt", "剑光一闪", "--max_new_tokens", "20",
         "--output", str(work / "texts.jsonl")],
    ]  # fmt: skip


def check(work: Path) -> list[str]:
    """What is wrong with the results; an empty list when nothing is."""
    problems = []
    rows = [
        json.loads(line)
        for line in (work / "run" / "train_log.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    losses = [row["reconstruction"] for row in rows if "reconstruction" in row]
    if len(losses) != STEPS // 4 or not all(0 < loss < 20 for loss in losses):
        problems.append(f"train_log.jsonl: reconstruction {losses}")
    result = json.loads((work / "run" / "evaluation.json").read_text(encoding="utf-8"))
    author = result["author"]
    if not author["policy"]["nll_per_token"] < author["base"]["nll_per_token"]:
        problems.append(f"the author's held-out text did not become likelier: {author}")
    if not (work / "run" / "report.html").is_file():
        problems.append("report.html is missing")
    if not json.loads((work / "texts.jsonl").read_text(encoding="utf-8"))["policy"]:
        problems.append("write wrote nothing")
    return problems


def quick_test(work: Path, model: str = "stylellm-tiny") -> list[str]:
    """Runs all stages in ``work``; returns the problems."""
    for command in commands(work, model):
        print(f"$ stylellm {' '.join(command)}")
        code = main(command)
        if code:
            return [f"stylellm {command[0]} ended with exit code {code}"]
    return check(work)


if __name__ == "__main__":
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = quick_test(Path(folder))
    for problem in found:
        print(f"FAILED: {problem}")
    print(f"{'FAILED' if found else 'OK'} in {time.perf_counter() - started:.0f} s")
    sys.exit(1 if found else 0)
