"""Do the verdicts keep what they promise? Simulated runs of which the truth is known.

Prints three tables: how often intervals hold the truth, how often unchanged code is called
REGRESSED, and how often a real regression is found. ``python -m benchmarks simulations``
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
from pytest_crucible.stats.comparison import REGRESSED, change_of, compare_subjects
from pytest_crucible.stats.estimates import interval_for_display, interval_for_gate
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.samples import MEAN, QUANTILE, RATE, Sample
from pytest_crucible.stats.subject import Subject

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SEED = 20_240_601
SIGMA = 0.5
"""Of the logarithms of latencies within one case."""
SIGMA_CASE = 0.5
"""Of the cases' own levels, where the same cases are seen again."""
REPEATS = 5
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: how often something happened, of how many, and what is promised.

    ``said`` leaves out runs that gave a reason in place of an interval.
    """

    table: str
    what: str
    hits: int
    said: int
    runs: int
    promise: float
    at_least: bool

    @property
    def share(self) -> float:
        return self.hits / max(1, self.said)

    @property
    def kept(self) -> bool:
        """Whether the promise is kept, but for what chance does: three standard errors."""
        error = 3 * math.sqrt(self.promise * (1 - self.promise) / max(1, self.said))
        if self.at_least:
            return self.share >= self.promise - error
        return self.share <= self.promise + error


# --- simulated runs ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Design:
    """``n`` observations per side; ``repeats`` of every case; the same cases if ``paired``."""

    n: int
    repeats: int = 1
    paired: bool = False

    @property
    def cases(self) -> Ints:
        return np.repeat(np.arange(self.n // self.repeats), self.repeats)

    def __str__(self) -> str:
        words = "paired" if self.paired else "unpaired"
        cases = self.n // self.repeats
        return f"{words}, {cases} cases × {self.repeats}" if self.repeats > 1 else words


def latencies(design: Design, rng: np.random.Generator, factor: float = 1.0) -> tuple[Floats, ...]:
    """Both sides, in ms: lognormal; cases differ where they come again, or not at all."""
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
    """The observations of a run as reading an artifact yields them."""
    mark = "case" if design.paired else side
    cases = design.cases
    numbers = np.arange(design.n) % design.repeats + 1
    found = Group("simulated", "default")
    found.cases = {f"{mark}-{case}": case for case in range(int(cases[-1]) + 1)}
    found.names = {"call.stop": 0}
    zeros, ones, nans = np.zeros(design.n), np.ones(design.n), np.full(design.n, np.nan)
    for name, column in (("name", zeros), ("case", cases), ("trial", numbers), ("time_us", zeros)):
        getattr(found, name).frombytes(column.astype(np.int64).tobytes())
    for name, numbers_ in (
        ("latency_ms", values), ("cost_usd", nans), ("success", ones), ("input_tokens", nans),
        ("output_tokens", nans), ("total_tokens", nans),
    ):  # fmt: skip
        setattr(found, name, array("d", numbers_.tobytes()))
    found.counted.frombytes(ones.astype(np.int8).tobytes())
    found.counted_cost = found.counted_tokens = array("b", bytes(design.n))
    done = [Attempt(("run", "main"), 1, "passed", 1.0)]
    found.trials = [
        Trial("simulated", "default", f"{mark}-{case}", int(number), "test", done)
        for case, number in zip(cases, numbers, strict=True)
    ]
    return found


# --- coverage ---------------------------------------------------------------------------------

Truth = Callable[[np.random.Generator], bool | None]
"""Simulates once: does the interval hold the truth? None if there is no interval, only a reason."""


def _clusters(cases: int) -> tuple[Ints, tuple[str, ...]]:
    index = np.repeat(np.arange(cases), REPEATS)
    return index, tuple(map(str, range(cases)))


def _successes(rate: float, n: int, clustered: bool, rng: np.random.Generator) -> Sample:
    """With clusters every case has a rate of its own (beta, correlation within cases 0.3)."""
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
    sample = _successes(rate, n, clustered, rng)
    low, high = (interval_for_gate if gate else interval_for_display)(sample, 1 - LEVEL)
    return low <= rate <= high


def number_covered(
    kind: str, q: float, n: int, clustered: bool, naive: bool, rng: np.random.Generator
) -> bool | None:
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
    """The mean of scores that spread evenly around it: normal, and normal between cases."""
    index, names = _clusters(n // REPEATS)
    values = rng.normal(size=n) + clustered * rng.normal(size=len(names))[index]
    sample = Sample(values, index if clustered else None, names, MEAN)
    low, high = interval_for_display(sample, 1 - LEVEL)
    return low <= 0 <= high


def change_covered(metric: str, q: float, design: Design, rng: np.random.Generator) -> bool | None:
    """Intervals of a change of +20 %."""
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
    """Cases differ in how hard they are; trials of the same case share that on both sides."""
    cases = int(design.cases[-1]) + 1
    varied = design.paired or design.repeats > 1
    hard = [rng.normal(size=cases) for _ in range(2)]
    if design.paired:
        hard[1] = hard[0]
    samples = []
    for side, rate in enumerate(rates):
        share = 0.5 if varied else 0.0  # of the variance, that the case decides
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
    """What the intervals would be worth if trials of a case were taken for independent."""
    return partial(number_covered, MEAN, 0.5, 300, True, True)


# --- verdicts ---------------------------------------------------------------------------------


def regressed(design: Design, factor: float, rng: np.random.Generator, every: bool = True) -> bool:
    """Whether any metric (or the latency alone) of a simulated run is called REGRESSED."""
    sides = latencies(design, rng, factor)
    base, cand = (
        group(design, values, side) for values, side in zip(sides, ("base", "cand"), strict=True)
    )
    return any(
        each.verdict == REGRESSED
        for each in compare_subjects(Subject(base, {}), Subject(cand, {}))
        if every or each.metric == "latency"
    )


def _designs(n: int) -> list[Design]:
    return [Design(n), Design(n, 1, True), Design(n, REPEATS), Design(n, REPEATS, True)]


# --- running ----------------------------------------------------------------------------------


def count(what: str, runs: int, once: Truth) -> tuple[int, int]:
    """How many of ``runs`` come true, of how many that say anything; seeded by ``what`` alone."""
    rng = np.random.default_rng([SEED, zlib.crc32(what.encode())])
    said = [found for found in (once(rng) for _ in range(runs)) if found is not None]
    return sum(said), len(said)


def _row(task: tuple[str, str, int, Truth, float, bool]) -> Row:
    table, what, runs, once, promise, at_least = task
    hits, said = count(what, runs, once)
    return Row(table, what, hits, said, runs, promise, at_least)


COVERAGE = "how often the 95 % interval holds the truth"
FALSE_ALARMS = "unchanged code called REGRESSED, in any metric"
POWER = "+20 % latency called REGRESSED, n = 300"


def tasks() -> list[tuple[str, str, int, Truth, float, bool]]:
    found: list[tuple[str, str, int, Truth, float, bool]] = []
    for n, runs in ((1000, 300), (100, 700), (30, 1000)):  # the longest first
        for design in _designs(n):
            once = partial(regressed, design, 1.0)
            found.append((FALSE_ALARMS, f"n = {n}, {design}", runs, once, 0.025, False))
    for design, runs in ((Design(300), 2000), (Design(300, 1, True), 1000)):
        once = partial(regressed, design, 1.2, every=False)
        found.append((POWER, str(design), runs, once, 0.88, True))
    for what, runs, truth in _coverage():
        found.append((COVERAGE, what, runs, truth, LEVEL, True))
    return found


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
                none = row.runs - row.said
                print(f"| {row.what} | {row.share:.1%} | {row.said:,} | {none or ''} | {kept} |")
    print(
        f"\nMean, n = 300, 60 cases × 5, trials taken for independent: {naive / 2000:.1%} hold it"
    )
    print(f"{time.perf_counter() - began:.0f} s, seed {SEED}")


if __name__ == "__main__":
    main()
