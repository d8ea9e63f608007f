#!/usr/bin/env python3
"""python train.py --config train_config.yaml: the same as `stylellm train`."""

import sys

from stylellm.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
