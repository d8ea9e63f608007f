"""``python -m stylellm`` is the ``stylellm`` command."""

import sys

from .cli.main import main

sys.exit(main())
