"""The minimal detectable effect of a row: how often is a change of that size found?"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from benchmarks.simulations.plans import LEAST, MOST
from benchmarks.simulations.populations import only_at
from benchmarks.simulations.sessions import Cases, Design
from benchmarks.simulations.tables import PLANS, Table, Task, counted
from pytest_crucible.metrics.observations import Group
from pytest_crucible.stats.comparison import REGRESSED, Comparison
from pytest_crucible.stats.comparison_options import MARGIN, Options
from pytest_crucible.stats.judged_rows import RowLevels, judge_rows
from pytest_crucible.stats.row_drafts import draft_rows
from pytest_crucible.stats.subject import Subject

FOUND = Table(
    PLANS,
    "changes as large as the minimal detectable effect of a row that are found",
    least=LEAST,
    most=MOST,
    answer="rows with an effect",
)


RATES = Table(
    PLANS,
    "changes as large as the minimal detectable effect of success rates that are found",
    least=LEAST,
    answer="rows with an effect",
)
"""At least: it counts on as many cases that get better by chance as the unchanged run had."""
SKEWED = Table(
    PLANS,
    "the same of ten skewed costs, which do not tell their spread",
    answer="rows with an effect",
)


def detected(metric: str, design: Design, rng: np.random.Generator) -> bool | None:
    """Simulate an unchanged run, then one with a change of the size that its row names.

    Args:
        metric: ``success_rate``, ``latency`` or ``cost``.
        design: of both.
        rng: source of random numbers.

    Returns:
        Whether the row of the second run is REGRESSED; None if the first names no effect.
    """
    first = _row(metric, *_arms(design, rng, 1.0, design.rate))
    if first.mde is None:
        return None
    if metric == "success_rate":
        rate = design.rate + first.mde
        if rate <= 0:
            return None
        arms = _arms(design, rng, 1.0, rate)
    else:
        arms = _arms(design, rng, first.mde, design.rate)
    with only_at(MARGIN, -MARGIN):
        return _row(metric, *arms).verdict == REGRESSED


def _arms(
    design: Design, rng: np.random.Generator, factor: float, rate: float
) -> tuple[Group, Group]:
    cases = Cases.of(design, rng)
    base = cases.arm("a", rng)
    if not design.paired:
        cases = Cases.of(design, rng)
    prefix = "case" if design.paired else "other"
    return base, cases.arm("b", rng, factor, rate, prefix)


def _row(metric: str, base: Group, cand: Group) -> Comparison:
    drafts = draft_rows(Subject(base, {}), Subject(cand, {}), Options(primary=(metric,)))
    drafts = [draft for draft in drafts if draft.row.metric == metric]
    return judge_rows(drafts, RowLevels.of(drafts))[0]


def tasks() -> Iterator[Task]:
    """Yield all rows."""
    for paired in (True, False):
        words = "paired" if paired else "unpaired"
        for metric in ("latency", "cost"):
            for sigma in (0.3, 0.8):
                for n in (10, 30, 100):
                    design = Design(n, 0.9, sigma, paired=paired)
                    what = f"{metric}, σ {sigma:g}, {words}, n = {n}"
                    skewed = metric == "cost" and sigma > 0.5 and n == 10
                    once = partial(detected, metric, design)
                    yield counted(SKEWED if skewed else FOUND, what, 400, once)
        for rate in (0.9, 0.7):
            for n in (30, 100, 300):
                design = Design(n, rate, paired=paired)
                what = f"success rate {rate:g}, {words}, n = {n}"
                yield counted(RATES, what, 300, partial(detected, "success_rate", design))
