"""``python -m stylellm`` is the ``stylellm`` command."""

import sys

from stylellm.cli.main import main

sys.exit(main())
