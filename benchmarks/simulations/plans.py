"""Do plans keep their promise? How often the verdict comes for which `plan` promised 80 %."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

from benchmarks.simulations.changes import PLAIN, TYPICAL
from benchmarks.simulations.populations import (
    POSITIVE,
    UNIT,
    Floats,
    Population,
    of_values,
    only_at,
    sample,
    share,
)
from benchmarks.simulations.tables import PLANS, Row, Table, Task, row_of
from pytest_crucible.metrics.catalog import Range
from pytest_crucible.stats.bounds import bounds_of
from pytest_crucible.stats.gate_power import (
    CONFIRMED,
    Claim,
    cases_for_mean_gate,
    cases_for_rate_gate,
)
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.metric_changes import Question, change_of
from pytest_crucible.stats.power import (
    Aim,
    cases_for_means,
    cases_for_rates,
    cases_for_ratio,
    means_power,
    needed,
    of_logs,
)
from pytest_crucible.stats.samples import MEAN, RATE, Sample
from pytest_crucible.stats.verdict import ALPHA

LEAST, MOST = 0.75, 0.86
PLANNED = Table(
    PLANS, "planned verdicts that come, where 80 % was asked", least=LEAST, most=MOST, answer="runs"
)
AT_LEAST = Table(
    PLANS,
    "planned claims, and what a pilot asks for, where 80 % was asked",
    least=LEAST,
    answer="runs",
)
"""With few cases, or few failures, the power jumps: the next smaller number has too little."""
MARGIN = 0.05


def _sides(
    before: Floats, after: Floats, kind: str, ends: Range, paired: bool
) -> tuple[Sample, Sample]:
    side = "" if paired else "b"
    return of_values(before, kind, ends), of_values(after, kind, ends, None, side)


def found(
    before: Sample, after: Sample, aim: Aim, question: Question = PLAIN, *, worse_is_less: bool
) -> bool:
    """Whether the change for the worse clears the margin, as a row asks."""
    try:
        with only_at(aim.margin, -aim.margin):
            change = change_of(before, after, 2 * aim.level, question)
    except NoIntervalError:
        return False
    if change.scale == "ratio":
        return change.low > 1 + aim.margin
    return change.high < -aim.margin if worse_is_less else change.low > aim.margin


def _equivalent(before: Sample, after: Sample, aim: Aim) -> bool:
    change = change_of(before, after, 2 * aim.level)
    return -aim.margin < change.low and change.high < aim.margin


# --- what is planned --------------------------------------------------------------------------


def latency(
    ratio: float, sigma: float, decisions: int, paired: bool, what: str,
    rng: np.random.Generator, runs: int,
) -> Iterable[Row]:  # fmt: skip
    """A slowdown; sigma is of log ratios, unpaired of the logarithms of a side."""
    aim = Aim(MARGIN, decisions)
    n = cases_for_ratio(ratio, sigma, aim, paired=paired)
    assert n is not None

    def once() -> bool:
        first = rng.standard_normal(n) * (1.0 if paired else sigma)
        second = math.log(ratio) + sigma * rng.standard_normal(n) + first * paired
        sides = _sides(np.exp(first), np.exp(second), MEAN, POSITIVE, paired)
        return found(*sides, aim, TYPICAL, worse_is_less=False)

    yield row_of(PLANNED, f"{what}: {_cases(n, paired)}", [once() for _ in range(runs)])


def costs(
    ratio: float, sigma: float, decisions: int, what: str, rng: np.random.Generator, runs: int
) -> Iterable[Row]:
    """Unpaired means of lognormal numbers that grow."""
    aim = Aim(MARGIN, decisions)
    relative = math.sqrt(math.expm1(sigma**2))
    n = cases_for_ratio(ratio, relative, aim, paired=False, ranks=False)
    assert n is not None

    def once() -> bool:
        first, second = np.exp(sigma * rng.standard_normal((2, n)))
        sides = _sides(first, ratio * second, MEAN, POSITIVE, paired=False)
        return found(*sides, aim, worse_is_less=False)

    yield row_of(PLANNED, f"{what}: {_cases(n, False)}", [once() for _ in range(runs)])


def same(
    sd: float, decisions: int, what: str, rng: np.random.Generator, runs: int
) -> Iterable[Row]:
    """EQUIVALENT, of pairs whose differences are normal."""
    aim = Aim(MARGIN, decisions)
    n = cases_for_means(0.0, sd, aim)
    assert n is not None

    def once() -> bool:
        first = rng.standard_normal(n)
        second = first + sd * rng.standard_normal(n)
        return _equivalent(*_sides(first, second, MEAN, (None, None), paired=True), aim)

    yield row_of(PLANNED, f"{what}: {_cases(n, True)}", [once() for _ in range(runs)])


def rates(
    before: float, after: float, decisions: int, what: str, rng: np.random.Generator, runs: int
) -> Iterable[Row]:
    """Unpaired success rates that fall."""
    aim = Aim(MARGIN, decisions)
    n = cases_for_rates(before, after, aim)
    assert n is not None

    def once() -> bool:
        sides = sample(share(before), rng, n), sample(share(after), rng, n, side="b")
        return found(*sides, aim, worse_is_less=True)

    yield row_of(PLANNED, f"{what}: {_cases(n, False)}", [once() for _ in range(runs)])


def pairs(
    losses: float, gains: float, decisions: int, what: str, rng: np.random.Generator, runs: int
) -> Iterable[Row]:
    """Paired success rates that fall; shares of pairs that get worse, and better."""
    aim = Aim(MARGIN, decisions)
    middle, fall = 0.5, losses - gains
    n = cases_for_rates(middle + fall / 2, middle - fall / 2, aim, discordant=losses + gains)
    assert n is not None

    def once() -> bool:
        turn = rng.random(n)
        first = np.where(turn < losses, 1.0, np.where(turn < losses + gains, 0.0, 1.0))
        second = np.where(turn < losses, 0.0, 1.0)
        return found(*_sides(first, second, RATE, UNIT, paired=True), aim, worse_is_less=True)

    yield row_of(PLANNED, f"{what}: {_cases(n, True)}", [once() for _ in range(runs)])


def scores(
    drop: float, decisions: int, what: str, rng: np.random.Generator, runs: int
) -> Iterable[Row]:
    """Paired scores of 0 to 1 that fall: levels of cases (beta, mostly high), and noise."""
    aim = Aim(MARGIN, decisions)

    def draw(n: int) -> tuple[Floats, Floats]:
        level = rng.beta(8, 2, n)
        noise = 0.15 * rng.standard_normal((2, n))
        return np.clip(level + noise[0], 0, 1), np.clip(level + noise[1] - drop, 0, 1)

    first, second = draw(200_000)
    much = first - second
    n = cases_for_means(float(much.mean()), float(much.std()), aim, width=1.0)
    assert n is not None

    def once() -> bool:
        sides = _sides(*draw(n), MEAN, UNIT, paired=True)
        return found(*sides, aim, worse_is_less=True)

    yield row_of(PLANNED, f"{what}: {_cases(n, True)}", [once() for _ in range(runs)])


def claim(
    population: Population, threshold: float, sd: float | None, what: str,
    rng: np.random.Generator, runs: int,
) -> Iterable[Row]:  # fmt: skip
    """A claim on a rate (without ``sd``) or on the mean of scores."""
    planned = Claim(threshold, population.mean, True, Aim())
    if sd is None:
        plan = cases_for_rate_gate(planned)
        n = None if plan is None else plan.cases
    else:
        n = cases_for_mean_gate(planned, sd, (0.0, 1.0))
    assert n is not None

    def once() -> bool:
        with only_at(threshold, threshold):
            bounds = bounds_of(sample(population, rng, n), ALPHA, planned.level)
        return bounds.low > threshold if planned.outcome == CONFIRMED else bounds.high < threshold

    yield row_of(AT_LEAST, f"{what}: {n} cases", [once() for _ in range(runs)])


def after_pilot(
    ratio: float, sigma: float, pilot: int, what: str, rng: np.random.Generator, runs: int
) -> Iterable[Row]:
    """As many pairs as a pilot asks for, for a named effect; one run per pilot."""
    aim = Aim(MARGIN)
    logs = of_logs(aim)
    spreads = sigma * np.sqrt(rng.chisquare(pilot - 1, runs) / (pilot - 1))
    answers = []
    for sd in spreads.tolist():
        plan = needed(sd, pilot, lambda each: cases_for_ratio(ratio, each, aim, ranks=False), logs)
        chance = None if plan is None else means_power(plan.cases, math.log(ratio), sigma, logs)
        answers.append(None if chance is None else bool(rng.random() < chance))
    yield row_of(AT_LEAST, what, answers)


def _cases(n: int, paired: bool) -> str:
    return f"{n:,} pairs" if paired else f"{n:,} a side"


def tasks() -> Iterator[Task]:
    """Yield all plans."""
    for decisions in (1, 10):
        told = f"{decisions} decision{'s' * (decisions > 1)}"
        for sigma in (0.3, 0.5):
            for ratio in (1.1, 1.2, 1.5):
                if (sigma, ratio) != (0.5, 1.1):  # thousands of cases
                    what = f"latency × {ratio}, paired, σ {sigma}, {told}"
                    yield _task(what, 1_000, partial(latency, ratio, sigma, decisions, True))
            for ratio in (1.2, 1.5):
                what = f"latency × {ratio}, unpaired, σ {sigma}, {told}"
                yield _task(what, 600, partial(latency, ratio, sigma, decisions, False))
        what = f"cost × 1.3, lognormal σ 1, {told}"
        yield _task(what, 1_000, partial(costs, 1.3, 1.0, decisions))
        what = f"EQUIVALENT, unchanged, deviation 0.3, {told}"
        yield _task(what, 1_000, partial(same, 0.3, decisions))
        for before, after in ((0.95, 0.8), (0.9, 0.7), (0.9, 0.8), (1.0, 0.7), (0.95, 0.85)):
            what = f"rates {before} → {after}, unpaired, {told}"
            yield _task(what, 800, partial(rates, before, after, decisions))
        for losses, gains in ((0.15, 0.0), (0.17, 0.02), (0.23, 0.08), (0.12, 0.02), (0.18, 0.08)):
            what = f"rates, {losses:.0%} of pairs worse, {gains:.0%} better, {told}"
            yield _task(what, 800, partial(pairs, losses, gains, decisions))
        yield _task(f"scores − 0.1, paired, {told}", 500, partial(scores, 0.1, decisions))
    for threshold, truth in ((0.9, 0.95), (0.99, 0.999), (0.9, 0.8), (0.5, 0.6)):
        what = f"claim: rate > {threshold}, true {truth}"
        yield _task(what, 1_000, partial(claim, share(truth), threshold, None))
    for threshold, (a, b) in ((0.75, (8.0, 2.0)), (0.85, (8.0, 2.0)), (0.9, (9.0, 0.5))):
        population = Population("", partial(_beta, a, b), a / (a + b), UNIT)
        sd = math.sqrt(a * b / (a + b + 1)) / (a + b)
        what = f"claim: mean > {threshold}, beta {a:g}, {b:g}"
        yield _task(what, 500, partial(claim, population, threshold, sd))
    for ratio in (1.2, 1.5):
        for pilot in (10, 30):
            what = f"needed for × {ratio}, after a pilot of {pilot} pairs"
            yield _task(what, 1_000, partial(after_pilot, ratio, 0.42, pilot))


def _beta(a: float, b: float, rng: np.random.Generator, n: int) -> Floats:
    return rng.beta(a, b, n)


def _task(what: str, runs: int, simulate: Callable[..., Iterable[Row]]) -> Task:
    return Task(f"plan: {what}", runs, partial(simulate, what))
