#!/usr/bin/env python3
"""Copies a folder of books into data/ and checks that each can be read.

example:
  python scripts/setup_data.py --source ~/books/金庸 --author 金庸
  python scripts/setup_data.py --source ~/books --author 古龙 --check_only
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from stylellm.corpus.read import read_book
from stylellm.corpus.sources import find_sources
from stylellm.errors import DataError, StyleLLMError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", required=True, type=Path, help="file or folder of books")
    parser.add_argument("--author", required=True, help="the author; the folder's name in data/")
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="(data)")
    parser.add_argument("--check_only", action="store_true", help="read, report, copy nothing")
    args = parser.parse_args(argv)
    try:
        return setup(args.source, args.data_dir / args.author, copy=not args.check_only)
    except StyleLLMError as error:
        print(f"setup_data: error: {error}", file=sys.stderr)
        return 2


def setup(source: Path, target: Path, *, copy: bool) -> int:
    """Reads every book, copies the readable ones; 2 when none could be read."""
    good = 0
    found = find_sources([source])
    for file in found.files:
        try:
            book = read_book(file)
        except DataError as error:
            print(f"skipped   {error}")
            continue
        good += 1
        characters = sum(map(len, book.documents))
        print(f"{book.encoding:<10}{characters:>10,} characters  {book.title}")
        if copy:
            copy_file(file.path, target / file.path.name)  # an archive once, however many its books
    for skipped in found.skipped:
        print(f"skipped   {skipped.name}: {skipped.reason}")
    if not good:
        print(f"setup_data: error: no readable book in {source}", file=sys.stderr)
        return 2
    if copy:
        print(f"{good} books in {target}\nnext: stylellm prepare {target} --output_dir prepared")
    return 0


def copy_file(path: Path, target: Path) -> None:
    """Copies under a temporary name, then renames; an equal file is left, another one refused."""
    if target.exists():
        if target.read_bytes() == path.read_bytes():
            return
        raise DataError(f"{target} exists and differs from {path}", "", "Move it away first.")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".tmp")
    shutil.copyfile(path, temporary)
    temporary.replace(target)


if __name__ == "__main__":
    sys.exit(main())
