"""``stylellm sweep``: the same training at several weights of the anchor, then all of them compared."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from stylellm.cli.options import add_config_arguments, overrides_of

EXAMPLE = """\
example:
  stylellm sweep --config train_config.yaml --kl_beta 0,0.1,0.5,1 --output_dir output/sweep

Interrupted, the same command goes on where it was: runs that are evaluated are skipped, a run that
was cut off continues from its last checkpoint."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    add_config_arguments(parser, required=True)
    parser.add_argument("--quick", action="store_true", help="quick evaluations, marked as such")
    parser.set_defaults(kl_beta="0,0.1,0.5,1", output_dir="output/sweep")


def run(args: argparse.Namespace) -> int:
    from stylellm.cli.compare import compare_runs

    root = Path(args.output_dir)
    betas = parse_betas(args.kl_beta)
    args.kl_beta = args.output_dir = None
    shared = overrides_of(args)
    folders = [root / f"kl_beta-{beta:g}" for beta in betas]
    for number, (beta, folder) in enumerate(zip(betas, folders, strict=True), 1):
        print(f"== {number} of {len(betas)}: kl_beta {beta:g}, {folder}", flush=True)
        run_one(args.config, [*shared, f"objective.kl_beta={beta:g}"], folder, args.quick)
    compare_runs(folders, root)
    return 0


def parse_betas(text: str) -> list[float]:
    """The weights of a list with commas, each once, in order.

    Raises:
        StyleLLMError: something that is no weight.
    """
    from stylellm.errors import StyleLLMError

    try:
        betas = [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        betas = []
    if not betas or any(not 0 <= beta < float("inf") for beta in betas):
        raise StyleLLMError(
            f"--kl_beta {text}", "weights of 0 or more with commas between, such as 0,0.1,0.5,1"
        )
    return sorted(set(betas))


def run_one(config_file: str, overrides: list[str], folder: Path, quick: bool) -> None:
    """Trains and evaluates one run, or what of it is missing."""
    from stylellm.cli.evaluate import evaluate_run
    from stylellm.cli.train import check_same_config, train
    from stylellm.config import load_config
    from stylellm.training.run import CONFIG_FILE

    config = load_config(
        config_file, [*overrides, f"training.output_dir={folder}"], check_hardware=True
    )
    if (folder / CONFIG_FILE).is_file():
        check_same_config(config, folder)
    if not _trained(folder):
        train(config, folder, _checkpoint(folder), overwrite=True)
    if not _evaluated(folder, quick):
        evaluate_run(folder, quick=quick)


def _trained(folder: Path) -> bool:
    """The final adapter and the state beside it are the last that training writes."""
    return (folder / "trainer_state.json").is_file() and (folder / "adapter_config.json").is_file()


def _checkpoint(folder: Path) -> Path | None:
    from stylellm.errors import TrainingError
    from stylellm.training.run import last_checkpoint

    try:
        return last_checkpoint(folder)
    except TrainingError:
        return None


def _evaluated(folder: Path, quick: bool) -> bool:
    """Whether there is an evaluation, and not a quick one where a whole one is wanted."""
    from stylellm.cli.compare import EVALUATION, read_evaluations

    if not (folder / EVALUATION).is_file():
        return False
    (result,) = read_evaluations([folder]).values()
    found: Any = (result.get("provenance") or {}).get("quick")
    return quick or not found
