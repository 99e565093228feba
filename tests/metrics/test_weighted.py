"""Weighted numbers: a sample says what the whole would say, had each number been there so often."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.metrics.weighted import mean, quantiles, row_weights, std_dev, weights_of

SHARES = (0.0, 0.1, 0.5, 0.9, 0.99, 1.0)
samples = st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 6)), min_size=1, max_size=20)


@given(samples)
def test_whole_weights_are_repetitions(sample: list[tuple[int, int]]) -> None:
    """Mean, deviation and quantiles are those of the numbers written out."""
    values = np.array([value for value, _ in sample], dtype=float)
    weights = np.array([weight for _, weight in sample], dtype=float)
    whole = np.repeat(values, weights.astype(int))
    assert mean(values, weights) == pytest.approx(whole.mean())
    if values.size > 1:
        assert std_dev(values, weights) == pytest.approx(np.std(whole, ddof=1))
    expected = np.quantile(whole, SHARES, method="inverted_cdf")
    assert quantiles(values, weights, SHARES) == pytest.approx(expected.tolist())


def test_one_number_has_no_deviation() -> None:
    """However many it stands for: nothing is known of how they vary."""
    assert std_dev(np.array([3.0]), np.array([10.0])) is None


def test_a_share_that_rounding_has_lifted_is_reached() -> None:
    """0.1 + 0.2 is a little more than 0.3, and three of ten reach it."""
    values = np.arange(10.0)
    assert quantiles(values, np.ones(10), [0.1 + 0.2]) == [2.0]


@pytest.mark.parametrize(
    ("weight", "rows", "weighted"),
    [([], 3, False), ([1.0, 1.0], 2, False), ([1.0, 2.5], 2, True), ([], 0, False)],
)
def test_only_a_sample_has_weights(weight: list[float], rows: int, weighted: bool) -> None:
    """Where all stand for themselves there is nothing to weigh, and intervals are to be had."""
    found = weights_of(weight, rows)
    assert (found is not None) is weighted
    assert row_weights(weight, rows).tolist() == (weight or [1.0] * rows)
