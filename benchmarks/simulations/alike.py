"""Cases that are all alike are no certainty, and few values are never very certain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.simulations.changes import PLAIN, TYPICAL
from benchmarks.simulations.populations import POSITIVE, Floats, of_values
from benchmarks.simulations.sessions import group
from benchmarks.simulations.tables import UNSEEN, Table, Task, counted
from pytest_crucible.metrics.groups import series_of
from pytest_crucible.metrics.observations import Group
from pytest_crucible.stats.comparison import EQUIVALENT
from pytest_crucible.stats.comparison_options import Options
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.judged_rows import RowLevels, judge_rows
from pytest_crucible.stats.metric_changes import change_of
from pytest_crucible.stats.row_drafts import draft_rows
from pytest_crucible.stats.samples import MEAN
from pytest_crucible.stats.subject import Subject

BROKEN = Table(
    UNSEEN,
    "a candidate that breaks 10 % of the cases and is called EQUIVALENT",
    most=0.05,
    answer="rows",
)
LEVELS = (0.025, 0.0025, 0.00025)
FEW = {
    level: Table(
        UNSEEN,
        f"few unchanged values that are called worse at a one-sided level of {level:.3%}",
        most=level,
        answer="runs",
    )
    for level in LEVELS
}
SHARE = 0.1
KINDS = ("success rates", "scores", "noisy scores", "cost")


def equivalent(kind: str, n: int, paired: bool, rng: np.random.Generator) -> bool:
    """Simulate a candidate that breaks each case with a chance of 10 %: is it EQUIVALENT?

    A broken case fails, has a score of 0, or costs ten times as much. Nothing else changes.

    Args:
        kind: one of `KINDS`.
        n: number of cases.
        paired: whether both sides have the same cases.
        rng: source of random numbers.
    """
    broken = rng.random(n) < SHARE
    level = np.full(n, 0.9) if kind != "noisy scores" else rng.beta(8, 2, n)
    metric = {"success rates": "success_rate", "cost": "cost"}.get(kind, "score.mean")

    def side(condition: str, broken: NDArray[np.bool_], prefix: str) -> Group:
        passed = ~broken if kind == "success rates" else np.ones(n, dtype=bool)
        numbers = {"cost_usd": np.where(broken, 0.1, 0.01)} if kind == "cost" else {}
        made = group(condition, np.arange(n), passed, numbers, prefix)
        if "scores" in kind:
            score = np.where(broken, 0.0, level).tolist()
            made.recorded["score"] = series_of(made, zip(made.cases, score, strict=True))
        return made

    base = side("a", np.zeros(n, dtype=bool), "case")
    cand = side("b", broken, "case" if paired else "other")
    options = Options(primary=(metric,))
    drafts = [
        draft
        for draft in draft_rows(Subject(base, {}), Subject(cand, {}), options)
        if draft.row.metric == metric
    ]
    return judge_rows(drafts, RowLevels.of(drafts))[0].verdict == EQUIVALENT


def worse(
    values: str, n: int, paired: bool, typical: bool, level: float, rng: np.random.Generator
) -> bool:
    """Simulate few unchanged values: does the change for the worse clear "no change"?

    Args:
        values: ``bimodal`` (1 or 10), ``rare`` (one in ten is 10) or ``lognormal``.
        n: number of cases on each side.
        paired: whether both sides have the same cases.
        typical: about typical values, else about means.
        level: one-sided.
        rng: source of random numbers.
    """
    before, after = (_few(values, n, rng) for _ in range(2))
    sides = of_values(before, MEAN, POSITIVE), of_values(after, MEAN, POSITIVE)
    if not paired:
        names = tuple(f"other {name}" for name in sides[1].names)
        sides = sides[0], replace(sides[1], names=names)
    try:
        return change_of(*sides, 2 * level, TYPICAL if typical else PLAIN).low > 1
    except NoIntervalError:
        return False


def _few(values: str, n: int, rng: np.random.Generator) -> Floats:
    noise = np.exp(0.02 * rng.standard_normal(n))
    if values == "lognormal":
        return np.exp(0.5 * rng.standard_normal(n))
    often = 0.5 if values == "bimodal" else 0.1
    return np.asarray(np.where(rng.random(n) < often, 10.0, 1.0) * noise)


def tasks() -> Iterator[Task]:
    """Yield all tasks."""
    for kind in KINDS:
        for paired in (True, False):
            for n in (6, 10, 30, 100, 300):
                if kind == "noisy scores" and not paired and n == 300:
                    continue  # a second per run
                words = "paired" if paired else "unpaired"
                runs = 200 if kind == "noisy scores" else 400
                once = partial(equivalent, kind, n, paired)
                yield counted(BROKEN, f"{kind}, {words}, n = {n}", runs, once)
    for level in LEVELS:
        for paired in (True, False):
            for values in ("bimodal", "rare", "lognormal"):
                for typical in (True, False):
                    for n in (3, 4, 6, 8):
                        what = f"{values}, {'typical' if typical else 'mean'}, "
                        what += f"{'paired' if paired else 'unpaired'}, n = {n}"
                        once = partial(worse, values, n, paired, typical, level)
                        yield counted(FEW[level], what, 2_000 if level > 0.01 else 5_000, once)
