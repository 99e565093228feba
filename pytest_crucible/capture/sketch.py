"""A sketch of many numbers: their quantiles with an error of at most 1 %, in constant memory.

DDSketch (Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with
relative-error guarantees", PVLDB 12 (12), 2019): it counts numbers in buckets whose bounds grow by
a constant factor, so the middle of a bucket is within the relative error of every number in it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

RELATIVE_ERROR = 0.01
MAX_BUCKETS = 4096  # of each sign; at 1 % they span 35 orders of magnitude
TINY = 1e-300  # numbers this close to zero count as zero, which has no logarithm


class Sketch:
    """Weighted counts of numbers, by size.

    Two sketches with the same relative error merge without loss: the result equals the sketch of
    all their numbers, in any order. If numbers span more than `MAX_BUCKETS` buckets, the smallest
    lose precision, never the largest.

    Args:
        relative_error: of every quantile, between 0 and 1.

    Attributes:
        above, below: weight by bucket, for numbers above and below zero; number x is in bucket
            ⌈log |x| / log_gamma⌉.
        zeros: weight of the zeros.
        count: weight of all numbers.
        log_gamma: logarithm of the factor by which the bounds of buckets grow.
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
        """Add weights by bucket.

        Args:
            store: ``above`` or ``below`` of this sketch.
            buckets: weight by bucket. The caller adds their sum to ``count``.
        """
        for index, weight in buckets.items():
            store[index] = store.get(index, 0.0) + weight
        while len(store) > MAX_BUCKETS:
            _collapse(store)

    def merge(self, other: Sketch) -> None:
        """Add all numbers that another sketch has counted.

        Raises:
            ValueError: the other sketch has another relative error.
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
        """Return a sketch of the same numbers that does not change with this one."""
        fresh = Sketch(self.relative_error)
        fresh.merge(self)
        return fresh

    def quantiles(self, shares: Iterable[float]) -> list[float]:
        """Return quantiles, each within the relative error of what NumPy's default gives.

        NumPy interpolates linearly between two neighbouring numbers; this interpolates between
        their buckets. If the neighbours have different signs, the error is relative to the larger.

        Args:
            shares: between 0 and 1.

        Raises:
            ValueError: nothing was counted.
        """
        if not self.count:
            raise ValueError("a sketch without numbers has no quantiles")
        buckets = self._ascending()
        return [_interpolated(buckets, share * (self.count - 1)) for share in shares]

    def _ascending(self) -> list[tuple[float, float]]:
        """Return the middle of each bucket with the cumulative weight at its upper bound."""
        middles = [(-self._middle(i), self.below[i]) for i in sorted(self.below, reverse=True)]
        if self.zeros:
            middles.append((0.0, self.zeros))
        middles += [(self._middle(i), self.above[i]) for i in sorted(self.above)]
        reached, buckets = 0.0, []
        for middle, weight in middles:
            reached += weight
            buckets.append((middle, reached))
        return buckets

    def _middle(self, index: int) -> float:
        # 2γ^i / (γ + 1) has the same relative distance from both bounds (Masson et al. 2019).
        gamma = math.exp(self.log_gamma)
        return 2 * math.exp(index * self.log_gamma) / (gamma + 1)


def _interpolated(buckets: list[tuple[float, float]], rank: float) -> float:
    """Interpolate the number at a rank, which counts from 0, between its neighbours' buckets."""
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
    """Merge the smallest eighth of the buckets into one.

    If we merged just two, the next new bucket would make us sort them all again.
    """
    *smallest, limit = sorted(store)[: MAX_BUCKETS // 8]
    for index in smallest:
        store[limit] += store.pop(index)
