"""A reduced simulation with a fixed seed, so that a broken method is noticed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from benchmarks import simulations
from benchmarks.simulations import Design
from pytest_crucible.stats.estimates import interval_for_gate
from pytest_crucible.stats.metric_changes import change_of
from pytest_crucible.stats.samples import MEAN, RATE, Sample


@pytest.mark.parametrize(
    "once",
    [
        partial(simulations.rate_covered, 0.9, 300, True, False),
        partial(simulations.rate_covered, 0.9, 300, False, True),
        partial(simulations.score_covered, 100, True),
        partial(simulations.number_covered, "quantile", 0.5, 300, True, False),
        partial(simulations.change_covered, "latency", 0.5, Design(30)),
        partial(simulations.change_covered, "latency", 0.5, Design(150, 5, True)),
        partial(simulations.change_covered, "latency.p95", 0.95, Design(100)),
        partial(simulations.rate_change_covered, (0.9, 0.8), Design(150, 5)),
        partial(simulations.rate_change_covered, (0.9, 0.8), Design(100, 1, True)),
    ],
)
def test_intervals_hold_the_truth(once: simulations.Truth) -> None:
    """A 95 % interval holds it in at least 92 % of 400 simulated runs."""
    held, said = simulations.count("reduced", 400, once)
    assert said == 400
    assert held >= 0.92 * said


def test_trials_taken_for_independent_would_be_noticed() -> None:
    """The simulation finds fault with a method that is wrong: less than 90 % hold."""
    held, said = simulations.count("naive", 400, simulations.naive_mean())
    assert held < 0.9 * said


@pytest.mark.parametrize("design", simulations._designs(30))
def test_unchanged_code_is_no_regression(design: Design) -> None:
    """At most 2.5 % of 200 runs of unchanged code, and what chance adds, are called REGRESSED."""
    once = partial(simulations.regressed, design, 1.0)
    assert simulations.count("reduced", 200, once)[0] <= 10


@pytest.mark.parametrize("paired", [False, True])
def test_regressions_are_found(paired: bool) -> None:
    """+20 % at n = 300 is called REGRESSED in most of 40 runs."""
    once = partial(simulations.regressed, Design(300, 1, paired), 1.2)
    assert simulations.count("reduced", 40, once)[0] >= 31


EVEN, UNEVEN = [5] * 20, [1] * 10 + [2] * 5 + [30, 20, 10, 8, 2]


def passages(sizes: list[int], kind: str, rng: np.random.Generator) -> Sample:
    """Questions on passages with a correlation of .5; the truth is .8, or 0 for means."""
    passage = np.repeat(np.arange(len(sizes)), sizes)
    names = tuple(f"q{number}" for number in range(passage.size))
    if kind == RATE:
        truth = rng.beta(0.8, 0.2, len(sizes))
        values = (rng.random(passage.size) < truth[passage]).astype(float)
    else:
        values = np.sqrt(0.5) * (
            rng.normal(size=len(sizes))[passage] + rng.normal(size=passage.size)
        )
    return Sample(values, np.arange(passage.size), names, kind, belongs=passage)


@pytest.mark.parametrize("sizes", [EVEN, UNEVEN])
@pytest.mark.parametrize(("kind", "truth"), [(RATE, 0.8), (MEAN, 0.0)])
def test_a_gate_at_the_truth_of_clustered_cases(sizes: list[int], kind: str, truth: float) -> None:
    """At most 5 % of 1,000 runs, and what chance adds, are CONFIRMED; REJECTED likewise.

    Without clusters it is 14 % and 10 %, and more with unequal ones.
    """
    rng = np.random.default_rng(11)
    confirmed = rejected = naive = 0
    for _ in range(1_000):
        sample = passages(sizes, kind, rng)
        low, high = interval_for_gate(sample, 0.1)
        confirmed += low > truth
        rejected += high < truth
        low, high = interval_for_gate(replace(sample, belongs=None), 0.1)
        naive += low > truth or high < truth
    assert max(confirmed, rejected) <= 70
    assert naive > 150


@pytest.mark.parametrize("sizes", [EVEN, UNEVEN])
@pytest.mark.parametrize("kind", [RATE, MEAN])
@pytest.mark.parametrize("paired", [True, False])
def test_unchanged_code_on_clustered_cases(sizes: list[int], kind: str, paired: bool) -> None:
    """At most 5 % of 600 runs, and what chance adds, are called better or worse."""
    rng = np.random.default_rng(12)
    wrong = 0
    for _ in range(600):
        before, after = passages(sizes, kind, rng), passages(sizes, kind, rng)
        if not paired:
            after = replace(after, names=tuple(f"other {name}" for name in after.names))
        change = change_of(before, after)
        low, high = change.interval(0.05)
        wrong += (low > 0 or high < 0) and change.p is not None and change.p <= 0.05
    assert wrong <= 45
