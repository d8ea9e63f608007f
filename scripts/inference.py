#!/usr/bin/env python3
"""python scripts/inference.py --model ./output/wuxia_model: the same as `stylellm write DIR`."""

import sys

from stylellm.cli.main import main


def arguments(argv: list[str]) -> list[str]:
    """Turns the sketch's --model DIR into the command's first argument."""
    for i, word in enumerate(argv):
        if word == "--model" and i + 1 < len(argv):
            return [argv[i + 1], *argv[:i], *argv[i + 2 :]]
        if word.startswith("--model="):
            return [word.removeprefix("--model="), *argv[:i], *argv[i + 1 :]]
    return argv


if __name__ == "__main__":
    sys.exit(main(["write", *arguments(sys.argv[1:])]))
