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
    student_isf,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Interval = tuple[float, float]


FEWEST_CLUSTERS = 2.0
"""Of so many clusters of equal sizes, at least, must unequal ones be worth, for Student's t.

Where one of nine clusters had 60 of 68 values, 80 % of the 95 % intervals held the truth; where two
of twelve had 50 of 110 each (worth 2.4), 97 % did.
"""


class NoIntervalError(ValueError):
    """There is no interval; the message says why and appears in reports."""


def clopper_pearson(successes: float, n: float, alpha: float) -> Interval:
    """Return the exact interval of a proportion (Clopper and Pearson 1934).

    With effective sizes this is the interval of Korn and Graubard (1998).

    Args:
        successes: number of successes; may be fractional, of an effective size.
        n: number of trials, or an effective size.
        alpha: error of both sides together.

    Raises:
        NoIntervalError: ``n`` is 0.
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


def cluster_means(values: Floats, clusters: Ints) -> tuple[Floats, Floats]:
    """Return the mean and the number of the values of every cluster, shape ``(clusters,)``."""
    sums, sizes = cluster_sums(values, clusters)
    return sums / sizes, sizes.astype(np.float64)


def worth(sizes: Ints | Floats) -> float:
    """Return how many clusters of equal sizes are as good as these: n² / Σ nᵢ² (Kish 1965)."""
    numbers = sizes.astype(np.float64)
    return float(numbers.sum() ** 2 / (numbers**2).sum())


def refuse_nearly_one(clusters: Ints | None) -> None:
    """Refuse clusters of which one has nearly all values: its spread says little about others.

    Raises:
        NoIntervalError: they are worth less than `FEWEST_CLUSTERS`.
    """
    if clusters is None:
        return
    sizes = np.bincount(clusters)
    if np.count_nonzero(sizes) > 1 and worth(sizes) < FEWEST_CLUSTERS:
        raise NoIntervalError(
            f"one cluster has {int(sizes.max())} of {clusters.size} values: "
            "they say little about others"
        )


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
    variance, df = covariance_of_means(values, values, clusters), degrees_of_freedom(n, clusters)
    if math.isclose(variance, 0.0, abs_tol=1e-18 * float((values**2).sum() or 1.0)):
        # All cases have the same mean by chance, which is no reason to be certain.
        variance = float(values.var(ddof=1)) / n
    return variance, df


def covariance_of_means(x: Floats, y: Floats, clusters: Ints | None) -> float:
    """Return the covariance of two means over the same cases, as `variance_of_mean` does.

    Args:
        x, y: two values per case, at least two cases, shape ``(n,)``.
        clusters: as above.

    Raises:
        NoIntervalError: there are fewer than two clusters.
    """
    n, dx, dy = x.size, x - x.mean(), y - y.mean()
    if clusters is None:
        return float((dx * dy).sum()) / (n - 1) / n
    (sums_x, sizes), (sums_y, _) = cluster_sums(dx, clusters), cluster_sums(dy, clusters)
    groups = sizes.size
    if groups < 2:
        raise NoIntervalError("one case: repeated trials of it say nothing about other cases")
    return groups / (groups - 1) * float((sums_x * sums_y).sum()) / n**2


def degrees_of_freedom(n: int, clusters: Ints | None) -> float:
    """Return those of `variance_of_mean`."""
    if clusters is None:
        return n - 1
    return _cluster_df(cluster_sums(np.zeros(n), clusters)[1] / n)


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
    fewest = worth(sizes)
    spread = float(values.var(ddof=0))
    if fewest < FEWEST_CLUSTERS or spread == 0.0:
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
    share = effective_size(more, cases, alpha) / more.size
    return max(share * n, effective_size(np.ones(n), clusters, alpha))


def smallest_n(q: float, alpha: float) -> int:
    """Return how many observations a finite two-sided interval of the ``q`` quantile needs."""
    return math.ceil(max(math.log(alpha / 2) / math.log(p) for p in (q, 1 - q)))


def quantile_bounds(
    values: Floats, clusters: Ints | None, q: float, below: float, above: float
) -> Interval:
    """Return distribution-free bounds of a quantile (order statistics, Conover 1999, 3.2).

    With clusters: from the bounds of the rate "is below the quantile" on its effective size
    (Woodruff 1952).

    Args:
        values, clusters: as above.
        q: which quantile, between 0 and 1.
        below, above: error of the lower and of the upper bound.

    Returns:
        The bounds; −∞ or ∞ where there are too few observations for one.
    """
    n, ordered = values.size, np.sort(values)
    if clusters is None:
        low, high = binomial_tails(below, n, q)[0], binomial_tails(above, n, q)[1]
        return (
            float(ordered[low - 1]) if low >= 1 else -math.inf,
            float(ordered[high]) if high < n else math.inf,
        )
    is_below = (values <= np.quantile(values, q)).astype(np.float64)
    lower, upper = -math.inf, math.inf
    sizes = {level: rate_size(is_below, clusters, 2 * level) for level in {below, above}}
    size = sizes[below]
    if (1 - q) ** size <= below:
        share = clopper_pearson(q * size, size, 2 * below)[0]
        lower = float(ordered[max(math.floor(share * n), 1) - 1])
    size = sizes[above]
    if q**size <= above:
        share = clopper_pearson(q * size, size, 2 * above)[1]
        upper = float(ordered[min(math.ceil(share * n), n) - 1])
    return lower, upper


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
