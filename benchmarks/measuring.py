"""``experiment.measure`` beside pyperf: the same functions, five fresh processes each, in turns.

``python -m benchmarks measuring`` prints the medians of both, and their ratio.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from textwrap import dedent

from tabulate import tabulate

import pytest_crucible as crucible

PROCESSES = 5
TURNS = 3
TEXT = "  a\n    b\n  c\n"


def add(n: int) -> int:
    """Some hundred nanoseconds, most of them in C."""
    return sum(range(n))


def indented(text: str) -> str:
    """Some microseconds, in regular expressions."""
    return dedent(text)


def parsed(text: str) -> object:
    """Some ten microseconds, in C."""
    return json.loads(text)


ROWS = json.dumps([{"id": i, "score": i / 7} for i in range(40)])
FUNCTIONS: tuple[tuple[Callable[..., object], int | str], ...] = (
    (add, 20), (indented, TEXT), (parsed, ROWS),
)  # fmt: skip


def ours(func: Callable[..., object], value: int | str) -> float:
    """Return the median of `measure`, in µs."""
    with crucible.experiment("measuring", condition=func.__name__) as experiment:
        timing = experiment.measure(func, value, processes=PROCESSES)
    crucible.cleanup(experiment)
    return timing.median * 1e6


def theirs(func: Callable[..., object], value: int | str) -> float:
    """Return the median of the medians of pyperf's processes, in µs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pyperf.json"
        subprocess.run(
            [sys.executable, "-m", "pyperf", "timeit", "--quiet", "--processes", str(PROCESSES),
             "--values", "10", "--min-time", "0.02", "--copy-env", "--output", str(path),
             "--setup", f"from benchmarks.measuring import {func.__name__} as f; v = {value!r}",
             "f(v)"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        (bench,) = json.loads(path.read_text("utf-8"))["benchmarks"]
    runs = [run["values"] for run in bench["runs"] if "values" in run]
    return float(median(median(values) for values in runs)) * 1e6


def main() -> None:
    """Measure in turns, and print the table."""
    rows = []
    for func, value in FUNCTIONS:
        pairs = [(ours(func, value), theirs(func, value)) for _ in range(TURNS)]
        mine, other = (median(side) for side in zip(*pairs, strict=True))
        ratios = sorted(own / its for own, its in pairs)
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        rows.append([func.__name__, f"{mine:.3f}", f"{other:.3f}", f"{mine / other:.2f}", spread])
    header = ["function", "measure, µs", "pyperf, µs", "ratio", f"of {TURNS} turns"]
    print(tabulate(rows, headers=header, tablefmt="github", disable_numparse=True))
