"""Comparison: baseline against candidate, with a verdict for every metric.

The verdict compares the confidence interval of the change with a margin: a change that is certain
but smaller than the margin is no regression, nor is a change that looks large but is uncertain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from pytest_crucible.metrics.catalog import HIGHER, Metric
from pytest_crucible.metrics.declared import bounded
from pytest_crucible.stats.changes import DIFFERENCE, RATIO, Change
from pytest_crucible.stats.estimates import BARE
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.matching import Matching, match
from pytest_crucible.stats.metric_changes import centre, change_of
from pytest_crucible.stats.metric_samples import (
    QUANTILES,
    numbers_behind,
    sample_of,
)
from pytest_crucible.stats.ranges import outside_range
from pytest_crucible.stats.samples import (
    FORMULA,
    RATE,
    TYPICAL,
    Sample,
    trials_without,
)
from pytest_crucible.stats.subject import Subject
from pytest_crucible.stats.tests import holm

REGRESSED, IMPROVED = "REGRESSED", "IMPROVED"
EQUIVALENT, INCONCLUSIVE = "EQUIVALENT", "INCONCLUSIVE"
ADDED, REMOVED = "ADDED", "REMOVED"
CHANGED = "CHANGED"
"""Beyond the margin, and nobody declared which direction is better."""
NO_INTERVAL = "NO INTERVAL"
"""A plugin gave only the numbers of both sides: they decide nothing."""

ALPHA = 0.05
"""Error of both sides together; 0.025 on the bad side."""
MARGIN = 0.05
_MOST_CASES = 1_000_000
Setting = TypeVar("Setting", float, str)


@dataclass(frozen=True, slots=True)
class Options:
    """How to judge.

    Attributes:
        margin: the largest change that does not matter: relative to the baseline; for rates the
            difference itself.
        margins: margins of single metrics, by path, or by name for all statistics of a number: in
            place of `Metric.margin`, so in the unit of the metric if its range has two ends.
        better: overrides the direction of metrics, keyed like ``margins``: lower or higher.
        alpha: error of both sides of an interval together.
    """

    margin: float = MARGIN
    margins: Mapping[str, float] | None = None
    better: Mapping[str, str] | None = None
    alpha: float = ALPHA

    def margin_of(self, metric: Metric) -> tuple[float, bool]:
        """Return the margin of a metric, and whether it is in the unit of the metric.

        It is that of ``margins``, else of the metric, else ``margin``, which is never in a unit.
        """
        own = _setting_of(metric.path, self.margins)
        own = metric.margin if own is None else own
        return (self.margin, False) if own is None else (own, bounded(metric.range))

    def better_of(self, metric: Metric) -> str | None:
        """Return the direction of a metric: of ``better``, else of the catalogue."""
        return _setting_of(metric.path, self.better) or metric.better


def _setting_of(path: str, settings: Mapping[str, Setting] | None) -> Setting | None:
    """Return the setting of a metric, or of the number that it is a statistic of."""
    for name, value in (settings or {}).items():
        if path == name or path.startswith(f"{name}."):
            return value
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric, baseline against candidate.

    Attributes:
        metric: path, e.g. ``latency`` (typical latency), ``latency.p95``, ``score.mean``.
        baseline, candidate: the metric on both sides, in its unit; None if it does not exist.
        verdict: REGRESSED, IMPROVED, CHANGED, EQUIVALENT, INCONCLUSIVE, ADDED, REMOVED or
            NO INTERVAL.
        scale: whether ``change`` and its interval are a ``ratio`` or a ``difference``.
        change, low, high: the change and its confidence interval.
        p: two-sided p-value of "no change", corrected for all compared metrics (Holm 1979).
        effect: name and value of the effect size.
        n: number of pairs, or the sizes of both sides.
        margin: the margin that the interval was compared with.
        method: name of the method.
        reason: why the verdict is not a better one.
        needs: number of cases that would probably give a verdict; None if that is unclear.
        better: which direction is good, ``lower`` or ``higher``; None if nobody declared it.
        absolute: whether the margin is in the unit of the metric, as that of shares always is.
        unit: of the metric.
    """

    metric: str
    baseline: float | None
    candidate: float | None
    verdict: str
    scale: str = RATIO
    change: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    effect: tuple[str, float] | None = None
    n: tuple[int, ...] = ()
    margin: float = MARGIN
    method: str | None = None
    reason: str | None = None
    needs: int | None = None
    better: str | None = None
    absolute: bool = False
    unit: str = ""


def compare_subjects(
    base: Subject, cand: Subject, options: Options | None = None, matching: Matching | None = None
) -> list[Comparison]:
    """Compare all metrics that either side has and that comparisons have a row for.

    Every number of a row is about the cases that both sides have, which are compared in pairs. If
    no case is on both sides, all cases are compared, as independent ones.

    Args:
        base: the baseline.
        cand: the candidate; its catalogue describes the metrics.
        options: margins and level.
        matching: the result of `match` for both groups.
    """
    options = options or Options()
    matching = matching or match(base.group, cand.group)
    metrics = list(_metrics(base, cand))
    comparisons = [_compare(metric, base, cand, options, matching) for metric in metrics]
    rows = {metric.path for metric in metrics}
    bare = dict.fromkeys(path for side in (base, cand) for path in side.bare() if path not in rows)
    comparisons += [_without_observations(cand.catalog[path], base, cand, options) for path in bare]
    return _corrected(comparisons, options.alpha)


def _metrics(base: Subject, cand: Subject) -> Iterator[Metric]:
    sides = base.group, cand.group
    recorded = dict.fromkeys(name for side in sides for name in side.recorded)
    for metric in cand.catalog.compared(sides, recorded):
        samples = [_sample(side, metric) for side in (base, cand)]
        if any(sample.n or (sample.refusal and not sample.absent) for sample in samples):
            yield metric
    # Of logged numbers, only those that the author declared or claims something about: every row
    # makes the correction of p stricter, and many logged numbers (a learning rate) do not matter.
    for name in base.group.logged:
        metric = cand.catalog[f"{name}.last"]
        declared = name in cand.catalog.declared
        if declared and all(_sample(side, metric).n for side in (base, cand)):
            yield metric


def _sample(side: Subject, metric: Metric) -> Sample:
    return sample_of(side.group, metric) or Sample(np.empty(0), None, (), RATE)


def _undecided(
    metric: Metric, before: float | None, after: float | None, options: Options
) -> Comparison:
    margin, absolute = options.margin_of(metric)
    return Comparison(
        metric=metric.path,
        unit=metric.unit,
        baseline=before,
        candidate=after,
        verdict=INCONCLUSIVE,
        margin=margin,
        absolute=absolute,
        better=options.better_of(metric),
    )


def _compare(
    metric: Metric, base: Subject, cand: Subject, options: Options, matching: Matching
) -> Comparison:
    all_before, all_after = _sample(base, metric), _sample(cand, metric)
    before, after = aligned(base, cand, metric, matching)
    if all_before.n and all_after.n and not (before.n and after.n):
        undecided = _undecided(metric, None, None, options)
        return replace(undecided, reason=_nothing_shared(matching))
    undecided = _undecided(metric, centre(before, metric), centre(after, metric), options)
    if metric.unit == "%" or all(side.kind == RATE for side in (before, after) if side.n):
        undecided = replace(undecided, absolute=True)
    for side_name, side in (("baseline", before), ("candidate", after)):
        if not side.n and not side.absent and side.refusal is not None:
            return replace(undecided, reason=f"the {side_name} has no value: {side.refusal}")
    if not before.n:
        return replace(undecided, verdict=ADDED, reason="the baseline has no such metric")
    if not after.n:
        return replace(undecided, verdict=REMOVED, reason="the candidate has no such metric")
    try:
        typical = metric.statistic == TYPICAL
        judged = _judged(undecided, change_of(before, after, typical=typical), options.alpha)
    except NoIntervalError as error:
        return replace(undecided, reason=str(error))
    invalid = before.invalid + after.invalid
    sides = (("baseline", base), ("candidate", cand))
    both = {"baseline": set(matching.names), "candidate": set(matching.names.values())}
    lacking = [
        f"missing in {trials} of the {side_name}"
        for side_name, side in sides
        for name in numbers_behind(metric)
        if (trials := trials_without(side.group, name, both[side_name] or None))
    ]
    if invalid:
        lacking = [f"{invalid} values were not finite numbers and were left out"]
    lacking += [
        f"{side_name}: {outside}"
        for side_name, side in sides
        if (outside := outside_range(side.group, cand.catalog, metric.path))
    ]
    if lacking:
        # Without the missing values one side would look better than it is, and values outside the
        # declared range say that something is not as its author thinks: no verdict.
        return replace(judged, verdict=INCONCLUSIVE, reason=", ".join(lacking), needs=None)
    return judged


def aligned(
    base: Subject, cand: Subject, metric: Metric, matching: Matching
) -> tuple[Sample, Sample]:
    """Return the observations of the cases that both sides have; see `Matching.align`."""
    before, after = _sample(base, metric), _sample(cand, metric)
    if metric.drawn == FORMULA and (matching.removed or matching.added or matching.conflicts):
        # A formula of some cases is not made of the parts of the formula of all.
        before = _sample(base.part(matching.names), metric) if matching.names else before
        after = _sample(cand.part(matching.names.values()), metric) if matching.names else after
    return matching.align(before, after)


def _nothing_shared(matching: Matching) -> str:
    if matching.names:
        return "no case has it on both sides"
    return "no case is the same on both sides: the ids stand for other content"


def numbers_of(
    subject: Subject, other: Subject, cases: Sequence[str]
) -> dict[str, tuple[float, str]]:
    """Return value and unit of every compared metric, for some cases of one side.

    Without percentiles: the cases are usually few.

    Args:
        subject: the side that has the cases.
        other: the other side: comparisons show what either side has.
        cases: their ids.
    """
    names = {case: case for case in cases}
    numbers = {}
    for metric in _metrics(subject, other):
        sample = _sample(subject, metric)
        value = centre(sample.only(names), metric) if sample.cases is not None else None
        if value is not None and metric.statistic not in QUANTILES:
            numbers[metric.path] = value, metric.unit
    return numbers


def _without_observations(
    metric: Metric, base: Subject, cand: Subject, options: Options
) -> Comparison:
    """Compare a number that a plugin gave without observations: there is no interval."""
    before, after = base.numbers.get(metric.path), cand.numbers.get(metric.path)
    undecided = _undecided(metric, before, after, options)
    if before is None:
        return replace(undecided, verdict=ADDED, reason="the baseline has no such metric")
    if after is None:
        return replace(undecided, verdict=REMOVED, reason="the candidate has no such metric")
    change = after - before
    return replace(undecided, verdict=NO_INTERVAL, scale=DIFFERENCE, change=change, reason=BARE)


# --- the verdict ------------------------------------------------------------------------------


def _judged(undecided: Comparison, change: Change, alpha: float) -> Comparison:
    low, high = change.interval(alpha)
    if not all(map(math.isfinite, (low, high, change.estimate))):
        raise NoIntervalError("too few observations of too different sizes: no bound on the change")
    judged = replace(
        undecided,
        scale=change.scale,
        change=change.estimate,
        low=low,
        high=high,
        p=change.p,
        effect=change.effect,
        n=change.n,
        method=change.method,
    )
    lower, upper = _limits(judged)
    if low > upper or high < lower:
        if judged.better is None:
            return replace(judged, verdict=CHANGED)
        better = (low > upper) == (judged.better == HIGHER)
        return replace(judged, verdict=IMPROVED if better else REGRESSED)
    if (lower < low and high < upper) or lower == low == high == upper:  # 0 on both sides
        return replace(judged, verdict=EQUIVALENT)
    return replace(judged, verdict=INCONCLUSIVE, needs=cases_needed(change, alpha, lower, upper))


def _limits(comparison: Comparison) -> tuple[float, float]:
    """Return the limits of the margin around "no change", on the scale of the change."""
    margin = comparison.margin
    if comparison.scale == RATIO:
        return 1 / (1 + margin), 1 + margin
    if comparison.absolute:
        return -margin, margin
    # Relative to the baseline. No change of a baseline of 0 is relatively small: any change that is
    # certain lies beyond.
    size = margin * abs(comparison.baseline or 0.0)
    return -size, size


def cases_needed(change: Change, alpha: float, *limits: float) -> int | None:
    """Estimate how many cases would narrow the interval until it contains none of the limits.

    The interval is assumed to shrink with the square root of the number of cases.

    Args:
        change: the change.
        alpha: error of both sides together.
        limits: on the scale of the change.

    Returns:
        None for more than a million cases, or if the estimate lies on a limit.
    """
    scale = math.log if change.scale == RATIO else float
    low, high = change.interval(alpha)
    if change.scale == RATIO and not (low > 0 and min(limits) > 0 and high < math.inf):
        return None
    estimate = scale(change.estimate)
    below, above = estimate - scale(low), scale(high) - estimate
    most = 0.0
    for limit in limits:
        distance = scale(limit) - estimate
        if not distance:
            return None
        most = max(most, (above if distance > 0 else below) / abs(distance))
    needed = max(change.n) * most**2
    return max(math.ceil(needed), max(change.n) + 1) if needed <= _MOST_CASES else None


def _corrected(judged: Sequence[Comparison], alpha: float) -> list[Comparison]:
    """Correct p for the number of metrics; take back what p does not bear out.

    So unchanged code is called REGRESSED in at most alpha / 2 of all runs, however many metrics
    there are, and a verdict never contradicts its p-value.
    """
    p_values = holm({comparison.metric: comparison.p for comparison in judged})
    count = sum(p is not None for p in p_values.values())
    corrected = []
    for comparison in judged:
        p, verdict, reason = p_values[comparison.metric], comparison.verdict, comparison.reason
        if verdict in (REGRESSED, IMPROVED, CHANGED) and (p is None or p > alpha):
            alone = comparison.p is not None and comparison.p <= alpha
            why = f"after correction for {count} metrics" if alone else "by the exact test"
            verdict, reason = INCONCLUSIVE, f"{verdict} by its interval, but not {why}"
        corrected.append(replace(comparison, p=p, verdict=verdict, reason=reason))
    return corrected
