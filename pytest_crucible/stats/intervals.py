"""Confidence intervals of one sample: rates, means, quantiles; with or without clusters.

Repeated trials of one case are not independent. Wherever cases repeat, the effective sample size
is used: the size of a simple random sample that would be as uncertain (Kish 1965).

Every function takes ``alpha``, the error of both sides together, and returns ``(low, high)``; where
there is no such interval it raises `NoIntervalError` with the reason.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.stats.distributions import (
    beta_isf,
    beta_ppf,
    binomial_tails,
    normal_isf,
    student_isf,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Interval = tuple[float, float]


class NoIntervalError(ValueError):
    """There is no interval; the message says why, for the reader of the report."""


def wilson(successes: float, n: float, alpha: float) -> Interval:
    """Wilson's score interval of a proportion (Wilson 1927). For display.

    ``successes`` and ``n`` may be effective, not whole, numbers.
    """
    if n <= 0:
        raise NoIntervalError("no trials")
    z = normal_isf(alpha / 2)
    p, square = successes / n, z * z
    centre = (p + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * math.sqrt(max(0.0, p * (1 - p) / n + square / (4 * n * n)))
    return max(0.0, centre - half) if p > 0 else 0.0, min(1.0, centre + half) if p < 1 else 1.0


def clopper_pearson(successes: float, n: float, alpha: float) -> Interval:
    """The exact interval of a proportion (Clopper and Pearson 1934). For gates.

    With effective sizes it is that of Korn and Graubard (1998).
    """
    if n <= 0:
        raise NoIntervalError("no trials")
    failures, low, high = n - successes, 0.0, 1.0
    if successes > 1e-9:
        low = beta_ppf(alpha / 2, successes, failures + 1)
    if failures > 1e-9:
        high = beta_isf(alpha / 2, successes + 1, failures)
    return low, high


def cluster_sums(values: Floats, clusters: Ints) -> tuple[Floats, Ints]:
    """Per cluster: the sum of its values, and how many there are."""
    sizes = np.bincount(clusters)
    found = np.flatnonzero(sizes)
    sums = np.bincount(clusters, weights=values)[found]
    return sums.astype(np.float64), sizes[found].astype(np.int64)


def variance_of_mean(values: Floats, clusters: Ints | None) -> tuple[float, float]:
    """Variance of the mean, and its degrees of freedom.

    With clusters: the CR1 sandwich estimator with df = G − 1 (Cameron and Miller 2015).

    Raises:
        NoIntervalError: fewer than two values, or than two clusters.
    """
    n = values.size
    if n < 2:
        raise NoIntervalError(f"{n} value{'s' * (n != 1)}: no spread to measure")
    if clusters is None:
        return float(values.var(ddof=1)) / n, n - 1
    sums, sizes = cluster_sums(values - values.mean(), clusters)
    groups = sizes.size
    if groups < 2:
        raise NoIntervalError("one case: repeated trials of it say nothing about other cases")
    variance = groups / (groups - 1) * float((sums**2).sum()) / n**2
    if math.isclose(variance, 0.0, abs_tol=1e-18 * float((values**2).sum() or 1.0)):
        # All cases have the same average by chance: that is no certainty.
        variance = float(values.var(ddof=1)) / n
    return variance, groups - 1


def effective_size(values: Floats, clusters: Ints | None, alpha: float) -> float:
    """How many independent observations values between 0 and 1 are worth for their mean.

    With few clusters fewer, by the ratio of Student's quantiles (Korn and Graubard 1998). Never
    more than there are, and never fewer than if all values of a cluster were the same: that is the
    answer too where nothing varies, which tells nothing about the clusters.
    """
    n = float(values.size)
    if clusters is None or n < 2:
        return n
    _, sizes = cluster_sums(values, clusters)
    fewest = n * n / float((sizes.astype(np.float64) ** 2).sum())
    spread = float(values.var(ddof=0))
    if sizes.size < 2 or spread == 0.0:
        return fewest
    variance, df = variance_of_mean(values, clusters)
    few = student_isf(alpha / 2, n - 1) / student_isf(alpha / 2, df)
    return min(n, max(fewest, spread / variance * few * few))


def rate_size(values: Floats, clusters: Ints | None, alpha: float) -> float:
    """The effective size of a rate.

    How alike the trials of a case are is measured as if there were one more case, all of whose
    trials had the rarer outcome. Without it, one failure among many successes would pass for proof
    that trials are independent, and would be better news than no failure at all.
    """
    n = values.size
    if clusters is None or not n:
        return float(n)
    size = math.ceil(n / np.count_nonzero(np.bincount(clusters)))
    rarer = 0.0 if float(values.mean()) >= 0.5 else 1.0
    more = np.concatenate([values, np.full(size, rarer)])
    cases = np.concatenate([clusters, np.full(size, clusters.max() + 1)])
    worth = effective_size(more, cases, alpha) / more.size
    return max(worth * n, effective_size(np.ones(n), clusters, alpha))


def mean_t(values: Floats, clusters: Ints | None, alpha: float) -> Interval:
    """Student's interval of a mean; with clusters from the CR1 standard error.

    Raises:
        NoIntervalError: too few values or cases, or all values the same.
    """
    variance, df = variance_of_mean(values, clusters)
    if float(np.ptp(values)) == 0.0:
        raise NoIntervalError(f"all {values.size} values are the same")
    half = student_isf(alpha / 2, df) * math.sqrt(variance)
    mean = float(values.mean())
    return mean - half, mean + half


def smallest_n(q: float, alpha: float) -> int:
    """Fewest observations for a finite two-sided interval of the ``q`` quantile."""
    return math.ceil(max(math.log(alpha / 2) / math.log(p) for p in (q, 1 - q)))


def quantile(values: Floats, clusters: Ints | None, q: float, alpha: float) -> Interval:
    """Distribution-free interval of a quantile from order statistics (Conover 1999, 3.2).

    With clusters the binomial gets the effective size of "is below the quantile" (Woodruff 1952).

    Raises:
        NoIntervalError: too few observations for a finite interval.
    """
    n = values.size
    needed = smallest_n(q, alpha)
    ordered = np.sort(values)
    if n < needed:
        raise NoIntervalError(f"needs at least {needed} observations, has {n}")
    if clusters is None or np.count_nonzero(np.bincount(clusters)) == n:
        low, high = binomial_tails(alpha / 2, n, q)
        return float(ordered[max(low, 1) - 1]), float(ordered[min(high + 1, n) - 1])
    size = quantile_size(values, clusters, q, alpha)
    low_p, high_p = clopper_pearson(q * size, size, alpha)
    low, high = math.floor(low_p * n), math.ceil(high_p * n)
    return float(ordered[max(low, 1) - 1]), float(ordered[min(high, n) - 1])


def quantile_size(values: Floats, clusters: Ints, q: float, alpha: float) -> float:
    """The effective size of "is below the quantile".

    Raises:
        NoIntervalError: less than a finite interval needs.
    """
    below = (values <= np.quantile(values, q)).astype(np.float64)
    size, needed = rate_size(below, clusters, alpha), smallest_n(q, alpha)
    if size < needed:
        raise NoIntervalError(
            f"needs at least {needed} independent observations; "
            f"{values.size} clustered in cases are worth {size:.0f}"
        )
    return size


def newcombe(
    x1: float, n1: float, x2: float, n2: float, alpha: float, factor: float = 1.0
) -> Interval:
    """Interval of ``x2/n2 − factor · x1/n1`` from two Wilson intervals.

    Newcombe (1998, method 10); with a factor Zou and Donner (2008).
    """
    (low1, high1), (low2, high2) = wilson(x1, n1, alpha), wilson(x2, n2, alpha)
    p1, p2 = x1 / n1, x2 / n2
    difference = p2 - factor * p1
    return (
        difference - math.hypot(p2 - low2, factor * (high1 - p1)),
        difference + math.hypot(high2 - p2, factor * (p1 - low1)),
    )


def newcombe_paired(both: int, first: int, second: int, neither: int, alpha: float) -> Interval:
    """Interval of the difference of paired proportions, second minus first (Newcombe 1998b, 10).

    Args:
        both: pairs in which both succeed.
        first: pairs in which only the first does.
        second: pairs in which only the second does.
        neither: pairs in which none does.
        alpha: error of both sides together.
    """
    n = both + first + second + neither
    if n == 0:
        raise NoIntervalError("no pairs")
    x1, x2 = both + first, both + second
    (low1, high1), (low2, high2) = wilson(x1, n, alpha), wilson(x2, n, alpha)
    p1, p2 = x1 / n, x2 / n
    margins = x1 * (n - x1) * x2 * (n - x2)
    product = both * neither - first * second
    # The continuity correction of the correlation, for positive association only.
    numerator = max(product - n / 2, 0.0) if product > 0 else float(product)
    phi = numerator / math.sqrt(margins) if margins else 0.0

    def side(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    difference = p2 - p1
    return (
        difference - side(p2 - low2, high1 - p1),
        difference + side(high2 - p2, p1 - low1),
    )
