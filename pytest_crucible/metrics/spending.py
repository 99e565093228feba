"""Spending: how many calls of models there were, what they cost, and whose they were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from pytest_crucible.metrics.observations import Group
from pytest_crucible.metrics.trials import SUCCESSES, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Of one experiment under one condition; None where nothing is known.

    Attributes:
        calls: of models, each counted once, however many instrumentations told of it.
        judge_calls: those of them that judges made (``with experiment.judge():``).
        application_usd, judge_usd: what they cost.
        usd_per_passed_case: the application's cost per case of which every trial passed.
        unpriced: calls without a cost, by the reason.
        merged: spans that told of a call which another span told of, too.
        http_calls: calls to model hosts that were seen, by host and protocol.
        providers: of the calls, as they named them.
    """

    calls: int = 0
    judge_calls: int = 0
    application_usd: float | None = None
    judge_usd: float | None = None
    usd_per_passed_case: float | None = None
    unpriced: Mapping[str, int] = field(default_factory=dict)
    merged: int = 0
    http_calls: Mapping[str, int] = field(default_factory=dict)
    providers: tuple[str, ...] = ()


def summarise_spending(group: Group) -> Spending:
    """Add up what the calls of a group cost."""
    cost = np.frombuffer(group.cost_usd, dtype=np.float64)
    told = np.frombuffer(group.counted_cost, dtype=bool) & ~np.isnan(cost)
    judge = np.frombuffer(group.judge, dtype=bool)
    if group.weight:
        cost = cost * np.frombuffer(group.weight, dtype=np.float64)
    sums = [
        float(cost[rows].sum()) if rows.any() else None for rows in (told & ~judge, told & judge)
    ]
    application = sums[0]
    passed = len(passed_cases(group.trials))
    counts_of = group.calls
    return Spending(
        calls=round(counts_of.application + counts_of.judge),
        judge_calls=round(counts_of.judge),
        application_usd=application,
        judge_usd=sums[1],
        usd_per_passed_case=application / passed if application is not None and passed else None,
        unpriced={
            reason: round(count)
            for reason, count in sorted(counts_of.unpriced.items(), key=lambda item: -item[1])
        },
        merged=round(counts_of.merged),
        http_calls={f"{host} ({client})": n for (host, client), n in group.http_calls.items()},
        providers=tuple(sorted(counts_of.providers)),
    )


def passed_cases(trials: Iterable[Trial]) -> set[str]:
    """The cases that ran, and of which every trial passed."""
    passed: dict[str, bool] = {}
    for trial in trials:
        if trial.outcome != "skipped":
            passed[trial.case] = passed.get(trial.case, True) and trial.outcome in SUCCESSES
    return {case for case, every in passed.items() if every}
