"""The change of a metric from baseline to candidate, judged at one level."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.stats.intervals import NoIntervalError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Clusters = tuple[Ints | None, Ints | None]
"""The cluster of every value of baseline and candidate; None where values are independent."""
NO_CLUSTERS: Clusters = (None, None)

RATIO, DIFFERENCE = "ratio", "difference"
_NOISE = 1e-12
"""Differences below this share of the largest value are rounding errors."""


@dataclass(frozen=True, slots=True)
class Change:
    """The change of a metric from baseline to candidate.

    Interval and p come from one procedure: the interval excludes "no change" if and only if p is at
    most alpha.

    Attributes:
        scale: RATIO (``estimate`` 1.2 is 20 % more) or DIFFERENCE (in the unit of the metric).
        estimate: the change.
        low, high: its interval at the level that was asked for.
        p: two-sided p-value of "no change".
        error: standard error of the change; of its logarithm for ratios.
        effect: name and value of an effect size, which does not depend on units.
        method: name of the method, for reports.
        n: number of pairs; or the sizes of both sides: cases, or observations without cases.
        alike: how many pairs, or observations per side, are all alike; None if they are not.
        df: degrees of freedom of ``error``.
        relative: of a ratio of means: the variance of the baseline's mean, the covariance of both,
            and the variance of the candidate's, each relative to the means; None for others.
    """

    scale: str
    estimate: float
    low: float
    high: float
    p: float
    error: float
    effect: tuple[str, float] | None
    method: str
    n: tuple[int, ...]
    alike: int | None = None
    df: float = math.inf
    relative: tuple[float, float, float] | None = None


def unseen_share(n: int, alpha: float) -> float:
    """Return how large a share of cases may behave otherwise although ``n`` of them did not.

    The upper bound of Clopper and Pearson for 0 of n; for alpha = 0.05 about 3.7 / n (the "rule of
    three" on both sides, Hanley and Lippman-Hand 1983).
    """
    return 1.0 - float((alpha / 2) ** (1 / n))


def guarded(change: Change, units: int, alpha: float, size: float = 1.0) -> Change:
    """Widen an interval to what ``units`` cases can exclude; a sample cannot show more.

    Cases that were not tried may be different: the far bound is never nearer to "no change" than
    the share of cases that could still differ. The near bound stays where values vary; where all
    changed alike, that share of cases could be unchanged, so it comes nearer by as much.

    Args:
        change: the change.
        units: number of independent cases, or of the smaller side.
        alpha: error of both sides together.
        size: of DIFFERENCE: how much the metric changes if all cases do.
    """
    share = unseen_share(max(1, units), alpha)
    ratio = change.scale == RATIO
    same, reach = (1.0, 1 + share) if ratio else (0.0, share * size)
    far = 1 / reach if ratio else -reach
    low, high = change.low, change.high
    if low > same:
        return replace(change, low=min(low, _near(change, share)), high=max(high, reach))
    if high < same:
        return replace(change, low=min(low, far), high=max(high, _near(change, share)))
    return replace(change, low=min(low, far), high=max(high, reach))


def _near(change: Change, share: float) -> float:
    """Return the change if a share of cases did not change, where all changed alike."""
    if change.alike is None:
        return change.low if change.estimate > (change.scale == RATIO) else change.high
    left = 1 - share
    return float(change.estimate**left if change.scale == RATIO else change.estimate * left)


def within(change: Change, low: float, high: float) -> Change:
    """Return a change whose interval stays within what is possible."""
    return replace(
        change, low=min(high, max(low, change.low)), high=max(low, min(high, change.high))
    )  # fmt: skip


def differences(base: Floats, cand: Floats, *, logs: bool = False) -> Floats:
    """Return candidate − baseline, broadcast; differences that are only rounding become 0.

    The trials of a case are summed in another order in every run, which changes the last digits.
    Rank tests ignore the size of a difference: differences of 1e-17 that happened to have the same
    sign gave p = 0.002.
    """
    found = cand - base
    found[np.abs(found) <= noise(base, cand, logs=logs)] = 0.0
    return found


def noise(base: Floats, cand: Floats, *, logs: bool = False) -> float:
    """Return the size up to which a difference is rounding.

    Args:
        base, cand: values.
        logs: they are logarithms, which share the rounding of what they are the logarithms of.
    """
    largest = float(max(np.abs(base).max(initial=0.0), np.abs(cand).max(initial=0.0)))
    return _NOISE * max(1.0, largest) if logs else _NOISE * largest


# --- what the sizes alone allow ---------------------------------------------------------------


def paired_floor(n: int) -> float:
    """Return the smallest one-sided p that t on ``n`` pairs may claim: 4⁻ⁿ.

    With few pairs of bimodal values, t alone claims far smaller ones wrongly. 4⁻ⁿ is the square of
    the smallest p that the signs of n pairs can have.
    """
    return 4.0 ** -min(n, 500)


def unpaired_floor(n: int, m: int) -> float:
    """Return the same for two independent samples: (n / N)ⁿ (m / N)ᵐ with N = n + m.

    So often, at most, are all values of one side the lower and all of the other the higher one of
    two, where nothing differs; 4⁻ⁿ for equal sizes. The square of the smallest rank p-value is too
    little: three bimodal values a side were called worse at a level of 0.25 % in 1.4 % of runs.
    """
    total = n + m
    if not min(n, m):
        return 1.0
    return math.exp(max(-700.0, n * math.log(n / total) + m * math.log(m / total)))


def arrangements_p(n: int, m: int) -> float:
    """Return the smallest one-sided p of the Mann-Whitney test: 1 / C(n + m, n)."""
    return float(math.exp(-_log_arrangements(n, m)))


def _log_arrangements(n: int, m: int) -> float:
    return min(700.0, math.lgamma(n + m + 1) - math.lgamma(n + 1) - math.lgamma(m + 1))


def refuse_below(floor: float, alpha: float, sizes: str) -> None:
    """Refuse a verdict that so few observations cannot bear.

    Args:
        floor: the smallest one-sided p of the method at these sizes.
        alpha: error of both sides together.
        sizes: what there is: ``3 pairs``.

    Raises:
        NoIntervalError: the floor is above the level.
    """
    if floor > alpha / 2:
        raise NoIntervalError(f"too few: {sizes}")
