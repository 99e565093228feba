"""``python -m pytest_crucible``: the command line."""

from __future__ import annotations

import sys

from pytest_crucible.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
