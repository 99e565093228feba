"""``python -m benchmarks [NAME]``: run one benchmark; without a name, the table of speeds."""

from __future__ import annotations

import argparse
import importlib

DEFAULT = "speed"
NAMES = (DEFAULT, "emit", "simulations", "ab", "peeking", "merging", "capture", "exporting")
"""Modules of this package; each has a ``main()``."""


def main() -> None:
    """Read the command line and run the benchmark that it names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=NAMES, default=DEFAULT)
    parser.add_argument("--quick", action="store_true", help="speed only: does it still run?")
    options = parser.parse_args()
    name = options.name
    if options.quick and name != DEFAULT:
        parser.error(f"--quick is for {DEFAULT!r}")
    module = importlib.import_module(f"benchmarks.{name}")
    raise SystemExit(module.main(**({"quick": True} if options.quick else {})))


if __name__ == "__main__":
    main()
