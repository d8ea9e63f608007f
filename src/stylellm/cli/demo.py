"""``stylellm demo``: the whole way on the embedded model and sample."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

EXAMPLE = """\
example:
  stylellm demo
  stylellm demo --output_dir output/demo --max_steps 20"""

PROMPTS = ("剑光一闪", "雪下了一夜，", "桥头站着一个人，")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("--output_dir", default="output/demo", metavar="DIR", help="(output/demo)")
    parser.add_argument("--max_steps", type=int, default=-1, metavar="N",
                        help="stop training after N steps (default: the whole demo)")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    from stylellm.cli.evaluate import evaluate_run
    from stylellm.cli.show import print_result
    from stylellm.cli.write import write_all
    from stylellm.cli.writer import Options, Writer

    started = time.perf_counter()
    config = demo_config(Path(args.output_dir), args.max_steps)
    _stage(1, "prepare and train")
    folder = _train(config)
    _stage(2, "evaluate")
    result, report = evaluate_run(folder)
    _stage(3, "write: before (base) and after (policy)")
    options = Options(changes={"max_new_tokens": 80}, seed=config.generation.seed)
    write_all(Writer(folder, options), list(PROMPTS))
    _stage(4, "what was measured")
    print_result(result)
    print(f"report:  {report}")
    print(f"more:    stylellm write {folder} --prompt 剑光一闪")
    print(f"done in {(time.perf_counter() - started) / 60:.1f} minutes")
    return 0


def sample_folder() -> Path:
    """data/demo of the working folder, or of the checkout this package runs from.

    Raises:
        DataError: neither exists.
    """
    from stylellm.errors import DataError

    for root in (Path.cwd(), Path(__file__).resolve().parents[3]):
        if (root / "data" / "demo" / "author").is_dir():
            return root / "data" / "demo"
    raise DataError(
        "the sample data/demo was not found here",
        "to run in a clone of the project",
        "cd into the clone and run stylellm demo again.",
    )


def demo_config(output: Path, max_steps: int) -> Any:
    """The configuration of the demo: configs/demo.yaml, paths filled in."""
    from stylellm.config import load_config

    sample = sample_folder()
    recipe = sample.parent.parent / "configs" / "demo.yaml"
    overrides = [
        f"data.books=[{_quote(sample / 'author')}]",
        f"data.general_text=[{_quote(sample / 'general')}]",
        f"data.other_author=[{_quote(sample / 'other_author')}]",
        f"data.prepared_dir={_quote(output / 'prepared')}",
        f"training.output_dir={_quote(output / 'adapter')}",
        f"training.max_steps={max_steps}",
    ]
    return load_config(recipe, overrides, check_hardware=True)


def _quote(path: Path) -> str:
    import json

    return json.dumps(str(path), ensure_ascii=False)


def _train(config: Any) -> Path:
    from stylellm.cli.train import train

    folder = Path(config.training.output_dir)
    train(config, folder, overwrite=True)
    return folder


def _stage(number: int, name: str) -> None:
    from rich.console import Console

    Console().rule(f"[bold]{number}. {name}[/bold]", align="left")
