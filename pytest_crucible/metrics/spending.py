"""Spending: number and cost of model calls, of the code under test and of judges."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from pytest_crucible.metrics.latencies import latencies
from pytest_crucible.metrics.observations import Group
from pytest_crucible.metrics.trials import SUCCESSES, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Model calls of one experiment under one condition; an amount is None if it is unknown.

    Attributes:
        calls: model calls; a call that several instrumentations report counts once.
        judge_calls: the calls among them that judges made (``with experiment.judge():``).
        application_usd, judge_usd: cost of the other calls, and of the judges' calls, in USD.
        usd_per_passed_case: ``application_usd`` / (cases whose trials all passed).
        unpriced: number of calls without a cost, by reason.
        merged: number of spans that report a call which another span reports, too.
        http_calls: HTTP calls to model hosts, by ``host (protocol)``.
        providers: the providers that calls named, in lower case.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What set-up spent, which belongs to no arm.

    Attributes:
        events: number of events.
        calls: number of model calls.
        usd: their cost in USD, that of judges included; None if it is unknown.
        latency_ms: time in operations, added up; None if no operation reports it.
    """

    events: int
    calls: int
    usd: float | None
    latency_ms: float | None


def summarise_setup(group: Group) -> Setup:
    """Add up what the events of the condition `SETUP` spent."""
    spending, spent = summarise_spending(group), latencies(group)
    amounts = [usd for usd in (spending.application_usd, spending.judge_usd) if usd is not None]
    weights = 1.0 if spent.weights is None else spent.weights
    return Setup(
        events=len(group.name),
        calls=spending.calls,
        usd=sum(amounts) if amounts else None,
        latency_ms=float((spent.ms * weights).sum()) if spent.ms.size else None,
    )


def summarise_spending(group: Group) -> Spending:
    """Count the model calls of a group and add up their cost."""
    cost = np.frombuffer(group.cost_usd, dtype=np.float64)
    reported = np.frombuffer(group.counted_cost, dtype=bool) & ~np.isnan(cost)
    judge = np.frombuffer(group.judge, dtype=bool)
    if group.weight:
        cost = cost * np.frombuffer(group.weight, dtype=np.float64)
    application_usd, judge_usd = (
        float(cost[rows].sum()) if rows.any() else None
        for rows in (reported & ~judge, reported & judge)
    )
    passed = len(passed_cases(group.trials))
    counts = group.calls
    return Spending(
        calls=round(counts.application + counts.judge),
        judge_calls=round(counts.judge),
        application_usd=application_usd,
        judge_usd=judge_usd,
        usd_per_passed_case=(
            application_usd / passed if application_usd is not None and passed else None
        ),
        unpriced={
            reason: round(count)
            for reason, count in sorted(counts.unpriced.items(), key=lambda item: -item[1])
        },
        merged=round(counts.merged),
        http_calls={f"{host} ({client})": n for (host, client), n in group.http_calls.items()},
        providers=tuple(sorted(counts.providers)),
    )


def passed_cases(trials: Iterable[Trial]) -> set[str]:
    """Return the cases whose trials all passed; skipped trials do not matter."""
    passed: dict[str, bool] = {}
    for trial in trials:
        if trial.outcome != "skipped":
            passed[trial.case] = passed.get(trial.case, True) and trial.outcome in SUCCESSES
    return {case for case, all_passed in passed.items() if all_passed}
