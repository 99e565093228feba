"""Quantiles and tails of the normal, Student's, the beta and the binomial distribution.

``scipy.stats`` takes a second to import, which the summary of every session would pay. The normal
and the binomial need no SciPy; the others need ``scipy.special`` only, and only when asked.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

_REACH = 12
"""Standard deviations around the mean beyond which the binomial is nothing (below 1e-30)."""

_normal = NormalDist()


def normal_isf(p: float) -> float:
    """The value that a standard normal exceeds with probability ``p``, between 0 and 1."""
    if not 0.0 < p < 1.0:
        return math.inf if p == 0.0 else -math.inf if p == 1.0 else math.nan
    return -_normal.inv_cdf(p)


def normal_sf(x: float) -> float:
    """The probability that a standard normal exceeds ``x``."""
    return math.erfc(x / math.sqrt(2)) / 2


def student_isf(p: float, df: float) -> float:
    """The value that Student's t with ``df`` degrees of freedom exceeds with probability ``p``."""
    from scipy.special import stdtrit

    return -float(stdtrit(df, p))


def student_sf(x: float, df: float) -> float:
    """The probability that Student's t with ``df`` degrees of freedom exceeds ``x``."""
    from scipy.special import stdtr

    return float(stdtr(df, -x))


def beta_ppf(p: float, a: float, b: float) -> float:
    """The value that a beta variable stays below with probability ``p``."""
    from scipy.special import betaincinv

    return float(betaincinv(a, b, p))


def beta_isf(p: float, a: float, b: float) -> float:
    """The value that a beta variable exceeds with probability ``p``."""
    from scipy.special import betainccinv

    return float(betainccinv(a, b, p))


def binomial_tails(tail: float, n: int, q: float) -> tuple[int, int]:
    """The counts that leave ``tail`` on either side of a binomial of ``n`` draws.

    Args:
        tail: probability on either side, above 1e-12.
        n: draws, at least 1.
        q: probability of each, between 0 and 1.

    Returns:
        The smallest ``k`` with P(X ≤ k) ≥ ``tail``, and the smallest with P(X > k) ≤ ``tail``.
    """
    mode = min(n, math.floor((n + 1) * q))
    reach = math.ceil(_REACH * math.sqrt(n * q * (1 - q))) + 40
    first, last = max(0, mode - reach), min(n, mode + reach)
    # Each probability is a known multiple of its neighbour's, so no logarithm of a factorial.
    up = np.arange(mode, last, dtype=np.float64)
    down = np.arange(mode, first, -1, dtype=np.float64)
    odds = q / (1 - q)
    above = np.cumprod((n - up) / (up + 1) * odds)
    below = np.cumprod(down / (n - down + 1) / odds)
    share = np.concatenate([below[::-1], [1.0], above])
    share /= share.sum()
    low = int(np.searchsorted(np.cumsum(share), tail))
    # From the far end: sums of small numbers keep what 1 − … would lose.
    exceeding = np.cumsum(share[::-1])
    high = share.size - 1 - int(np.searchsorted(exceeding, tail, side="right"))
    return first + low, first + high
