"""Rows, their intervals and p, and claims between arms: do any two of them disagree?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from benchmarks.simulations.sessions import Cases, Design, result
from benchmarks.simulations.tables import AGREE, Table, Task, counted
from pytest_crucible.analysis.judging import judged
from pytest_crucible.stats.change import RATIO
from pytest_crucible.stats.comparison import Comparison
from pytest_crucible.stats.verdict import CONFIRMED, INCONCLUSIVE, REJECTED

CONTRADICTED = Table(
    AGREE,
    "experiments of two arms in which a claim, an interval and a p-value disagree",
    most=0.0,
    answer="experiments",
)
CLAIMS = {
    "success_rate": "other.success_rate >= control",
    "latency": "other.latency.p50 <= control",
    "cost": "other.cost.mean <= control",
}


def contradicted(most: int, rng: np.random.Generator) -> bool:
    """Simulate two arms that differ somehow; is a claim judged otherwise than its row says?

    Args:
        most: number of cases, at most.
        rng: source of random numbers.
    """
    design = Design.drawn(rng, most)
    cases = Cases.of(design, rng)
    factor = float(rng.choice([0.5, 0.9, 1.0, 1.1, 2.0]))
    rate = float(np.clip(design.rate + rng.choice([-0.4, -0.1, 0.0, 0.1]), 0.02, 1.0))
    other = cases.arm("other", rng, factor, rate, "case" if design.paired else "b")
    groups = {"control": cases.arm("control", rng), "other": other}
    (experiment,) = judged([result(groups, list(CLAIMS.values()))])
    rows = {row.metric: row for row in experiment.comparisons["other"] if row.primary}
    return any(
        verdict.verdict != _by_row(rows[metric])
        for metric, verdict in zip(CLAIMS, experiment.verdicts, strict=True)
    ) or any(_against_p(row) for row in rows.values())


def _by_row(row: Comparison) -> str:
    """Return the verdict on "no worse" that the interval of a row gives."""
    if row.low is None or row.high is None:
        return INCONCLUSIVE
    same = 1.0 if row.scale == RATIO else 0.0
    least, most = (row.low, row.high) if row.better == "higher" else (-row.high, -row.low)
    same = same if row.better == "higher" else -same
    return CONFIRMED if least >= same else REJECTED if most < same else INCONCLUSIVE


def _against_p(row: Comparison) -> bool:
    """Whether p and the interval of a row disagree on "no change"."""
    if row.low is None or row.high is None or row.p is None:
        return False
    same = 1.0 if row.scale == RATIO else 0.0
    return (row.p <= 0.05) == (row.low <= same <= row.high)


def tasks() -> Iterator[Task]:
    """Yield all tasks."""
    for most in (12, 100):
        what = f"6 to {most} cases, paired or not"
        yield counted(CONTRADICTED, what, 400, partial(contradicted, most))
