#!/usr/bin/env python3
"""python scripts/download_model.py --model Qwen/Qwen2.5-7B: the same as `stylellm download`."""

import sys

from stylellm.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["download", *sys.argv[1:]]))
