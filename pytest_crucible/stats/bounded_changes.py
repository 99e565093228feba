"""Changes of shares and of bounded scores: differences that stay within what is possible."""

from __future__ import annotations

import numpy as np

from pytest_crucible.stats import gaffke, melded
from pytest_crucible.stats.change import (
    DIFFERENCE,
    Change,
    Floats,
    Ints,
    differences,
    guarded,
    within,
)
from pytest_crucible.stats.distributions import normal_isf
from pytest_crucible.stats.intervals import NoIntervalError, cluster_means

END_WEIGHT = 0.5
"""Weight of the unseen case at the end of the range; 1 is exact and conservative.

A half is the analogue of the mid-p-value (Lancaster 1961): comparisons have a margin between "no
change" and "regressed", which keeps false alarms far below the level.
"""
Ends = tuple[float, float]


def paired_bounded(
    base: Floats,
    cand: Floats,
    alpha: float,
    ends: Ends = (0.0, 1.0),
    clusters: Ints | None = None,
    factor: float = 1.0,
) -> Change:
    """Return the mean difference of pairs of bounded values: Gaffke's bound (Gaffke 2005).

    On zeros and ones this is McNemar's test (1947), with an analogue of its mid-p-value.

    Args:
        base, cand: values between the ends, one per case, in the same order, shape ``(n,)``.
        alpha: error of both sides together.
        ends: smallest and largest possible value.
        clusters: cluster of every case, shape ``(n,)``; None if cases are independent.
        factor: the change is candidate − ``factor`` × baseline.
    """
    found = values = differences(factor * base, cand)
    least, most = reach(ends, factor)
    sizes: Floats | None = None
    if clusters is not None:
        values, sizes = cluster_means(found, clusters)
    below, above = gaffke.bounds(values, sizes, alpha, least, most, END_WEIGHT)
    p = 2 * min(
        gaffke.p_above(values, sizes, 0.0, least, END_WEIGHT),
        gaffke.p_below(values, sizes, 0.0, most, END_WEIGHT),
    )
    same = float(np.ptp(values)) == 0.0
    lost, won = int((values < 0).sum()), int((values > 0).sum())
    change = Change(
        DIFFERENCE,
        float(found.mean()),
        below,
        above,
        min(1.0, p),
        (above - below) / 2 / normal_isf(alpha / 2),
        ("pairs that differ", float(lost + won)),
        "paired, Gaffke's bound" + (", clustered" if clusters is not None else ""),
        (base.size,),
        alike=values.size if same else None,
    )
    return within(guarded(change, values.size, alpha, ends[1] - ends[0]), least, most)


def reach(ends: Ends, factor: float) -> Ends:
    """Return the smallest and largest possible candidate − ``factor`` × baseline."""
    low, high = ends
    corners = low - factor * low, low - factor * high, high - factor * low, high - factor * high
    return min(corners), max(corners)


def unpaired_bounded(
    base: melded.Side,
    cand: melded.Side,
    alpha: float,
    n: tuple[int, int],
    units: int,
    factor: float = 1.0,
) -> Change:
    """Return the difference of two independent bounded means (Fay, Proschan and Brittain 2015).

    On zeros and ones this is Fisher's exact test, with an analogue of its mid-p-value.

    Args:
        base, cand: both sides, with the same ends.
        alpha: error of both sides together.
        n: sizes of both sides, for reports.
        units: number of independent units of the smaller side.
        factor: the change is candidate − ``factor`` × baseline.

    Raises:
        NoIntervalError: the factor is negative.
    """
    if factor < 0:
        raise NoIntervalError("a share can only be compared with a multiple of at least 0")
    below, above = melded.interval(base, cand, alpha, factor, END_WEIGHT)
    p = 2 * min(
        melded.p_above(base, cand, 0.0, factor, END_WEIGHT),
        melded.p_below(base, cand, 0.0, factor, END_WEIGHT),
    )
    estimate = cand.mean - factor * base.mean
    change = Change(
        DIFFERENCE,
        estimate,
        min(below, estimate),
        max(above, estimate),
        min(1.0, p),
        (above - below) / 2 / normal_isf(alpha / 2),
        None,
        "melded Gaffke bounds",
        n,
        alike=units if base.constant and cand.constant else None,
    )
    return within(guarded(change, units, alpha, base.width), *reach(base.ends, factor))


# --- what the sizes alone allow ---------------------------------------------------------------


def paired_bounded_floor(
    n: int, sizes: Floats | None, ends: Ends, factor: float = 1.0, at: float = 0.0
) -> float:
    """Return the smallest one-sided p of `paired_bounded`: all pairs change as far as they can.

    Args:
        n: number of pairs; of clusters, if there are clusters.
        sizes: number of pairs in each cluster; None without clusters.
        ends: as there.
        factor: as there.
        at: the change that is tested.
    """
    least, most = reach(ends, factor)
    return min(
        gaffke.p_below(np.full(n, least), sizes, at, most, END_WEIGHT),
        gaffke.p_above(np.full(n, most), sizes, at, least, END_WEIGHT),
    )


def unpaired_bounded_floor(
    sizes: tuple[Floats, Floats], ends: Ends, factor: float = 1.0, at: float = 0.0
) -> float:
    """Return the smallest one-sided p of `unpaired_bounded`: both sides lie at opposite ends.

    Args:
        sizes: number of values in each independent unit, of both sides.
        ends: as there.
        factor: as there; below 0 there is no test, so no p below 1.
        at: the change that is tested.
    """
    if factor < 0:
        return 1.0
    low, high = (
        [melded.Side.of_values(np.full(each.size, end), each, ends) for each in sizes]
        for end in ends
    )
    return min(
        melded.p_below(high[0], low[1], at, factor, END_WEIGHT),
        melded.p_above(low[0], high[1], at, factor, END_WEIGHT),
    )
