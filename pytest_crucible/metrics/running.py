"""Running numbers: what is known of a stream of numbers, in memory that does not grow.

A few are kept as they are, and described exactly. Beyond that, moments are updated pair by pair
(Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
variances", 1979; with weights, West 1979), and a sketch tells quantiles to within 1 %.
"""

from __future__ import annotations

import math

import numpy as np

from pytest_crucible._sketch import Sketch
from pytest_crucible.metrics.summary import Distribution, distribution

EXACT = 1000
"""So many numbers are kept as they are."""


class Moments:
    """Total weight, mean and squared deviations of numbers, with their extremes."""

    __slots__ = ("largest", "mean", "number", "smallest", "squares", "weight")

    def __init__(self) -> None:
        self.number = 0
        self.weight = self.mean = self.squares = 0.0
        self.smallest, self.largest = math.inf, -math.inf

    def add(self, value: float, weight: float = 1.0) -> None:
        self._take(1, weight, value, 0.0, value, value)

    def merge(self, other: Moments) -> None:
        """Take in all that another has seen."""
        if other.number:
            self._take(
                other.number, other.weight, other.mean, other.squares,
                other.smallest, other.largest,
            )  # fmt: skip

    def _take(
        self, number: int, weight: float, mean: float, squares: float, least: float, most: float
    ) -> None:
        total = self.weight + weight
        step = mean - self.mean
        self.mean += step * (weight / total)
        self.squares += squares + step * step * (self.weight * weight / total)
        self.weight, self.number = total, self.number + number
        self.smallest, self.largest = min(self.smallest, least), max(self.largest, most)

    @property
    def std_dev(self) -> float | None:
        """Divided by n − 1; None of fewer than two numbers."""
        return None if self.number < 2 else math.sqrt(self.squares / (self.weight - 1))


class Numbers:
    """A stream of finite numbers, each with a weight.

    Args:
        exact: so many are kept as they are.
        relative_error: of the quantiles beyond that.
    """

    __slots__ = ("_exact", "_kept", "_moments", "_relative_error", "_sketch", "weighted")

    def __init__(self, exact: int, relative_error: float) -> None:
        self._exact = exact
        self._relative_error = relative_error
        self._kept: list[tuple[float, float]] = []
        self._moments: Moments | None = None
        self._sketch = Sketch(relative_error)
        self.weighted = False

    def add(self, value: float, weight: float = 1.0) -> None:
        self.weighted = self.weighted or weight != 1.0
        if self._moments is None:
            self._kept.append((value, weight))
            if len(self._kept) > self._exact:
                self._spill()
        else:
            self._moments.add(value, weight)
            self._sketch.add(value, weight)

    def _spill(self) -> Moments:
        """From here on there are only moments and the sketch."""
        if self._moments is None:
            self._moments = Moments()
            for value, weight in self._kept:
                self._moments.add(value, weight)
                self._sketch.add(value, weight)
            self._kept = []
        return self._moments

    def merge(self, other: Numbers) -> None:
        """Take in all that another has seen; in which order does not matter."""
        if other._moments is None:
            for value, weight in other._kept:
                self.add(value, weight)
            return
        self.weighted = self.weighted or other.weighted
        self._spill().merge(other._moments)
        self._sketch.merge(other._sketch)

    def copy(self) -> Numbers:
        fresh = Numbers(self._exact, self._relative_error)
        fresh.merge(self)
        return fresh

    def describe(self) -> Distribution:
        """Exact for few numbers; else percentiles are within the relative error."""
        moments = self._moments
        if moments is None:
            values = np.array([value for value, _ in self._kept], dtype=np.float64)
            weights = np.array([weight for _, weight in self._kept], dtype=np.float64)
            return distribution(values, weights if self.weighted else None)
        points = [
            _finite(min(max(point, moments.smallest), moments.largest))
            for point in self._sketch.quantiles((0.5, 0.9, 0.95, 0.99))
        ]
        std_dev = moments.std_dev
        return Distribution(
            count=round(moments.weight),
            total=_finite(moments.mean * moments.weight),
            mean=_finite(moments.mean),
            median=points[0],
            std_dev=None if std_dev is None else _finite(std_dev),
            min=moments.smallest,
            max=moments.largest,
            p50=points[0],
            p90=points[1],
            p95=points[2],
            p99=points[3],
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
