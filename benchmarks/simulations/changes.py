"""How often the 95 % interval of a change holds the true change, paired and not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from benchmarks.simulations.intervals import (
    F1,
    WORD_ERRORS,
    f1_truth,
    formula_of,
    word_errors,
)
from benchmarks.simulations.populations import (
    DOMINATED,
    EQUAL,
    FEW,
    UNEQUAL,
    WAITS,
    Floats,
    Population,
    beta,
    bimodal,
    lognormal,
    mostly_ones,
    of_values,
    pareto,
    share,
    two_values,
)
from benchmarks.simulations.tables import COVERAGE, Table, Task, counted
from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.metric_changes import Question, change_of
from pytest_crucible.stats.samples import MEAN, QUANTILE, Sample

ALPHA = 0.05
COVERED = Table(
    COVERAGE, "95 % intervals of changes that hold the true change", least=0.93, answer="intervals"
)
TYPICAL, PLAIN = Question(typical=True), Question()
Sides = Callable[[np.random.Generator], tuple[Sample, Sample]]


def holds(sides: Sides, question: Question, truth: float, rng: np.random.Generator) -> bool | None:
    """Simulate one change: does its interval hold the true one? None: it has none."""
    before, after = sides(rng)
    try:
        change = change_of(before, after, ALPHA, question)
    except NoIntervalError:
        return None
    return change.low <= truth <= change.high


# --- sides ------------------------------------------------------------------------------------


def mixed(
    old: Population,
    new: Population,
    n: int,
    sizes: Sequence[int] | None,
    alike: float,
    paired: bool,
    rng: np.random.Generator,
) -> tuple[Sample, Sample]:
    """Draw two sides from two populations; a share of the pairs keep their value.

    Args:
        old, new: what the sides are drawn from.
        n: number of values, without clusters.
        sizes: of the clusters; in each, 7 of 10 values are those that the cluster has in common.
        alike: share of the cases whose second value is their first one.
        paired: whether both sides have the same cases.
        rng: source of random numbers.
    """
    belongs = None if sizes is None else np.repeat(np.arange(len(sizes)), sizes)
    n = n if belongs is None else belongs.size

    def draw(population: Population) -> Floats:
        if belongs is None or sizes is None:
            return population.draw(rng, n)
        common = population.draw(rng, len(sizes))[belongs]
        return np.where(rng.random(n) < 0.7, common, population.draw(rng, n))

    first, second = draw(old), draw(new)
    keep = rng.random(n if sizes is None else len(sizes)) < alike
    second = np.where(keep if belongs is None else keep[belongs], first, second)
    side = "" if paired else "b"
    return (
        of_values(first, old.kind, old.ends, belongs),
        of_values(second, old.kind, old.ends, belongs, side),
    )


def mixed_truth(old: Population, new: Population, alike: float) -> float:
    """Return the true difference of means."""
    return (1 - alike) * (new.mean - old.mean)


def timed(
    factor: float,
    sigma: float,
    n: int,
    repeats: int,
    paired: bool,
    rng: np.random.Generator,
    q: float | None = None,
) -> tuple[Sample, Sample]:
    """Draw latencies: cases have levels of their own (σ 0.5), which pairs share.

    Args:
        factor: of the second side.
        sigma: standard deviation of logarithms within a case.
        n: number of cases.
        repeats: trials of each.
        paired: whether both sides have the same cases.
        rng: source of random numbers.
        q: of a percentile; None: of the mean, or of the typical value.
    """
    cases = np.repeat(np.arange(n), repeats)
    levels = 0.5 * rng.standard_normal((2, n))
    if paired:
        levels[1] = levels[0]
    sides = []
    for number, scale in enumerate((100.0, 100.0 * factor)):
        values = scale * np.exp(levels[number][cases] + sigma * rng.standard_normal(cases.size))
        names = tuple(f"{number * (not paired)}-{case}" for case in range(n))
        made = Sample(values, cases, names, MEAN, limits=(0.0, None))
        sides.append(made if q is None else replace(made, kind=QUANTILE, q=q))
    return sides[0], sides[1]


def detectors(
    n: int, design: tuple[float, float, float], other: float, paired: bool, rng: np.random.Generator
) -> tuple[Sample, Sample]:
    """Draw two detectors; the second has another recall. Pairs share the cases, half of the time.

    With pairs, the second answers as the first does in half of the cases, so that they correlate.
    """
    present, found, alarm = design
    there = rng.random(n) < present
    again = there if paired else rng.random(n) < present
    first = rng.random(n) < np.where(there, found, alarm)
    second = rng.random(n) < np.where(again, other, alarm)
    sides = []
    for number, (real, said) in enumerate(((there, first), (again, second))):
        columns = {
            "tp": (real & said) * 1.0, "fp": (~real & said) * 1.0, "fn": (real & ~said) * 1.0
        }  # fmt: skip
        sides.append(formula_of(columns, F1, str(number * (not paired))))
    return sides[0], sides[1]


def words(
    n: int, rates: tuple[float, float], metric: Metric, paired: bool, rng: np.random.Generator
) -> tuple[Sample, Sample]:
    """Draw word errors of two systems, on the same sentences if paired."""
    first, second = (word_errors(rng, n, rate) for rate in rates)
    if paired:
        share_wrong = second["wrong"] / second["words"]
        second = {"words": first["words"], "wrong": np.round(share_wrong * first["words"])}
    return formula_of(first, metric), formula_of(second, metric, "" if paired else "b")


# --- tasks ------------------------------------------------------------------------------------


def _bounded() -> Iterator[Task]:
    pairs = (
        (share(0.9), share(0.8)),
        (share(0.5), share(0.5)),
        (share(0.98), share(0.98)),
        (two_values(0.9, 0.9), two_values(0.9, 0.8)),
        (mostly_ones(0.9), mostly_ones(0.7)),
        (beta(0.3, 0.3), beta(0.3, 0.3)),
        (beta(8, 2), beta(2, 2)),
    )
    for old, new in pairs:
        graded = not old.name.startswith("success")
        for paired, alike in ((True, 0.5), (False, 0.0)):
            for n in (6, 30, 100) if graded and not paired else (6, 30, 100, 300):
                runs = 400 if paired or not graded else 200
                what = f"{old.name} → {new.mean:.2f}, {_words(paired)}, n = {n}"
                sides = partial(mixed, old, new, n, None, alike, paired)
                yield _task(what, runs, sides, PLAIN, mixed_truth(old, new, alike))
    for old, new in (pairs[0], pairs[1], pairs[5]):
        for paired, alike in ((True, 0.5), (False, 0.0)):
            for sizes in CLUSTERS:
                what = f"{old.name} → {new.mean:.2f}, {_words(paired)}, {CLUSTERS_NAMED[id(sizes)]}"
                sides = partial(mixed, old, new, 0, sizes, alike, paired)
                yield _task(what, 300, sides, PLAIN, mixed_truth(old, new, alike))


CLUSTERS = (EQUAL, UNEQUAL, DOMINATED, FEW)
CLUSTERS_NAMED = {
    id(EQUAL): "12 clusters × 5",
    id(UNEQUAL): "20 unequal clusters",
    id(DOMINATED): "one cluster of 60, 8 of 1",
    id(FEW): "4 clusters × 10",
}


def _positive() -> Iterator[Task]:
    for paired in (True, False):
        for sigma in (0.3, 1.2):
            for n in (6, 10, 30, 100, 300):
                sides = partial(timed, 1.2, sigma, n, 1, paired)
                what = f"× 1.2, lognormal σ {sigma:g}, {_words(paired)}, n = {n}"
                yield _task(f"typical latency {what}", 600, sides, TYPICAL, 1.2)
                yield _task(f"cost {what}", 600, sides, PLAIN, 1.2)
        for n in (10, 30):
            sides = partial(timed, 1.2, 0.5, n, 5, paired)
            what = f"× 1.2, {n} cases × 5, {_words(paired)}"
            yield _task(f"typical latency {what}", 600, sides, TYPICAL, 1.2)
            yield _task(f"cost {what}", 600, sides, PLAIN, 1.2)
        for population in (bimodal(0.1), pareto(3), WAITS):
            for n in (10, 30, 100, 300):
                sides = partial(mixed, population, population, n, None, 0.0, paired)
                what = f"{population.name}, unchanged, {_words(paired)}, n = {n}"
                yield _task(f"mean {what}", 600, sides, PLAIN, 1.0)
                if population is not WAITS:
                    yield _task(f"typical {what}", 600, sides, TYPICAL, 1.0)
        for sizes in CLUSTERS:
            sides = partial(mixed, lognormal(0.5), lognormal(0.5), 0, sizes, 0.0, paired)
            what = f"lognormal σ 0.5, {_words(paired)}, {CLUSTERS_NAMED[id(sizes)]}"
            yield _task(f"mean {what}", 600, sides, PLAIN, 1.0)
            yield _task(f"typical {what}", 600, sides, TYPICAL, 1.0)
        for q, n, repeats in ((0.5, 30, 1), (0.95, 100, 1), (0.95, 300, 1), (0.9, 60, 5)):
            sides = partial(timed, 1.2, 0.5, n, repeats, paired, q=q)
            what = f"p{100 * q:g} × 1.2, {_words(paired)}, {n} cases × {repeats}"
            yield _task(what, 300, sides, PLAIN, 1.2)


def _unbounded() -> Iterator[Task]:
    normal = Population("normal", lambda rng, n: rng.standard_normal(n), 0.0, (None, None), MEAN)
    skewed = Population(
        "lognormal σ 0.8 − its mean",
        lambda rng, n: np.exp(0.8 * rng.standard_normal(n)) - math.exp(0.32),
        0.0,
        (None, None),
        MEAN,
    )
    for population in (normal, skewed):
        for paired in (True, False):
            for n in (6, 30, 300):
                sides = partial(mixed, population, population, n, None, 0.0, paired)
                what = f"difference of means, {population.name}, {_words(paired)}, n = {n}"
                yield _task(what, 600, sides, PLAIN, 0.0)
            for sizes in CLUSTERS:
                sides = partial(mixed, population, population, 0, sizes, 0.0, paired)
                named = CLUSTERS_NAMED[id(sizes)]
                what = f"difference of means, {population.name}, {_words(paired)}, {named}"
                yield _task(what, 600, sides, PLAIN, 0.0)


def _formulas() -> Iterator[Task]:
    for paired in (True, False):
        for design, other in (((0.5, 0.9, 0.1), 0.8), ((0.1, 0.7, 0.02), 0.7)):
            truth = f1_truth(design[0], other, design[2]) - f1_truth(*design)
            for n in (20, 50, 200):
                sides = partial(detectors, n, design, other, paired)
                what = f"F1 {f1_truth(*design):.2f} {truth:+.2f}, {_words(paired)}, n = {n}"
                yield _task(what, 300, sides, PLAIN, truth)
        for rates in ((0.02, 0.02), (0.3, 0.2)):
            for metric in (WORD_ERRORS, replace(WORD_ERRORS, range=(0.0, 1.0))):
                ranged = ", range declared" if metric is not WORD_ERRORS else ""
                for n in (20, 50, 200):
                    sides = partial(words, n, rates, metric, paired)
                    what = f"word error rate {rates[0]} → {rates[1]}{ranged}, "
                    what += f"{_words(paired)}, n = {n}"
                    yield _task(what, 300, sides, PLAIN, rates[1] - rates[0])


def _task(what: str, runs: int, sides: Sides, question: Question, truth: float) -> Task:
    return counted(COVERED, what, runs, partial(holds, sides, question, truth))


def _words(paired: bool) -> str:
    return "paired" if paired else "unpaired"


def tasks() -> Iterator[Task]:
    """Yield all changes."""
    yield from _bounded()
    yield from _positive()
    yield from _unbounded()
    yield from _formulas()
