"""``stylellm prepare``: books in, windows out."""

from __future__ import annotations

import argparse

from stylellm.cli.options import add_config_arguments, config_of

EXAMPLE = """\
example:
  stylellm prepare data/古龙 --general_text data/general --other_author data/金庸 --output_dir prepared
  stylellm prepare shelf.zip --pack --num_workers 8 --output_dir prepared
  stylellm prepare --config train_config.yaml"""

_WARNINGS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXAMPLE
    parser.add_argument("books", nargs="*",
                        help="the author's books: files, folders or zip archives")  # fmt: skip
    parser.add_argument("--general_text", nargs="+", default=None, metavar="PATH",
                        help="general text for the anchor and for measuring drift")  # fmt: skip
    parser.add_argument("--other_author", nargs="+", default=None, metavar="PATH",
                        help="another author's books, for comparison in the report")  # fmt: skip
    parser.add_argument("--prepared_dir", default=None, metavar="DIR",
                        help="same as --output_dir of this command")  # fmt: skip
    parser.add_argument("--num_workers", type=int, default=None, metavar="N",
                        help="processes (default: one per core; 1: no further process)")  # fmt: skip
    parser.add_argument("--pack", action="store_true",
                        help="put several short texts into one training window")  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="replace an existing folder")
    add_config_arguments(parser)


def run(args: argparse.Namespace) -> int:
    import json

    from stylellm.cli.build import prepare_books

    # Here --output_dir is the folder of the windows, not of a training run.
    folder, args.output_dir = args.output_dir or args.prepared_dir, None
    for key, value in (
        ("books", args.books or None),
        ("general_text", args.general_text),
        ("other_author", args.other_author),
        ("prepared_dir", folder),
        ("num_workers", args.num_workers),
        ("pack", True if args.pack else None),
    ):
        if value is not None:
            args.overrides.append(f"data.{key}={json.dumps(value, ensure_ascii=False)}")
    config = config_of(args, hardware=False)
    manifest = prepare_books(config, overwrite=args.overwrite)
    _print_summary(manifest, config.data.prepared_dir)
    return 0


def _print_summary(manifest: dict, folder: str) -> None:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    table = Table(title="windows", title_justify="left")
    for column in ("split", "windows", "tokens", "characters"):
        table.add_column(column, justify="left" if column == "split" else "right")
    for split, counts in manifest["splits"].items():
        table.add_row(split, *(f"{counts[k]:,}" for k in ("windows", "tokens", "characters")))
    console = Console()
    console.print(table)
    warnings = manifest["warnings"]
    for warning in warnings[:_WARNINGS]:
        console.print(f"note:  {warning}", markup=False, highlight=False)
    if len(warnings) > _WARNINGS:
        console.print(f"note:  {len(warnings) - _WARNINGS} more in the audit")
    console.print(f"audit: {Path(folder) / 'audit.html'}")
    console.print(f"other trainers: {Path(folder) / 'chapters.jsonl'} (whole chapters)")
    console.print(f"next:  stylellm mask-preview {folder}")
