"""Run all simulations in processes, print their tables, and fail if a promise is broken."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.simulations import (
    agreement,
    alike,
    changes,
    drift,
    effects,
    families,
    gates,
    intervals,
    plans,
    raters,
)
from benchmarks.simulations.tables import SEED, Row, Task, as_markdown

PARTS = (
    agreement, families, gates, intervals, raters, changes, alike, plans, effects, drift,
)  # fmt: skip
RUNS = 0.7
"""Share of the runs of tasks that ends within 15 minutes on two cores."""
HEAD = """# Simulations

Measured by `python -m benchmarks simulations --markdown docs/simulations.md`: the package judges \
simulated runs of which the truth is known. Kept means: within three standard errors of the \
simulation. Shares are of the runs that gave an answer; the others gave a reason instead of one.
"""


def all_tasks() -> list[Task]:
    """Return all tasks, in the order of the tables."""
    return [task for part in PARTS for task in part.tasks()]


def _rows(number: int, share: float) -> list[Row]:
    # Tasks hold functions that cannot be sent to a process: it looks them up by their number.
    return all_tasks()[number].rows(share)


def simulate(tasks: Iterable[Task], share: float) -> list[Row]:
    """Simulate ``share`` of the runs of some of `all_tasks`, on all cores."""
    wanted = {task.what for task in tasks}
    numbers = [number for number, task in enumerate(all_tasks()) if task.what in wanted]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(_rows, numbers, [share] * len(numbers))
        return [row for rows in found for row in rows]


def main(share: float = RUNS, only: str = "", markdown: Path | None = None) -> int:
    """Simulate and print the tables.

    Args:
        share: of the runs; 0.1 for a first look.
        only: text that the names of the tasks contain.
        markdown: a file to write the tables to, too.

    Returns:
        The exit status: 1 if a promise is broken.
    """
    began = time.perf_counter()
    rows = simulate((task for task in all_tasks() if only in task.what), share)
    broken = [row for row in rows if not row.kept]
    text = as_markdown(rows)
    print(text)
    print(f"{len(rows):,} rows, {time.perf_counter() - began:.0f} s, seed {SEED}")
    for row in broken:
        print(f"BROKEN: {row.table.title}: {row.what}: {row.share:.1%}, {row.table.promise}")
    if markdown is not None:
        markdown.write_text(f"{HEAD}\n{text}", encoding="utf-8")
    return 1 if broken else 0
