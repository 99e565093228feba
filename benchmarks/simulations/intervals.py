"""How often the 95 % interval of a metric holds the true value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.simulations.populations import (
    BOUNDED,
    SIZES,
    UNBOUNDED,
    Floats,
    Population,
    beta,
    lognormal,
    mostly_ones,
    only_at,
    pareto,
    sample,
    share,
    two_values,
)
from benchmarks.simulations.tables import COVERAGE, Row, Table, Task, row_of
from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.metrics.groups import series_of
from pytest_crucible.metrics.observations import Group
from pytest_crucible.stats.bounds import bounds_of
from pytest_crucible.stats.formula_samples import formula_sample
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.samples import MEAN, QUANTILE, Sample

LEVEL = 0.95
COVERED = Table(COVERAGE, "95 % intervals that hold the true value", least=0.93, answer="intervals")
ASSUMED = Table(
    COVERAGE,
    "95 % intervals that hold the true value, where they state what they assume",
    answer="intervals",
)


def covered(drawn: Sample, truth: float) -> tuple[bool | None, bool]:
    """Whether the interval holds the truth (None: there is none), and whether it assumes much."""
    alpha = 1 - LEVEL
    try:
        with only_at(truth, truth):
            bounds = bounds_of(drawn, alpha / 2, alpha / 2)
    except NoIntervalError:
        return None, False
    return bounds.low <= truth <= bounds.high, bounds.note is not None


def rows_of(what: str, found: Sequence[tuple[bool | None, bool]]) -> Iterable[Row]:
    """Return a row of the intervals that assume nothing, and one of the others, if there are."""
    plain = [None if assumed else held for held, assumed in found]
    assuming = [held if assumed else None for held, assumed in found]
    if any(held is not None for held in plain) or not any(assumed for _, assumed in found):
        yield row_of(COVERED, what, plain)
    if any(held is not None for held in assuming):
        yield row_of(ASSUMED, what, assuming)


def mean_covered(
    population: Population,
    n: int,
    sizes: Sequence[int] | None,
    what: str,
    rng: np.random.Generator,
    runs: int,
) -> Iterable[Row]:
    """Simulate intervals of a mean or a rate."""
    drawn = (sample(population, rng, n, sizes) for _ in range(runs))
    yield from rows_of(what, [covered(each, population.mean) for each in drawn])


def quantile_covered(
    population: Population,
    q: float,
    n: int,
    sizes: Sequence[int] | None,
    what: str,
    rng: np.random.Generator,
    runs: int,
) -> Iterable[Row]:
    """Simulate intervals of a percentile."""
    assert population.quantile is not None
    truth = population.quantile(q)
    found = []
    for _ in range(runs):
        drawn = replace(sample(population, rng, n, sizes), kind=QUANTILE, q=q)
        found.append(covered(drawn, truth))
    yield from rows_of(what, found)


def unbounded_mean(
    n: int, sizes: Sequence[int] | None, what: str, rng: np.random.Generator, runs: int
) -> Iterable[Row]:
    """Simulate the mean of numbers on both sides of 0, of which no end is known."""
    normal = Population("normal", lambda rng, n: rng.standard_normal(n), 0.0, (None, None), MEAN)
    yield from mean_covered(normal, n, sizes, what, rng, runs)


# --- formulas ---------------------------------------------------------------------------------

F1 = Metric("f1", formula="2*tp / (2*tp + fp + fn)", range=(0, 1))
WORD_ERRORS = Metric("wer", formula="wrong / words")


def formula_of(columns: Mapping[str, Floats], metric: Metric, side: str = "") -> Sample:
    """Return the sample of a formula over recorded numbers.

    Args:
        columns: one number per case, by name.
        metric: with the formula.
        side: prefix of the names of the cases.
    """
    group = Group("simulated", "default")
    for name, values in columns.items():
        pairs = [(f"{side}{case}", float(value)) for case, value in enumerate(values)]
        group.recorded[name] = series_of(group, pairs)
    return formula_sample(group, metric)


def answers(
    rng: np.random.Generator, n: int, present: float, found: float, alarm: float
) -> dict[str, Floats]:
    """Draw a detector's counts: a class with a frequency, a recall, and a rate of false alarms."""
    there = rng.random(n) < present
    said = np.where(there, rng.random(n) < found, rng.random(n) < alarm)
    counts = {"tp": there & said, "fp": ~there & said, "fn": there & ~said}
    return {name: each.astype(np.float64) for name, each in counts.items()}


def f1_truth(present: float, found: float, alarm: float) -> float:
    """Return the true F1 of a detector."""
    hit = present * found
    return 2 * hit / (hit + present + (1 - present) * alarm)


def word_errors(rng: np.random.Generator, n: int, rate: float) -> dict[str, Floats]:
    """Draw words and wrong words of sentences that differ in length and difficulty."""
    words = rng.integers(3, 30, n)
    own = rng.beta(2 * rate / (1 - rate), 2, n)
    return {"wrong": rng.binomial(words, own).astype(float), "words": words.astype(float)}


def f1_covered(
    design: tuple[float, float, float], n: int, what: str, rng: np.random.Generator, runs: int
) -> Iterable[Row]:
    """Simulate intervals of F1."""
    truth = f1_truth(*design)
    found = []
    for _ in range(runs):
        drawn = formula_of(answers(rng, n, *design), F1)
        found.append(covered(drawn, truth) if drawn.n else (None, False))
    yield from rows_of(what, found)


def word_errors_covered(
    rate: float, ranged: bool, n: int, what: str, rng: np.random.Generator, runs: int
) -> Iterable[Row]:
    """Simulate intervals of a word error rate."""
    metric = replace(WORD_ERRORS, range=(0.0, 1.0)) if ranged else WORD_ERRORS
    drawn = (formula_of(word_errors(rng, n, rate), metric) for _ in range(runs))
    yield from rows_of(what, [covered(each, rate) for each in drawn])


# --- tasks ------------------------------------------------------------------------------------


def _means() -> Iterator[Task]:
    for population in (*BOUNDED, *UNBOUNDED):
        for n in (6, 30, 100, 300):
            what = f"mean: {population.name}, n = {n}"
            yield Task(what, 1_000, partial(mean_covered, population, n, None, what))
    for population in (
        share(0.5), share(0.9), two_values(0.9, 0.9), mostly_ones(0.9), beta(0.3, 0.3),
        lognormal(0.8),
    ):  # fmt: skip
        for name, sizes in SIZES.items():
            what = f"mean: {population.name}, {name}"
            yield Task(what, 1_000, partial(mean_covered, population, 0, sizes, what))
    for n in (6, 30, 300):
        what = f"mean: normal, no end known, n = {n}"
        yield Task(what, 1_000, partial(unbounded_mean, n, None, what))
    for name, sizes in SIZES.items():
        what = f"mean: normal, no end known, {name}"
        yield Task(what, 1_000, partial(unbounded_mean, 0, sizes, what))


def _quantiles() -> Iterator[Task]:
    for population in (lognormal(0.5), pareto(1.5)):
        for q, ns in ((0.5, (6, 30, 300)), (0.9, (60, 300)), (0.95, (100, 300))):
            for n in ns:
                what = f"p{100 * q:g}: {population.name}, n = {n}"
                yield Task(what, 2_000, partial(quantile_covered, population, q, n, None, what))
        for q in (0.5, 0.9):
            for name, sizes in SIZES.items():
                what = f"p{100 * q:g}: {population.name}, {name}"
                simulate = partial(quantile_covered, population, q, 0, sizes, what)
                yield Task(what, 1_000, simulate)


def _formulas() -> Iterator[Task]:
    for design in ((0.5, 0.9, 0.1), (0.1, 0.7, 0.02), (0.3, 0.98, 0.01)):
        for n in (20, 50, 200):
            what = f"F1 {f1_truth(*design):.2f}, class of {design[0]:.0%}, n = {n}"
            yield Task(what, 600, partial(f1_covered, design, n, what))
    for rate in (0.02, 0.3):
        for n in (20, 50, 200):
            for ranged in (True, False):
                what = f"word error rate {rate:g}{', range declared' * ranged}, n = {n}"
                yield Task(what, 600, partial(word_errors_covered, rate, ranged, n, what))


def tasks() -> Iterator[Task]:
    """Yield all intervals."""
    yield from _means()
    yield from _quantiles()
    yield from _formulas()
