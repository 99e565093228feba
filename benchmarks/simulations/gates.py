"""Claims on numbers at the truth: how often are they wrongly CONFIRMED, how often REJECTED?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np

from benchmarks.simulations.populations import (
    BOUNDED,
    SIZES,
    UNBOUNDED,
    Population,
    beta,
    lognormal,
    mostly_ones,
    only_at,
    sample,
    share,
    two_values,
)
from benchmarks.simulations.tables import GATES, Row, Table, Task, row_of
from pytest_crucible.stats.bounds import LARGEST, bounds_of
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.samples import Sample
from pytest_crucible.stats.verdict import ALPHA

CONFIRMED = Table(
    GATES, "claims at the truth that are wrongly CONFIRMED", most=ALPHA, answer="bounds"
)
REJECTED = Table(
    GATES, "claims at the truth that are wrongly REJECTED", most=ALPHA, answer="bounds"
)
ASSUMED = Table(
    GATES,
    "claims at the truth that are wrongly refuted, where the bound states its assumption",
    answer="bounds",
)
N = (6, 10, 30, 60, 100, 300)
Wrong = tuple[bool | None, bool | None]


def wrong_at_truth(drawn: Sample, truth: float) -> Wrong:
    """Whether the lower bound lies above the truth, and the upper one below; None: no bound.

    With ``metric > truth``, the first is a wrong CONFIRMED, the second a wrong REJECTED; with ``<``
    the other way round.
    """
    try:
        with only_at(truth, truth):
            bounds = bounds_of(drawn, ALPHA, ALPHA)
    except NoIntervalError:
        return None, None
    return (
        bounds.low > truth if math.isfinite(bounds.low) else None,
        bounds.high < truth if math.isfinite(bounds.high) else None,
    )


def assumes(drawn: Sample) -> bool:
    """Whether the upper bound of this sample states an assumption."""
    try:
        return bounds_of(drawn, ALPHA, ALPHA).note == LARGEST
    except NoIntervalError:
        return False


def gate(
    population: Population,
    n: int,
    sizes: Sequence[int] | None,
    what: str,
    rng: np.random.Generator,
    runs: int,
) -> Iterable[Row]:
    """Simulate claims on the mean of one population."""
    found = [
        wrong_at_truth(sample(population, rng, n, sizes), population.mean) for _ in range(runs)
    ]
    lower, upper = zip(*found, strict=True)
    yield row_of(CONFIRMED, what, lower)
    # Without a known largest value, an upper bound states that it assumes one.
    yield row_of(REJECTED if population.ends[1] is not None else ASSUMED, what, upper)


def tasks() -> Iterator[Task]:
    """Yield all claims."""
    for population in (*BOUNDED, *UNBOUNDED):
        for n in N:
            yield _task(population, n, None, f"{population.name}, n = {n}", 1_200)
    for population in (
        *map(share, (0.5, 0.9)),
        two_values(0.9, 0.9),
        mostly_ones(0.9),
        beta(0.3, 0.3),
        lognormal(0.8),
    ):
        for name, sizes in SIZES.items():
            yield _task(population, 0, sizes, f"{population.name}, {name}", 1_200)


def _task(
    population: Population, n: int, sizes: Sequence[int] | None, what: str, runs: int
) -> Task:
    return Task(f"gate: {what}", runs, partial(gate, population, n, sizes, what))
