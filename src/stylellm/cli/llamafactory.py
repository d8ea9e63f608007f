"""What ``stylellm export llamafactory`` and ``scripts/train_llamafactory.py`` share."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def write_folder(config: Any, output: Path) -> tuple[int, int]:
    """Prepares the books where that is needed, and writes the folder.

    Returns:
        How many chapters and masked sequences were written.
    """
    from stylellm.cli.build import ensure_prepared, style_dataset
    from stylellm.delivery.folder import check_new
    from stylellm.delivery.llamafactory import check, export_llamafactory
    from stylellm.model.load import load_tokenizer, model_location

    check_new(output)
    check(config)
    # No reference there: neither KL nor the general text that it would be measured on.
    none = {"kl_beta": 0.0, "general_ratio": 0.0}
    config = config.model_copy(update={"objective": config.objective.model_copy(update=none)})
    tokenizer = load_tokenizer(config.model.model_name_or_path, revision=config.model.revision)
    ensure_prepared(config, tokenizer)
    location = model_location(config.model.model_name_or_path, config.model.revision)
    return export_llamafactory(
        output,
        config=config,
        model_path=str(Path(location).resolve()) if Path(location).is_dir() else location,
        chapters=_chapters(Path(config.data.prepared_dir)),
        epochs=_epochs(style_dataset(config, tokenizer), config.training),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """``python scripts/train_llamafactory.py``."""
    from stylellm.cli.main import guarded

    return guarded(lambda: _script(_parser().parse_args(argv)))


def _parser() -> argparse.ArgumentParser:
    from stylellm.delivery.llamafactory_run import TORCH, VENV

    parser = argparse.ArgumentParser(
        description="Train with LLaMA-Factory, in an environment of its own."
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--install", action="store_true", help="make the environment (several GB)")
    what.add_argument("--train", action="store_true", help="export where needed, and train")
    parser.add_argument("--config", metavar="FILE", default="train_config.yaml",
                        help="StyleLLM's configuration (train_config.yaml)")  # fmt: skip
    parser.add_argument("--folder", metavar="DIR", default="output/llamafactory",
                        help="the exported folder; made where it is not there (output/llamafactory)")  # fmt: skip
    parser.add_argument("--recipe", choices=("masked", "pt"), default="masked",
                        help="masked sequences, or plain pretraining on chapters (masked)")  # fmt: skip
    parser.add_argument("--venv", metavar="DIR", default=VENV, help=f"the environment ({VENV})")
    parser.add_argument("--index_url", metavar="URL",
                        help="where torch comes from: https://download.pytorch.org/whl/cpu")  # fmt: skip
    parser.add_argument("--torch", metavar="SPEC", default=TORCH, help=f"({TORCH})")
    return parser


def _script(args: argparse.Namespace) -> int:
    from stylellm.config import load_config
    from stylellm.delivery.llamafactory_run import install, train

    venv, folder = Path(args.venv), Path(args.folder)
    if args.install:
        install(venv, index_url=args.index_url, torch=args.torch)
        print(f"installed: {venv}")
        return 0
    if not folder.exists():
        write_folder(load_config(args.config, [], check_hardware=False), folder)
    train(venv, folder, f"{args.recipe}.yaml")
    print(f"adapter: {folder / args.recipe}")
    print(f"next:    stylellm write {folder / args.recipe} --prompt 剑光一闪")
    return 0


def _chapters(prepared: Path) -> Iterator[Any]:
    from stylellm.corpus.store import CHAPTERS
    from stylellm.errors import DataError

    file = prepared / CHAPTERS
    if not file.is_file():
        raise DataError(f"{file} is missing", "a folder that this version prepared",
                        "Prepare again with --overwrite.")  # fmt: skip
    with file.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _epochs(dataset: Any, training: Any) -> Iterator[Iterator[Any]]:
    """As many epochs of fresh masks as the training would see on one device."""
    number = math.ceil(training.num_train_epochs)
    if training.max_steps > 0:
        rows = training.per_device_train_batch_size * training.gradient_accumulation_steps
        number = math.ceil(training.max_steps * rows / len(dataset))
    for epoch in range(number):
        dataset.set_epoch(epoch)
        yield (dataset.example(index) for index in range(len(dataset)))
