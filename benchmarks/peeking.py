"""May one look after every case? Sequential verdicts on simulated histories with known truths.

Prints how often a history in which somebody looks after each of 500 cases ends with a wrong
CONFIRMED or REJECTED, with bets and with bounds for one look; how many cases it takes until a
claim is decided; and what the order in which trials end would do to several processes.
``python -m benchmarks peeking``
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from pytest_crucible.metrics.trials import Attempt, Trial, begun
from pytest_crucible.stats.betting import STAKES, looks

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]

SEED = 20_261_128
CASES = 500
ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: how many of the histories went wrong."""

    table: str
    what: str
    wrong: int
    histories: int
    promise: float = ALPHA

    @property
    def kept(self) -> bool:
        """Whether the promise is kept, within three standard errors of the simulation."""
        error = 3 * math.sqrt(self.promise * (1 - self.promise) / self.histories)
        return self.wrong / self.histories <= self.promise + error


def largest_money(values: Floats, threshold: float) -> Floats:
    """Return the logarithm of the largest money so far at every look.

    Args:
        values: between 0 and 1, shape ``(histories, cases)``.
        threshold: of the mean.

    Returns:
        Shape ``(histories, looks)``.
    """
    at = np.array(list(looks(values.shape[1]))) - 1
    gains = (values - threshold) / threshold
    money = np.full((values.shape[0], at.size), -np.inf)
    for stake in STAKES:
        np.logaddexp(money, np.log(1 + stake * gains).cumsum(axis=1)[:, at], out=money)
    return np.maximum.accumulate(money - math.log(STAKES.size), axis=1)


def above(values: Floats, threshold: float, level: float = ALPHA) -> NDArray[np.bool_]:
    """Return in which histories the mean was ever found to be above a threshold."""
    found: NDArray[np.bool_] = largest_money(values, threshold)[:, -1] >= -math.log(level)
    return found


def below(values: Floats, threshold: float, level: float = ALPHA) -> NDArray[np.bool_]:
    """Return the same for below."""
    return above(1 - values, 1 - threshold, level)


# --- data -------------------------------------------------------------------------------------


def passes(rate: float) -> Draw:
    """Zeros and ones."""
    return lambda random, shape: (random.random(shape) < rate).astype(float)


def graded(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Scores of which most are 1; their mean is 0.9525."""
    return random.choice([0.0, 0.25, 0.5, 0.75, 1.0], p=[0.01, 0.02, 0.02, 0.05, 0.9], size=shape)


def mostly_nine_tenths(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """0.9, or 0 in one of ten cases; their mean is 0.81."""
    return np.where(random.random(shape) < 0.9, 0.9, 0.0)


DATA: dict[str, tuple[Draw, float]] = {
    **{f"passes, {rate:g}": (passes(rate), rate) for rate in (0.5, 0.8, 0.9, 0.95, 0.99)},
    "scores, most are 1": (graded, 0.9525),
    "scores, 0.9 or 0": (mostly_nine_tenths, 0.81),
    "scores, beta(6, 3)": (lambda random, shape: random.beta(6, 3, shape), 2 / 3),
    "scores, uniform": (lambda random, shape: random.random(shape), 0.5),
}


def pairs(rates: tuple[float, float], shared: float) -> Draw:
    """(d + 1) / 2 of two arms: a share of the cases is drawn alike for both."""

    def draw(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
        first, second = random.random(shape), random.random(shape)
        second = np.where(random.random(shape) < shared, first, second)
        return ((second < rates[1]) - 1.0 * (first < rates[0]) + 1) / 2

    return draw


def score_pairs(random: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """(d + 1) / 2 of two arms with scores around the level of their case."""
    level = random.random(shape)
    first, second = (random.beta(1 + 8 * level, 1 + 8 * (1 - level)) for _ in range(2))
    changes: Floats = (second - first + 1) / 2
    return changes


PAIRS: dict[str, tuple[Draw, float]] = {
    "passes, .9 and .9, independent": (pairs((0.9, 0.9), 0.0), 0.0),
    "passes, .9 and .9, 80 % alike": (pairs((0.9, 0.9), 0.8), 0.0),
    "passes, .95 and .90, margin 5 pp": (pairs((0.95, 0.90), 0.5), -0.05),
    "passes, .6 and .6": (pairs((0.6, 0.6), 0.3), 0.0),
    "scores": (score_pairs, 0.0),
}


def out_of_order(
    random: np.random.Generator, outcomes: Floats, workers: int, slower: float
) -> Floats:
    """Return outcomes in the order in which they end if a pass takes longer than a failure.

    Args:
        random: draws how long each takes.
        outcomes: of one history, in the order in which they begin.
        workers: how many run at once.
        slower: how many times longer a pass takes.
    """
    lasts = random.exponential(np.where(outcomes == 1, slower, 1.0))
    free = np.zeros(workers)
    ends = np.empty(outcomes.size)
    for trial, duration in enumerate(lasts):
        worker = int(free.argmin())
        ends[trial] = free[worker] = free[worker] + duration
    return outcomes[np.argsort(ends)]


# --- tables -----------------------------------------------------------------------------------


def wrong_verdicts(histories: int) -> Iterator[Row]:
    """At the threshold itself, where a wrong verdict is likeliest, looking after each case."""
    for table, cells in (("one number", DATA), ("paired arms", PAIRS)):
        for what, (draw, truth) in cells.items():
            random = np.random.default_rng([SEED, len(what), histories])
            values = draw(random, (histories, CASES))
            at = truth if table == "one number" else (truth + 1) / 2
            # At the threshold both verdicts on "> threshold" and on "< threshold" are wrong.
            for verdict, found in (("above", above(values, at)), ("below", below(values, at))):
                yield Row(f"{table}: wrongly", f"{what}: {verdict}", int(found.sum()), histories)


def families(histories: int, sizes: tuple[int, ...] = (1, 5, 20)) -> Iterator[Row]:
    """Sessions with several claims, all true and all at their threshold: is any REJECTED?"""
    for claims in sizes:
        random = np.random.default_rng([SEED, claims])
        red = np.zeros(histories, dtype=bool)
        for _ in range(claims):
            values = passes(0.9)(random, (histories, CASES))
            red |= below(values, 0.9, ALPHA / claims)
        yield Row("sessions with a REJECTED", f"{claims} claims", int(red.sum()), histories)


def order_of_ends(histories: int) -> Iterator[Row]:
    """Bets in the order in which trials end, with 8 workers: why the order of beginnings is taken.

    No promise: it is broken where passes and failures last differently long.
    """
    random = np.random.default_rng([SEED, 8])
    for slower in (0.1, 10.0):
        values = passes(0.9)(random, (histories, CASES))
        ended = np.array([out_of_order(random, row, 8, slower) for row in values])
        for verdict, found in (("above", above(ended, 0.9)), ("below", below(ended, 0.9))):
            what = f"a pass lasts {slower:g} ×: {verdict}"
            yield Row("order of ends, 8 workers: wrongly", what, int(found.sum()), histories, 1.0)


def distributed(
    random: np.random.Generator, outcomes: Floats, workers: int, chunk: int, slower: float
) -> list[int]:
    """Return the cases of two arms in the order in which they began (`begun`), under xdist.

    Args:
        random: draws how long each trial takes.
        outcomes: shape ``(cases, 2)``.
        workers: how many run at once; each takes the next chunk when it has done its own.
        chunk: how many trials that is; an odd number splits cases between two workers.
        slower: how many times longer a pass takes.
    """
    lasts = random.exponential(np.where(outcomes == 1, slower, 1.0)).ravel()
    free = np.zeros(workers)
    trials = []
    for start in range(0, lasts.size, chunk):
        worker = int(free.argmin())
        for number in range(start, min(start + chunk, lasts.size)):
            began = Attempt(("run", f"gw{worker}"), 1, began_us=int(1e6 * free[worker]))
            trials.append(Trial("e", "a", str(number // 2), 1, "", [began]))
            free[worker] += lasts[number]
    order = begun(trials)
    return sorted(range(len(outcomes)), key=lambda case: order[str(case)])


def order_of_beginnings(histories: int) -> Iterator[Row]:
    """The same workers, and pairs that are split between two of them, in the order that counts."""
    for slower in (0.1, 10.0):
        random = np.random.default_rng([SEED, int(slower)])
        both = []
        for _ in range(histories):
            outcomes = (random.random((CASES // 2, 2)) < 0.7).astype(float)
            both.append(outcomes[distributed(random, outcomes, 8, 7, slower)])
        arms = np.array(both)
        halves, means = (arms[..., 1] - arms[..., 0] + 1) / 2, arms.mean(axis=2)
        for what, values, at in (("pairs", halves, 0.5), ("cases", means, 0.7)):
            for verdict, found in (("above", above(values, at)), ("below", below(values, at))):
                name = f"{what}, a pass lasts {slower:g} ×: {verdict}"
                wrong = int(found.sum())
                yield Row("order of beginnings, 8 workers: wrongly", name, wrong, histories)


def one_look_bounds(histories: int) -> Iterator[Row]:
    """What bounds for one look do to somebody who looks after every case: no promise."""
    random = np.random.default_rng([SEED, 1])
    passed = passes(0.9)(random, (histories, CASES)).cumsum(axis=1)
    n = np.arange(1, CASES + 1)
    lower = np.asarray(stats.beta.isf(1 - ALPHA, passed, n - passed + 1))
    wrong = int(np.any(lower > 0.9, axis=1).sum())
    yield Row("bounds for one look: wrongly", "passes, 0.9: above", wrong, histories, 1.0)


@dataclass(frozen=True, slots=True)
class Cost:
    """How many cases a claim takes."""

    what: str
    fixed: int
    mean: float
    four_of_five: float


def fixed_cases(truth: float, threshold: float, power: float = 0.8) -> int:
    """Return how many passes and failures confirm or refute with 80 % power, in one look."""
    if truth < threshold:
        truth, threshold = 1 - truth, 1 - threshold
    n = np.arange(5, 5000)
    needed = stats.binom.isf(ALPHA, n, threshold) + 1
    enough = stats.binom.sf(needed - 1, n, truth) >= power
    short = np.flatnonzero(~enough)
    return int(n[short[-1] + 1])


def costs(histories: int, most: int = 3000) -> Iterator[Cost]:
    """Cases until a decision, where the claim is clearly true, or clearly false."""
    for truth, threshold in (
        (0.95, 0.9), (0.98, 0.95), (0.9, 0.8), (0.99, 0.9), (0.8, 0.7), (1.0, 0.9), (0.85, 0.9),
    ):  # fmt: skip
        random = np.random.default_rng([SEED, int(1000 * truth)])
        values = passes(truth)(random, (histories, most))
        if truth < threshold:
            values, at = 1 - values, 1 - threshold
        else:
            at = threshold
        money = largest_money(values, at) >= -math.log(ALPHA)
        when = np.array(list(looks(most)))
        took = np.where(money.any(axis=1), when[money.argmax(axis=1)], most)
        yield Cost(
            f"true {truth:g}, claimed > {threshold:g}",
            fixed_cases(truth, threshold),
            float(took.mean()),
            float(np.quantile(took, 0.8)),
        )


def main(histories: int = 4000) -> int:
    """Print the tables.

    Returns:
        1 if a promise is broken, else 0.
    """
    began = time.process_time()
    rows = [
        *wrong_verdicts(histories),
        *families(histories),
        *order_of_beginnings(histories // 4),
        *order_of_ends(histories // 4),
        *one_look_bounds(histories // 4),
    ]
    table = ""
    for row in rows:
        if row.table != table:
            table = row.table
            print(f"\n{table}, at {CASES} looks")
        mark = "" if row.kept else f"  BROKEN: promised {100 * row.promise:g} %"
        print(f"  {row.what:42} {100 * row.wrong / row.histories:5.1f} %{mark}")
    print("\ncases until it is decided     fixed n, 80 %     mean   80 %   ratio: mean   80 %")
    for cost in costs(histories // 8):
        print(
            f"  {cost.what:28} {cost.fixed:12} {cost.mean:8.0f} {cost.four_of_five:6.0f}"
            f" {cost.mean / cost.fixed:13.2f} {cost.four_of_five / cost.fixed:6.2f}"
        )
    print(f"\n{histories:,} histories each, {time.process_time() - began:.0f} s of CPU")
    return int(not all(row.kept for row in rows))
