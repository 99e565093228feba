"""Betting e-processes: bounds of bounded means that hold however often one looks.

A gambler who believes that the mean is above ``m`` stakes a share of his money on every value. If
the mean is ``m`` or less, his money is not expected to grow, so the chance that it ever reaches
1/level times the beginning is at most the level (Ville 1939): at any look, after any number of
values. The gambler here spreads his money over several shares (Waudby-Smith and Ramdas 2024,
"Estimating means of bounded random variables by betting", section 4). A bound is the threshold at
which his largest money so far is 1/level, so it never gets worse with more values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from pytest_crucible.stats.samples import Floats, Ints

STAKES: Floats = np.array(
    [0.005, 0.01, 0.02, 0.04, 0.07, 0.12, 0.2, 0.3, 0.42, 0.55, 0.7, 0.85, 0.95, 0.99]
)
"""Shares of the largest possible stake; each begins with an equal part of the money.

Small ones find small differences in many values, large ones find large differences in few.
"""
_LOG_PARTS = math.log(STAKES.size)
_TIGHT = 1e-9
"""Bounds are rounded outward by less than this."""
_TINY = 1e-12


def looks(n: int) -> Iterator[int]:
    """Yield after how many of ``n`` values one looks: each up to 200, then every 1 %, and n."""
    at = 1
    while at < n:
        yield at
        at += max(1, at // 100)
    if n:
        yield n


def bounds(values: Floats, sizes: Floats | None, below: float, above: float) -> tuple[float, float]:
    """Return the always-valid bounds of the mean of values between 0 and 1.

    Args:
        values: independent values, or means of independent units, in the order in which they
            became known, shape ``(n,)``.
        sizes: how many values each unit has, shape ``(n,)``; None: one each. The mean is that of
            all values.
        below: probability that the lower bound ever lies above the mean, at most.
        above: the same for the upper bound.
    """
    parts = _parts(values.size, sizes)
    low = _bound(values, parts, below)
    return low, 1.0 - _bound(1.0 - values, parts, above)


def log_evidence(values: Floats, sizes: Floats | None, threshold: float) -> float:
    """Return the logarithm of the largest money so far of who bets on a mean above a threshold.

    At most its inverse is the p-value of "the mean is not above the threshold", at any look.

    Args:
        values, sizes: as for `bounds`.
        threshold: above 0.
    """
    return _largest(values, _parts(values.size, sizes), threshold)


def _parts(n: int, sizes: Floats | None) -> Floats | None:
    """Return what part of a stake each unit bears: its size against the largest one so far.

    The sum of its values minus the threshold must not cost more than the stake. What comes later
    does not matter to a bet, so that a decision stands.
    """
    return None if sizes is None or not n else sizes / np.maximum.accumulate(sizes)


def _largest(values: Floats, parts: Floats | None, threshold: float) -> float:
    if not values.size:
        return 0.0
    gains = (values - threshold) / threshold
    if parts is not None:
        gains = gains * parts
    starts: Ints = np.array([0, *looks(values.size)][:-1], dtype=np.int64)
    grown = np.empty((STAKES.size, starts.size))
    for row, stake in enumerate(STAKES):
        np.add.reduceat(np.log(1.0 + stake * gains), starts, out=grown[row])
    np.cumsum(grown, axis=1, out=grown)
    peak = grown.max(axis=0)
    money = peak + np.log(np.exp(grown - peak).sum(axis=0)) - _LOG_PARTS
    return float(money.max())


def _bound(values: Floats, parts: Floats | None, level: float) -> float:
    """Return the lower bound, rounded downwards; 0 if the values allow every mean.

    The money falls with the threshold, so that the bound is a root, found by false position
    (Illinois: Dowell and Jarratt 1971). Its lower end has reached the goal, so it is excluded.
    """
    goal = -math.log(level)

    def excess(threshold: float) -> float:
        return _largest(values, parts, threshold) - goal

    if not values.any():
        return 0.0
    # Bracket the root, from the mean of all values outwards: most often it is near.
    mean = float(np.average(values, weights=parts))
    step = (float(values.std()) + 1 / values.size) / math.sqrt(values.size)
    low = high = max(_TINY, mean)
    over = under = excess(low)
    while over <= 0 and low > _TINY:
        high, under = low, over
        low = max(_TINY, low - step)
        over, step = excess(low), 2 * step
    if over <= 0:
        return 0.0
    while under > 0:
        low, over = high, under
        high = min(1.0, high + step)
        under, step = excess(high), 2 * step
    kept = 0
    while high - low > _TIGHT:
        at = (low * under - high * over) / (under - over)
        at = min(max(at, low + _TIGHT / 2), high - _TIGHT / 2)
        found = excess(at)
        if found >= 0:
            low, over = at, found
            under = under / 2 if kept > 0 else under
            kept = 1
        else:
            high, under = at, found
            over = over / 2 if kept < 0 else over
            kept = -1
    return low


class Bettor:
    """The same money, value by value: whether a mean is above a threshold.

    Attributes:
        log_money: the largest so far, at the looks.

    Args:
        threshold: above 0.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._grown: Floats = np.zeros(STAKES.size)
        self._largest_size = 0.0
        self._count = 0
        self._next = 1
        self.log_money = 0.0

    def bet(self, value: float, size: float = 1.0) -> None:
        """Add a value between 0 and 1, or the mean of a unit of ``size`` values."""
        self._largest_size = max(self._largest_size, size)
        gain = (value - self._threshold) / self._threshold * size / self._largest_size
        self._grown += np.log1p(STAKES * gain)
        self._count += 1
        if self._count == self._next:
            self._next += max(1, self._count // 100)
            money = float(np.logaddexp.reduce(self._grown)) - _LOG_PARTS
            self.log_money = max(self.log_money, money)
