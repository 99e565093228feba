"""Confidence intervals of one sample: rates, means, quantiles; with or without clusters.

Repeated trials of one case are not independent: the case is a cluster. Where cases repeat, rates
and quantiles use the effective sample size: the size of a simple random sample with the same
uncertainty (Kish 1965).

In every function ``values`` has the shape ``(n,)``; ``clusters`` is None, or the index of the case
of every value, shape ``(n,)``; and ``alpha`` is the error of both sides together: 0.05 for a 95 %
interval. Intervals are ``(low, high)`` in the unit of the values; if there is none, the function
raises `NoIntervalError` with the reason.
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
    """There is no interval; the message says why and appears in reports."""


def wilson(successes: float, n: float, alpha: float) -> Interval:
    """Return Wilson's score interval of a proportion (Wilson 1927), for display.

    Args:
        successes: number of successes; may be fractional, of an effective size.
        n: number of trials, or an effective size.
        alpha: error of both sides together.

    Raises:
        NoIntervalError: ``n`` is 0.
    """
    if n <= 0:
        raise NoIntervalError("no trials")
    z = normal_isf(alpha / 2)
    p, square = successes / n, z * z
    centre = (p + square / (2 * n)) / (1 + square / n)
    half = z / (1 + square / n) * math.sqrt(max(0.0, p * (1 - p) / n + square / (4 * n * n)))
    return max(0.0, centre - half) if p > 0 else 0.0, min(1.0, centre + half) if p < 1 else 1.0


def clopper_pearson(successes: float, n: float, alpha: float) -> Interval:
    """Return the exact interval of a proportion (Clopper and Pearson 1934), for gates.

    With effective sizes this is the interval of Korn and Graubard (1998). Arguments and errors as
    for `wilson`.
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
    """Return the sum and the number of the values of every cluster, shape ``(clusters,)``."""
    sizes = np.bincount(clusters)
    present = np.flatnonzero(sizes)
    sums = np.bincount(clusters, weights=values)[present]
    return sums.astype(np.float64), sizes[present].astype(np.int64)


def variance_of_mean(values: Floats, clusters: Ints | None) -> tuple[float, float]:
    """Return the variance of the mean, and its degrees of freedom.

    With G clusters: the CR1 sandwich estimator (Cameron and Miller 2015). It has G − 1 degrees of
    freedom if all clusters are of the same size, and less the more unequal they are (Bell and
    McCaffrey 2002, as if the values of a cluster were all alike).

    Raises:
        NoIntervalError: there are fewer than two values, or fewer than two clusters.
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
        # All cases have the same mean by chance, which is no reason to be certain.
        variance = float(values.var(ddof=1)) / n
    return variance, _cluster_df(sizes / n)


def _cluster_df(shares: Floats) -> float:
    """Return the degrees of freedom of Σ shareᵢ² (meanᵢ − Σ shareⱼ meanⱼ)², for alike means.

    Satterthwaite (1946): (tr Q)² / tr Q², with Q as the matrix of this quadratic form.

    Args:
        shares: of the clusters among the values.
    """
    p2, p3, p4, p5 = (float((shares**power).sum()) for power in (2, 3, 4, 5))
    trace = p2 - 2 * p3 + p2**2
    of_square = p4 - 4 * p5 + 4 * p2 * p4 + 2 * p3**2 - 4 * p2**2 * p3 + p2**4
    return trace**2 / of_square


def effective_size(values: Floats, clusters: Ints | None, alpha: float) -> float:
    """Return how many independent observations would give a mean as certain as these values do.

    The size is s² / (variance of the mean), made smaller for few clusters by the squared ratio of
    Student's quantiles (Korn and Graubard 1998). It is at most n, and at least the size if all
    values of a cluster were equal: n² / Σ nᵢ² (Kish 1965). It is this minimum, too, if nothing
    varies, because then nothing is known about the clusters.

    Args:
        values: between 0 and 1.
        clusters: as above.
        alpha: as above.
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
    """Return the effective size of a rate, for values 0 and 1.

    The similarity of the trials of a case is measured with one case added, all of whose trials have
    the rarer outcome. Without it, one failure among many successes would look like a proof that
    trials are independent, and so be better news than no failure at all.
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
    """Return Student's interval of a mean (Student 1908); clusters: see `variance_of_mean`.

    Raises:
        NoIntervalError: there are too few values or cases, or all values are the same.
    """
    variance, df = variance_of_mean(values, clusters)
    if float(np.ptp(values)) == 0.0:
        raise NoIntervalError(f"all {values.size} values are the same")
    half = student_isf(alpha / 2, df) * math.sqrt(variance)
    mean = float(values.mean())
    return mean - half, mean + half


def smallest_n(q: float, alpha: float) -> int:
    """Return how many observations a finite two-sided interval of the ``q`` quantile needs."""
    return math.ceil(max(math.log(alpha / 2) / math.log(p) for p in (q, 1 - q)))


def quantile(values: Floats, clusters: Ints | None, q: float, alpha: float) -> Interval:
    """Return the distribution-free interval of a quantile (order statistics, Conover 1999, 3.2).

    With clusters: from the interval of the rate "is below the quantile" on its effective size
    (Woodruff 1952).

    Raises:
        NoIntervalError: there are too few observations for a finite interval.
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
    """Return the effective size of the rate "is below the ``q`` quantile".

    Raises:
        NoIntervalError: it is smaller than a finite interval needs.
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
    """Return the interval of ``x2/n2 − factor · x1/n1``, from two Wilson intervals.

    Newcombe (1998, method 10); with a factor Zou and Donner (2008).

    Args:
        x1, n1: successes and trials of the baseline, or effective sizes.
        x2, n2: the same of the candidate.
        alpha: error of both sides together.
        factor: of the baseline's rate, at least 0.

    Raises:
        NoIntervalError: one side has no trials.
    """
    (low1, high1), (low2, high2) = wilson(x1, n1, alpha), wilson(x2, n2, alpha)
    p1, p2 = x1 / n1, x2 / n2
    difference = p2 - factor * p1
    return (
        difference - math.hypot(p2 - low2, factor * (high1 - p1)),
        difference + math.hypot(high2 - p2, factor * (p1 - low1)),
    )


def newcombe_paired(both: int, first: int, second: int, neither: int, alpha: float) -> Interval:
    """Return the interval of the difference of paired proportions, second minus first.

    Newcombe (1998b, method 10).

    Args:
        both: number of pairs in which both succeed.
        first: pairs in which only the first succeeds.
        second: pairs in which only the second succeeds.
        neither: pairs in which none succeeds.
        alpha: error of both sides together.

    Raises:
        NoIntervalError: there are no pairs.
    """
    n = both + first + second + neither
    if n == 0:
        raise NoIntervalError("no pairs")
    x1, x2 = both + first, both + second
    (low1, high1), (low2, high2) = wilson(x1, n, alpha), wilson(x2, n, alpha)
    p1, p2 = x1 / n, x2 / n
    margins = x1 * (n - x1) * x2 * (n - x2)
    product = both * neither - first * second
    # Newcombe corrects the correlation for continuity only if the association is positive.
    numerator = max(product - n / 2, 0.0) if product > 0 else float(product)
    phi = numerator / math.sqrt(margins) if margins else 0.0

    def distance(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    difference = p2 - p1
    return (
        difference - distance(p2 - low2, high1 - p1),
        difference + distance(high2 - p2, p1 - low1),
    )
