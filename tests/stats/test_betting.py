"""Bets: against the products they are, their bounds, and what a peeking reader is promised."""

from __future__ import annotations

import math
import time
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import peeking
from pytest_crucible.stats import betting
from pytest_crucible.stats.betting import STAKES, Bettor, bounds, log_evidence, looks

units = st.floats(0, 1, allow_subnormal=False)
several = st.lists(units, min_size=1, max_size=30).map(np.array)
thresholds = st.floats(0.01, 0.99)
levels = st.sampled_from([0.05, 0.025, 0.001])


def by_hand(values: list[float], threshold: float) -> float:
    """The mean of the products, at the best of the looks: as in the paper, without logarithms."""
    money = [1.0] * STAKES.size
    largest = 0.0
    for value in values:
        money = [
            each * (1 + stake * (value - threshold) / threshold)
            for each, stake in zip(money, STAKES, strict=True)
        ]
        largest = max(largest, sum(money) / len(money))
    return largest


@given(several, thresholds)
def test_money_is_the_mean_of_the_products(values: np.ndarray, threshold: float) -> None:
    expected = by_hand(values.tolist(), threshold)
    assert math.exp(log_evidence(values, None, threshold)) == pytest.approx(expected, rel=1e-9)


def test_money_of_passes_only() -> None:
    """Ten passes against 0.5 double the whole stake ten times: the mean of (1 + λ)¹⁰."""
    expected = float(np.mean((1 + STAKES) ** 10))
    assert math.exp(log_evidence(np.ones(10), None, 0.5)) == pytest.approx(expected)


@given(several, thresholds)
def test_a_bettor_has_the_same_money_value_by_value(values: np.ndarray, threshold: float) -> None:
    bettor = Bettor(threshold)
    for value in values:
        bettor.bet(float(value))
    assert bettor.log_money == pytest.approx(max(0.0, log_evidence(values, None, threshold)))


@given(st.lists(st.tuples(units, st.integers(1, 9)), min_size=1, max_size=20), thresholds)
def test_a_bettor_weighs_units_alike(given_units: list[tuple[float, int]], at: float) -> None:
    bettor = Bettor(at)
    for value, size in given_units:
        bettor.bet(value, size)
    values, sizes = (np.array(each, dtype=float) for each in zip(*given_units, strict=True))
    assert bettor.log_money == pytest.approx(max(0.0, log_evidence(values, sizes, at)))


@given(several, levels, thresholds)
def test_bounds_exclude_what_the_money_refutes(
    values: np.ndarray, level: float, threshold: float
) -> None:
    """Interval and verdict are one: a mean is excluded if and only if the bets against it won."""
    low, high = bounds(values, None, level, level)
    near = 2 * betting._TIGHT
    if threshold < low - near:
        assert log_evidence(values, None, threshold) >= -math.log(level)
    if threshold > low + near:
        assert log_evidence(values, None, threshold) < -math.log(level)
    if threshold > high + near:
        assert log_evidence(1 - values, None, 1 - threshold) >= -math.log(level)
    if threshold < high - near:
        assert log_evidence(1 - values, None, 1 - threshold) < -math.log(level)


@given(several, units, levels)
def test_bounds_never_get_worse_with_more_values(
    values: np.ndarray, more: float, level: float
) -> None:
    """What was decided once stays decided."""
    before, after = (bounds(each, None, level, level) for each in (values, np.append(values, more)))
    assert after[0] >= before[0] - 2 * betting._TIGHT
    assert after[1] <= before[1] + 2 * betting._TIGHT


@given(several, levels)
def test_bounds_stay_within_what_is_possible(values: np.ndarray, level: float) -> None:
    low, high = bounds(values, None, level, level)
    assert 0 <= low <= 1
    assert 0 <= high <= 1
    turned = bounds(1 - values, None, level, level)
    assert turned == pytest.approx((1 - high, 1 - low), abs=1e-8)


def test_nothing_is_known_of_no_values() -> None:
    assert bounds(np.empty(0), None, 0.05, 0.05) == (0.0, 1.0)
    assert log_evidence(np.empty(0), None, 0.5) == 0.0


@pytest.mark.parametrize("n", [10, 100])
def test_equal_values_are_no_certainty(n: int) -> None:
    low, high = bounds(np.ones(n), None, 0.05, 0.05)
    assert low < 1 == high
    assert bounds(np.zeros(n), None, 0.05, 0.05) == pytest.approx((0, 1 - low))


def test_order_decides_what_a_look_sees() -> None:
    """Passes first are confirmed at an early look, which later failures do not take back."""
    first = np.array([1.0] * 30 + [0.0] * 10)
    assert bounds(first, None, 0.05, 0.05)[0] > bounds(first[::-1], None, 0.05, 0.05)[0]


def test_a_unit_counts_as_much_as_it_has_values() -> None:
    """Units of equal size are plain values, whatever the size; a larger one moves more."""
    values = np.array([1.0, 0.0, 1.0, 1.0, 1.0, 1.0])
    alike = bounds(values, np.full(6, 7.0), 0.05, 0.05)
    assert alike == bounds(values, None, 0.05, 0.05)
    heavy = log_evidence(values, np.array([1.0, 5.0, 1, 1, 1, 1]), 0.5)
    assert heavy < log_evidence(values, None, 0.5)


@pytest.mark.parametrize("n", [0, 1, 5, 199, 200, 12_345])
def test_looks_are_dense_and_end_with_the_last(n: int) -> None:
    found = list(looks(n))
    assert found == sorted(set(found))
    assert found[-1:] == ([n] if n else [])
    assert found[: min(n, 200)] == list(range(1, min(n, 200) + 1))
    assert all(later - earlier <= max(1, earlier // 100) for earlier, later in pairwise(found))


def test_a_hundred_thousand_values_take_about_a_second() -> None:
    values = np.random.default_rng(1).beta(6, 3, 100_000)
    began = time.process_time()
    low, high = bounds(values, None, 0.05, 0.05)
    assert low < 2 / 3 < high
    assert high - low < 0.01
    assert time.process_time() - began < 5  # 0.5 s on a machine that has nothing else to do


# --- promises (`python -m benchmarks peeking` has the whole tables) ---------------------------


def test_who_peeks_is_rarely_wrong() -> None:
    """At the threshold, looking after each of 500 cases: at most 5 % wrong verdicts a side."""
    rows = list(peeking.wrong_verdicts(300))
    assert len(rows) == 2 * (len(peeking.DATA) + len(peeking.PAIRS))
    assert not [row for row in rows if not row.kept]


def test_several_claims_share_the_level() -> None:
    assert all(row.kept for row in peeking.families(300, (1, 5)))


def test_several_processes_do_no_harm() -> None:
    """Whatever the outcomes do to the times: cases count in the order in which they began."""
    assert all(row.kept for row in peeking.order_of_beginnings(60))


def test_bounds_for_one_look_would_be_noticed() -> None:
    """The simulation finds fault with what it should: one-look bounds, and the order of ends."""
    (row,) = peeking.one_look_bounds(300)
    assert row.wrong / row.histories > 0.15
    assert max(row.wrong / row.histories for row in peeking.order_of_ends(100)) > 0.08


def test_it_costs_less_than_twice_as_many_cases() -> None:
    """On average 1.1 to 1.6 × the cases of one look with 80 % power."""
    for cost in peeking.costs(100, 2000):
        assert 0.9 * cost.fixed < cost.mean < 1.7 * cost.fixed


def test_the_benchmark_ends_with_its_tables(capsys: pytest.CaptureFixture[str]) -> None:
    assert peeking.main(80) == 0
    printed = capsys.readouterr().out
    assert "paired arms: wrongly" in printed
    assert "cases until it is decided" in printed
