"""``python -m benchmarks [NAME]``: run one benchmark; without a name, the table of speeds."""

from __future__ import annotations

import argparse
import importlib

DEFAULT = "speed"
NAMES = (DEFAULT, "simulations", "merging", "capture")
"""Modules of this package; each has a ``main()``."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=NAMES, default=DEFAULT)
    name = parser.parse_args().name
    try:
        module = importlib.import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"benchmarks.{name}":
            raise
        parser.error(f"there is no benchmark {name!r} yet")
    raise SystemExit(module.main())


if __name__ == "__main__":
    main()
