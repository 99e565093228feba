"""Running numbers: moments and a few numbers exactly, quantiles within the bound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible.metrics.distribution import Distribution
from pytest_crucible.metrics.running import Moments, Numbers
from pytest_crucible.metrics.summary import distribution


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=100), st.integers(1, 99))
@settings(max_examples=50)
def test_moments_in_two_parts_are_those_of_the_whole(values: list[float], cut: int) -> None:
    """Chan's update of two parts gives NumPy's mean and deviation of all."""
    parts = Moments(), Moments()
    for position, value in enumerate(values):
        parts[position >= cut].add(value)
    parts[0].merge(parts[1])
    assert parts[0].mean == pytest.approx(np.mean(values), abs=1e-6)
    assert parts[0].std_dev == pytest.approx(np.std(values, ddof=1), rel=1e-6, abs=1e-6)
    assert (parts[0].smallest, parts[0].largest) == (min(values), max(values))


def test_moments_are_stable_far_from_zero() -> None:
    """A billion and a little noise: the textbook formula would find a wrong deviation, or none."""
    values = [1e9 + n % 3 for n in range(3000)]
    moments = Moments()
    for value in values:
        moments.add(value)
    assert moments.std_dev == pytest.approx(np.std(values, ddof=1), rel=1e-6)


def test_few_numbers_are_described_exactly() -> None:
    """Up to the limit nothing is approximated; nothing at all is described as such."""
    numbers = Numbers(exact=4, relative_error=0.01)
    assert numbers.describe() == Distribution()
    for value in (3.0, 1.0, 2.0, 10.0):
        numbers.add(value)
    assert numbers.describe() == distribution(np.array([3.0, 1.0, 2.0, 10.0]))
    numbers.add(5.0)
    found = numbers.describe()
    assert found.p50 == pytest.approx(3.0, rel=0.01)
    assert (found.count, found.min, found.max) == (5, 1.0, 10.0)
    assert found.total == pytest.approx(21.0)
