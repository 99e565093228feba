"""``python -m benchmarks [NAME]``: run one benchmark; without a name, the table of speeds."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

DEFAULT = "speed"
NAMES = (
    DEFAULT,
    "emit",
    "simulations",
    "ab",
    "peeking",
    "measuring",
    "merging",
    "capture",
    "exporting",
)
"""Modules of this package; each has a ``main()``."""
SIMULATIONS = (
    ("share", float, "of the runs; 0.1 for a first look"),
    ("only", str, "tasks whose names contain this text"),
    ("markdown", Path, "a file to write the tables to"),
)
"""Options with a value: name, type and meaning."""


def main() -> None:
    """Read the command line and run the benchmark that it names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=NAMES, default=DEFAULT)
    parser.add_argument("--quick", action="store_true", help="speed only: does it still run?")
    for option, kind, meaning in SIMULATIONS:
        parser.add_argument(f"--{option}", type=kind, help=f"simulations only: {meaning}")
    options = parser.parse_args()
    name = options.name
    own = {DEFAULT: ["quick"], "simulations": [option for option, _, _ in SIMULATIONS]}
    given = {option: value for option, value in vars(options).items() if value and option != "name"}
    for option in given:
        if option not in own.get(name, ()):
            parser.error(f"--{option} is not for {name!r}")
    module = importlib.import_module(f"benchmarks.{name}")
    raise SystemExit(module.main(**given))


if __name__ == "__main__":
    main()
