"""``stylellm compare``: several runs in one page."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

EXAMPLE = """\
example:
  stylellm compare output/b01 output/b05 output/b10 --output_dir output/compare
  stylellm compare output/sweep            (all evaluated runs in the folder)"""

EVALUATION = "evaluation.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("runs", nargs="+", metavar="RUN",
                        help="evaluated runs, or folders that hold them")  # fmt: skip
    parser.add_argument("--output_dir", default="output/compare", metavar="DIR",
                        help="where compare.html, .md and .json go (output/compare)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    compare_runs([Path(name) for name in args.runs], Path(args.output_dir))
    return 0


def compare_runs(folders: Sequence[Path], output_dir: Path) -> Path:
    """Reads the evaluations, writes the page, prints the table; returns the path of the page."""
    from stylellm.cli.show import print_table
    from stylellm.evaluation.compare import compare, not_comparable, table
    from stylellm.evaluation.compare_page import write_comparison

    results = read_evaluations(folders)
    page = write_comparison(results, output_dir)
    print_table(table(compare(results)))
    for name in not_comparable(results):
        print(f"not comparable with the first run (another base or other texts): {name}")
    print(f"page: {page}")
    return page


def read_evaluations(folders: Sequence[Path]) -> dict[str, Any]:
    """Label -> evaluation, in the order given; a folder of runs stands for all of them by name.

    Raises:
        DataError: a folder holds no evaluation, or a broken one.
    """
    from stylellm.errors import DataError

    found: list[Path] = []
    for folder in folders:
        below = sorted(folder.glob(f"*/{EVALUATION}"), key=_natural)
        here = [folder / EVALUATION] if (folder / EVALUATION).is_file() else below
        if not here:
            raise DataError(
                f"{folder} holds no {EVALUATION}",
                "the folder of an evaluated run",
                f"stylellm evaluate {folder}",
            )
        found += [path for path in here if path not in found]
    return {label: _read(path) for label, path in zip(_labels(found), found, strict=True)}


def _natural(path: Path) -> tuple[Any, ...]:
    """kl_beta-2 before kl_beta-10."""
    import re

    pieces = re.split(r"(\d+(?:\.\d+)?)", path.parent.name)
    return tuple((0, float(p), "") if p[:1].isdigit() else (1, 0.0, p) for p in pieces if p)


def _labels(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the folders' paths that tell all of them apart."""
    parts = [path.resolve().parent.parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(part[-depth:]) for part in parts]
        if len(set(labels)) == len(labels):
            break
    return labels


def _read(path: Path) -> Any:
    from stylellm.errors import DataError

    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} cannot be read ({error})",
            "what stylellm evaluate writes",
            f"stylellm evaluate {path.parent}",
        ) from error
    if not isinstance(result, dict) or not result.get("author"):
        raise DataError(f"{path} is no evaluation", "what stylellm evaluate writes",
                        f"stylellm evaluate {path.parent}")  # fmt: skip
    return result
