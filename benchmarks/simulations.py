"""Do the verdicts keep their promises? Checked on simulated runs, whose true values are known.

Prints three tables: how often intervals contain the true value, how often unchanged code is called
REGRESSED, and how often a real regression is. ``python -m benchmarks simulations``
"""

from __future__ import annotations

import math
import os
import time
import zlib
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pytest_crucible.metrics.observations import Group
from pytest_crucible.metrics.trials import Attempt, Trial
from pytest_crucible.stats.comparison import REGRESSED, compare_subjects
from pytest_crucible.stats.estimates import interval_for_display, interval_for_gate
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.metric_changes import change_of
from pytest_crucible.stats.samples import MEAN, QUANTILE, RATE, Sample
from pytest_crucible.stats.subject import Subject

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SEED = 20_240_601
SIGMA = 0.5
"""Standard deviation of the logarithms of latencies within one case."""
SIGMA_CASE = 0.5
"""Standard deviation of the levels of cases, if cases repeat or are paired."""
REPEATS = 5
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        table: title of its table.
        what: the simulated situation.
        hits: number of runs in which the event of the table happened.
        answers: number of runs that gave an answer; the others have no interval, but a reason.
        runs: number of all runs.
        promise: the promised share of hits.
        at_least: whether the promise is a lower limit, else an upper one.
    """

    table: str
    what: str
    hits: int
    answers: int
    runs: int
    promise: float
    at_least: bool

    @property
    def share(self) -> float:
        """Hits / answers."""
        return self.hits / max(1, self.answers)

    @property
    def kept(self) -> bool:
        """Whether the promise is kept, within three standard errors of the simulation."""
        error = 3 * math.sqrt(self.promise * (1 - self.promise) / max(1, self.answers))
        if self.at_least:
            return self.share >= self.promise - error
        return self.share <= self.promise + error


# --- simulated runs ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Design:
    """The design of a simulated comparison.

    Attributes:
        n: observations per side.
        repeats: trials of every case.
        paired: both sides have the same cases.
    """

    n: int
    repeats: int = 1
    paired: bool = False

    @property
    def cases(self) -> Ints:
        """Index of the case of every observation, shape ``(n,)``."""
        return np.repeat(np.arange(self.n // self.repeats), self.repeats)

    def __str__(self) -> str:
        words = "paired" if self.paired else "unpaired"
        cases = self.n // self.repeats
        return f"{words}, {cases} cases × {self.repeats}" if self.repeats > 1 else words


def latencies(design: Design, rng: np.random.Generator, factor: float = 1.0) -> tuple[Floats, ...]:
    """Draw the latencies of both sides, in ms, lognormal; two arrays of the shape ``(n,)``.

    Cases have their own levels if they repeat or are paired.

    Args:
        design: sizes and pairing.
        rng: source of random numbers.
        factor: latency of the second side relative to the first.
    """
    cases = design.cases
    varied = design.paired or design.repeats > 1
    levels = [SIGMA_CASE * varied * rng.normal(size=cases[-1] + 1) for _ in range(2)]
    if design.paired:
        levels[1] = levels[0]
    return tuple(
        100 * scale * np.exp(level[cases] + SIGMA * rng.normal(size=design.n))
        for level, scale in zip(levels, (1.0, factor), strict=True)
    )


def group(design: Design, values: Floats, side: str) -> Group:
    """Make the observations of a run, as if they came from an artifact.

    Args:
        design: sizes and pairing.
        values: latencies in ms, shape ``(n,)``.
        side: prefix of the case names if the sides are not paired.
    """
    mark = "case" if design.paired else side
    cases = design.cases
    trials = np.arange(design.n) % design.repeats + 1
    made = Group("simulated", "default")
    made.cases = {f"{mark}-{case}": case for case in range(int(cases[-1]) + 1)}
    made.names = {"call.stop": 0}
    zeros, ones, nans = np.zeros(design.n), np.ones(design.n), np.full(design.n, np.nan)
    for name, column in (("name", zeros), ("case", cases), ("trial", trials), ("time_us", zeros)):
        getattr(made, name).frombytes(column.astype(np.int64).tobytes())
    measured = {"latency_ms": values, "success": ones}
    for name, numbers in made.numbers.items():
        numbers.frombytes(measured.get(name, nans).astype(np.float64).tobytes())
    made.counted.frombytes(ones.astype(np.int8).tobytes())
    made.counted_cost = made.counted_tokens = made.judge = array("b", bytes(design.n))
    done = [Attempt(("run", "main"), 1, "passed", 1.0)]
    made.trials = [
        Trial("simulated", "default", f"{mark}-{case}", int(trial), "test", done)
        for case, trial in zip(cases, trials, strict=True)
    ]
    return made


# --- coverage ---------------------------------------------------------------------------------

Truth = Callable[[np.random.Generator], bool | None]
"""Simulates one run: does the interval contain the true value? None if there is no interval."""


def _clusters(cases: int) -> tuple[Ints, tuple[str, ...]]:
    index = np.repeat(np.arange(cases), REPEATS)
    return index, tuple(map(str, range(cases)))


def _successes(rate: float, n: int, clustered: bool, rng: np.random.Generator) -> Sample:
    """Draw trials; if clustered, rates of cases follow a beta (correlation within cases 0.3)."""
    if not clustered:
        return Sample((rng.random(n) < rate).astype(float), None, (), RATE)
    index, names = _clusters(n // REPEATS)
    own = rng.beta(rate * 7 / 3, (1 - rate) * 7 / 3, size=len(names))
    return Sample((rng.random(n) < own[index]).astype(float), index, names, RATE)


def _numbers(kind: str, q: float, n: int, clustered: bool, rng: np.random.Generator) -> Sample:
    design = Design(n, REPEATS if clustered else 1)
    values = latencies(design, rng)[0]
    if not clustered:
        return Sample(values, None, (), kind, q)
    index, names = _clusters(n // REPEATS)
    return Sample(values, index, names, kind, q)


def rate_covered(
    rate: float, n: int, clustered: bool, gate: bool, rng: np.random.Generator
) -> bool:
    """Check the interval of a rate: that for gates, or that for display."""
    sample = _successes(rate, n, clustered, rng)
    low, high = (interval_for_gate if gate else interval_for_display)(sample, 1 - LEVEL)
    return low <= rate <= high


def number_covered(
    kind: str, q: float, n: int, clustered: bool, naive: bool, rng: np.random.Generator
) -> bool | None:
    """Check the interval of a mean or a quantile of latencies; ``naive`` ignores the cases."""
    sample = _numbers(kind, q, n, clustered, rng)
    sigma = math.hypot(SIGMA, SIGMA_CASE) if clustered else SIGMA
    truth = 100 * math.exp(
        sigma**2 / 2 if kind == MEAN else sigma * float(stats.norm.ppf(q))
    )  # fmt: skip
    if naive:
        sample = replace(sample, cases=None)
    try:
        low, high = interval_for_display(sample, 1 - LEVEL)
    except NoIntervalError:
        return None
    return low <= truth <= high


def score_covered(n: int, clustered: bool, rng: np.random.Generator) -> bool:
    """Check the mean of symmetric scores: normal within cases and, if clustered, between cases."""
    index, names = _clusters(n // REPEATS)
    values = rng.normal(size=n) + clustered * rng.normal(size=len(names))[index]
    sample = Sample(values, index if clustered else None, names, MEAN)
    low, high = interval_for_display(sample, 1 - LEVEL)
    return low <= 0 <= high


def change_covered(metric: str, q: float, design: Design, rng: np.random.Generator) -> bool | None:
    """Check the interval of a change of +20 %."""
    sides = latencies(design, rng, 1.2)
    kind = QUANTILE if metric == "latency.p95" else MEAN
    index = design.cases
    names = [tuple(f"{mark}{i}" for i in range(index[-1] + 1)) for mark in ("a", "b")]
    if design.paired:
        names[1] = names[0]
    base, cand = (
        Sample(values, index, own, kind, q) for values, own in zip(sides, names, strict=True)
    )
    try:
        change = change_of(base, cand, typical=metric == "latency")
        low, high = change.interval(1 - LEVEL)
    except NoIntervalError:
        return None
    truth = 1.2
    if change.scale != "ratio":
        varied = design.paired or design.repeats > 1
        sigma = math.hypot(SIGMA, SIGMA_CASE * varied)
        truth = 20 * math.exp(sigma**2 / 2)
    return low <= truth <= high


def rate_change_covered(
    rates: tuple[float, float], design: Design, rng: np.random.Generator
) -> bool:
    """Check the interval of a difference of rates.

    If cases repeat or are paired, they differ in difficulty.
    """
    cases = int(design.cases[-1]) + 1
    varied = design.paired or design.repeats > 1
    hard = [rng.normal(size=cases) for _ in range(2)]
    if design.paired:
        hard[1] = hard[0]
    samples = []
    for side, rate in enumerate(rates):
        share = 0.5 if varied else 0.0  # share of the variance that is between cases
        own = math.sqrt(share) * hard[side][design.cases]
        score = own + math.sqrt(1 - share) * rng.normal(size=design.n)
        passed = (score < float(stats.norm.ppf(rate))).astype(float)
        names = tuple(f"{side * (not design.paired)}-{case}" for case in range(cases))
        samples.append(Sample(passed, design.cases, names, RATE))
    low, high = change_of(*samples).interval(1 - LEVEL)
    return low <= rates[1] - rates[0] <= high


def _coverage() -> Iterator[tuple[str, int, Truth]]:
    for clustered in (False, True):
        words = f"trials × {REPEATS}" if clustered else "plain"
        for rate in (0.5, 0.9, 0.99):
            for n in (50, 300):
                what = f"rate {rate:g}, n = {n}, {words}"
                yield f"Wilson, {what}", 2000, partial(rate_covered, rate, n, clustered, False)
                yield f"gate, {what}", 2000, partial(rate_covered, rate, n, clustered, True)
        for n in (50, 300):
            yield f"mean of scores, n = {n}, {words}", 2000, partial(score_covered, n, clustered)
            covered = partial(number_covered, MEAN, 0.5, n, clustered, False)
            yield f"mean of skewed values, n = {n}, {words}", 2000, covered
        for q, n in ((0.5, 50), (0.5, 300), (0.95, 300 if clustered else 100), (0.95, 1000)):
            covered = partial(number_covered, QUANTILE, q, n, clustered, False)
            yield f"p{q * 100:g}, n = {n}, {words}", 2000, covered
    for design in (Design(30), Design(300), Design(30, 1, True), Design(300, 1, True),
                   Design(150, 5), Design(150, 5, True)):  # fmt: skip
        what = f"n = {design.n}, {design}"
        yield f"change of latency, {what}", 1500, partial(change_covered, "latency", 0.5, design)
        yield f"change of mean, {what}", 1500, partial(change_covered, "score.mean", 0.5, design)
        rates = (0.9, 0.8)
        yield f"change of rate, {what}", 2000, partial(rate_change_covered, rates, design)
    for design, runs in ((Design(100), 1500), (Design(300), 1500), (Design(300, 1, True), 300),
                         (Design(1000, 5), 200), (Design(1000, 5, True), 200)):  # fmt: skip
        covered = partial(change_covered, "latency.p95", 0.95, design)
        yield f"change of p95, n = {design.n}, {design}", runs, covered


def naive_mean() -> Truth:
    """Simulate intervals that wrongly treat the trials of a case as independent."""
    return partial(number_covered, MEAN, 0.5, 300, True, True)


# --- verdicts ---------------------------------------------------------------------------------


def regressed(design: Design, factor: float, rng: np.random.Generator, every: bool = True) -> bool:
    """Simulate a comparison: is any metric called REGRESSED?

    Args:
        design: sizes and pairing.
        factor: latency of the candidate relative to the baseline.
        rng: source of random numbers.
        every: look at every metric, else only at the latency.
    """
    sides = latencies(design, rng, factor)
    base, cand = (
        group(design, values, side) for values, side in zip(sides, ("base", "cand"), strict=True)
    )
    return any(
        comparison.verdict == REGRESSED
        for comparison in compare_subjects(Subject(base, {}), Subject(cand, {}))
        if every or comparison.metric == "latency"
    )


def _designs(n: int) -> list[Design]:
    return [Design(n), Design(n, 1, True), Design(n, REPEATS), Design(n, REPEATS, True)]


# --- running ----------------------------------------------------------------------------------


def count(what: str, runs: int, simulate: Truth) -> tuple[int, int]:
    """Simulate ``runs`` times; return the number of hits, and of runs that gave an answer.

    The seed depends only on ``what``.
    """
    rng = np.random.default_rng([SEED, zlib.crc32(what.encode())])
    answers = [answer for answer in (simulate(rng) for _ in range(runs)) if answer is not None]
    return sum(answers), len(answers)


def _row(task: tuple[str, str, int, Truth, float, bool]) -> Row:
    table, what, runs, simulate, promise, at_least = task
    hits, answers = count(what, runs, simulate)
    return Row(table, what, hits, answers, runs, promise, at_least)


COVERAGE = "how often the 95 % interval holds the truth"
FALSE_ALARMS = "unchanged code called REGRESSED, in any metric"
POWER = "+20 % latency called REGRESSED, n = 300"


def tasks() -> list[tuple[str, str, int, Truth, float, bool]]:
    """Return all simulations: table, situation, runs, function, promise, ``at_least`` of `Row`."""
    everything: list[tuple[str, str, int, Truth, float, bool]] = []
    for n, runs in ((1000, 300), (100, 700), (30, 1000)):  # the longest first
        for design in _designs(n):
            simulate = partial(regressed, design, 1.0)
            everything.append((FALSE_ALARMS, f"n = {n}, {design}", runs, simulate, 0.025, False))
    for design, runs in ((Design(300), 2000), (Design(300, 1, True), 1000)):
        simulate = partial(regressed, design, 1.2, every=False)
        everything.append((POWER, str(design), runs, simulate, 0.88, True))
    for what, runs, truth in _coverage():
        everything.append((COVERAGE, what, runs, truth, LEVEL, True))
    return everything


def main() -> None:
    """Run everything and print the tables as Markdown."""
    began = time.perf_counter()
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        rows = list(pool.map(_row, tasks()))
    naive, _ = count("naive", 2000, naive_mean())
    for table, promise in (
        (COVERAGE, "at least 95 %"), (FALSE_ALARMS, "at most 2.5 %"), (POWER, "at least 88 %"),
    ):  # fmt: skip
        print(f"\n**{table[0].upper()}{table[1:]}** (promised: {promise})\n")
        print("| | share | of runs | no interval | kept |\n|---|--:|--:|--:|---|")
        for row in rows:
            if row.table == table:
                kept = "yes" if row.kept else "**no**"
                none = row.runs - row.answers
                print(f"| {row.what} | {row.share:.1%} | {row.answers:,} | {none or ''} | {kept} |")
    print(
        f"\nMean, n = 300, 60 cases × 5, trials taken for independent: {naive / 2000:.1%} hold it"
    )
    print(f"{time.perf_counter() - began:.0f} s, seed {SEED}")


if __name__ == "__main__":
    main()
