"""Comparison: baseline against candidate, metric by metric, each with a verdict.

The confidence interval of the change, held against a margin, decides: a change that is certain but
smaller than the margin is no regression, and one that looks large but is uncertain is none either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from pytest_crucible.metrics.observations import Group
from pytest_crucible.stats import changes, percentiles
from pytest_crucible.stats.changes import RATIO, Change
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.samples import (
    QUANTILE,
    RATE,
    Floats,
    Ints,
    Sample,
    lower_is_better,
    per_trial,
    refuse_sampled,
    sample_of,
    trials_without,
)
from pytest_crucible.stats.tests import holm

REGRESSED, IMPROVED = "REGRESSED", "IMPROVED"
EQUIVALENT, INCONCLUSIVE = "EQUIVALENT", "INCONCLUSIVE"
ADDED, REMOVED = "ADDED", "REMOVED"

ALPHA = 0.05
"""Of both sides together; 0.025 on the bad side."""
MARGIN = 0.05
_MOST_CASES = 1_000_000
_PER_TRIAL = ("cost", "tokens")


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

    def margin_of(self, metric: str) -> float:
        for name, margin in (self.margins or {}).items():
            if metric == name or metric.startswith(f"{name}."):
                return margin
        return self.margin


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


def compare_groups(base: Group, cand: Group, options: Options | None = None) -> list[Comparison]:
    """Compare every metric that either side has.

    Args:
        base: observations of the baseline.
        cand: observations of the candidate; paired by case where the cases match.
        options: margins and level.
    """
    options = options or Options()
    found = [_compare(metric, base, cand, options) for metric in _metrics(base, cand, options)]
    return _corrected(found, options.alpha)


def _metrics(base: Group, cand: Group, options: Options) -> list[str]:
    recorded = dict.fromkeys([*base.recorded, *cand.recorded])
    names = ["success_rate", *(f"{name}.mean" for name in recorded)]
    names += ["latency", "latency.p95"]
    if any(0.0 in group.success for group in (base, cand)):
        names.append("reliability.success_rate")
    names += ["cost", "tokens"]
    found = [name for name in names if _has(base, name) or _has(cand, name)]
    # Of what was logged only what the author claims something about: a correction for every
    # learning rate that was logged on the way would bury the rest.
    last = [f"{name}.last" for name in base.logged if name in (options.lower_is_better or ())]
    return found + [name for name in last if _has(base, name) and _has(cand, name)]


def _has(group: Group, metric: str) -> bool:
    return _sample(group, metric).n > 0


def _sample(group: Group, metric: str) -> Sample:
    if metric == "cost":
        return per_trial(group, "cost_usd", "counted_cost")
    if metric == "tokens":
        return per_trial(group, "total_tokens", "counted_tokens")
    found = sample_of(group, "latency.mean" if metric == "latency" else metric)
    return found or Sample(np.empty(0), None, (), RATE)


def _compare(metric: str, base: Group, cand: Group, options: Options) -> Comparison:
    before, after = _sample(base, metric), _sample(cand, metric)
    lower = lower_is_better(metric, options.lower_is_better)
    blank = Comparison(
        metric=metric,
        baseline=_centre(before, metric),
        candidate=_centre(after, metric),
        verdict=INCONCLUSIVE,
        margin=options.margin_of(metric),
        lower_is_better=lower,
        share=all(side.kind == RATE for side in (before, after) if side.n),
    )
    if not before.n:
        return replace(blank, verdict=ADDED, reason="the baseline has no such metric")
    if not after.n:
        return replace(blank, verdict=REMOVED, reason="the candidate has no such metric")
    try:
        judged = _judged(blank, change_of(metric, before, after), options.alpha)
    except NoIntervalError as error:
        return replace(blank, reason=str(error))
    invalid = before.invalid + after.invalid
    lacking = [
        f"missing in {lack} of the {side}"
        for side, group in (("baseline", base), ("candidate", cand))
        if (lack := trials_without(group, metric.rpartition(".")[0]))
    ]
    if invalid:
        lacking = [f"{invalid} values were no finite numbers and were left out"]
    if lacking:
        # Leaving out what was not recorded would flatter one side: no verdict on that.
        return replace(judged, verdict=INCONCLUSIVE, reason=", ".join(lacking), needs=None)
    return judged


def _centre(sample: Sample, metric: str) -> float | None:
    if not sample.n:
        return None
    if metric in _PER_TRIAL and sample.weights is not None:
        return None  # what a trial spent is not known: some of its calls may have been dropped
    if metric == "latency":
        return sample.quantile(0.5)
    if sample.kind == QUANTILE:
        return sample.quantile(sample.q)
    return sample.mean() * sample.factor


def change_of(metric: str, before: Sample, after: Sample) -> Change:
    """The change of one metric, by the method that fits the samples.

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
    if metric == "latency":  # typical; what is paid (cost, tokens) is the mean, outliers and all
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
