"""The table of speeds: figures of every part, with their limits and the figures of peers.

``python -m benchmarks`` takes a quarter of an hour; ``--quick`` only shows that everything runs.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tabulate import tabulate

from benchmarks import emit, exporting, scale, suite_overhead
from benchmarks.perturbation import rows as perturbation_rows
from benchmarks.rounds import ROUNDS, Row

_PACKAGES = (
    "pytest", "msgspec", "numpy", "scipy", "blinker", "structlog", "opentelemetry-sdk", "openai",
)  # fmt: skip


def machine() -> list[str]:
    """Describe the machine and the versions of packages, in two lines."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    load = os.getloadavg()[0]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return [
        f"{os.cpu_count()} cores, {model}, {platform.platform()}, load {load:.1f}",
        ", ".join([python, *(f"{name} {_version(name)}" for name in _PACKAGES)]),
    ]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def sections(quick: bool = False) -> dict[str, Callable[[], list[Row]]]:
    """Return the parts of the table.

    Args:
        quick: run with tiny sizes, to see that everything runs; the figures mean nothing.
    """
    if quick:
        return {
            "emit": lambda: emit.rows(200, 2),
            "scale": lambda: scale.rows(2_000, 2),
            "exports": lambda: exporting.rows(400, 2),
            "suite": lambda: suite_overhead.rows(5, 2),
            "perturbation": lambda: perturbation_rows(5),
        }
    return {
        "emit": lambda: emit.rows(rounds=ROUNDS + 2),
        "scale": scale.rows,
        "exports": exporting.rows,
        "suite": suite_overhead.rows,
        "perturbation": perturbation_rows,
    }


def table(rows: list[Row]) -> str:
    """Return the rows as Markdown, ready for ``docs/benchmarks.md``."""
    shown = {True: "yes", False: "**no**", None: ""}
    lines = [[row.work, row.found, row.must, shown[row.met]] for row in rows]
    return tabulate(lines, ["work", "found", "must reach", "reached"], tablefmt="pipe")


def main(quick: bool = False) -> None:
    """Measure everything and print the table."""
    for line in machine():
        print(line)
    print()
    rows = [row for measure in sections(quick).values() for row in measure()]
    print(table(rows))
