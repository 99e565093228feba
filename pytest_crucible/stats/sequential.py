"""Always-valid judging: bounds and changes that hold however often somebody looks.

Who adds cases until the verdict is the one he wants finds it in half of all histories with bounds
that are made for one look. These here hold at all looks together (`betting`): every look is at the
cases so far, in the order in which they began. The order of their ends would not do: where failures
end sooner, and several processes run at once, there are more of them among the first ends than
among the cases, which made 16 to 22 % of verdicts wrong (``python -m benchmarks peeking``).
"""

from __future__ import annotations

import math
from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.stats import betting
from pytest_crucible.stats.bounded_changes import reach
from pytest_crucible.stats.change import DIFFERENCE, Change, differences
from pytest_crucible.stats.distributions import normal_isf
from pytest_crucible.stats.intervals import NoIntervalError, cluster_means
from pytest_crucible.stats.samples import QUANTILE, Floats, Ints, Sample

_ROUNDING = 1e-9
METHOD = "betting e-process, always valid"
OPEN = "not decided yet: add cases and look again"
UNFIT = (
    "no bounds that hold at any look: declare range= with two ends, ask for a percentile, or judge "
    "once, without sequential"
)
"""Why a metric has no always-valid bounds."""
DRIFTED = (
    "early cases differ from late ones by more than chance: run them in random order, or find out "
    "what changed meanwhile"
)
UNFIT_ARMS = (
    "no change that holds at any look: ask for a rate or the mean of a number with a range=, or "
    "judge once, without sequential"
)
"""Why a metric has no always-valid change."""


def units_in_order(sample: Sample, values: Floats) -> tuple[Floats, Floats | None]:
    """Return the means of the independent units in the order in which they began, and their sizes.

    A unit is a cluster, else a case, else a value.

    Args:
        sample: with `Sample.began`.
        values: one number per value of the sample, shape ``(n,)``.
    """
    if sample.cases is None:
        return values, None
    assert sample.began is not None
    belongs = sample.belongs if sample.belongs is not None else np.arange(len(sample.names))
    return _in_order(values, belongs[sample.cases], sample.began[sample.cases])


def _in_order(values: Floats, units: Ints, began: Floats) -> tuple[Floats, Floats | None]:
    means, sizes = cluster_means(values, units)
    _, unit = np.unique(units, return_inverse=True)
    first = np.full(sizes.size, np.inf)
    np.fmin.at(first, unit, began)
    order = np.argsort(first, kind="stable")
    return means[order], None if (sizes == sizes[0]).all() else sizes[order]


def bounds_at_any_look(sample: Sample, below: float, above: float) -> tuple[float, float]:
    """Return the always-valid bounds of the metric behind a sample with `Sample.began`.

    Args:
        sample: a rate, a mean of values between two known ends, or a percentile.
        below: probability that the lower bound ever lies above the true value, at most.
        above: the same for the upper bound.

    Returns:
        The bounds in the unit of the values; −∞ and ∞ where there is none.

    Raises:
        NoIntervalError: values lie outside their range, or early and late ones contradict each
            other.
    """
    if sample.kind == QUANTILE:
        return _around(sample.quantile(sample.q), _quantile(sample, below, above))
    low, high = sample.ends
    assert low is not None
    assert high is not None
    values, sizes = units_in_order(sample, _scaled(sample.values, low, high))
    mean = float(np.average(values, weights=sizes))
    lower, upper = _around(mean, betting.bounds(values, sizes, below, above))
    return low + (high - low) * lower, low + (high - low) * upper


def _around(point: float, bounds: tuple[float, float]) -> tuple[float, float]:
    """Refuse bounds that an early look gave, if what is seen by now lies beyond them.

    Raises:
        NoIntervalError: there is no single true value, or a rare accident.
    """
    low, high = bounds
    if not low - _ROUNDING <= point <= high + _ROUNDING:
        raise NoIntervalError(DRIFTED)
    return low, high


def _scaled(values: Floats, low: float, high: float) -> Floats:
    if values.min(initial=low) < low or values.max(initial=high) > high:
        raise NoIntervalError("values outside its range")
    return (values - low) / (high - low)


def _quantile(sample: Sample, below: float, above: float) -> tuple[float, float]:
    """Bet on the share of values up to each value: the percentile is where it passes q."""
    ordered = np.unique(sample.values)

    def reached(inside: NDArray[np.bool_], share: float, level: float) -> bool:
        values, sizes = units_in_order(sample, inside.astype(np.float64))
        return betting.log_evidence(values, sizes, share) >= -math.log(level)

    highs = range(ordered.size)
    at = bisect_left(
        highs, True, key=lambda i: reached(sample.values <= ordered[i], sample.q, above)
    )
    high = float(ordered[at]) if at < ordered.size else math.inf
    at = bisect_left(
        highs, True, key=lambda i: reached(sample.values >= ordered[-1 - i], 1 - sample.q, below)
    )
    low = float(ordered[-1 - at]) if at < ordered.size else -math.inf
    return low, high


def paired_at_any_look(
    base: Floats,
    cand: Floats,
    began: Floats,
    clusters: Ints | None,
    alpha: float,
    ends: tuple[float, float],
    factor: float = 1.0,
) -> Change:
    """Return the mean difference of pairs of bounded values, always valid.

    A difference d of shares lies between −1 and 1, so (d + 1) / 2 is bet on, against 1/2 for "no
    change"; a pair that does not differ costs nothing.

    Args:
        base, cand: values between the ends, one per case, in the same order, shape ``(n,)``.
        began: when each pair began, shape ``(n,)``.
        clusters: cluster of every case, shape ``(n,)``; None if cases are independent.
        alpha: error of both sides together.
        ends: smallest and largest possible value.
        factor: the change is candidate − ``factor`` × baseline.

    Raises:
        NoIntervalError: early and late pairs contradict each other.
    """
    least, most = reach(ends, factor)
    changes = differences(factor * base, cand)
    units = np.arange(changes.size) if clusters is None else clusters
    values, sizes = _in_order(_scaled(changes, least, most), units, began)
    mean = float(np.average(values, weights=sizes))
    lower, upper = _around(mean, betting.bounds(values, sizes, alpha / 2, alpha / 2))
    low, high = least + (most - least) * lower, least + (most - least) * upper
    none = (0.0 - least) / (most - least)
    money = max(
        betting.log_evidence(values, sizes, none), betting.log_evidence(1 - values, sizes, 1 - none)
    )
    differ = float(np.count_nonzero(changes))
    return Change(
        DIFFERENCE,
        float(changes.mean()),
        low,
        high,
        min(1.0, 2 * math.exp(-money)),
        (high - low) / 2 / normal_isf(alpha / 2),
        ("pairs that differ", differ),
        f"paired, {METHOD}",
        (base.size,),
    )
