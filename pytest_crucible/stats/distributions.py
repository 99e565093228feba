"""Quantiles and tails of the normal, Student's t, the beta and the binomial distribution.

Importing ``scipy.stats`` takes a second, which the summary of every session would pay. The normal
and the binomial need no SciPy; the others import only ``scipy.special``, when they are called.

Names as in SciPy: ``sf`` is the probability to exceed a value, ``isf`` its inverse, ``ppf`` the
quantile.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

_REACH = 12
"""So many standard deviations from its mean the binomial is negligible (below 1e-30)."""

_normal = NormalDist()


def normal_isf(p: float) -> float:
    """Return the value that a standard normal variable exceeds with probability ``p``."""
    if not 0.0 < p < 1.0:
        return math.inf if p == 0.0 else -math.inf if p == 1.0 else math.nan
    return -_normal.inv_cdf(p)


def normal_sf(x: float) -> float:
    """Return the probability that a standard normal variable exceeds ``x``."""
    return math.erfc(x / math.sqrt(2)) / 2


def student_isf(p: float, df: float) -> float:
    """Return the value that Student's t exceeds with probability ``p``.

    Args:
        p: probability, between 0 and 1.
        df: degrees of freedom, above 0.
    """
    from scipy.special import stdtrit

    return -float(stdtrit(df, p))


def student_sf(x: float, df: float) -> float:
    """Return the probability that Student's t with ``df`` degrees of freedom exceeds ``x``."""
    from scipy.special import stdtr

    return float(stdtr(df, -x))


def beta_ppf(p: float, a: float, b: float) -> float:
    """Return the ``p`` quantile of the beta distribution with shapes ``a`` and ``b``."""
    from scipy.special import betaincinv

    return float(betaincinv(a, b, p))


def beta_isf(p: float, a: float, b: float) -> float:
    """Return the ``1 − p`` quantile of the beta distribution with shapes ``a`` and ``b``."""
    from scipy.special import betainccinv

    return float(betainccinv(a, b, p))


def binomial_tails(tail: float, n: int, q: float) -> tuple[int, int]:
    """Return the counts that cut off a tail on either side of a binomial distribution.

    Args:
        tail: probability of either tail, above 1e-12.
        n: number of draws, at least 1.
        q: probability of success of a draw, between 0 and 1.

    Returns:
        The smallest ``k`` with P(X ≤ k) ≥ ``tail``, and the smallest with P(X > k) ≤ ``tail``.
    """
    mode = min(n, math.floor((n + 1) * q))
    reach = math.ceil(_REACH * math.sqrt(n * q * (1 - q))) + 40
    first, last = max(0, mode - reach), min(n, mode + reach)
    # Neighbouring probabilities have a simple ratio, so there is no need for factorials.
    up = np.arange(mode, last, dtype=np.float64)
    down = np.arange(mode, first, -1, dtype=np.float64)
    odds = q / (1 - q)
    above = np.cumprod((n - up) / (up + 1) * odds)
    below = np.cumprod(down / (n - down + 1) / odds)
    share = np.concatenate([below[::-1], [1.0], above])
    share /= share.sum()
    low = int(np.searchsorted(np.cumsum(share), tail))
    # Summed from the far end, because 1 − (a sum near 1) would lose the small tail.
    exceeding = np.cumsum(share[::-1])
    high = share.size - 1 - int(np.searchsorted(exceeding, tail, side="right"))
    return first + low, first + high
