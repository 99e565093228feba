"""Changes of positive, skewed numbers such as latencies: typical ratios, by ranks.

Each function takes logarithms and a level, and returns a `Change`. Where there are too few values
for ranks to reach the level, Student's t on the logarithms takes over, which refuses what it could
not know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pytest_crucible.stats import tests
from pytest_crucible.stats.change import (
    NO_CLUSTERS,
    RATIO,
    Change,
    Clusters,
    Floats,
    Ints,
    arrangements_p,
    differences,
    guarded,
)
from pytest_crucible.stats.distributions import normal_isf, normal_sf
from pytest_crucible.stats.mean_changes import clustered, independent_t, paired_t

MAX_PAIRWISE = 2_000
"""With more values per side, t methods replace the methods that look at all pairs of values."""
_MOST_EXACT = 20_000
"""With more pairs of values, rank sums are taken for normal."""
_SPARE = 4
"""Ranks are used if their smallest p is this many times below the level."""


def paired_log_ratio(
    base: Floats, cand: Floats, alpha: float, clusters: Ints | None = None
) -> Change:
    """Return the typical ratio of pairs: Wilcoxon's signed rank test (Wilcoxon 1945).

    Interval and p count the Walsh averages beyond a value (Lehmann 1975), so they agree, with ties,
    too. With too few pairs for the level, with more than `MAX_PAIRWISE`, and with clusters: paired
    t on logarithms.

    Args:
        base, cand: logarithms, one per case, in the same order, shape ``(n,)``.
        alpha: error of both sides together.
        clusters: cluster of every case, shape ``(n,)``; None if cases are independent.

    Raises:
        NoIntervalError: there are too few pairs.
    """
    n = base.size
    if clusters is not None or n > MAX_PAIRWISE or 2.0**-n > alpha / 2 / _SPARE:
        return paired_t(base, cand, alpha, clusters, logs=True)
    found = differences(base, cand, logs=True)
    walsh = np.sort(walsh_averages(found))
    change = _by_ranks(walsh, signed_ranks(n), alpha, (n,))
    effect = ("rank-biserial r", rank_biserial(found))
    change = replace(
        change,
        effect=effect,
        method="Wilcoxon signed rank on log ratios",
        alike=n if float(np.ptp(found)) == 0.0 else None,
    )
    return guarded(change, n, alpha)


def log_shift(base: Floats, cand: Floats, alpha: float, clusters: Clusters = NO_CLUSTERS) -> Change:
    """Return the typical ratio of independent values: Mann-Whitney U (Mann and Whitney 1947).

    The estimate is the Hodges-Lehmann shift of the logarithms (Hodges and Lehmann 1963); interval
    and p count the shifts beyond a value. With too few values for the level, with more than
    `MAX_PAIRWISE` on a side, and with clusters: Welch on logarithms.

    Args:
        base, cand: logarithms, shapes ``(n,)`` and ``(m,)``.
        alpha: error of both sides together.
        clusters: of both sides.

    Raises:
        NoIntervalError: there are too few values.
    """
    n, m = base.size, cand.size
    few = arrangements_p(n, m) > alpha / 2 / _SPARE
    if few or max(n, m) > MAX_PAIRWISE or clustered(clusters):
        change = independent_t(base, cand, alpha, clusters, logs=True)
        return replace(change, effect=("Cliff's delta", tests.cliffs_delta(base, cand)))
    shifts = np.sort(differences(base, cand[:, None], logs=True).ravel())
    change = _by_ranks(shifts, rank_sums(n, m), alpha, (n, m))
    same = max(float(np.ptp(base)), float(np.ptp(cand))) == 0.0
    change = replace(
        change,
        effect=("Cliff's delta", tests.cliffs_delta(base, cand)),
        method="Mann-Whitney, Hodges-Lehmann ratio",
        alike=min(n, m) if same else None,
    )
    return guarded(change, min(n, m), alpha)


def _by_ranks(ordered: Floats, null: Null, alpha: float, n: tuple[int, ...]) -> Change:
    """Return the change whose interval ends at the `Null.cut`-th value from either end."""
    cut = null.cut(alpha / 2)
    low, high = float(ordered[cut - 1]), float(ordered[ordered.size - cut])
    below = int(np.searchsorted(ordered, 0.0, side="right"))
    above = int(ordered.size - np.searchsorted(ordered, 0.0, side="left"))
    return Change(
        RATIO,
        math.exp(float(np.median(ordered))),
        math.exp(low),
        math.exp(high),
        min(1.0, 2 * null.p(min(below, above))),
        (high - low) / 2 / normal_isf(alpha / 2),
        None,
        "",
        n,
    )


@dataclass(frozen=True, slots=True)
class Null:
    """Distribution of a count, under "no change": how many averages or shifts lie below 0.

    Attributes:
        mean, spread: of its normal approximation.
        cumulative: P(at most k), shape ``(largest count + 1,)``; None: use the approximation.
    """

    mean: float
    spread: float
    cumulative: Floats | None = None

    def cut(self, level: float) -> int:
        """Return the largest k with P(count < k) ≤ level."""
        if self.cumulative is not None:
            return int(np.searchsorted(self.cumulative, level, side="right"))
        return math.floor(self.mean - normal_isf(level) * self.spread)

    def p(self, count: int) -> float:
        """Return P(at most ``count``); at most ``level`` just if ``count`` < `cut` (level)."""
        if self.cumulative is not None:
            return float(self.cumulative[count])
        return normal_sf((self.mean - count - 1) / self.spread)


def signed_ranks(n: int) -> Null:
    """Return the distribution for the Walsh averages of ``n`` pairs."""
    mean, spread = n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    if n > tests.EXACT_PAIRS:
        return Null(mean, spread)
    return Null(mean, spread, np.cumsum(tests.subset_sums(range(1, n + 1))) / 2.0**n)


def rank_sums(n: int, m: int) -> Null:
    """Return the distribution for the shifts between ``n`` and ``m`` values."""
    mean, spread = n * m / 2, math.sqrt(n * m * (n + m + 1) / 12)
    if n * m > _MOST_EXACT or arrangements_p(n, m) < 2.0**-53:  # counts must be whole as floats
        return Null(mean, spread)
    counts = np.zeros(n * m + 1)
    counts[0] = 1.0
    # Coefficients of the generating function of U, the Gaussian binomial coefficient.
    for i in range(1, min(n, m) + 1):
        shifted = counts.copy()
        step = max(n, m) + i
        shifted[step:] -= counts[: max(0, counts.size - step)]
        for start in range(i):
            shifted[start::i] = np.cumsum(shifted[start::i])
        counts = shifted
    return Null(mean, spread, np.cumsum(counts) / counts.sum())


def walsh_averages(values: Floats) -> Floats:
    """Return the means of all pairs of values, pairs of a value with itself included."""
    rows, columns = np.triu_indices(values.size)
    averages: Floats = (values[rows] + values[columns]) / 2
    return averages


def rank_biserial(found: Floats) -> float:
    """Return the matched-pairs rank-biserial correlation (Kerby 2014), between −1 and 1."""
    nonzero = found[found != 0]
    if not nonzero.size:
        return 0.0
    # Mid-ranks. Not SciPy's: importing `scipy.stats` takes a second (see `distributions`).
    _, which, counts = np.unique(np.abs(nonzero), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[which]
    return float((ranks * np.sign(nonzero)).sum() / ranks.sum())
