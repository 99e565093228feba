"""How often drift is said of runs that do not drift, and of runs that do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from benchmarks.simulations.tables import DRIFT, Table, Task, counted
from pytest_crucible.stats.drift import drift_of

STEADY = Table(DRIFT, "runs without drift of which a drift is said", most=0.005)
DRIFTING = Table(DRIFT, "runs that slow down by 30 % of which a drift is said")


def said(
    cases: int, repeats: int, sigma: float, slower: float, rng: np.random.Generator
) -> bool | None:
    """Simulate lognormal latencies; cases differ, and come in ``repeats`` passes."""
    times = np.arange(cases * repeats)
    order = np.tile(np.arange(cases), repeats) if repeats > 1 else None
    logs = rng.normal(0, sigma, times.size) + np.linspace(0, np.log1p(slower), times.size)
    if order is not None:
        logs += rng.normal(0, 2, cases)[order]
    found = drift_of(times, logs, order)
    return None if found is None else found.trends() or found.alike()


def tasks() -> Iterator[Task]:
    """Yield all runs."""
    for table, slower, runs in ((STEADY, 0.0, 4_000), (DRIFTING, 0.3, 400)):
        for sigma in (0.1, 0.3, 1.2):
            for cases, repeats in ((20, 1), (60, 1), (300, 1), (15, 2), (60, 3), (10, 10)):
                named = f"{cases} cases" + f" in {repeats} passes" * (repeats > 1)
                once = partial(said, cases, repeats, sigma, slower)
                yield counted(table, f"σ {sigma:g}, {named}", runs, once)
