"""Comparison: baseline against candidate, metric by metric, each with a verdict.

The confidence interval of the change, held against a margin, decides: a change that is certain but
smaller than the margin is no regression, and one that looks large but is uncertain is none either.
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
from pytest_crucible.stats.draws import PER_TRIAL, sample_of
from pytest_crucible.stats.intervals import NoIntervalError
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
"""Of both sides together; 0.025 on the bad side."""
MARGIN = 0.05
_MOST_CASES = 1_000_000
Said = TypeVar("Said", float, bool)


@dataclass(frozen=True, slots=True)
class Options:
    """How to judge.

    Attributes:
        margin: the largest change that does not matter: relative, or absolute for rates.
        margins: the same per metric.
        lower_is_better: per metric, where its name does not tell.
        alpha: error of both sides of an interval together.
    """

    margin: float = MARGIN
    margins: Mapping[str, float] | None = None
    lower_is_better: Mapping[str, bool] | None = None
    alpha: float = ALPHA

    def margin_of(self, metric: Metric) -> float:
        """What was said for this metric, else what it declares, else what holds for all."""
        told = _said_of(metric.path, self.margins)
        declared = self.margin if metric.margin is None else metric.margin
        return declared if told is None else told

    def lower_is_better_of(self, metric: Metric) -> bool:
        """What was said for this metric, else what the catalogue knows."""
        told = _said_of(metric.path, self.lower_is_better)
        return metric.better == LOWER if told is None else told


def _said_of(path: str, said: Mapping[str, Said] | None) -> Said | None:
    """What was said of a metric, or of all statistics of a number."""
    for name, value in (said or {}).items():
        if path == name or path.startswith(f"{name}."):
            return value
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One metric, baseline against candidate.

    Attributes:
        metric: path, e.g. ``latency`` (typical), ``latency.p95``, ``score.mean``.
        baseline, candidate: the metric on both sides; None where it does not exist.
        scale: ``ratio`` or ``difference``: how ``change`` and its interval are to be read.
        change, low, high: the change and its interval.
        p: two-sided, of "no change", corrected by Holm for all metrics compared.
        effect: name and value of the effect size.
        n: pairs, or observations on both sides.
        margin: δ that the interval was held against.
        verdict: REGRESSED, IMPROVED, EQUIVALENT, INCONCLUSIVE, ADDED or REMOVED.
        method: how it was worked out.
        reason: why there is no better verdict.
        needs: cases that would probably settle it, if that can be said.
        lower_is_better: which direction is good.
        share: whether the metric is a share between 0 and 1, whose margin is absolute.
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
    base: Subject, cand: Subject, options: Options | None = None
) -> list[Comparison]:
    """Compare every metric that either side has and that comparisons have a row for.

    Args:
        base: the baseline.
        cand: the candidate, by whose catalogue the metrics are judged; paired by case where the
            cases match.
        options: margins and level.
    """
    options = options or Options()
    metrics = list(_metrics(base, cand))
    found = [_compare(metric, base, cand, options) for metric in metrics]
    rows = {metric.path for metric in metrics}
    bare = dict.fromkeys(path for side in (base, cand) for path in side.bare() if path not in rows)
    found += [_without_observations(cand.catalog[path], base, cand, options) for path in bare]
    return _corrected(found, options.alpha)


def _metrics(base: Subject, cand: Subject) -> Iterator[Metric]:
    sides = base.group, cand.group
    recorded = dict.fromkeys(name for side in sides for name in side.recorded)
    for metric in cand.catalog.compared(sides, recorded):
        if any(_sample(side, metric).n for side in (base, cand)):
            yield metric
    # Of what was logged only what the author declared or claims something about: a correction for
    # every learning rate that was logged on the way would bury the rest.
    for name in base.group.logged:
        metric = cand.catalog[f"{name}.last"]
        told = name in cand.catalog.declared
        if told and all(_sample(side, metric).n for side in (base, cand)):
            yield metric


def _sample(side: Subject, metric: Metric) -> Sample:
    return sample_of(side.group, metric) or Sample(np.empty(0), None, (), RATE)


def _blank(
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


def _compare(metric: Metric, base: Subject, cand: Subject, options: Options) -> Comparison:
    before, after = _sample(base, metric), _sample(cand, metric)
    blank = replace(
        _blank(metric, _centre(before, metric), _centre(after, metric), options),
        share=all(side.kind == RATE for side in (before, after) if side.n),
    )
    if not before.n:
        return replace(blank, verdict=ADDED, reason="the baseline has no such metric")
    if not after.n:
        return replace(blank, verdict=REMOVED, reason="the candidate has no such metric")
    try:
        typical = metric.statistic == TYPICAL
        judged = _judged(blank, change_of(before, after, typical=typical), options.alpha)
    except NoIntervalError as error:
        return replace(blank, reason=str(error))
    invalid = before.invalid + after.invalid
    lacking = [
        f"missing in {lack} of the {which}"
        for which, side in (("baseline", base), ("candidate", cand))
        if (lack := trials_without(side.group, metric.path.rpartition(".")[0]))
    ]
    if invalid:
        lacking = [f"{invalid} values were no finite numbers and were left out"]
    if lacking:
        # Leaving out what was not recorded would flatter one side: no verdict on that.
        return replace(judged, verdict=INCONCLUSIVE, reason=", ".join(lacking), needs=None)
    return judged


def _without_observations(
    metric: Metric, base: Subject, cand: Subject, options: Options
) -> Comparison:
    """A number that a plugin gave, with nothing to tell by how certain it is."""
    before, after = base.numbers.get(metric.path), cand.numbers.get(metric.path)
    blank = _blank(metric, before, after, options)
    if before is None:
        return replace(blank, verdict=ADDED, reason="the baseline has no such metric")
    if after is None:
        return replace(blank, verdict=REMOVED, reason="the candidate has no such metric")
    why = "no interval: a plugin gave the number without its observations"
    return replace(blank, scale=DIFFERENCE, change=after - before, reason=why)


def _centre(sample: Sample, metric: Metric) -> float | None:
    if not sample.n:
        return None
    if metric.drawn in PER_TRIAL and sample.weights is not None:
        return None  # what a trial spent is not known: some of its calls may have been dropped
    if metric.statistic == TYPICAL:
        return sample.quantile(0.5)
    if sample.kind == QUANTILE:
        return sample.quantile(sample.q)
    return sample.mean() * sample.factor


def change_of(before: Sample, after: Sample, *, typical: bool = False) -> Change:
    """The change of one metric, by the method that fits the samples.

    Args:
        before, after: the observations on both sides.
        typical: ask for the typical value, not for the mean of all.

    Raises:
        NoIntervalError: the samples admit no statement.
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
    if typical:  # what is paid (cost, tokens) is the mean, outliers and all
        positive = min(before.values.min(), after.values.min()) > 0
        if positive:
            return _skewed(before, after)
    return average_change(before, after)


def _skewed(before: Sample, after: Sample) -> Change:
    pairs = _pairs(before, after, logs=True)
    if pairs:
        return changes.paired_log_ratio(*pairs)
    return changes.log_shift(_independent(before, logs=True), _independent(after, logs=True))


def average_change(before: Sample, after: Sample, factor: float = 1.0) -> Change:
    """The difference of means, candidate − ``factor`` × baseline, paired by case if they match.

    Raises:
        NoIntervalError: too few values.
    """
    pairs = _pairs(before, after)
    if pairs:
        return changes.paired_means(factor * pairs[0], pairs[1])
    return changes.means(factor * _independent(before), _independent(after))


def _independent(sample: Sample, logs: bool = False) -> Floats:
    """One value per case where cases repeat (trials of a case are not independent)."""
    if sample.clusters() is not None:
        return sample.case_means(logs)[1]
    values: Floats = np.log(sample.values) if logs else sample.values
    return values


def _pairs(before: Sample, after: Sample, logs: bool = False) -> tuple[Floats, Floats] | None:
    """Both sides by matched case, if at least half of the cases of each side match."""
    if before.cases is None or after.cases is None:
        return None
    (cases, means), (others, other_means) = (side.case_means(logs) for side in (before, after))
    of_case = np.full(len(before.names) + 1, np.nan)  # the last is that of no case
    of_case[cases] = means
    first = of_case[_numbers(before.names, after.names)[others]]
    matched = ~np.isnan(first)
    count = int(np.count_nonzero(matched))
    if count < 2 or 2 * count < max(cases.size, others.size):
        return None
    return first[matched], other_means[matched]


@lru_cache(maxsize=1)
def _numbers(names: tuple[str, ...], others: tuple[str, ...]) -> Ints:
    """For each of the other names its place among the names, or −1; the same for many metrics."""
    places = {name: place for place, name in enumerate(names)}
    return np.array([places.get(name, -1) for name in others], dtype=np.int64)


# --- the verdict ------------------------------------------------------------------------------


def _judged(blank: Comparison, change: Change, alpha: float) -> Comparison:
    low, high = change.interval(alpha)
    if not all(map(math.isfinite, (low, high, change.estimate))):
        raise NoIntervalError("too few observations of too different sizes: no bound on the change")
    judged = replace(
        blank,
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
    """The margin around "no change", on the scale of the change."""
    margin = comparison.margin
    if comparison.scale == RATIO:
        return 1 / (1 + margin), 1 + margin
    if comparison.share or comparison.baseline is None:
        return -margin, margin
    # Relative to the baseline; a baseline of 0 leaves nothing to be relative to.
    size = margin * abs(comparison.baseline)
    return (-size, size) if size else (-margin, margin)


def cases_needed(change: Change, alpha: float, *limits: float) -> int | None:
    """Cases at which the interval, shrinking with the root of n, would hold none of the limits.

    None if more than a million, or if the change lies on a limit.
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
    """Correct p for the number of metrics; nothing regressed or improved if p is not certain.

    So unchanged code is called REGRESSED in at most half of alpha of all runs, however many metrics
    there are, and a verdict never contradicts the p-value beside it.
    """
    p_values = holm({each.metric: each.p for each in judged})
    count = sum(p is not None for p in p_values.values())
    corrected = []
    for each in judged:
        p, verdict, reason = p_values[each.metric], each.verdict, each.reason
        if verdict in (REGRESSED, IMPROVED) and (p is None or p > alpha):
            alone = each.p is not None and each.p <= alpha
            why = f"after correction for {count} metrics" if alone else "by the exact test"
            verdict, reason = INCONCLUSIVE, f"{verdict} by its interval, but not {why}"
        corrected.append(replace(each, p=p, verdict=verdict, reason=reason))
    return corrected
