"""The ``stylellm`` command: finds the subcommand, runs it, turns errors into one line and an exit code.

Exit codes: 0 done; 1 an unexpected failure (with a traceback: a defect); 2 bad input; 130 interrupted.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence

from stylellm import __version__
from stylellm.errors import StyleLLMError

COMMANDS = {
    "prepare": "books -> cleaned windows, manifest.json, audit.html",
    "mask-preview": "show what the model will see",
    "train": "train the style adapter",
    "evaluate": "measure style, likelihood, drift and copying; write report.html",
    "compare": "several evaluated runs in one page, style against drift",
    "sweep": "train at several weights of kl_beta and compare the runs",
    "style": "the style of texts, and how near they are to others",
    "write": "continue prompts with base and policy",
    "export": "merged, GGUF, or a folder for a hub: the style for other programs",
    "serve": "an OpenAI-compatible server over the adapter",
    "download": "bring a base model to this machine and verify it",
    "doctor": "what this machine has, what is wrong with it, what fits on it",
    "demo": "the whole way on the embedded model and sample",
}

EPILOG = """\
The order of the work:
  stylellm prepare data/金庸 --output_dir prepared
  stylellm mask-preview prepared
  stylellm train --config train_config.yaml
  stylellm evaluate output/wuxia_model
  stylellm write output/wuxia_model --prompt 剑光一闪

`stylellm COMMAND --help` shows the options of one command with an example."""


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser; only the named command's module is imported, so that --help answers at once."""
    parser = argparse.ArgumentParser(
        prog="stylellm",
        description="Teach a causal language model an author's style from raw books.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"stylellm {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, text in COMMANDS.items():
        sub = subparsers.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if name == command:
            module = importlib.import_module(f".{name.replace('-', '_')}", __package__)
            module.add_arguments(sub)
            sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    _utf8_console()
    command = next((arg for arg in argv if not arg.startswith("-")), None)
    parser = build_parser(command)
    args = parser.parse_args(argv)
    if args.command is None:
        parser.print_help()
        return 2
    return guarded(lambda: args.run(args))


def guarded(work: Callable[[], int | None]) -> int:
    """Does the work and returns the exit code; what a user can mend becomes one line."""
    _quiet_libraries()
    try:
        return int(work() or 0)
    except StyleLLMError as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        print("\nstylellm: interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return _fail(f"no space left on the disk ({error.filename or 'while writing'}).")
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return _fail(f"not allowed to open or write {error.filename}.")
        raise


def _fail(message: str) -> int:
    print(f"stylellm: error: {message}", file=sys.stderr)
    return 2


def _utf8_console() -> None:
    """A GBK console (Windows) shows what it can instead of raising on the rest."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _quiet_libraries() -> None:
    """The libraries' own warnings and bars are not for this tool's users."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=DeprecationWarning)


if __name__ == "__main__":
    sys.exit(main())
