"""Differences of two independent bounded means (Fay, Proschan and Brittain 2015).

Each side's confidence bounds at all levels make a distribution (`gaffke`); the difference of two
such variables, the candidate's lower and the baseline's upper, has its quantiles as bounds. On
zeros and ones it is Fisher's exact test, one-sided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.stats.gaffke import root, tails

Floats = NDArray[np.float64]

_EVEN, _NEAR = 100, 240
"""Points of a grid over the whole range, and around the mean."""
_REACH = 12.0
"""So many standard errors from the mean."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison of bounded values.

    Attributes:
        mean: of the values.
        ends: smallest and largest possible value.
        cdf: from thresholds, shape ``(k,)``, an end and its weight to the probabilities that the
            random mean is at most so large.
        error: about its standard error.
        constant: whether all values are the same.
        mirrored: makes the side with all values and ends times −1.
    """

    mean: float
    ends: tuple[float, float]
    cdf: Callable[[Floats, float, float], Floats]
    error: float
    constant: bool
    mirrored: Callable[[], Side]

    @property
    def width(self) -> float:
        """Of the range."""
        return self.ends[1] - self.ends[0]

    def lies_at(self, end: float) -> bool:
        """Whether all values lie at an end; then so does the random mean of that end."""
        return self.constant and abs(self.mean - end) <= 1e-12 * self.width

    @classmethod
    def of_values(cls, values: Floats, sizes: Floats | None, ends: tuple[float, float]) -> Side:
        """Make a side from values; ``sizes`` as for `gaffke`."""
        weights = np.ones(values.size) if sizes is None else sizes
        mean = float(np.average(values, weights=weights))
        squares = float((weights**2 * (values - mean) ** 2).sum())
        error = squares**0.5 / float(weights.sum()) + (ends[1] - ends[0]) / (values.size + 1)

        def cdf(at: Floats, end: float, weight: float) -> Floats:
            return tails(values, sizes, at, end, weight)

        def mirrored() -> Side:
            return cls.of_values(-values, sizes, (-ends[1], -ends[0]))

        return cls(mean, ends, cdf, error, float(np.ptp(values)) == 0.0, mirrored)

    @classmethod
    def of_share(cls, share: float, size: float, ends: tuple[float, float]) -> Side:
        """Make a side from a value that lies at a share of its range, and its effective size."""
        low, high = ends

        def cdf(at: Floats, end: float, weight: float) -> Floats:
            from scipy.special import betainc

            more, less = share * size, (1 - share) * size
            if end == high:
                more += weight
            else:
                less += weight
            place = np.clip((at - low) / (high - low), 0.0, 1.0)
            if more <= 1e-9 or less <= 1e-9:  # all lies at one point
                return (place >= (1.0 if less <= 1e-9 else 0.0)).astype(np.float64)
            return np.asarray(betainc(more, less, place), dtype=np.float64)

        error = (high - low) * ((share * (1 - share) / size) ** 0.5 + 1 / (size + 1))

        def mirrored() -> Side:
            return cls.of_share(1 - share, size, (-high, -low))

        mean, constant = low + share * (high - low), share in (0.0, 1.0)
        return cls(mean, ends, cdf, error, constant, mirrored)

    def grid(self) -> Floats:
        """Return thresholds that are dense where the random mean is."""
        near = self.mean + self.error * np.linspace(-_REACH, _REACH, _NEAR)
        points = np.concatenate([np.linspace(*self.ends, _EVEN), near])
        return np.unique(np.clip(points, *self.ends))


def p_above(base: Side, cand: Side, at: float, factor: float, end_weight: float) -> float:
    """Return the p-value of "candidate − ``factor`` × baseline is at most ``at``"."""
    return _Melded(base, cand, factor, end_weight).p(at)


def p_below(base: Side, cand: Side, at: float, factor: float, end_weight: float) -> float:
    """Return the p-value of "candidate − ``factor`` × baseline is at least ``at``"."""
    return _Melded(base.mirrored(), cand.mirrored(), factor, end_weight).p(-at)


def interval(
    base: Side, cand: Side, alpha: float, factor: float, end_weight: float
) -> tuple[float, float]:
    """Return the interval of candidate − ``factor`` × baseline, ``alpha / 2`` on each side."""
    low = _Melded(base, cand, factor, end_weight).bound(alpha / 2)
    high = _Melded(base.mirrored(), cand.mirrored(), factor, end_weight).bound(alpha / 2)
    return low, -high


class _Melded:
    """The difference of the candidate's lower and the baseline's upper random mean.

    Args:
        base, cand: both sides.
        factor: of the baseline, at least 0.
        end_weight: of the unseen case at the ends.
    """

    def __init__(self, base: Side, cand: Side, factor: float, end_weight: float) -> None:
        self.base, self.cand, self.factor, self.end_weight = base, cand, factor, end_weight
        self.ends = cand.ends[0] - factor * base.ends[1], cand.ends[1] - factor * base.ends[0]
        self.at = base.grid()
        cumulative = base.cdf(self.at, base.ends[1], end_weight)
        self.mass = np.diff(np.maximum.accumulate(cumulative))
        self.points = cand.grid()
        self.below = np.maximum.accumulate(cand.cdf(self.points, cand.ends[0], end_weight))

    def p(self, at: float) -> float:
        """Return P(difference ≤ ``at``)."""
        if at >= self.ends[1]:
            return 1.0
        if at < self.ends[0]:
            return 0.0
        base, cand, end_weight = self.base, self.cand, self.end_weight
        # A random mean that is certain is a step, which no grid can follow.
        if base.lies_at(base.ends[1]):
            place = np.array([at + self.factor * base.ends[1]])
            return float(cand.cdf(place, cand.ends[0], end_weight)[0])
        if cand.lies_at(cand.ends[0]) and self.factor:
            place = np.array([(cand.ends[0] - at) / self.factor])
            return 1 - float(base.cdf(place, base.ends[1], end_weight)[0])
        cdf = np.interp(at + self.factor * self.at, self.points, self.below, left=0.0, right=1.0)
        return float(min(1.0, (self.mass * (cdf[:-1] + cdf[1:]) / 2).sum()))

    def bound(self, level: float) -> float:
        """Return the largest difference whose probability is at most ``level``."""
        low, high = self.ends
        if self.p(low) >= level:
            return low
        return root(lambda at: self.p(at) - level, low, high, -level)
