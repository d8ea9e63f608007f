"""``stylellm export merge``: base and adapter as one ordinary model."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = """\
example:
  stylellm export merge output/wuxia_model --output_dir merged
  stylellm export merge output/wuxia_model --output_dir merged --dtype bfloat16"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    merge = kinds.add_parser("merge", help="one ordinary model: base and adapter added up")
    merge.add_argument("folder", help="output folder of a training run, or a peft adapter folder")
    merge.add_argument("--output_dir", required=True, metavar="DIR", help="a new folder")
    merge.add_argument("--dtype", choices=("auto", "float32", "bfloat16", "float16"),
                       default="auto", help="of the weights (auto: as the base was saved)")  # fmt: skip
    merge.add_argument("--model_name", metavar="ID", help="base model, if not the adapter's own")


def run(args: argparse.Namespace) -> int:
    return {"merge": _merge}[args.kind](args)


def _merge(args: argparse.Namespace) -> int:
    from stylellm.cli.evaluate import run_config
    from stylellm.delivery.merge import merge

    folder = Path(args.folder)
    found = merge(
        folder, Path(args.output_dir), base=args.model_name,
        revision=run_config(folder).model.revision, dtype=args.dtype,
    )  # fmt: skip
    print(
        f"compared on {found.tokens} tokens ({found.dtype}): KL {found.kl:.2e} nats per token "
        f"(limit {found.tolerance:g}), largest logit difference {found.largest_logit_difference:.2e}"
    )
    print(f"merged: {args.output_dir}")
    return 0
