"""The change of one metric: its values on both sides, and the method that fits its observations."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.stats import changes, percentiles
from pytest_crucible.stats.changes import Change
from pytest_crucible.stats.formula_samples import formula_change
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.metric_samples import (
    PER_TRIAL,
)
from pytest_crucible.stats.samples import (
    FORMULA,
    QUANTILE,
    RATE,
    TYPICAL,
    Floats,
    Ints,
    Sample,
    refuse_unusable,
)


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


def change_of(before: Sample, after: Sample, *, typical: bool = False) -> Change:
    """Return the change of one metric, by the method that fits the samples.

    Args:
        before, after: the observations of baseline and candidate.
        typical: compare typical values (medians), not means. Times that were measured always are
            compared so: each is a median itself.

    Raises:
        NoIntervalError: the samples admit no interval, with the reason.
    """
    refuse_unusable(before, after)
    if before.kind == FORMULA:
        return formula_change(before, after, _pairs(before, after))
    if before.kind == RATE and after.kind == RATE:
        pairs = _pairs(before, after)
        return changes.paired_rates(*pairs) if pairs else changes.rates(before, after)
    if before.kind == QUANTILE:
        if min(before.values.min(), after.values.min()) <= 0:
            raise NoIntervalError("a percentile's change is a ratio: needs values above 0")
        paired = _pairs(before, after) is not None
        return percentiles.quantile_ratio(before, after, before.q, paired)
    measured = before.processes is not None and after.processes is not None
    if typical or measured:  # not for cost and tokens: users pay the mean, outliers included
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
