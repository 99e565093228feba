"""Drift: found where a run drifts, and not said of runs that do not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pytest_crucible.stats.drift import ALIKE, FEWEST, TREND, drift_of, spread_out

Floats = NDArray[np.float64]
Rng = np.random.Generator


def passes(cases: int, repeats: int) -> NDArray[np.int64] | None:
    """All cases once, then all again, and so on; None without repeats."""
    return np.tile(np.arange(cases), repeats) if repeats > 1 else None


@pytest.mark.parametrize("sigma", [0.3, 1.2])
@pytest.mark.parametrize(
    ("cases", "repeats"), [(20, 1), (60, 1), (300, 1), (15, 2), (60, 2), (50, 5), (5, 20)]
)
def test_runs_without_drift_are_rarely_called_drifting(
    cases: int, repeats: int, sigma: float
) -> None:
    """At most 0.5 % of runs of lognormal latencies, whatever the cases themselves differ by."""
    rng = np.random.default_rng([cases, repeats, int(10 * sigma)])
    order = passes(cases, repeats)
    times = np.arange(cases * repeats)
    runs, alarms = 1000, 0
    for _ in range(runs):
        logs = rng.normal(0, sigma, times.size)
        if order is not None:
            logs += rng.normal(0, 2, cases)[order]
        drift = drift_of(times, logs, order)
        assert drift is not None
        alarms += drift.trends() or drift.alike()
    assert alarms <= 0.005 * runs


def step(n: int, rng: Rng) -> Floats:
    return np.where(np.arange(n) < n // 2, 0.0, np.log(1.3))


def slope(n: int, rng: Rng) -> Floats:
    return np.linspace(0, np.log(1.5), n)


@pytest.mark.parametrize("shape", [step, slope])
@pytest.mark.parametrize("repeats", [1, 3])
def test_a_drift_is_found(shape: Callable[[int, Rng], Floats], repeats: int) -> None:
    """30 % slower in the end, at a spread of 20 %: found nearly always, and measured."""
    rng = np.random.default_rng(7)
    order = passes(120 // repeats, repeats)
    found = []
    for _ in range(100):
        logs = rng.normal(0, 0.2, 120) + shape(120, rng)
        drift = drift_of(np.arange(120), logs, order)
        assert drift is not None
        if drift.trends():
            found.append(drift.change)
    assert len(found) >= 95
    assert np.mean(found) == pytest.approx(0.3, abs=0.06)


def test_a_speed_that_wanders_makes_neighbours_alike() -> None:
    """AR(1) of .7: the correlation is measured, and said."""
    rng = np.random.default_rng(3)
    said, measured = 0, []
    for _ in range(50):
        noise, logs = rng.normal(0, 1, 200), np.zeros(200)
        for i in range(1, 200):
            logs[i] = 0.7 * logs[i - 1] + noise[i]
        drift = drift_of(np.arange(200), logs)
        assert drift is not None
        measured.append(drift.lag_1)
        said += drift.alike()
    assert said == 50
    assert np.mean(measured) == pytest.approx(0.66, abs=0.05)


def test_cases_that_get_harder_do_not_drift() -> None:
    """Where all cases repeat, what they differ by is no drift, even in order of difficulty."""
    rng = np.random.default_rng(5)
    order = np.tile(np.arange(60), 2)
    logs = np.linspace(0, 3, 60)[order] + rng.normal(0, 0.2, 120)
    drift = drift_of(np.arange(120), logs, order)
    assert drift is not None
    assert not drift.trends()
    assert not drift.alike()


def test_a_small_drift_is_not_said() -> None:
    """However certain: 3 % slower is less than what matters."""
    logs = np.linspace(0, np.log(1.05), 500)
    drift = drift_of(np.arange(500), logs)
    assert drift is not None
    assert drift.trend_p < 1e-9
    assert 0 < drift.change < TREND
    assert not drift.trends()


def test_more_arms_need_clearer_signs() -> None:
    """The error is that of the run: the same sign is enough for one arm, and not for a hundred."""
    rng = np.random.default_rng(12)
    logs = rng.normal(0, 0.3, 60) + np.linspace(0, 0.5, 60)
    drift = drift_of(np.arange(60), logs)
    assert drift is not None
    assert 1e-5 < drift.trend_p < 1e-3
    assert drift.trends()
    assert not drift.trends(100)


def test_nothing_is_said_of_a_few() -> None:
    """Too few, all alike, measured at one time, or no case twice: there is nothing to see."""
    few = np.arange(FEWEST - 1)
    assert drift_of(few, few.astype(float)) is None
    many = np.arange(FEWEST)
    assert drift_of(many, np.ones(FEWEST)) is None
    assert drift_of(np.zeros(FEWEST, dtype=np.int64), many.astype(float)) is None
    assert drift_of(many, many.astype(float), many) is None
    assert drift_of(many, many.astype(float)) is not None


@given(
    logs=st.lists(st.floats(-5, 5), min_size=FEWEST, max_size=60),
    repeats=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_order_of_rows_does_not_matter(logs: list[float], repeats: int, seed: int) -> None:
    """Time decides, not the order in which latencies are given; p and change are possible ones."""
    values, times = np.array(logs), np.arange(len(logs))
    cases = times % max(1, len(logs) // repeats)
    drift = drift_of(times, values, cases)
    mixed = np.random.default_rng(seed).permutation(len(logs))
    assert drift_of(times[mixed] * 7, values[mixed], cases[mixed]) == drift
    if drift is not None:
        assert 0 <= drift.trend_p <= 1
        assert 0 <= drift.lag_1_p <= 1
        assert drift.change > -1
        assert -1.000001 <= drift.lag_1 <= 1.000001


def test_spearman_is_the_trend_without_repeats() -> None:
    """With one case: SciPy's correlation times the root of n − 1, through ties."""
    from scipy.stats import norm, spearmanr

    rng = np.random.default_rng(8)
    values = rng.integers(0, 9, 50).astype(float)
    drift = drift_of(np.arange(50), values)
    assert drift is not None
    z = float(spearmanr(np.arange(50), values).statistic) * 7
    assert drift.trend_p == pytest.approx(2 * float(norm.sf(abs(z))))


def test_repeats_side_by_side_say_nothing_about_the_run() -> None:
    """Each case three times in a row, or all cases three times: only those lie apart."""
    times = np.arange(60)
    assert spread_out(times, times % 20)
    assert not spread_out(times, times // 3)
    assert not spread_out(times, times)
    assert not spread_out(times[:0], times[:0])
    assert ALIKE > 0
