"""Estimates: the metrics of the summary with their intervals, or reasons why they have none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pytest_crucible.metrics.catalog import BUILT_IN, CURVE_STATISTICS, Metric
from pytest_crucible.metrics.observations import Group
from pytest_crucible.stats.bounds import bounds_of
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.metric_samples import sample_of
from pytest_crucible.stats.samples import QUANTILE, SAMPLED, Sample

ALPHA = 0.05
BARE = "a plugin gave only the number; declare it with formula= or values="


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A metric and its confidence interval.

    Attributes:
        value: the metric; None if nothing was recorded for it.
        low, high: 95 % interval, in the unit of the metric; None where there is no bound.
        n: number of observations.
        cases: number of cases that they come from; None if they belong to no case.
        exact: the value is a plain fact about this run (a total, a count), not an estimate. If the
            run was sampled, totals and counts of its events are estimates, too.
        reason: why there is no interval, or no bound on one side, or no value.
        note: what the interval assumes.
        sample: the observations, for intervals at other levels.
        coverage: in how many trials it was recorded, and how many ran; None if in all.
        undefined: there is no value although everything was recorded: a formula divides by zero.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    cases: int | None = None
    exact: bool = False
    reason: str | None = None
    note: str | None = None
    sample: Sample | None = None
    coverage: tuple[int, int] | None = None
    undefined: bool = False


def estimate(
    group: Group, metric: Metric, numbers: Mapping[str, float | None], alpha: float = ALPHA
) -> Estimate:
    """Estimate one metric.

    Args:
        group: the observations.
        metric: the metric, from the catalogue.
        numbers: all metrics of the group by path; plain facts are read from here.
        alpha: error of both sides of the interval together.
    """
    path = metric.path
    sample = sample_of(group, metric)
    if sample is None:
        value = numbers.get(path)
        if group.sampled and path.partition(".")[0] not in (
            "tests",
            *group.recorded,
            *group.logged,
        ):
            return Estimate(value=value, reason=SAMPLED)
        if value is not None and _is_bare(group, path):
            return Estimate(value=value, reason=BARE)
        reason = _why_unknown(group, path) if value is None else None
        return Estimate(value=value, exact=value is not None, reason=reason)
    sample = sample.by_process()
    if not sample.n:
        left_out = f"none of its {sample.invalid} values is a finite number"
        reason = left_out if sample.invalid else "nothing was recorded for it"
        undefined = sample.refusal is not None and not sample.absent
        return Estimate(value=None, reason=sample.refusal or reason, undefined=undefined)
    cases = sample.case_count
    found = Estimate(value=point(sample), n=sample.n, cases=cases, sample=sample)
    try:
        bounds = bounds_of(sample, alpha / 2, alpha / 2)
    except NoIntervalError as error:
        return replace(found, reason=str(error))
    if sample.kind == QUANTILE and (bounds.why_no_low or bounds.why_no_high):
        return replace(found, reason=bounds.why_no_high or bounds.why_no_low)
    low, high = bounds.shown
    return replace(
        found,
        low=low,
        high=high,
        reason=bounds.why_no_high or bounds.why_no_low,
        note=bounds.note,
    )


def _is_bare(group: Group, path: str) -> bool:
    """Whether a number without observations comes from a plugin: then nobody knows its error."""
    return path not in BUILT_IN and path.rpartition(".")[0] not in {*group.recorded, *group.logged}


def _why_unknown(group: Group, path: str) -> str | None:
    name, _, statistic = path.rpartition(".")
    if name in group.logged and statistic in CURVE_STATISTICS:
        if statistic.startswith("best"):
            return "no value is a finite number"
        return f"the {statistic} value is not a finite number"
    return None


def point(sample: Sample) -> float:
    """Return the value of the metric."""
    if sample.kind == QUANTILE:
        return sample.quantile(sample.q)
    return sample.mean() * sample.factor
