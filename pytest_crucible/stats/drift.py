"""Drift: whether latency changed while a run went on, which is no property of the code under test.

Two signs are looked for, in the order of time: a trend, and neighbours that are alike. Both work on
ranks, so single slow trials do not matter, and both leave out what the cases themselves differ by,
where cases repeat.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.stats.distributions import normal_sf

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FEWEST = 20
"""With fewer latencies, nothing is said about drift."""
LEVEL = 0.001
"""Error of each sign in a run without drift, over all arms of the run together."""
TREND = 0.1
"""A smaller change from the first to the last third of a run is not said."""
ALIKE = 0.3
"""Neighbours with a smaller correlation are not said: an interval is by a third too narrow then."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What the latencies of a run say about the time at which they were measured.

    Attributes:
        n: number of latencies.
        change: from the first to the last third of the run, as a share: .32 is 32 % slower.
        trend_p: error of calling that a trend, two-sided.
        lag_1: rank correlation of neighbours in time, −1 to 1.
        lag_1_p: error of calling neighbours alike, one-sided.
    """

    n: int
    change: float
    trend_p: float
    lag_1: float
    lag_1_p: float

    def trends(self, arms: int = 1) -> bool:
        """Whether there is a clear trend that matters.

        Args:
            arms: number of arms that are looked at.
        """
        return self.trend_p < LEVEL / arms and abs(math.log1p(self.change)) > math.log1p(TREND)

    def alike(self, arms: int = 1) -> bool:
        """Whether neighbours are clearly alike, to a degree that matters; ``arms`` as above."""
        return self.lag_1_p < LEVEL / arms and self.lag_1 > ALIKE


def drift_of(times: Ints, logs: Floats, cases: Ints | None = None) -> Drift | None:
    """Look for drift.

    The trend is Spearman's rank correlation with time; its variance is that under permutations
    within cases (Hirsch, Slack and Smith 1982 do the same with Kendall's). Likeness is the lag-1
    correlation of ranks (Bartels 1982), of variance 1/(n − number of cases).

    Args:
        times: when each latency was measured, shape ``(n,)``; in any unit, and any order.
        logs: logarithms of the latencies, shape ``(n,)``.
        cases: index of the case of each, shape ``(n,)``; None if all are alike.

    Returns:
        None if fewer than `FEWEST` latencies are of cases with several, or all are equal.
    """
    groups = np.zeros(times.size, dtype=np.int64) if cases is None else cases
    _, groups = np.unique(groups, return_inverse=True)
    repeated = np.bincount(groups)[groups] > 1
    times, logs, groups = times[repeated], logs[repeated], groups[repeated]
    n = int(times.size)
    if n < FEWEST:
        return None
    order = np.argsort(times, kind="stable")
    times, (_, groups) = times[order], np.unique(groups[order], return_inverse=True)
    left = np.round(_centred(logs[order], groups), 12)  # equal latencies of a case stay equal
    when, ranks = _centred(_mid_ranks(times), groups), _centred(_mid_ranks(left), groups)
    sizes = np.bincount(groups)
    squares = (np.bincount(groups, weights=each**2) for each in (when, ranks))
    variance = float((np.prod(list(squares), axis=0) / (sizes - 1)).sum())
    if not variance:
        return None
    z = float(when @ ranks) / math.sqrt(variance)
    lag_1 = float(ranks[1:] @ ranks[:-1]) / float(ranks @ ranks)
    third = n // 3
    change = math.expm1(float(np.median(left[-third:]) - np.median(left[:third])))
    return Drift(
        n=n,
        change=change,
        trend_p=2 * normal_sf(abs(z)),
        lag_1=lag_1,
        lag_1_p=normal_sf(lag_1 * math.sqrt(n - sizes.size)),
    )


def _centred(values: Floats, groups: Ints) -> Floats:
    """Return values without the means of their groups."""
    means = np.bincount(groups, weights=values) / np.bincount(groups)
    return np.asarray(values - means[groups], dtype=np.float64)


def _mid_ranks(values: Floats | Ints) -> Floats:
    """Return ranks from 1; equal values share the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[places], dtype=np.float64)


def spread_out(times: Ints, cases: Ints) -> bool:
    """Whether the repeats of cases lie apart in time, so that they show a drift of the run.

    If the repeats of a case follow each other, the next case may be slower by itself.
    """
    if not times.size:
        return False
    order = np.argsort(times, kind="stable")
    _, index, counts = np.unique(cases[order], return_inverse=True, return_counts=True)
    places = np.arange(times.size)
    first, last = np.full(counts.size, times.size), np.zeros(counts.size, dtype=np.int64)
    np.minimum.at(first, index, places)
    np.maximum.at(last, index, places)
    reach = (last - first)[counts > 1]
    return bool(reach.size) and float(np.median(reach)) >= times.size / 4
