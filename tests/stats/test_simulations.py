"""A reduced simulation with a fixed seed, so that a broken method is noticed."""

from __future__ import annotations

from functools import partial

import pytest

from benchmarks import simulations
from benchmarks.simulations import Design


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
