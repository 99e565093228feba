"""The change of one metric: its values on both sides, and the method that fits its observations."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.stats.bounded_changes import (
    paired_bounded,
    paired_bounded_floor,
    unpaired_bounded,
    unpaired_bounded_floor,
)
from pytest_crucible.stats.bounds import independent
from pytest_crucible.stats.change import (
    Change,
    Floats,
    Ints,
    paired_floor,
    unpaired_floor,
)
from pytest_crucible.stats.formula_samples import counting, formula_change
from pytest_crucible.stats.intervals import NoIntervalError, cluster_means
from pytest_crucible.stats.mean_changes import (
    independent_t,
    mean_ratio,
    paired_mean_ratio,
    paired_t,
    units,
)
from pytest_crucible.stats.melded import Side
from pytest_crucible.stats.metric_samples import PER_TRIAL
from pytest_crucible.stats.percentiles import FLOOR, quantile_ratio
from pytest_crucible.stats.rank_changes import log_shift, paired_log_ratio
from pytest_crucible.stats.samples import (
    FORMULA,
    QUANTILE,
    TYPICAL,
    Sample,
    refuse_unusable,
)
from pytest_crucible.stats.sequential import paired_at_any_look


def centre(sample: Sample, metric: Metric) -> float | None:
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


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about a change.

    Attributes:
        typical: about typical values (medians), not means.
        factor: the change is candidate − ``factor`` × baseline; for ratios without meaning.
        difference: in the unit of the metric, although its changes are shown as ratios.
    """

    typical: bool = False
    factor: float = 1.0
    difference: bool = False


ROW = Question()
"""What a row of a comparison asks of most metrics."""


def ratio_scale(before: Sample, after: Sample, question: Question = ROW) -> bool:
    """Whether the change of these samples is a ratio."""
    if question.difference or before.kind == FORMULA or _bounded(before, after):
        return False
    if before.kind == QUANTILE or _typical(before, after, question):
        return True
    least = min(before.values.min(initial=0.0), after.values.min(initial=0.0))
    return bool(least >= 0 and before.values.any())


def change_of(before: Sample, after: Sample, alpha: float, question: Question = ROW) -> Change:
    """Return the change of one metric, by the method that fits the samples.

    Args:
        before, after: the observations of baseline and candidate.
        alpha: error of both sides of the interval together.
        question: what is asked.

    Raises:
        NoIntervalError: the samples admit no interval, with the reason.
    """
    refuse_unusable(before, after)
    change = _change_of(before, after, alpha, question)
    if not all(map(math.isfinite, (change.low, change.high, change.estimate))):
        raise NoIntervalError("too few observations of too different sizes: no bound on it")
    return change


def _change_of(before: Sample, after: Sample, alpha: float, question: Question) -> Change:
    factor = question.factor
    if before.kind == FORMULA:
        return formula_change(before, after, alpha, pairs_of(before, after), factor)
    ends = _bounded(before, after)
    if ends:
        return _bounded_change(before, after, alpha, ends, factor)
    if before.kind == QUANTILE:
        before, after = _above_zero(before, after)
        paired = pairs_of(before, after) is not None
        return quantile_ratio(before, after, before.q, alpha, paired=paired)
    if _typical(before, after, question) and not question.difference:
        return _typical_change(before, after, alpha)
    return _mean_change(before, after, alpha, question)


def _typical(before: Sample, after: Sample, question: Question) -> bool:
    """Whether typical values are compared; always of measured times: each is a median itself."""
    return question.typical or (before.processes is not None and after.processes is not None)


def _typical_change(before: Sample, after: Sample, alpha: float) -> Change:
    before, after = _above_zero(before, after)
    pairs = pairs_of(before, after, logs=True)
    if pairs:
        return paired_log_ratio(pairs[0], pairs[1], alpha, pairs[2])
    (old, old_clusters), (new, new_clusters) = (
        _independent(side, logs=True) for side in (before, after)
    )
    return log_shift(old, new, alpha, (old_clusters, new_clusters))


def _above_zero(before: Sample, after: Sample) -> tuple[Sample, Sample]:
    """Return both samples with the smallest value above 0 in place of 0.

    A time of 0 is one below what the clock can tell (a cache hit), and a ratio needs a number. So
    one of them does not hide what the other cases say.

    Raises:
        NoIntervalError: values lie below 0, or nothing lies above.
    """
    values = np.concatenate([before.values, after.values])
    if float(values.min()) < 0 or not values.any():
        raise NoIntervalError("its change is a ratio, which values of 0 and below do not have")
    least = float(values[values > 0].min())
    first, second = (
        replace(side, values=np.maximum(side.values, least)) for side in (before, after)
    )
    return first, second


def _mean_change(before: Sample, after: Sample, alpha: float, question: Question) -> Change:
    """Return the change of a mean: users pay the mean, outliers included, so no ranks."""
    as_ratio = ratio_scale(before, after, question)
    pairs = pairs_of(before, after)
    if pairs:
        if as_ratio:
            return paired_mean_ratio(pairs[0], pairs[1], alpha, pairs[2])
        return paired_t(question.factor * pairs[0], pairs[1], alpha, pairs[2])
    (old, old_clusters), (new, new_clusters) = map(_independent, (before, after))
    clusters = old_clusters, new_clusters
    if as_ratio:
        return mean_ratio(old, new, alpha, clusters)
    return independent_t(question.factor * old, new, alpha, clusters)


def _bounded(before: Sample, after: Sample) -> tuple[float, float] | None:
    """Return the ends of the values, if both sides have the same two."""
    if QUANTILE in (before.kind, after.kind) or FORMULA in (before.kind, after.kind):
        return None
    low, high = after.ends
    if low is None or high is None or before.ends != after.ends:
        return None
    return low, high


def _bounded_change(
    before: Sample, after: Sample, alpha: float, ends: tuple[float, float], factor: float
) -> Change:
    pairs = pairs_of(before, after)
    if at_any_look(before, after):
        if not pairs:
            raise NoIntervalError("arms are judged at any look only in pairs: no case is in both")
        began = _pairs_began(before, after)
        return paired_at_any_look(pairs[0], pairs[1], began, pairs[2], alpha, ends, factor)
    if pairs:
        return paired_bounded(pairs[0], pairs[1], alpha, ends, pairs[2], factor)
    sides = [Side.of_values(*independent(side), ends) for side in (before, after)]
    sizes = (before.units, after.units)
    return unpaired_bounded(sides[0], sides[1], alpha, sizes, min(sizes), factor)


def at_any_look(before: Sample, after: Sample) -> bool:
    """Whether the change of these samples is judged at any look (`sequential`)."""
    asked = before.began is not None or after.began is not None
    return asked and _bounded(before, after) is not None


# --- what the sizes alone allow ---------------------------------------------------------------


def floor_of(
    before: Sample, after: Sample, question: Question = ROW, at: float | None = None
) -> float:
    """Return the smallest one-sided p that the number of observations allows; 1 if none.

    A test that cannot reach its level spends none of it (Tarone 1990).

    Args:
        before, after: the observations of baseline and candidate.
        question: what is asked.
        at: the change that is tested; None: no change. It only counts for bounded values.
    """
    if not before.n or not after.n:
        return 1.0
    try:
        refuse_unusable(before, after)
    except NoIntervalError:
        return 1.0
    pairs = pairs_of(before, after)
    n, m = before.units, after.units
    if pairs:
        n = m = units(pairs[0].size, pairs[2])
    if before.kind == FORMULA:
        n, m = counting(before), counting(after)
        return paired_floor(min(n, m)) if pairs else unpaired_floor(n, m)
    if at_any_look(before, after):
        return 0.0  # more cases may come: it takes its part from the beginning
    ends = _bounded(before, after)
    if ends:
        return _bounded_floor(before, after, pairs, ends, question.factor, at or 0.0)
    if before.kind == QUANTILE:
        reachable = min(before.q, 1 - before.q) ** min(before.n, after.n)
        wide = max(before.q, 1 - before.q) ** min(before.n, after.n)
        return max(FLOOR, reachable, wide)
    return paired_floor(n) if pairs else unpaired_floor(n, m)


def _bounded_floor(
    before: Sample,
    after: Sample,
    pairs: Pairs | None,
    ends: tuple[float, float],
    factor: float,
    at: float,
) -> float:
    if pairs is None:
        old, new = (_ones(*independent(side)) for side in (before, after))
        return unpaired_bounded_floor((old, new), ends, factor, at)
    first, _, clusters = pairs
    if clusters is None:
        return paired_bounded_floor(first.size, None, ends, factor, at)
    _, sizes = cluster_means(first, clusters)
    return paired_bounded_floor(sizes.size, sizes, ends, factor, at)


def _ones(values: Floats, sizes: Floats | None) -> Floats:
    return np.ones(values.size) if sizes is None else sizes


# --- pairs ------------------------------------------------------------------------------------


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


def pairs_of(before: Sample, after: Sample, logs: bool = False) -> Pairs | None:
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


def _pairs_began(before: Sample, after: Sample) -> Floats:
    """Return when each pair of `pairs_of` began, as far as that is known: its first side."""
    (old_cases, _), (new_cases, _) = (side.case_means() for side in (before, after))
    partners = _indices(before.names, after.names)[new_cases]
    matched = np.isin(partners, old_cases)
    old, new = (
        np.full(len(side.names), np.nan) if side.began is None else side.began
        for side in (before, after)
    )
    began: Floats = np.fmin(old[partners[matched]], new[new_cases[matched]])
    return began


@lru_cache(maxsize=1)
def _indices(names: tuple[str, ...], others: tuple[str, ...]) -> Ints:
    """Return the index among ``names`` of every one of ``others``, or −1.

    Cached, because many metrics have the same cases.
    """
    by_name = {name: index for index, name in enumerate(names)}
    return np.array([by_name.get(name, -1) for name in others], dtype=np.int64)


def in_unit(sample: Sample) -> Sample:
    """Return the sample with its values in the unit of the metric (``cost.per_1k``: × 1,000)."""
    if sample.factor == 1.0:
        return sample
    low, high = (None if end is None else end * sample.factor for end in sample.limits)
    return replace(sample, values=sample.values * sample.factor, factor=1.0, limits=(low, high))
