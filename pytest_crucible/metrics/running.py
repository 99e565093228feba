"""Running numbers: the distribution of a stream of numbers, in memory that does not grow.

The first `EXACT` numbers are stored and described exactly. After that, chunks are added to running
moments (Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample
variances", 1979; with weights, West 1979) and to a sketch with quantiles to within 1 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.capture.sketch import TINY, Sketch
from pytest_crucible.metrics.distribution import Distribution
from pytest_crucible.metrics.summary import distribution

Floats = NDArray[np.float64]

EXACT = 1000
"""Up to this many numbers are stored as they are."""
CHUNK = 256
"""After that, this many are collected and then added up at once."""


class Moments:
    """Total weight, mean, sum of squared deviations, minimum and maximum of numbers."""

    __slots__ = ("largest", "mean", "number", "smallest", "squares", "weight")

    def __init__(self) -> None:
        self.number = 0
        self.weight = self.mean = self.squares = 0.0
        self.smallest, self.largest = math.inf, -math.inf

    def add(self, value: float, weight: float = 1.0) -> None:
        """Add a number."""
        self._combine(1, weight, value, 0.0, value, value)

    def add_many(self, values: Floats, weights: Floats) -> None:
        """Add numbers at once.

        Args:
            values: shape ``(n,)``, at least one.
            weights: shape ``(n,)``.
        """
        weight = float(weights.sum())
        with np.errstate(over="ignore", invalid="ignore"):
            mean = float((values * weights).sum()) / weight
            squares = float((weights * (values - mean) ** 2).sum())
        self._combine(values.size, weight, mean, squares, float(values.min()), float(values.max()))

    def merge(self, other: Moments) -> None:
        """Add all numbers of ``other``."""
        if other.number:
            self._combine(
                other.number, other.weight, other.mean, other.squares,
                other.smallest, other.largest,
            )  # fmt: skip

    def _combine(
        self, number: int, weight: float, mean: float, squares: float, least: float, most: float
    ) -> None:
        """Add a set of numbers by its moments (Chan, Golub and LeVeque 1979)."""
        total = self.weight + weight
        step = mean - self.mean
        self.mean += step * (weight / total)
        self.squares += squares + step * step * (self.weight * weight / total)
        self.weight, self.number = total, self.number + number
        self.smallest, self.largest = min(self.smallest, least), max(self.largest, most)

    @property
    def std_dev(self) -> float | None:
        """The standard deviation, divided by n − 1; None for fewer than two numbers."""
        return None if self.number < 2 else math.sqrt(self.squares / (self.weight - 1))


class Numbers:
    """A stream of finite numbers, each with a weight.

    Args:
        exact: up to this many numbers are stored, and quantiles are exact.
        relative_error: of the quantiles of more numbers.
    """

    __slots__ = ("_exact", "_kept", "_moments", "_relative_error", "_sketch", "_weights")

    def __init__(self, exact: int, relative_error: float) -> None:
        self._exact = exact
        self._relative_error = relative_error
        self._kept: list[float] = []
        self._weights: list[float] | None = None  # None: all 1
        self._moments: Moments | None = None
        self._sketch = Sketch(relative_error)

    def add(self, value: float, weight: float = 1.0) -> None:
        """Add a number."""
        self._kept.append(value)
        if weight != 1.0 or self._weights is not None:
            if self._weights is None:
                self._weights = [1.0] * (len(self._kept) - 1)
            self._weights.append(weight)
        if len(self._kept) > (self._exact if self._moments is None else CHUNK):
            self._fold()

    def _fold(self) -> Moments:
        """Add the stored numbers to moments and sketch, and empty the store."""
        moments = self._moments = self._moments or Moments()
        if self._kept:
            values, weights = self._arrays()
            moments.add_many(values, weights)
            _count(self._sketch, values, weights)
            self._kept, self._weights = [], None
        return moments

    def _arrays(self) -> tuple[Floats, Floats]:
        values = np.array(self._kept, dtype=np.float64)
        return values, np.ones(values.size) if self._weights is None else np.array(self._weights)

    def merge(self, other: Numbers) -> None:
        """Add all numbers of ``other``; the order of merges does not matter."""
        weights = [1.0] * len(other._kept) if other._weights is None else other._weights
        for value, weight in zip(other._kept, weights, strict=True):
            self.add(value, weight)
        if other._moments is not None:
            self._fold().merge(other._moments)
            self._sketch.merge(other._sketch)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold, for `merge_dict`."""
        data: dict[str, Any] = {"values": self._kept, "weights": self._weights}
        if self._moments is not None:
            moments, sketch = self._fold(), self._sketch
            data = {
                "values": [],
                "weights": None,
                "moments": [
                    moments.number, moments.weight, moments.mean, moments.squares,
                    moments.smallest, moments.largest,
                ],
                "above": list(sketch.above.items()),
                "below": list(sketch.below.items()),
                "zeros": sketch.zeros,
            }  # fmt: skip
        return data

    def merge_dict(self, data: Mapping[str, Any]) -> None:
        """Add the numbers that `to_dict` returned elsewhere."""
        weights = data["weights"] or [1.0] * len(data["values"])
        for value, weight in zip(data["values"], weights, strict=True):
            self.add(float(value), float(weight))
        if "moments" in data:
            moments = Moments()
            moments.number, moments.weight, moments.mean, moments.squares = data["moments"][:4]
            moments.smallest, moments.largest = data["moments"][4:]
            self._fold().merge(moments)
            self._sketch.count += moments.weight
            self._sketch.zeros += data["zeros"]
            self._sketch.count_buckets(self._sketch.above, dict(data["above"]))
            self._sketch.count_buckets(self._sketch.below, dict(data["below"]))

    def describe(self) -> Distribution:
        """Return the distribution; quantiles of more than ``exact`` numbers are approximate."""
        if self._moments is None:
            values, weights = self._arrays()
            return distribution(values, None if self._weights is None else weights)
        moments = self._fold()
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


def _count(sketch: Sketch, values: Floats, weights: Floats) -> None:
    """Do what `Sketch.add` does, for many values at once."""
    sizes = np.abs(values)
    zero = sizes <= TINY
    sketch.count += float(weights.sum())
    sketch.zeros += float(weights[zero].sum())
    for store, rows in ((sketch.above, ~zero & (values > 0)), (sketch.below, ~zero & (values < 0))):
        buckets = np.ceil(np.log(sizes[rows]) / sketch.log_gamma).astype(np.int64)
        keys, positions = np.unique(buckets, return_inverse=True)
        counts = np.bincount(positions, weights=weights[rows], minlength=keys.size)
        sketch.count_buckets(store, dict(zip(keys.tolist(), counts.tolist(), strict=True)))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
