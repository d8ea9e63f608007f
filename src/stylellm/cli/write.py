"""``stylellm write``: continue prompts, base and policy side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLE = """\
example:
  stylellm write output/wuxia_model --prompt 剑光一闪 --prompt 夜已深，
  stylellm write output/wuxia_model --prompts scripts/example_prompts.txt --output out.jsonl
  stylellm write output/wuxia_model            (asks for prompts; an empty line ends)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("folder", help="output folder of a training run, or a peft adapter folder")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--prompt", action="append", metavar="TEXT", help="may be repeated")
    source.add_argument(
        "--prompts", metavar="FILE", help="a text file, one prompt a line, # comments"
    )
    parser.add_argument("--output", metavar="FILE", help="write the texts as jsonl as well")
    parser.add_argument("--max_new_tokens", type=int, metavar="N", help="length (200)")
    parser.add_argument(
        "--temperature", type=float, metavar="T", help="0 = always the likeliest token"
    )
    parser.add_argument("--top_p", type=float, metavar="P")
    parser.add_argument("--seed", type=int, metavar="N", help="same seed, same text (42)")
    parser.add_argument(
        "--no_base", action="store_true", help="only the policy, not the base beside it"
    )
    parser.add_argument("--model_name", metavar="ID", help="base model, if not the adapter's own")


def run(args: argparse.Namespace) -> int:
    prompts = args.prompt or (read_prompts(Path(args.prompts)) if args.prompts else None)
    if args.output:
        _check_output(Path(args.output))
    writer = Writer(
        Path(args.folder),
        base=args.model_name,
        max_new_tokens=args.max_new_tokens,
        temperature=args.temperature,
        top_p=args.top_p,
        seed=args.seed,
        beside_base=not args.no_base,
    )
    rows = writer.write(prompts) if prompts else writer.interact()
    if args.output:
        _save(rows, Path(args.output))
        print(f"written: {args.output}")
    return 0


def read_prompts(path: Path) -> list[str]:
    """Prompts of a file in any Chinese encoding: one a line, # starts a comment.

    Raises:
        DataError: no such file, or no prompt in it.
    """
    from stylellm.corpus.read import decode
    from stylellm.errors import DataError

    if not path.is_file():
        raise DataError(f"the prompts file {path} does not exist", "a text file, one prompt a line")
    lines = decode(path.read_bytes()).text.splitlines() if path.stat().st_size else []
    prompts = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not prompts:
        raise DataError(f"{path} holds no prompt", "one prompt a line")
    return prompts


def _check_output(path: Path) -> None:
    from stylellm.errors import OutputError

    if path.is_dir() or not path.parent.is_dir():
        raise OutputError(
            f"--output {path} cannot be written",
            "a file in a folder that exists",
            "Make the folder first.",
        )


class Writer:
    """A loaded policy that continues prompts."""

    def __init__(
        self,
        folder: Path,
        *,
        base: str | None = None,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        beside_base: bool = True,
    ) -> None:
        from stylellm.cli.build import load_run, sampling
        from stylellm.cli.evaluate import run_config

        config = run_config(folder)
        changes: dict[str, Any] = {"max_new_tokens": max_new_tokens, "top_p": top_p}
        if temperature is not None:
            changes |= {"do_sample": temperature > 0, "temperature": temperature or 1.0}
        self.sampling = sampling(config, **{k: v for k, v in changes.items() if v is not None})
        self.seed = config.generation.seed if seed is None else seed
        self.beside_base = beside_base
        self.policy, self.tokenizer = load_run(config, folder, base)

    def write(self, prompts: list[str]) -> list[dict[str, Any]]:
        """Continues and prints each prompt."""
        return [self._one(prompt, turn) for turn, prompt in enumerate(prompts)]

    def interact(self) -> list[dict[str, Any]]:
        """Asks for prompts until an empty line or the end of the input."""
        rows: list[dict[str, Any]] = []
        print("Type the opening of a text; an empty line ends.")
        while True:
            try:
                prompt = input("> ").strip()
            except EOFError:
                break
            if not prompt:
                break
            rows.append(self._one(prompt, len(rows)))
        return rows

    def _one(self, prompt: str, turn: int) -> dict[str, Any]:
        from stylellm.cli.show import print_row
        from stylellm.generation.sampler import generate

        # With one seed for all, the same draws would give different prompts the same words.
        row: dict[str, Any] = {"prompt": prompt, "seed": self.seed + turn}
        for name in ("base", "policy") if self.beside_base else ("policy",):
            row[name] = generate(
                self.policy, self.tokenizer, [prompt], self.sampling,
                seed=row["seed"], use_adapter=name == "policy",
            )[0]  # fmt: skip
        print_row(row)
        return row


def _save(rows: list[dict[str, Any]], path: Path) -> None:
    import json

    from stylellm.files import write_text

    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
