"""Sampling strategies: what they promise of single operations, and how they are written."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from pytest_crucible._errors import DefinitionError
from pytest_crucible.capture.strategies import (
    DROPPED,
    Chart,
    Outcome,
    Reservoir,
    Tail,
    parse_sampling,
    strategy_of,
)
from pytest_crucible.runs.experiment_definition import Definition, define

FINE = Outcome("op", latency_ms=10.0)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("uniform:0.1", "uniform 10 %"),
        ("stratified:0.125", "stratified 12.5 %"),
        ("adaptive:1", "adaptive 100 %"),
        ("importance:1e-3", "importance 0.1 %"),
        ("reservoir:1000", "reservoir of 1,000"),
    ],
)
def test_sampling_is_read_and_shown(text: str, shown: str) -> None:
    """A strategy and its number, as they stand in a marker and in the summary."""
    assert parse_sampling(text).text == shown


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (0.1, "sampling=0.1 is not one of adaptive:SHARE, importance:SHARE, reservoir:SIZE"),
        ("uniform", "sampling='uniform' is not one of"),
        ("unifrom:0.1", "sampling='unifrom:0.1' is not one of"),
        ("uniform:0", "sampling='uniform:0': the share that is kept is a number above 0, up to 1"),
        ("uniform:10", "the share that is kept is a number above 0, up to 1"),
        ("uniform:nan", "the share that is kept is a number above 0, up to 1"),
        ("uniform:ten", "the share that is kept is a number above 0, up to 1"),
        ("reservoir:0", "sampling='reservoir:0': a reservoir's size is a whole number"),
        ("reservoir:1.5", "a reservoir's size is a whole number of at least 1"),
        ("reservoir:" + "9" * 5000, "a reservoir's size is a whole number of at least 1"),
    ],
)
def test_nonsense_is_refused_where_it_is_defined(given: Any, problem: str) -> None:
    """One line that says what is wrong and what would be right."""
    with pytest.raises(DefinitionError) as caught:
        define("e", sampling=given)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sampling_is_plain_data() -> None:
    """A definition with a sampling survives the manifest."""
    definition = define("e", sampling="uniform:0.1")
    assert Definition.from_dict(definition.to_dict()) == definition


@pytest.mark.parametrize("text", ["uniform:0.2", "stratified:0.2", "adaptive:0.2"])
def test_seed_decides_and_nobody_elses_random_numbers(text: str) -> None:
    """The same seed draws the same; the user's random state is neither read nor moved."""
    before = random.getstate()
    one, same, other = (strategy_of(parse_sampling(text), seed) for seed in (1, 1, 2))
    drawn = [[each.decide(FINE) for _ in range(200)] for each in (one, same, other)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert random.getstate() == before


def test_reservoir_holds_exactly_its_size_with_equal_chances() -> None:
    """Each of n operations is in the end one of the k with probability k/n."""
    size, n, repeats = 5, 20, 4000
    chosen = [0] * n
    for seed in range(repeats):
        reservoir, places = Reservoir(size, random.Random(seed)), {}
        for number in range(n):
            weight, slot = reservoir.decide(FINE)
            if weight != DROPPED:
                places[slot] = number
        assert sorted(places) == list(range(size))
        for number in places.values():
            chosen[number] += 1
    share = size / n
    deviation = math.sqrt(share * (1 - share) / repeats)
    assert all(abs(count / repeats - share) < 4.5 * deviation for count in chosen)


def test_all_failures_are_kept() -> None:
    """Stratified: what failed is certain to be there, and stands for itself."""
    strategy = strategy_of(parse_sampling("stratified:0.01"), 1)
    failures = [strategy.decide(Outcome("op", failed=True)) for _ in range(500)]
    assert {weight for weight, _ in failures} == {1.0}
    rest = [strategy.decide(FINE)[0] for _ in range(5000)]
    assert set(rest) == {0.0, 100.0}
    assert 20 <= rest.count(100.0) <= 90  # 50 expected, standard deviation 7


def test_chart_notices_a_shift_and_gets_used_to_it() -> None:
    """In control it is quiet; a shift of three deviations alarms at once and for long."""
    rng = random.Random(3)
    chart = Chart(least=0.01)
    learning = [chart.add(rng.gauss(0, 1)) for _ in range(Chart.LEARNING)]
    assert all(learning)
    quiet = [chart.add(rng.gauss(0, 1)) for _ in range(1000)]
    assert sum(quiet) < 100
    shifted = [chart.add(rng.gauss(3, 1)) for _ in range(300)]
    assert shifted.index(True) < 10
    assert sum(shifted) > 280
    later = [chart.add(rng.gauss(3, 1)) for _ in range(1500)]
    assert sum(later[-500:]) < 100


def test_adaptive_keeps_all_while_something_changes() -> None:
    """A share while nothing happens; everything once latency doubles, or calls begin to fail."""
    for change in (Outcome("op", latency_ms=20.0), Outcome("op", latency_ms=10.0, failed=True)):
        rng = random.Random(5)
        strategy = strategy_of(parse_sampling("adaptive:0.05"), 1)
        usual = [
            strategy.decide(Outcome("op", latency_ms=10 * rng.lognormvariate(0, 0.1)))[0]
            for _ in range(1050)
        ][50:]
        assert sum(weight > 0 for weight in usual) < 200
        changed = [strategy.decide(change)[0] for _ in range(100)]
        assert changed[10:] == [1.0] * 90


def test_tail_is_always_kept() -> None:
    """Importance: what took, or cost, clearly more than the 95th percentile so far."""
    rng = random.Random(7)
    strategy = strategy_of(parse_sampling("importance:0.05"), 1)
    values: list[float] = []
    kept = 0
    for _ in range(3000):
        latency = rng.lognormvariate(0, 1)
        weight, _ = strategy.decide(Outcome("op", latency_ms=latency))
        kept += weight > 0
        if len(values) > 500 and latency > 1.5 * sorted(values)[int(0.95 * len(values))]:
            assert weight == 1.0
        values.append(latency)
    assert kept < 600
    dear = strategy.decide(Outcome("op", latency_ms=1.0, cost_usd=1.0))  # the first of its kind
    assert dear[0] == 1.0


def test_equal_numbers_have_no_tail() -> None:
    """Where all take the same time none is an exception."""
    tail = Tail()
    assert not any([tail.add(5.0) for _ in range(500)][Tail.FIRST :])


def test_names_do_not_fill_the_memory() -> None:
    """An application that makes up a name for each event costs no chart each."""
    strategy = strategy_of(parse_sampling("adaptive:0.5"), 1)
    for number in range(1000):
        strategy.decide(Outcome(f"op.{number}", latency_ms=1.0))
    assert len(strategy._latency._made) <= 257  # type: ignore[attr-defined]
