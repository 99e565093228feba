"""Tests of the hypothesis "nothing changed": the p-values that stand next to intervals.

All tests are two-sided by default. They take values of the shape ``(n,)`` and return the p-value;
None means that the data admit no such test.
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
"""Up to this many values per side, rank sums are exact, with and without ties."""
EXACT_PAIRS = 50
"""Up to this many pairs, the signed rank test is exact."""


def mann_whitney(x: Floats, y: Floats) -> float | None:
    """Test two independent samples: Mann-Whitney U (Mann and Whitney 1947).

    Exact up to `EXACT_TIES_N` values per side. SciPy's exact distribution ignores ties, so with
    ties `rank_sum_exact` works out the permutation distribution.
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
    """Return the exact permutation p-value of the sum of the mid-ranks of ``x``, with ties.

    Dynamic programming counts the permutations for every sum of doubled, so whole, mid-ranks.

    Args:
        x, y: the two samples.
        alternative: ``two-sided``, or ``greater``: ``x`` tends to be larger.
    """
    from scipy.stats import rankdata

    ranks = np.rint(2 * rankdata(np.concatenate([x, y]))).astype(np.int64)
    observed = int(ranks[: x.size].sum())
    # ways[k][s]: the number of ways to choose k of the ranks so far with the sum s.
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
    """Test paired differences: Wilcoxon's signed rank test (Wilcoxon 1945); zeros are left out.

    Exact up to `EXACT_PAIRS` differences.
    """
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
    """Return the exact p-value of the sum of positive mid-ranks, if all signs are equally likely.

    Args:
        nonzero: differences without zeros.
        alternative: ``two-sided``, or ``greater``: the differences tend to be positive.
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
    """Test paired differences: Student's t test (Student 1908)."""
    n = differences.size
    if n < 2:
        return None
    spread = float(differences.std(ddof=1))
    if spread == 0:
        return 1.0 if differences[0] == 0 else None
    t = float(differences.mean()) / spread * math.sqrt(n)
    return 2 * student_sf(abs(t), n - 1)


def welch(x: Floats, y: Floats) -> float | None:
    """Test the means of two independent samples: Welch's t test (Welch 1947)."""
    if x.size < 2 or y.size < 2:
        return None
    v1, v2 = float(x.var(ddof=1)) / x.size, float(y.var(ddof=1)) / y.size
    if not v1 + v2:
        return 1.0 if x[0] == y[0] else None
    # Not SciPy's function: it warns of a loss of precision if values hardly differ.
    t = float(y.mean() - x.mean()) / math.sqrt(v1 + v2)
    return 2 * student_sf(abs(t), welch_df(v1, x.size - 1, v2, y.size - 1))


def welch_df(v1: float, df1: float, v2: float, df2: float) -> float:
    """Return Welch's degrees of freedom (Satterthwaite 1946).

    Args:
        v1, v2: variances of the two means.
        df1, df2: their degrees of freedom.
    """
    share = v1 / (v1 + v2)
    return 1 / (share**2 / df1 + (1 - share) ** 2 / df2)


def fisher(x1: int, n1: int, x2: int, n2: int) -> float | None:
    """Test two independent proportions: Fisher's exact test (Fisher 1935).

    Args:
        x1, x2: successes.
        n1, n2: trials.
    """
    from scipy.stats import fisher_exact

    if not n1 or not n2:
        return None
    return float(fisher_exact(np.array([[x1, n1 - x1], [x2, n2 - x2]])).pvalue)


def mcnemar(first_only: int, second_only: int) -> float:
    """Test paired proportions: McNemar's test (McNemar 1947), exact as a sign test.

    Args:
        first_only, second_only: number of pairs in which only this side succeeds.
    """
    from scipy.stats import binomtest

    discordant = first_only + second_only
    if not discordant:
        return 1.0
    return float(binomtest(first_only, discordant, 0.5).pvalue)


def cliffs_delta(x: Floats, y: Floats) -> float:
    """Return P(y > x) − P(y < x) (Cliff 1993), between −1 and 1, in O((n + m) log n)."""
    ordered, y = np.sort(x), np.sort(y)  # sorted y: successive searches touch the same memory
    less = np.searchsorted(ordered, y, side="left").sum()
    more = (x.size - np.searchsorted(ordered, y, side="right")).sum()
    return float(less - more) / (x.size * y.size)


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Correct p-values, by name, for their number (Holm 1979); None stays None."""
    ordered = sorted((p, name) for name, p in p_values.items() if p is not None)
    corrected: dict[str, float | None] = dict.fromkeys(p_values)
    worst = 0.0
    for position, (p, name) in enumerate(ordered):
        worst = max(worst, min(1.0, p * (len(ordered) - position)))
        corrected[name] = worst
    return corrected


def benjamini_hochberg(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Correct p-values, by name, for the false discovery rate (Benjamini and Hochberg 1995)."""
    ordered = sorted(((p, name) for name, p in p_values.items() if p is not None), reverse=True)
    corrected: dict[str, float | None] = dict.fromkeys(p_values)
    best = 1.0
    for position, (p, name) in enumerate(ordered):
        best = min(best, p * len(ordered) / (len(ordered) - position))
        corrected[name] = best
    return corrected
