"""Tests of "nothing changed": the p-values beside the intervals.

All are two-sided unless said otherwise. `None` means that the data admit no such test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.stats.distributions import student_sf

Floats = NDArray[np.float64]

EXACT_TIES_N = 25
"""Up to this many values per side ties are handled exactly."""
EXACT_PAIRS = 50
"""Up to this many pairs the signed rank test is exact."""


def mann_whitney(x: Floats, y: Floats) -> float | None:
    """Mann-Whitney U, exact where that is feasible (Mann and Whitney 1947).

    SciPy's exact distribution ignores ties; with ties and few values the permutation distribution
    of the mid-rank sum is worked out exactly instead.
    """
    from scipy.stats import mannwhitneyu

    if not x.size or not y.size:
        return None
    pooled = np.concatenate([x, y])
    if np.ptp(pooled) == 0:
        return 1.0
    ties = np.unique(pooled).size < pooled.size
    small = max(x.size, y.size) <= EXACT_TIES_N
    if ties and small:
        return rank_sum_exact(x, y)
    method: Literal["exact", "asymptotic"] = "exact" if small else "asymptotic"
    return float(mannwhitneyu(x, y, method=method).pvalue)


def rank_sum_exact(x: Floats, y: Floats, alternative: str = "two-sided") -> float:
    """Exact permutation p-value of the mid-rank sum of ``x``, ties and all.

    The distribution is counted by dynamic programming over doubled (so whole) mid-ranks.

    Args:
        x, y: the two samples.
        alternative: two-sided, or greater: ``x`` tends to be larger.
    """
    from scipy.stats import rankdata

    ranks = np.rint(2 * rankdata(np.concatenate([x, y]))).astype(np.int64)
    observed = int(ranks[: x.size].sum())
    # ways[k][s]: in how many ways k of the ranks so far sum to s.
    ways = np.zeros((x.size + 1, int(ranks.sum()) + 1))
    ways[0, 0] = 1.0
    for rank in ranks:
        for k in range(x.size, 0, -1):
            ways[k, rank:] += ways[k - 1, : ways.shape[1] - rank]
    counts = ways[x.size] / ways[x.size].sum()
    greater = float(counts[observed:].sum())
    if alternative == "greater":
        return min(1.0, greater)
    less = float(counts[: observed + 1].sum())
    return min(1.0, 2 * min(less, greater))


def signed_rank(differences: Floats) -> float | None:
    """Wilcoxon's signed rank test of paired differences that are not zero, exact up to 50."""
    from scipy.stats import wilcoxon

    nonzero = differences[differences != 0]
    if not differences.size:
        return None
    if not nonzero.size:
        return 1.0
    if nonzero.size <= EXACT_PAIRS:
        return signed_rank_exact(nonzero)
    return float(wilcoxon(nonzero, method="approx").pvalue)


def signed_rank_exact(nonzero: Floats, alternative: str = "two-sided") -> float:
    """Exact p-value of the sum of positive mid-ranks when all signs are equally likely.

    Args:
        nonzero: differences, none of them zero.
        alternative: two-sided, or greater: the differences tend to be positive.
    """
    from scipy.stats import rankdata

    ranks = np.rint(2 * rankdata(np.abs(nonzero))).astype(np.int64)
    observed = int(ranks[nonzero > 0].sum())
    counts = np.zeros(int(ranks.sum()) + 1)
    counts[0] = 1.0
    for rank in ranks:
        counts[rank:] += counts[:-rank].copy()
    greater = float(counts[observed:].sum()) / 2.0**nonzero.size
    if alternative == "greater":
        return greater
    less = float(counts[: observed + 1].sum()) / 2.0**nonzero.size
    return min(1.0, 2 * min(less, greater))


def paired_t(differences: Floats) -> float | None:
    """Student's t test of paired differences."""
    n = differences.size
    if n < 2:
        return None
    spread = float(differences.std(ddof=1))
    if spread == 0:
        return 1.0 if differences[0] == 0 else None
    t = float(differences.mean()) / spread * math.sqrt(n)
    return 2 * student_sf(abs(t), n - 1)


def welch(x: Floats, y: Floats) -> float | None:
    """Welch's t test of two independent means (Welch 1947)."""
    if x.size < 2 or y.size < 2:
        return None
    v1, v2 = float(x.var(ddof=1)) / x.size, float(y.var(ddof=1)) / y.size
    if not v1 + v2:
        return 1.0 if x[0] == y[0] else None
    # Written out: SciPy's warns of precision loss where values hardly differ.
    t = float(y.mean() - x.mean()) / math.sqrt(v1 + v2)
    return 2 * student_sf(abs(t), welch_df(v1, x.size, v2, y.size))


def welch_df(v1: float, n1: int, v2: float, n2: int) -> float:
    """Welch's degrees of freedom from the variances of two means (Satterthwaite 1946)."""
    share = v1 / (v1 + v2)
    return 1 / (share**2 / (n1 - 1) + (1 - share) ** 2 / (n2 - 1))


def fisher(x1: int, n1: int, x2: int, n2: int) -> float | None:
    """Fisher's exact test of two independent proportions."""
    from scipy.stats import fisher_exact

    if not n1 or not n2:
        return None
    return float(fisher_exact(np.array([[x1, n1 - x1], [x2, n2 - x2]])).pvalue)


def mcnemar(first_only: int, second_only: int) -> float:
    """The exact McNemar test of discordant pairs (McNemar 1947, as a sign test)."""
    from scipy.stats import binomtest

    discordant = first_only + second_only
    if not discordant:
        return 1.0
    return float(binomtest(first_only, discordant, 0.5).pvalue)


def cliffs_delta(x: Floats, y: Floats) -> float:
    """P(y > x) − P(y < x) (Cliff 1993), between −1 and 1, in O((n + m) log n)."""
    ordered, y = np.sort(x), np.sort(y)  # both sorted: neighbours are found near each other
    less = np.searchsorted(ordered, y, side="left").sum()
    more = (x.size - np.searchsorted(ordered, y, side="right")).sum()
    return float(less - more) / (x.size * y.size)


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """p-values corrected for their number (Holm 1979). Missing ones stay missing."""
    known = sorted((p, name) for name, p in p_values.items() if p is not None)
    corrected: dict[str, float | None] = dict.fromkeys(p_values)
    worst = 0.0
    for position, (p, name) in enumerate(known):
        worst = max(worst, min(1.0, p * (len(known) - position)))
        corrected[name] = worst
    return corrected


def benjamini_hochberg(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """p-values corrected for the false discovery rate (Benjamini and Hochberg 1995)."""
    known = sorted(((p, name) for name, p in p_values.items() if p is not None), reverse=True)
    corrected: dict[str, float | None] = dict.fromkeys(p_values)
    best = 1.0
    for position, (p, name) in enumerate(known):
        best = min(best, p * len(known) / (len(known) - position))
        corrected[name] = best
    return corrected
