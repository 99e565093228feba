"""The cases that a change of a success rate needs, and their range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible.stats.power import MOST, Aim, cases_for_rates
from pytest_crucible.stats.rate_pilot import needed_for_rates, quick_plan

AIM = Aim(0.05)


def exact(before: float, after: float, aim: Aim, discordant: float | None) -> int | None:
    return cases_for_rates(before, after, aim, discordant=discordant)


def ones(passed: int, n: int) -> np.ndarray:
    return np.array([1.0] * passed + [0.0] * (n - passed))


def test_without_pairs_the_rate_that_was_seen_is_planned_with() -> None:
    found = needed_for_rates(ones(80, 100), None, -0.1, AIM, exact)
    assert found is not None
    assert found.cases == cases_for_rates(0.8, 0.7, AIM)
    assert found.low < found.cases < found.high


def test_pairs_that_go_the_other_way_are_noise() -> None:
    before, after = ones(80, 100), ones(80, 100)
    quiet = needed_for_rates(before, after, -0.1, AIM, exact)
    moved = after.copy()
    moved[:5], moved[-5:] = 0.0, 1.0
    noisy = needed_for_rates(before, moved, -0.1, AIM, exact)
    assert quiet is not None
    assert noisy is not None
    assert quiet.cases == cases_for_rates(0.8, 0.7, AIM, discordant=0.1)
    assert noisy.cases == cases_for_rates(0.8, 0.7, AIM, discordant=0.2)


@settings(max_examples=10)
@given(
    passed=st.integers(15, 40), better=st.integers(0, 5), size=st.sampled_from([-0.1, -0.2, -0.3])
)
def test_the_quick_plan_is_near_the_exact_one(passed: int, better: int, size: float) -> None:
    before = ones(passed, 40)
    after = before.copy()
    after[:better] = 0.0
    after[passed : passed + better] = 1.0
    quick, slow = (needed_for_rates(before, after, size, AIM, plan) for plan in (quick_plan, exact))
    assert quick is not None
    assert slow is not None
    assert quick.cases == pytest.approx(slow.cases, rel=0.4, abs=8)
    assert quick.low <= quick.cases <= quick.high


def test_at_the_margin_no_number_is_enough() -> None:
    assert needed_for_rates(ones(80, 100), None, -0.05, AIM, quick_plan) is None
    assert quick_plan(0.8, 0.75, AIM, None) is None
    assert quick_plan(0.8, 0.75 - 1e-6, AIM, None) is None
    assert MOST == 10_000_000
