"""A sketch of many numbers: their quantiles to within 1 %, in memory that does not grow.

DDSketch (Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", PVLDB 12 (12), 2019): numbers are counted in buckets whose bounds grow
by a constant factor, so the middle of a bucket is within the relative error of all that it holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

RELATIVE_ERROR = 0.01
MAX_BUCKETS = 4096  # of each sign; at 1 % they span 35 orders of magnitude
TINY = 1e-300  # anything closer to zero counts as zero: its logarithm would be no use


class Sketch:
    """Weighted counts of numbers, by size.

    Two sketches of the same relative error merge without loss: the result is the sketch of all
    their numbers, in whatever order. Numbers that span more than `MAX_BUCKETS` buckets lose
    precision at the small end, never at the large one.

    Args:
        relative_error: of every quantile, between 0 and 1.

    Attributes:
        above, below: weight by bucket, of numbers above and below zero; number x is in bucket
            ⌈log |x| / log_gamma⌉.
        zeros, count: weight of zeros, and of all.
    """

    __slots__ = ("above", "below", "count", "log_gamma", "relative_error", "zeros")

    def __init__(self, relative_error: float = RELATIVE_ERROR) -> None:
        self.relative_error = relative_error
        self.log_gamma = math.log1p(2 * relative_error / (1 - relative_error))
        self.above: dict[int, float] = {}
        self.below: dict[int, float] = {}
        self.zeros = 0.0
        self.count = 0.0

    def add(self, value: float, weight: float = 1.0) -> None:
        """Count a finite number ``weight`` times."""
        self.count += weight
        size = abs(value)
        if size <= TINY:
            self.zeros += weight
            return
        store = self.above if value > 0 else self.below
        index = math.ceil(math.log(size) / self.log_gamma)
        store[index] = store.get(index, 0.0) + weight
        if len(store) > MAX_BUCKETS:
            _collapse(store)

    def count_buckets(self, store: dict[int, float], buckets: dict[int, float]) -> None:
        """Add counts by bucket to ``above`` or ``below``; ``count`` is left to the caller."""
        for index, weight in buckets.items():
            store[index] = store.get(index, 0.0) + weight
        while len(store) > MAX_BUCKETS:
            _collapse(store)

    def merge(self, other: Sketch) -> None:
        """Take in all that another sketch has counted.

        Raises:
            ValueError: it has another relative error.
        """
        if other.relative_error != self.relative_error:
            raise ValueError(
                f"sketches of {self.relative_error:g} and {other.relative_error:g} do not merge"
            )
        self.count += other.count
        self.zeros += other.zeros
        self.count_buckets(self.above, other.above)
        self.count_buckets(self.below, other.below)

    def copy(self) -> Sketch:
        fresh = Sketch(self.relative_error)
        fresh.merge(self)
        return fresh

    def quantiles(self, shares: Iterable[float]) -> list[float]:
        """The quantiles, each within the relative error of what NumPy's default would give.

        NumPy interpolates between two neighbours; so does this, between their buckets. Where the
        neighbours have different signs the error is relative to the larger of them.

        Args:
            shares: between 0 and 1, in order.

        Raises:
            ValueError: nothing was counted.
        """
        if not self.count:
            raise ValueError("no quantile of nothing")
        buckets = self._ascending()
        return [_interpolated(buckets, share * (self.count - 1)) for share in shares]

    def _ascending(self) -> list[tuple[float, float]]:
        """The middle of each bucket, with the weight up to its end."""
        middles = [(-self._middle(i), self.below[i]) for i in sorted(self.below, reverse=True)]
        if self.zeros:
            middles.append((0.0, self.zeros))
        middles += [(self._middle(i), self.above[i]) for i in sorted(self.above)]
        reached, found = 0.0, []
        for middle, weight in middles:
            reached += weight
            found.append((middle, reached))
        return found

    def _middle(self, index: int) -> float:
        # 2γ^i / (γ + 1): as far from one bound as from the other, relatively.
        gamma = math.exp(self.log_gamma)
        return 2 * math.exp(index * self.log_gamma) / (gamma + 1)


def _interpolated(buckets: list[tuple[float, float]], rank: float) -> float:
    """The number at a rank that counts from 0."""
    rank = max(0.0, rank)
    low = math.floor(rank)
    lower, upper = _at(buckets, low), _at(buckets, low + 1)
    return lower + (rank - low) * (upper - lower)


def _at(buckets: list[tuple[float, float]], rank: int) -> float:
    for middle, reached in buckets:
        if reached > rank:
            return middle
    return buckets[-1][0]


def _collapse(store: dict[int, float]) -> None:
    """Make one bucket of the smallest eighth: one by one it would be done again at each number."""
    *smallest, limit = sorted(store)[: MAX_BUCKETS // 8]
    for index in smallest:
        store[limit] += store.pop(index)
