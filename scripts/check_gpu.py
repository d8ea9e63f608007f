#!/usr/bin/env python3
"""python scripts/check_gpu.py [--test]: the same as `stylellm doctor [--test]`."""

import sys

from stylellm.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["doctor", *sys.argv[1:]]))
