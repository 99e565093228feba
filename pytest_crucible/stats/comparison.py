"""Comparison: baseline against candidate, with a verdict for every metric.

The verdict compares the confidence interval of the change with a margin: a change that is certain
but smaller than the margin is no regression, nor is a change that looks large but is uncertain.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import numpy as np

from pytest_crucible.metrics.catalog import LOWER, Metric
from pytest_crucible.stats import changes, percentiles
from pytest_crucible.stats.changes import DIFFERENCE, RATIO, Change
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.matching import Matching, match
from pytest_crucible.stats.metric_samples import PER_TRIAL, QUANTILES, sample_of
from pytest_crucible.stats.samples import (
    QUANTILE,
    RATE,
    TYPICAL,
    Floats,
    Ints,
    Sample,
    refuse_sampled,
    trials_without,
)
from pytest_crucible.stats.subject import Subject
from pytest_crucible.stats.tests import holm

REGRESSED, IMPROVED = "REGRESSED", "IMPROVED"
EQUIVALENT, INCONCLUSIVE = "EQUIVALENT", "INCONCLUSIVE"
ADDED, REMOVED = "ADDED", "REMOVED"

ALPHA = 0.05
"""Error of both sides together; 0.025 on the bad side."""
MARGIN = 0.05
_MOST_CASES = 1_000_000
Setting = TypeVar("Setting", float, bool)


@dataclass(frozen=True, slots=True)
class Options:
    """How to judge.

    Attributes:
        margin: the largest change that does not matter: relative to the baseline; for rates the
            difference itself.
        margins: margins of single metrics, by path, or by name for all statistics of a number.
        lower_is_better: overrides the direction of metrics, keyed like ``margins``.
        alpha: error of both sides of an interval together.
    """

    margin: float = MARGIN
    margins: Mapping[str, float] | None = None
    lower_is_better: Mapping[str, bool] | None = None
    alpha: float = ALPHA

    def margin_of(self, metric: Metric) -> float:
        """Return the margin of a metric: of ``margins``, else of the metric, else ``margin``."""
        chosen = _setting_of(metric.path, self.margins)
        default = self.margin if metric.margin is None else metric.margin
        return default if chosen is None else chosen

    def lower_is_better_of(self, metric: Metric) -> bool:
        """Return the direction of a metric: of ``lower_is_better``, else of the catalogue."""
        chosen = _setting_of(metric.path, self.lower_is_better)
        return metric.better == LOWER if chosen is None else chosen


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
        verdict: REGRESSED, IMPROVED, EQUIVALENT, INCONCLUSIVE, ADDED or REMOVED.
        scale: whether ``change`` and its interval are a ``ratio`` or a ``difference``.
        change, low, high: the change and its confidence interval.
        p: two-sided p-value of "no change", corrected for all compared metrics (Holm 1979).
        effect: name and value of the effect size.
        n: number of pairs, or the sizes of both sides.
        margin: the margin that the interval was compared with.
        method: name of the method.
        reason: why the verdict is not a better one.
        needs: number of cases that would probably give a verdict; None if that is unclear.
        lower_is_better: which direction is good.
        share: whether the metric is a share between 0 and 1, whose margin is a difference.
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
    lower_is_better: bool = False
    share: bool = False
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
        if any(_sample(side, metric).n for side in (base, cand)):
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
    return Comparison(
        metric=metric.path,
        unit=metric.unit,
        baseline=before,
        candidate=after,
        verdict=INCONCLUSIVE,
        margin=options.margin_of(metric),
        lower_is_better=options.lower_is_better_of(metric),
    )


def _compare(
    metric: Metric, base: Subject, cand: Subject, options: Options, matching: Matching
) -> Comparison:
    all_before, all_after = _sample(base, metric), _sample(cand, metric)
    before, after = matching.align(all_before, all_after)
    if all_before.n and all_after.n and not (before.n and after.n):
        undecided = _undecided(metric, None, None, options)
        return replace(undecided, reason=_nothing_shared(matching))
    undecided = replace(
        _undecided(metric, _centre(before, metric), _centre(after, metric), options),
        share=all(side.kind == RATE for side in (before, after) if side.n),
    )
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
    lacking = [
        f"missing in {trials} of the {side_name}"
        for side_name, side, cases in (
            ("baseline", base, set(matching.names)),
            ("candidate", cand, set(matching.names.values())),
        )
        if (trials := trials_without(side.group, metric.path.rpartition(".")[0], cases or None))
    ]
    if invalid:
        lacking = [f"{invalid} values were not finite numbers and were left out"]
    if lacking:
        # Without the missing values one side would look better than it is: no verdict.
        return replace(judged, verdict=INCONCLUSIVE, reason=", ".join(lacking), needs=None)
    return judged


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
        value = _centre(sample.only(names), metric) if sample.cases is not None else None
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
    why = "no interval: a plugin gave the number without its observations"
    return replace(undecided, scale=DIFFERENCE, change=after - before, reason=why)


def _centre(sample: Sample, metric: Metric) -> float | None:
    """Return the value of the metric on one side; None if it is unknown."""
    if not sample.n:
        return None
    if metric.drawn in PER_TRIAL and sample.weights is not None:
        return None  # some calls of the trial may have been dropped
    if metric.statistic == TYPICAL:
        return sample.quantile(0.5)
    if sample.kind == QUANTILE:
        return sample.quantile(sample.q)
    return sample.mean() * sample.factor


def change_of(before: Sample, after: Sample, *, typical: bool = False) -> Change:
    """Return the change of one metric, by the method that fits the samples.

    Args:
        before, after: the observations of baseline and candidate.
        typical: compare typical values (medians), not means.

    Raises:
        NoIntervalError: the samples admit no interval, with the reason.
    """
    refuse_sampled(before, after)
    if before.kind == RATE and after.kind == RATE:
        pairs = _pairs(before, after)
        return changes.paired_rates(*pairs) if pairs else changes.rates(before, after)
    if before.kind == QUANTILE:
        if min(before.values.min(), after.values.min()) <= 0:
            raise NoIntervalError("a percentile's change is a ratio: needs values above 0")
        paired = _pairs(before, after) is not None
        return percentiles.quantile_ratio(before, after, before.q, paired)
    if typical:  # not for cost and tokens: users pay the mean, outliers included
        positive = min(before.values.min(), after.values.min()) > 0
        if positive:
            return _skewed(before, after)
    return average_change(before, after)


def _skewed(before: Sample, after: Sample) -> Change:
    pairs = _pairs(before, after, logs=True)
    if pairs:
        return changes.paired_log_ratio(*pairs)
    (old, old_clusters), (new, new_clusters) = (
        _independent(side, logs=True) for side in (before, after)
    )
    return changes.log_shift(old, new, (old_clusters, new_clusters))


def average_change(before: Sample, after: Sample, factor: float = 1.0) -> Change:
    """Return the difference of means, candidate − ``factor`` × baseline; in pairs if cases match.

    Args:
        before, after: the observations of baseline and candidate.
        factor: of the baseline.

    Raises:
        NoIntervalError: there are too few values.
    """
    pairs = _pairs(before, after)
    if pairs:
        return changes.paired_means(factor * pairs[0], pairs[1], pairs[2])
    (old, old_clusters), (new, new_clusters) = map(_independent, (before, after))
    return changes.means(factor * old, new, (old_clusters, new_clusters))


def _independent(sample: Sample, logs: bool = False) -> tuple[Floats, Ints | None]:
    """Return the means of the cases, if cases have several values, else the values; and clusters.

    The second value is the cluster of every one of them; None if they are independent.
    """
    if sample.cases is not None and sample.clusters() is not None:
        cases, means = sample.case_means(logs)
        return means, sample.clusters_of(cases)
    values: Floats = np.log(sample.values) if logs else sample.values
    return values, None


Pairs = tuple[Floats, Floats, Ints | None]


def _pairs(before: Sample, after: Sample, logs: bool = False) -> Pairs | None:
    """Return the case means of both sides, in the order of the matched cases, and their clusters.

    None if less than two cases match.
    """
    if before.cases is None or after.cases is None:
        return None
    (old_cases, old_means), (new_cases, new_means) = (
        side.case_means(logs) for side in (before, after)
    )
    by_case = np.full(len(before.names) + 1, np.nan)  # index −1: the candidate's unmatched cases
    by_case[old_cases] = old_means
    first = by_case[_indices(before.names, after.names)[new_cases]]
    matched = ~np.isnan(first)
    if np.count_nonzero(matched) < 2:
        return None
    return first[matched], new_means[matched], after.clusters_of(new_cases[matched])


@lru_cache(maxsize=1)
def _indices(names: tuple[str, ...], others: tuple[str, ...]) -> Ints:
    """Return the index among ``names`` of every one of ``others``, or −1.

    Cached, because many metrics have the same cases.
    """
    by_name = {name: index for index, name in enumerate(names)}
    return np.array([by_name.get(name, -1) for name in others], dtype=np.int64)


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
        more = low > upper
        return replace(judged, verdict=REGRESSED if more == judged.lower_is_better else IMPROVED)
    if lower < low and high < upper:
        return replace(judged, verdict=EQUIVALENT)
    return replace(judged, verdict=INCONCLUSIVE, needs=cases_needed(change, alpha, lower, upper))


def _limits(comparison: Comparison) -> tuple[float, float]:
    """Return the limits of the margin around "no change", on the scale of the change."""
    margin = comparison.margin
    if comparison.scale == RATIO:
        return 1 / (1 + margin), 1 + margin
    if comparison.share or comparison.baseline is None:
        return -margin, margin
    # Relative to the baseline; if that is 0, the margin itself.
    size = margin * abs(comparison.baseline)
    return (-size, size) if size else (-margin, margin)


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
    """Correct p for the number of metrics; take back REGRESSED and IMPROVED if p is above alpha.

    So unchanged code is called REGRESSED in at most alpha / 2 of all runs, however many metrics
    there are, and a verdict never contradicts its p-value.
    """
    p_values = holm({comparison.metric: comparison.p for comparison in judged})
    count = sum(p is not None for p in p_values.values())
    corrected = []
    for comparison in judged:
        p, verdict, reason = p_values[comparison.metric], comparison.verdict, comparison.reason
        if verdict in (REGRESSED, IMPROVED) and (p is None or p > alpha):
            alone = comparison.p is not None and comparison.p <= alpha
            why = f"after correction for {count} metrics" if alone else "by the exact test"
            verdict, reason = INCONCLUSIVE, f"{verdict} by its interval, but not {why}"
        corrected.append(replace(comparison, p=p, verdict=verdict, reason=reason))
    return corrected
