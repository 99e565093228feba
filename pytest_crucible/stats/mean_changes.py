"""Changes of means: ratios of positive means (Fieller), else differences (Student, Welch).

Each function takes baseline and candidate and a level, and returns a `Change`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from pytest_crucible.stats import tests
from pytest_crucible.stats.change import (
    DIFFERENCE,
    NO_CLUSTERS,
    RATIO,
    Change,
    Clusters,
    Floats,
    Ints,
    arrangements_p,
    differences,
    guarded,
    noise,
    paired_floor,
    refuse_below,
    unpaired_floor,
)
from pytest_crucible.stats.distributions import student_isf, student_sf
from pytest_crucible.stats.intervals import (
    NoIntervalError,
    covariance_of_means,
    degrees_of_freedom,
    refuse_nearly_one,
    variance_of_mean,
)

UNCERTAIN = "the baseline's mean is too uncertain to divide by"


def clustered(clusters: Clusters) -> bool:
    """Whether the values of a side depend on each other."""
    return any(side is not None for side in clusters)


def units(n: int, clusters: Ints | None) -> int:
    """Return the number of independent units among ``n`` values."""
    return n if clusters is None else int(np.unique(clusters).size)


def _trusted(n: int, clusters: Ints | None) -> int:
    """Return `units`; refuse clusters of which one has nearly all values."""
    refuse_nearly_one(clusters)
    return units(n, clusters)


# --- ratios of means --------------------------------------------------------------------------


def paired_mean_ratio(
    base: Floats, cand: Floats, alpha: float, clusters: Ints | None = None
) -> Change:
    """Return the ratio of the means of pairs, with Fieller's interval (Fieller 1954).

    All ratios θ at which a t test does not tell the mean of ``cand − θ · base`` from 0.

    Args:
        base, cand: values of at least 0, one per case, in the same order, shape ``(n,)``.
        alpha: error of both sides together.
        clusters: cluster of every case, shape ``(n,)``; None if cases are independent.

    Raises:
        NoIntervalError: there are too few pairs, or the baseline's mean is not certainly above 0.
    """
    independent = _trusted(base.size, clusters)
    refuse_below(paired_floor(independent), alpha, _pairs(base.size, independent))
    found = differences(base, cand)
    # If all clusters changed alike by chance, that is no reason to be certain.
    own = clusters
    if covariance_of_means(found, found, clusters) <= noise(base, cand) ** 2:
        own = None
    pairs = ((base, base), (base, found), (found, found))
    v1, cross, vd = (covariance_of_means(x, y, own) for x, y in pairs)
    df = degrees_of_freedom(base.size, clusters)
    change = _fieller(base, cand, (v1, cross, vd), df, alpha, _paired_alike_p(independent))
    spread = differences(base * change.estimate, cand)
    same = float(np.ptp(spread)) == 0.0
    method = "paired ratio of means, Fieller" + (", clustered" if clusters is not None else "")
    change = replace(
        change, method=method, n=(base.size,), alike=independent if same else None
    )  # fmt: skip
    return guarded(change, independent, alpha)


def mean_ratio(
    base: Floats, cand: Floats, alpha: float, clusters: Clusters = NO_CLUSTERS
) -> Change:
    """Return the ratio of independent means, with Fieller's interval (Fieller 1954).

    Degrees of freedom by Welch (1947).

    Args:
        base, cand: values of at least 0, shapes ``(n,)`` and ``(m,)``.
        alpha: error of both sides together.
        clusters: of both sides.

    Raises:
        NoIntervalError: there are too few values, or the baseline's mean is not certainly above 0.
    """
    sizes = [_trusted(side.size, own) for side, own in zip((base, cand), clusters, strict=True)]
    refuse_below(unpaired_floor(*sizes), alpha, f"{sizes[0]} and {sizes[1]} values")
    (v1, df1), (v2, df2) = (
        variance_of_mean(side, own) for side, own in zip((base, cand), clusters, strict=True)
    )
    mean = float(base.mean())
    v1_scaled = (float(cand.mean()) / mean) ** 2 * v1 if mean else v1
    df = tests.welch_df(v1_scaled, df1, v2, df2) if v1_scaled + v2 else df1
    change = _fieller(base, cand, (v1, -v1, v1 + v2), df, alpha, _unpaired_alike_p(*sizes))
    same = max(float(np.ptp(base)), float(np.ptp(cand))) == 0.0
    method = "ratio of means, Fieller" + (", clustered" if clustered(clusters) else "")
    change = replace(
        change, method=method, n=(base.size, cand.size), alike=min(sizes) if same else None
    )  # fmt: skip
    return guarded(change, min(sizes), alpha)


def _fieller(
    base: Floats,
    cand: Floats,
    variances: tuple[float, float, float],
    df: float,
    alpha: float,
    alike_p: float,
) -> Change:
    """Return the ratio of two means.

    Worked out for the ratio − 1, so that nothing cancels where hardly anything changed.

    Args:
        base, cand: values of at least 0.
        variances: of the mean of ``base``, covariance of it and the difference of the means,
            variance of the difference.
        df: degrees of freedom.
        alpha: error of both sides together.
        alike_p: two-sided p-value of changes that are all alike.
    """
    v1, cross, vd = variances
    m1, m2 = float(base.mean()), float(cand.mean())
    shift = float(differences(np.array([m1]), np.array([m2]))[0])
    t = student_isf(alpha / 2, df)
    # (shift − φ m1)² = t² (vd − 2 φ cross + φ² v1), a quadratic in φ.
    a, b, c = m1**2 - t**2 * v1, shift * m1 - t**2 * cross, shift**2 - t**2 * vd
    if a <= 0:
        raise NoIntervalError(UNCERTAIN)
    more = shift / m1
    q = b + math.copysign(math.sqrt(max(0.0, b * b - a * c)), b)
    low, high = sorted((q / a, c / q)) if q else (0.0, 0.0)
    error = math.sqrt(max(0.0, vd - 2 * more * cross + more**2 * v1)) / m2 if m2 else 0.0
    if vd > noise(base, cand) ** 2:
        p = 2 * student_sf(abs(shift) / math.sqrt(vd), df)
    elif shift:
        p = alike_p
        _refuse_alike(p, alpha, (base.size, cand.size))
    else:
        p = 1.0
    both, v2 = cross + v1, vd + 2 * cross + v1  # of the means themselves
    return Change(
        RATIO, 1 + more, max(0.0, 1 + low), 1 + high, min(1.0, p), error, None, "", (), df=df,
        relative=(v1 / m1**2, both / m1 / m2, v2 / m2**2) if m2 else None,
    )  # fmt: skip


def _pairs(n: int, independent: int) -> str:
    if independent < n:
        return f"{n} pairs in {independent} cluster{'s' * (independent != 1)}"
    return f"{n} pair{'s' * (n != 1)}"


# --- differences of means, and of logarithms ---------------------------------------------------


def paired_t(
    base: Floats, cand: Floats, alpha: float, clusters: Ints | None = None, *, logs: bool = False
) -> Change:
    """Return the mean difference of pairs, with the paired t interval (Student 1908).

    Args:
        base, cand: values, one per case, in the same order, shape ``(n,)``.
        alpha: error of both sides together.
        clusters: cluster of every case, shape ``(n,)``; None if cases are independent. With them:
            see `variance_of_mean`.
        logs: the values are logarithms: return the change as a ratio.

    Raises:
        NoIntervalError: there are too few pairs.
    """
    n, independent = base.size, _trusted(base.size, clusters)
    refuse_below(paired_floor(independent), alpha, _pairs(n, independent))
    found = differences(base, cand, logs=logs)
    mean, spread = float(found.mean()), float(found.std(ddof=1))
    method = f"paired t{' on log ratios' * logs}{', clustered' * (clusters is not None)}"
    if spread <= noise(base, cand, logs=logs):
        p = _paired_alike_p(independent) if mean else 1.0
        return _unvarying(mean, p, alpha, (n,), base, logs=logs, count=independent)
    variance, df = variance_of_mean(found, clusters)
    change = _t_change(mean, variance, df, alpha, logs=logs)
    effect = ("Cohen's d of pairs", mean / spread)
    change = replace(change, effect=effect, method=method, n=(n,))
    return guarded(change, independent, alpha, _size(base))


def independent_t(
    base: Floats,
    cand: Floats,
    alpha: float,
    clusters: Clusters = NO_CLUSTERS,
    *,
    logs: bool = False,
) -> Change:
    """Return the difference of independent means, with Welch's interval (Welch 1947).

    Args:
        base, cand: values, shapes ``(n,)`` and ``(m,)``.
        alpha: error of both sides together.
        clusters: of both sides.
        logs: the values are logarithms: return the change as a ratio.

    Raises:
        NoIntervalError: there are too few values.
    """
    sizes = [_trusted(side.size, own) for side, own in zip((base, cand), clusters, strict=True)]
    refuse_below(unpaired_floor(*sizes), alpha, f"{sizes[0]} and {sizes[1]} values")
    n = (base.size, cand.size)
    difference = float(cand.mean() - base.mean())
    if max(float(base.std()), float(cand.std())) <= noise(base, cand, logs=logs):
        shift = float(differences(base[:1], cand[:1], logs=logs)[0])
        p = _unpaired_alike_p(*sizes) if shift else 1.0
        return _unvarying(shift, p, alpha, n, base, logs=logs, count=min(sizes))
    (v1, df1), (v2, df2) = (
        variance_of_mean(side, own) for side, own in zip((base, cand), clusters, strict=True)
    )
    change = _t_change(difference, v1 + v2, tests.welch_df(v1, df1, v2, df2), alpha, logs=logs)
    spread = math.sqrt((float(base.var(ddof=1)) + float(cand.var(ddof=1))) / 2)
    method = f"Welch{' on logs' * logs}{', clustered' * clustered(clusters)}"
    change = replace(change, effect=("Cohen's d", difference / spread), method=method, n=n)
    return guarded(change, min(sizes), alpha, _size(base))


# --- changes that are all alike ----------------------------------------------------------------


def _paired_alike_p(n: int) -> float:
    """Return the two-sided p-value of ``n`` equal differences that are not 0.

    If nothing changed, both values of a pair have one distribution. Then Y − X = d > 0 in at most a
    quarter of pairs: Σ p(x) p(x + d) ≤ P(A) P(not A), with A every other step of d.
    """
    return 2 * paired_floor(n)


def _unpaired_alike_p(n: int, m: int) -> float:
    """Return the same for two sides of equal values: there is one such arrangement per side."""
    return min(1.0, 2 * arrangements_p(n, m))


def _refuse_alike(p: float, alpha: float, n: tuple[int, ...]) -> None:
    """Refuse a change without spread of so few values: t has no interval, and p is too large."""
    if p > alpha:
        raise NoIntervalError(
            f"nothing varies in {' and '.join(map(str, n))}: no spread to measure"
        )


def _size(base: Floats) -> float:
    """Return how large the baseline is: the difference if all cases lost all they have."""
    return float(np.abs(base).mean())


def _t_change(mean: float, variance: float, df: float, alpha: float, *, logs: bool) -> Change:
    back: Callable[[float], float] = _exp if logs else float
    error = math.sqrt(variance)
    half = student_isf(alpha / 2, df) * error
    p = 2 * student_sf(abs(mean) / error, df)
    return Change(
        RATIO if logs else DIFFERENCE, back(mean), back(mean - half), back(mean + half), p, error,
        None, "", (), df=df,
    )  # fmt: skip


def _unvarying(
    value: float,
    p: float,
    alpha: float,
    n: tuple[int, ...],
    base: Floats,
    *,
    logs: bool,
    count: int,
) -> Change:
    """Return a change without spread: t has no interval, but values that are alike have a p."""
    if value:
        _refuse_alike(p, alpha, n)
    back: Callable[[float], float] = _exp if logs else float
    change = Change(
        RATIO if logs else DIFFERENCE, back(value), back(value), back(value), p, 0.0, None,
        "nothing varies", n, alike=count,
    )  # fmt: skip
    return guarded(change, count, alpha, _size(base))


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
