"""Changes from baseline to candidate, with confidence intervals: one function per method.

Every function takes baseline and candidate and returns a `Change`; if the data admit no interval,
it, or the ``interval`` of its result, raises `NoIntervalError`. `percentiles` has the method for
percentiles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.stats import tests
from pytest_crucible.stats.distributions import normal_isf, student_isf, student_sf
from pytest_crucible.stats.intervals import (
    Interval,
    NoIntervalError,
    newcombe,
    newcombe_paired,
    rate_size,
    variance_of_mean,
    wilson,
)
from pytest_crucible.stats.samples import Sample

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Clusters = tuple[Ints | None, Ints | None]
"""The cluster of every value of baseline and candidate; None where values are independent."""
NO_CLUSTERS: Clusters = (None, None)

RATIO, DIFFERENCE = "ratio", "difference"
MAX_PAIRWISE = 2_000
"""With more values per side, t methods replace the methods that look at all pairs of values."""
ALPHA = 0.05
"""Level at which effective sizes for p-values are worked out."""
_NOISE = 1e-12
"""Differences below this share of the largest value are rounding errors."""


@dataclass(frozen=True, slots=True)
class Change:
    """The change of a metric from baseline to candidate.

    Attributes:
        scale: RATIO (``estimate`` 1.2 is 20 % more) or DIFFERENCE (in the unit of the metric).
        estimate: the change.
        interval: from alpha, the error of both sides together, to the confidence interval of the
            change; raises NoIntervalError.
        p: two-sided p-value of "no change"; None if there is no test.
        effect: name and value of an effect size, which does not depend on units.
        method: name of the method, for reports.
        n: number of pairs; or the sizes of both sides: cases, or observations without cases.
    """

    scale: str
    estimate: float
    interval: Callable[[float], Interval]
    p: float | None
    effect: tuple[str, float] | None
    method: str
    n: tuple[int, ...]


# --- positive, skewed numbers: latency, cost, tokens ------------------------------------------


def paired_log_ratio(base: Floats, cand: Floats, clusters: Ints | None = None) -> Change:
    """Return the typical ratio of pairs: Wilcoxon's signed rank test (Wilcoxon 1945).

    The interval is that of the Walsh averages (Lehmann 1975). Below 6 and above `MAX_PAIRWISE`
    pairs, and with clusters: paired t on logarithms.

    Args:
        base, cand: logarithms, one per case, in the same order, shape ``(n,)``.
        clusters: cluster of every case, shape ``(n,)``; None if cases are independent.
    """
    n = base.size
    if clusters is not None:
        return _clustered_t_change(base, cand, clusters, RATIO, _exp)
    if not 6 <= n <= MAX_PAIRWISE:
        return _paired_t_change(base, cand, RATIO, _exp)
    differences = _differences(base, cand)
    walsh = np.sort(_walsh(differences))

    def interval(alpha: float) -> Interval:
        low, high = _rank_interval(walsh, _signed_rank_cut(n, alpha))
        return _exp(low), _exp(high)

    effect = ("rank-biserial r", _rank_biserial(differences))
    name = "Wilcoxon signed rank on log ratios"
    p = tests.signed_rank(differences)
    return Change(RATIO, _exp(float(np.median(walsh))), interval, p, effect, name, (n,))


def log_shift(base: Floats, cand: Floats, clusters: Clusters = NO_CLUSTERS) -> Change:
    """Return the typical ratio of independent values: Mann-Whitney U (Mann and Whitney 1947).

    The estimate is the Hodges-Lehmann shift of the logarithms (Hodges and Lehmann 1963). Above
    `MAX_PAIRWISE` values on a side, and with clusters: Welch on logarithms.

    Args:
        base, cand: logarithms, shapes ``(n,)`` and ``(m,)``.
        clusters: of both sides.
    """
    n, m = base.size, cand.size
    if min(n, m) < 4:
        raise NoIntervalError(f"needs at least 4 observations per side, has {n} and {m}")
    effect = ("Cliff's delta", tests.cliffs_delta(base, cand))
    if max(n, m) > MAX_PAIRWISE or _clustered(clusters):
        change = _welch_change(base, cand, RATIO, _exp, "Welch on logs", clusters)
        return replace(change, effect=effect)
    shifts = np.sort(np.subtract.outer(cand, base).ravel())

    def interval(alpha: float) -> Interval:
        low, high = _rank_interval(shifts, _mann_whitney_cut(n, m, alpha))
        return _exp(low), _exp(high)

    name = "Mann-Whitney, Hodges-Lehmann ratio"
    p = tests.mann_whitney(base, cand)
    return Change(RATIO, _exp(float(np.median(shifts))), interval, p, effect, name, (n, m))


def _differences(base: Floats, cand: Floats) -> Floats:
    """Return candidate − baseline; differences that are only rounding become 0.

    The trials of a case are summed in another order in every run, which changes the last digits.
    Rank tests ignore the size of a difference: differences of 1e-17 that happened to have the same
    sign gave p = 0.002.
    """
    differences = cand - base
    differences[np.abs(differences) <= _noise(base, cand)] = 0.0
    return differences


def _noise(base: Floats, cand: Floats) -> float:
    """Return the size up to which a difference is rounding."""
    return _NOISE * float(max(np.abs(base).max(initial=0.0), np.abs(cand).max(initial=0.0)))


def _walsh(values: Floats) -> Floats:
    """Return the means of all pairs of values, pairs of a value with itself included."""
    rows, columns = np.triu_indices(values.size)
    averages: Floats = (values[rows] + values[columns]) / 2
    return averages


def _rank_interval(ordered: Floats, cut: int) -> Interval:
    """Return the ``cut``-th value from either end."""
    if cut < 1:
        raise NoIntervalError("too few observations for an interval at this level")
    return float(ordered[cut - 1]), float(ordered[ordered.size - cut])


def _signed_rank_cut(n: int, alpha: float) -> int:
    """Return the rank of the Walsh average that bounds the interval; exact up to n = 50."""
    mean, variance = n * (n + 1) / 4, n * (n + 1) * (2 * n + 1) / 24
    if n > 50:
        return int(mean - normal_isf(alpha / 2) * math.sqrt(variance))
    counts = np.zeros(n * (n + 1) // 2 + 1)
    counts[0] = 1.0
    for rank in range(1, n + 1):
        counts[rank:] += counts[:-rank].copy()
    cumulative = np.cumsum(counts) / 2.0**n
    return int(np.searchsorted(cumulative, alpha / 2, side="right"))


def _mann_whitney_cut(n: int, m: int, alpha: float) -> int:
    """Return the rank of the pairwise shift that bounds the interval; exact up to 25 per side."""
    if max(n, m) > tests.EXACT_TIES_N:
        spread = math.sqrt(n * m * (n + m + 1) / 12)
        return int(n * m / 2 - normal_isf(alpha / 2) * spread)
    counts = np.zeros(n * m + 1)
    counts[0] = 1.0
    # Coefficients of the generating function of U, the Gaussian binomial coefficient.
    for i in range(1, m + 1):
        shifted = counts.copy()
        shifted[n + i :] -= counts[: max(0, counts.size - n - i)]
        counts = shifted
        for position in range(i, counts.size):
            counts[position] += counts[position - i]
    cumulative = np.cumsum(counts) / counts.sum()
    return int(np.searchsorted(cumulative, alpha / 2, side="right"))


def _rank_biserial(differences: Floats) -> float:
    """Return the matched-pairs rank-biserial correlation (Kerby 2014), between −1 and 1."""
    from scipy.stats import rankdata

    nonzero = differences[differences != 0]
    if not nonzero.size:
        return 0.0
    ranks = rankdata(np.abs(nonzero))
    return float((ranks * np.sign(nonzero)).sum() / ranks.sum())


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


# --- means ------------------------------------------------------------------------------------


def _identity(value: float) -> float:
    return value


def paired_means(base: Floats, cand: Floats, clusters: Ints | None = None) -> Change:
    """Return the mean difference of pairs, with the paired t interval (Student 1908).

    Args:
        base, cand: values, one per case, in the same order, shape ``(n,)``.
        clusters: cluster of every case, shape ``(n,)``; None if cases are independent.
    """
    if clusters is not None:
        return _clustered_t_change(base, cand, clusters, DIFFERENCE, _identity)
    return _paired_t_change(base, cand, DIFFERENCE, _identity)


def means(base: Floats, cand: Floats, clusters: Clusters = NO_CLUSTERS) -> Change:
    """Return the difference of independent means, with Welch's interval (Welch 1947).

    Args:
        base, cand: values, shapes ``(n,)`` and ``(m,)``.
        clusters: of both sides.
    """
    return _welch_change(base, cand, DIFFERENCE, _identity, "Welch", clusters)


def _clustered(clusters: Clusters) -> bool:
    return any(side is not None for side in clusters)


def _clustered_t_change(
    base: Floats, cand: Floats, clusters: Ints, scale: str, back: Callable[[float], float]
) -> Change:
    """Return the mean difference of pairs that come in clusters: see `variance_of_mean`."""
    differences = _differences(base, cand)
    spread, mean = float(differences.std(ddof=1)), float(differences.mean())
    if spread <= _noise(base, cand):  # then clusters are as good as pairs
        _, first = np.unique(clusters, return_index=True)
        change = _paired_t_change(base[first], cand[first], scale, back)
        return replace(change, n=(base.size,))
    variance, df = variance_of_mean(differences, clusters)

    def interval(alpha: float) -> Interval:
        half = student_isf(alpha / 2, df) * math.sqrt(variance)
        return back(mean - half), back(mean + half)

    effect = ("Cohen's d of pairs", mean / spread)
    method = f"paired t{' on log ratios' if scale == RATIO else ''}, clustered"
    p = 2 * student_sf(abs(mean) / math.sqrt(variance), df)
    return Change(scale, back(mean), interval, p, effect, method, (base.size,))


def _paired_t_change(
    base: Floats, cand: Floats, scale: str, back: Callable[[float], float]
) -> Change:
    n = base.size
    if n < 2:
        raise NoIntervalError(f"{n} pair{'s' * (n != 1)}: no spread to measure")
    differences = _differences(base, cand)
    spread, mean = float(differences.std(ddof=1)), float(differences.mean())
    if spread <= _noise(base, cand):
        same = np.full(n, float(differences[0]) if spread else mean)
        p = tests.signed_rank(same)
        return _unvarying(same[0], scale, back, lambda alpha: _signed_rank_cut(n, alpha), p, (n,))

    def interval(alpha: float) -> Interval:
        half = student_isf(alpha / 2, n - 1) * spread / math.sqrt(n)
        return back(mean - half), back(mean + half)

    effect = ("Cohen's d of pairs", mean / spread)
    method = "paired t on log ratios" if scale == RATIO else "paired t"
    return Change(scale, back(mean), interval, tests.paired_t(differences), effect, method, (n,))


def _welch_change(
    base: Floats,
    cand: Floats,
    scale: str,
    back: Callable[[float], float],
    method: str,
    clusters: Clusters,
) -> Change:
    n, m = base.size, cand.size
    if min(n, m) < 2:
        raise NoIntervalError(f"needs at least 2 observations per side, has {n} and {m}")
    difference = float(cand.mean() - base.mean())
    if max(float(base.std()), float(cand.std())) <= _noise(base, cand):
        p = tests.mann_whitney(np.full(n, base[0]), np.full(m, cand[0]))
        shift = float(_differences(base[:1], cand[:1])[0])
        return _unvarying(
            shift, scale, back, lambda alpha: _mann_whitney_cut(n, m, alpha), p, (n, m)
        )
    (v1, df1), (v2, df2) = (
        variance_of_mean(side, own) for side, own in zip((base, cand), clusters, strict=True)
    )
    error = math.sqrt(v1 + v2)
    df = tests.welch_df(v1, df1, v2, df2)

    def interval(alpha: float) -> Interval:
        half = student_isf(alpha / 2, df) * error
        return back(difference - half), back(difference + half)

    spread = math.sqrt((float(base.var(ddof=1)) + float(cand.var(ddof=1))) / 2)
    effect = ("Cohen's d", difference / spread)
    p = 2 * student_sf(abs(difference) / error, df)
    if _clustered(clusters):
        method = f"{method}, clustered"
    return Change(scale, back(difference), interval, p, effect, method, (n, m))


def _unvarying(
    value: float,
    scale: str,
    back: Callable[[float], float],
    cut: Callable[[float], int],
    p: float | None,
    n: tuple[int, ...],
) -> Change:
    """Return a change without spread: t has no interval, but ranks have one with enough values.

    Args:
        value: the change, before ``back``.
        scale: RATIO or DIFFERENCE.
        back: from ``value`` to the scale.
        cut: from alpha to the rank that bounds the rank interval; below 1 there is none.
        p: p-value.
        n: sizes.
    """

    def interval(alpha: float) -> Interval:
        if cut(alpha) < 1:
            raise NoIntervalError(
                f"nothing varies in {' and '.join(map(str, n))}: no spread to measure"
            )
        return back(value), back(value)

    return Change(scale, back(value), interval, p, None, "ranks, nothing varies", n)


# --- rates ------------------------------------------------------------------------------------


def paired_rates(first: Floats, second: Floats, clusters: Ints | None = None) -> Change:
    """Return the difference of paired rates.

    Exact McNemar test with Newcombe's paired interval; with repeated trials per case, or with
    clusters, paired t on the rates of the cases.

    Args:
        first, second: rates of baseline and candidate, one per case, in the same order, ``(n,)``.
        clusters: cluster of every case, shape ``(n,)``; None if cases are independent.
    """
    n, differences = first.size, _differences(first, second)
    if clusters is not None:
        change = _clustered_t_change(first, second, clusters, DIFFERENCE, _identity)
        n = np.unique(clusters).size  # all cases of a cluster may be the same case in disguise
    elif not differences.any() or np.isin([first, second], (0.0, 1.0)).all():
        # If no case rate changed, all pairs agree, also those with a rate between 0 and 1.
        lost, won = int((differences < 0).sum()), int((differences > 0).sum())
        both = round(float(np.minimum(first, second).sum()))

        def exact(alpha: float) -> Interval:
            return newcombe_paired(both, lost, won, n - both - lost - won, alpha)

        effect = ("discordant pairs", float(lost + won))
        p = tests.mcnemar(lost, won)
        change = Change(
            DIFFERENCE, float(differences.mean()), exact, p, effect, "exact McNemar", (n,)
        )
    else:
        change = _paired_t_change(first, second, DIFFERENCE, _identity)

    def interval(alpha: float) -> Interval:
        return widened(change.interval(alpha), change.estimate, n, alpha)

    return replace(change, interval=interval)


def widened(interval: Interval, estimate: float, n: int, alpha: float) -> Interval:
    """Return the interval, at least as wide as for ``n`` cases of which none changed.

    A few small changes cannot make us more certain about cases that were not tried. An interval
    that excludes "no change" still does so afterwards: the test decides whether anything changed.
    """
    half = wilson(0, n, alpha)[1]
    low, high = interval
    wide_low, wide_high = max(-1.0, estimate - half), min(1.0, estimate + half)
    low = min(low, max(0.0, wide_low) if low > 0 else wide_low)
    high = max(high, min(0.0, wide_high) if high < 0 else wide_high)
    return low, high


def rates(base: Sample, cand: Sample, factor: float = 1.0) -> Change:
    """Return the difference of independent rates: Fisher's exact test, Newcombe's interval.

    Clustered trials enter with their effective sizes.

    Args:
        base, cand: samples of 0 and 1.
        factor: the change is candidate − ``factor`` × baseline; the test is for factor 1.

    Raises:
        NoIntervalError: a side has no trials, or the factor is negative.
    """
    if not base.n or not cand.n:
        raise NoIntervalError(f"no trials on one side ({base.n} and {cand.n})")
    if factor < 0:
        raise NoIntervalError("a rate can only be compared with a multiple of at least 0")
    p1, p2 = float(base.values.mean()), float(cand.values.mean())

    def sizes(alpha: float) -> tuple[float, float]:
        return (
            rate_size(base.values, base.clusters(), alpha),
            rate_size(cand.values, cand.clusters(), alpha),
        )

    def interval(alpha: float) -> Interval:
        e1, e2 = sizes(alpha)
        return newcombe(p1 * e1, e1, p2 * e2, e2, alpha, factor)

    e1, e2 = sizes(ALPHA)
    clustered = e1 < base.n or e2 < cand.n
    p = tests.fisher(round(p1 * e1), round(e1), round(p2 * e2), round(e2))
    method = "Fisher, Newcombe interval" + (" on effective sizes" if clustered else "")
    units = (base.units, cand.units)
    return Change(DIFFERENCE, p2 - factor * p1, interval, p, None, method, units)
