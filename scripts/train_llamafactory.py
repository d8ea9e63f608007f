#!/usr/bin/env python3
"""python scripts/train_llamafactory.py --install | --train: LLaMA-Factory on the prepared books."""

import sys

from stylellm.cli.llamafactory import main

if __name__ == "__main__":
    sys.exit(main())
