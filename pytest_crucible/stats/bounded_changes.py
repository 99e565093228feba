"""Changes of shares and of bounded scores: differences that stay within what is possible."""

from __future__ import annotations

import math
from functools import cache

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
from pytest_crucible.stats.intervals import NoIntervalError

END_WEIGHT = 0.5
"""Weight of the unseen case at the end of the range; 1 is exact and conservative.

A half is the analogue of the mid-p-value (Lancaster 1961): comparisons have a margin between "no
change" and "regressed", which keeps false alarms far below the level.
"""
_NODES = 200
"""Of the integral of a floor: four digits up to 1,000 values, and far below any level beyond."""
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

    On zeros and ones this is McNemar's test (1947), with its mid-p-value.

    Args:
        base, cand: values between the ends, one per case, in the same order, shape ``(n,)``.
        alpha: error of both sides together.
        ends: smallest and largest possible value.
        clusters: cluster of every case, shape ``(n,)``; None if cases are independent.
        factor: the change is candidate − ``factor`` × baseline.
    """
    low, high = ends
    values = differences(factor * base, cand)
    reach = sorted(
        (low - factor * low, low - factor * high, high - factor * low, high - factor * high)
    )
    least, most = reach[0], reach[-1]
    sizes: Floats | None = None
    if clusters is not None:
        counts = np.bincount(clusters)
        present = np.flatnonzero(counts)
        sums = np.bincount(clusters, weights=values)[present]
        values, sizes = sums / counts[present], counts[present].astype(np.float64)
    below, above = gaffke.bounds(values, sizes, alpha, least, most, END_WEIGHT)
    p = 2 * min(
        gaffke.p_above(values, sizes, 0.0, least, END_WEIGHT),
        gaffke.p_below(values, sizes, 0.0, most, END_WEIGHT),
    )
    estimate = float(differences(factor * base, cand).mean())
    same = float(np.ptp(values)) == 0.0
    lost, won = int((values < 0).sum()), int((values > 0).sum())
    change = Change(
        DIFFERENCE,
        estimate,
        below,
        above,
        min(1.0, p),
        (above - below) / 2 / normal_isf(alpha / 2),
        ("pairs that differ", float(lost + won)),
        "paired, Gaffke's bound" + (", clustered" if clusters is not None else ""),
        (base.size,),
        alike=values.size if same else None,
    )
    return within(guarded(change, values.size, alpha, high - low), least, most)


def unpaired_bounded(
    base: melded.Side,
    cand: melded.Side,
    alpha: float,
    n: tuple[int, int],
    units: int,
    factor: float = 1.0,
) -> Change:
    """Return the difference of two independent bounded means (Fay, Proschan and Brittain 2015).

    On zeros and ones this is Fisher's exact test, with its mid-p-value.

    Args:
        base, cand: both sides.
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
    change = guarded(change, units, alpha, base.width)
    return within(
        change, cand.ends[0] - factor * base.ends[1], cand.ends[1] - factor * base.ends[0]
    )


# --- what the sizes alone allow ---------------------------------------------------------------


def paired_bounded_floor(n: int, factor: float = 1.0) -> float:
    """Return the smallest one-sided p of `paired_bounded`: all ``n`` go from one end to the other.

    Args:
        n: number of pairs, or of clusters of pairs.
        factor: as above; the ends are 0 and 1.
    """
    from scipy.special import betainc

    return float(betainc(n, END_WEIGHT, max(0.0, min(factor, 1.0) / (1 + factor))))


def unpaired_bounded_floor(n: int, m: int, factor: float = 1.0) -> float:
    """Return the smallest one-sided p of `unpaired_bounded`, for sides of ``n`` and ``m``.

    All of one side lie at one end, all of the other at the other: P(C ≤ factor · B) for C ~
    Beta(m, w) and B ~ Beta(w, n), or the other way round.
    """
    return min(_beyond(n, m, factor), _beyond(m, n, 1 / factor)) if factor > 0 else 0.0


def _beyond(n: int, m: int, factor: float) -> float:
    """Return P(Beta(m, w) ≤ factor · Beta(w, n)), for w = `END_WEIGHT`."""
    from scipy.special import betainc, betaln

    # With B = sin², its density is smooth for w = ½, too.
    nodes, weights = _legendre()
    angle = math.pi / 4 * (nodes + 1)
    shape = (2 * END_WEIGHT - 1) * np.log(np.sin(angle)) + (2 * n - 1) * np.log(np.cos(angle))
    density = 2 * np.exp(shape - betaln(END_WEIGHT, n))
    lower = betainc(m, END_WEIGHT, np.minimum(1.0, factor * np.sin(angle) ** 2))
    return min(1.0, float(math.pi / 4 * (weights * density * lower).sum()))


@cache
def _legendre() -> tuple[Floats, Floats]:
    """Return the nodes and weights of Gauss and Legendre: working them out takes 10 ms."""
    return np.polynomial.legendre.leggauss(_NODES)
