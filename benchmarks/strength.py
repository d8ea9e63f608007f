"""What the strength dial does: style and drift of one run at several strengths.

    python benchmarks/strength.py output/wuxia_model --output_dir output/strength
    python benchmarks/strength.py output/wuxia_model --method logits

For each strength: bits per character on the author's held-out text, KL from the base on general text, and of
texts written from the shipped openings the function-word JSD to the author's books, and the Delta margin: how
much nearer (Burrows's Delta) they are to the author than to another author. Rows go to ``strength.jsonl`` as
they come; strengths that are there are skipped. At the end a Markdown table.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

STRENGTHS = (0.0, 0.3, 0.5, 0.7, 0.85, 1.0, 1.2)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="output folder of a training")
    parser.add_argument("--output_dir", type=Path, default=Path("output/strength"))
    parser.add_argument("--strength", type=float, nargs="+", default=list(STRENGTHS))
    parser.add_argument("--method", choices=("adapter", "logits"), default="adapter")
    parser.add_argument("--samples", type=int, default=48, help="texts of each strength")
    parser.add_argument("--windows", type=int, default=24, help="windows measured of each text")
    args = parser.parse_args()
    args.output_dir.mkdir(parents=True, exist_ok=True)
    log = args.output_dir / f"strength-{args.method}.jsonl"
    rows = [json.loads(x) for x in log.read_text("utf-8").splitlines()] if log.exists() else []
    bench = Bench(args)
    for value in args.strength:
        if value not in {row["strength"] for row in rows}:
            rows.append(bench.measure(value))
            with log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    print(table(sorted(rows, key=lambda row: row["strength"])))


class Bench:
    """A loaded run and the texts it is measured against."""

    def __init__(self, args: argparse.Namespace) -> None:
        from stylellm.cli.evaluate import load_texts
        from stylellm.cli.writer import Options, Writer
        from stylellm.evaluation.texts import comparable, join

        self.args = args
        self.writer = Writer(args.run, Options(changes={"max_new_tokens": 300, "max_chars": 400}))
        self.texts = load_texts(self.writer.config.data.prepared_dir)
        self.author = comparable(join(self.texts.author_train))
        self.other = comparable(join(self.texts.other_test))
        self.general = comparable(join(self.texts.general_test))

    def measure(self, value: float) -> dict[str, Any]:
        """One row."""
        from stylellm.evaluation.texts import comparable
        from stylellm.stylometry import function_words

        row: dict[str, Any] = {"strength": value, "method": self.args.method}
        self.writer.options.strength = value
        self.writer.options.strength_method = self.args.method
        self.writer.apply()
        if self.args.method == "adapter":
            row |= self._likelihood()
        written = comparable("".join(self._write()))
        row["characters"] = len(written)
        row["function_word_jsd"] = function_words.jsd(written, self.author)
        if self.other:
            row["delta_margin"] = self._margin(written)
        return row

    def _likelihood(self) -> dict[str, float]:
        from stylellm.evaluation.likelihood import window_likelihood
        from stylellm.evaluation.texts import spread

        policy, tokenizer = self.writer.policy, self.writer.tokenizer
        author, general = (
            window_likelihood(policy, tokenizer, spread(part, self.args.windows), batch_size=8)
            for part in (self.texts.author_test, self.texts.general_test)
        )
        bits = author.summary("policy")["bits_per_character"]
        return {"author_bits": bits, "drift_kl": general.kl_per_token}

    def _write(self) -> list[str]:
        from stylellm.evaluation.generated import shipped_prompts

        prompts = [prompt.text for prompt in shipped_prompts()]
        chosen = [prompts[i % len(prompts)] for i in range(self.args.samples)]
        seeds = list(range(1234, 1234 + len(chosen)))
        return self.writer.continue_texts(chosen, seeds=seeds, progress="write")

    def _margin(self, written: str) -> float:
        from stylellm.stylometry.delta import burrows_delta

        profiles = {"author": self.author, "other": self.other, "general": self.general}
        found = burrows_delta({k: v for k, v in profiles.items() if v}, written)
        return found["other"] - found["author"]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows in Markdown."""
    keys = ("author_bits", "drift_kl", "function_word_jsd", "delta_margin", "characters")
    lines = [
        "| strength | author, bits/character | drift KL | function-word JSD | Delta margin | characters |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        cells = ["-" if row.get(k) is None else f"{row[k]:,}" if k == "characters" else f"{row[k]:.4f}"
                 for k in keys]  # fmt: skip
        lines.append(f"| {row['strength']:g} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
