"""Distributions that are not kind to methods, with their true means and quantiles; clusters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pytest_crucible.metrics.catalog import Range
from pytest_crucible.stats import gaffke, melded
from pytest_crucible.stats.samples import MEAN, RATE, Sample

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Draw = Callable[[np.random.Generator, int], Floats]
UNIT: Range = (0.0, 1.0)
POSITIVE: Range = (0.0, None)


@dataclass(frozen=True, slots=True)
class Population:
    """A distribution.

    Attributes:
        name: for tables.
        draw: draws so many values.
        mean: the true mean.
        ends: the declared range; of positive numbers what the package assumes of them.
        kind: RATE or MEAN.
        quantile: from shares to true quantiles; None: unknown.
    """

    name: str
    draw: Draw
    mean: float
    ends: Range
    kind: str = MEAN
    quantile: Callable[[float], float] | None = None

    def __str__(self) -> str:
        return self.name


def _floats(values: NDArray[np.bool_]) -> Floats:
    return values.astype(np.float64)


def share(rate: float) -> Population:
    """Outcomes of trials."""
    return Population(
        f"success rate {rate:g}", lambda rng, n: _floats(rng.random(n) < rate), rate, UNIT, RATE
    )


def two_values(value: float, often: float) -> Population:
    """A score that is one value or 0."""
    return Population(
        f"scores {value:g} ({often:.0%}) or 0",
        lambda rng, n: value * _floats(rng.random(n) < often),
        value * often,
        UNIT,
    )


def mostly_ones(often: float) -> Population:
    """Scores that are 1, but for a few that lie anywhere."""
    return Population(
        f"scores, {often:.0%} ones",
        lambda rng, n: np.where(rng.random(n) < often, 1.0, rng.random(n)),
        often + (1 - often) / 2,
        UNIT,
    )


def beta(a: float, b: float) -> Population:
    """Scores of a beta distribution."""
    return Population(
        f"scores, beta {a:g}, {b:g}", lambda rng, n: rng.beta(a, b, n), a / (a + b), UNIT
    )


STARS = Population(
    "stars 1 to 5, mostly 5",
    lambda rng, n: rng.choice([1.0, 2, 3, 4, 5], n, p=[0.05, 0.02, 0.03, 0.1, 0.8]),
    4.58,
    (1.0, 5.0),
)


def lognormal(sigma: float, scale: float = 100.0) -> Population:
    """Latencies and costs."""
    return Population(
        f"lognormal σ {sigma:g}",
        lambda rng, n: scale * np.exp(sigma * rng.standard_normal(n)),
        scale * math.exp(sigma**2 / 2),
        POSITIVE,
        quantile=lambda q: scale * math.exp(sigma * float(stats.norm.ppf(q))),
    )


def pareto(shape: float) -> Population:
    """Heavy tails: a variance up to a shape of 2 is infinite."""
    return Population(
        f"Pareto {shape:g}",
        lambda rng, n: 100 * (1 + rng.pareto(shape, n)),
        100 * shape / (shape - 1),
        POSITIVE,
        quantile=lambda q: float(100 * (1 - q) ** (-1 / shape)),
    )


def bimodal(often: float) -> Population:
    """Latencies of which some are ten times as long."""

    def draw(rng: np.random.Generator, n: int) -> Floats:
        base = np.exp(0.1 * rng.standard_normal(n))
        return np.asarray(100 * base * np.where(rng.random(n) < often, 10, 1))

    mean = 100 * math.exp(0.005) * (1 + 9 * often)
    return Population(f"bimodal, {often:.0%} × 10", draw, mean, POSITIVE)


WAITS = Population(
    "70 % zeros, exponential tail",
    lambda rng, n: np.where(rng.random(n) < 0.7, 0.0, rng.exponential(100, n)),
    30.0,
    POSITIVE,
)
COUNTS = Population(
    "integers, Poisson 3", lambda rng, n: rng.poisson(3, n).astype(np.float64), 3.0, POSITIVE
)
BOUNDED = (
    *map(share, (0.5, 0.9, 0.99)),
    two_values(0.9, 0.9),
    mostly_ones(0.9),
    mostly_ones(0.98),
    beta(8, 2),
    beta(0.3, 0.3),
    beta(1, 20),
    STARS,
)
UNBOUNDED = (
    *map(lognormal, (0.3, 0.8, 1.2)),
    pareto(3),
    pareto(1.5),
    bimodal(0.1),
    WAITS,
    COUNTS,
)


# --- samples ----------------------------------------------------------------------------------

EQUAL = [5] * 12
"""Sizes of clusters."""
UNEQUAL = [1] * 10 + [2] * 5 + [30, 20, 10, 8, 2]
DOMINATED = [1] * 8 + [60]
FEW = [10] * 4
SIZES = {
    "12 clusters × 5": EQUAL,
    "20 unequal clusters of 90": UNEQUAL,
    "one cluster of 60, 8 of 1": DOMINATED,
    "4 clusters × 10": FEW,
    "40 clusters × 3": [3] * 40,
}
_ALIKE = 0.7
"""So often does a value of a cluster equal that which its cluster has in common."""


def sample(
    population: Population,
    rng: np.random.Generator,
    n: int,
    sizes: Sequence[int] | None = None,
    side: str = "",
) -> Sample:
    """Draw a sample, one value per case.

    In clusters, each value is that of its cluster (7 of 10) or its own, so that the distribution
    is that of the population, and the correlation within clusters about .5.

    Args:
        population: what to draw from.
        rng: source of random numbers.
        n: number of values, without clusters.
        sizes: of the clusters.
        side: prefix of the names of the cases: without one, two samples have the same cases.
    """
    belongs = None
    if sizes is None:
        values = population.draw(rng, n)
    else:
        belongs = np.repeat(np.arange(len(sizes)), sizes)
        n = belongs.size
        common, own = population.draw(rng, len(sizes)), population.draw(rng, n)
        values = np.where(rng.random(n) < _ALIKE, common[belongs], own)
    return of_values(values, population.kind, population.ends, belongs, side)


def of_values(
    values: Floats, kind: str, ends: Range, belongs: Ints | None = None, side: str = ""
) -> Sample:
    """Make a sample of one value per case."""
    names = tuple(f"{side}{case}" for case in range(values.size))
    limits = (None, None) if kind == RATE else ends
    return Sample(values, np.arange(values.size), names, kind, belongs=belongs, limits=limits)


@contextmanager
def only_at(low: float, high: float) -> Iterator[None]:
    """Make bounds of bounded means ten times faster: they only say on which side they lie.

    A lower bound lies below ``low`` just if the p-value there is above its level; then the end of
    the range stands for it, else ``low`` and a bit. That verdicts are the same is tested.
    """

    def bounds(
        values: Floats,
        sizes: Floats | None,
        alpha: float,
        least: float | None,
        most: float | None,
        weight: float = 1.0,
    ) -> tuple[float, float]:
        lower, upper = -math.inf, math.inf
        if least is not None:
            p = gaffke.p_above(values, sizes, low, least, weight)
            lower = min(least, low) if p > alpha / 2 else _beside(low, 1)
        if most is not None:
            p = gaffke.p_below(values, sizes, high, most, weight)
            upper = max(most, high) if p > alpha / 2 else _beside(high, -1)
        return lower, upper

    def interval(
        base: melded.Side, cand: melded.Side, alpha: float, factor: float, weight: float
    ) -> tuple[float, float]:
        least, most = (
            cand.ends[0] - factor * base.ends[1],
            cand.ends[1] - factor * base.ends[0],
        )
        lower = melded.p_above(base, cand, low, factor, weight)
        upper = melded.p_below(base, cand, high, factor, weight)
        return (
            min(least, low) if lower > alpha / 2 else _beside(low, 1),
            max(most, high) if upper > alpha / 2 else _beside(high, -1),
        )

    with patch.object(gaffke, "bounds", bounds), patch.object(melded, "interval", interval):
        yield


def _beside(value: float, sign: int) -> float:
    return value + sign * 1e-9 * max(1.0, abs(value))
