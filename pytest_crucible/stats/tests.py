"""Parts of tests: exact distributions of rank sums, degrees of freedom, corrections for number."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

EXACT_TIES_N = 25
"""Up to this many values per side, rank sums are exact, with and without ties."""
EXACT_PAIRS = 50
"""Up to this many pairs, the signed rank test is exact."""
Alternative = Literal["two-sided", "greater", "less"]
TWO_SIDED: Alternative = "two-sided"
GREATER: Alternative = "greater"
LESS: Alternative = "less"
ALTERNATIVES = (TWO_SIDED, GREATER, LESS)

Tails = tuple[float, float]
"""P(at most what was observed) and P(at least that), if nothing changed."""


def p_of(tails: Tails, alternative: Alternative = TWO_SIDED) -> float:
    """Return the p-value: one of the tails, or twice the smaller one."""
    less, greater = tails
    two = min(1.0, 2 * min(tails))
    return {TWO_SIDED: two, GREATER: min(1.0, greater), LESS: min(1.0, less)}[alternative]


def rank_sum_exact(x: Floats, y: Floats) -> Tails:
    """Return the exact permutation distribution's tails of the sum of the mid-ranks of ``x``.

    With ties. Dynamic programming counts the permutations for every sum of doubled, so whole,
    mid-ranks.
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
    return _tails(ways[x.size] / ways[x.size].sum(), observed)


def signed_rank_exact(nonzero: Floats) -> Tails:
    """Return the tails of the sum of positive mid-ranks, if all signs are equally likely.

    Args:
        nonzero: differences without zeros.
    """
    from scipy.stats import rankdata

    ranks = np.rint(2 * rankdata(np.abs(nonzero))).astype(np.int64)
    observed = int(ranks[nonzero > 0].sum())
    return _tails(subset_sums(ranks.tolist()) / 2.0**nonzero.size, observed)


def subset_sums(ranks: Iterable[int]) -> Floats:
    """Return how many subsets of whole numbers have each sum, from 0 to that of all."""
    ranks = list(ranks)
    counts = np.zeros(sum(ranks) + 1)
    counts[0] = 1.0
    for rank in ranks:
        counts[rank:] += counts[:-rank].copy()
    return counts


def _tails(shares: Floats, observed: int) -> Tails:
    return float(shares[: observed + 1].sum()), float(shares[observed:].sum())


def welch_df(v1: float, df1: float, v2: float, df2: float) -> float:
    """Return Welch's degrees of freedom (Satterthwaite 1946).

    Args:
        v1, v2: variances of the two means.
        df1, df2: their degrees of freedom.
    """
    share = v1 / (v1 + v2)
    return 1 / (share**2 / df1 + (1 - share) ** 2 / df2)


def cliffs_delta(x: Floats, y: Floats) -> float:
    """Return P(y > x) − P(y < x) (Cliff 1993), between −1 and 1, in O((n + m) log n)."""
    ordered, y = np.sort(x), np.sort(y)  # sorted y: successive searches touch the same memory
    less = np.searchsorted(ordered, y, side="left").sum()
    more = (x.size - np.searchsorted(ordered, y, side="right")).sum()
    return float(less - more) / (x.size * y.size)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Correct p-values, by name, for their number: one is falsely small in 5 % (Holm 1979)."""
    ordered = sorted(p_values, key=lambda name: p_values[name])
    corrected = dict(p_values)
    worst = 0.0
    for position, name in enumerate(ordered):
        worst = max(worst, min(1.0, p_values[name] * (len(ordered) - position)))
        corrected[name] = worst
    return corrected


def benjamini_hochberg(p_values: Mapping[str, float]) -> dict[str, float]:
    """Correct p-values, by name: 5 % of the small ones are false (Benjamini and Hochberg 1995)."""
    ordered = sorted(p_values, key=lambda name: -p_values[name])
    corrected = dict(p_values)
    best = 1.0
    for position, name in enumerate(ordered):
        best = min(best, p_values[name] * len(ordered) / (len(ordered) - position))
        corrected[name] = best
    return corrected
