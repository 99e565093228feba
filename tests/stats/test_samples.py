"""Samples: observations, and the case each belongs to."""

from __future__ import annotations

import math

import pytest

from tests.stats.support import sample


def test_clusters_only_where_cases_repeat() -> None:
    """One value per case is independent; without cases too."""
    assert sample([1, 2, 3], [0, 1, 2]).clusters() is None
    assert sample([1, 2, 3]).clusters() is None
    assert sample([1, 2, 3], [0, 0, 1]).clusters() is not None
    assert sample([1, 2, 3]).by_case() == {}


def test_by_case_averages() -> None:
    """A number per case: its mean, or the mean of its logarithms."""
    each = sample([1.0, 100.0, 5.0], [0, 0, 2], names=["a", "b", "c"])
    assert each.by_case() == {"a": 50.5, "c": 5.0}
    assert list(each.case_means(of_logs=True)[1]) == pytest.approx([math.log(10), math.log(5)])
