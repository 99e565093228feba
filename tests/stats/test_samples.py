"""Samples: observations, and the case each belongs to."""

from __future__ import annotations

import math

import pytest

from pytest_crucible.stats.samples import coverage, trials_without
from tests.stats.support import events, group, sample, subject


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


@pytest.mark.parametrize(
    ("letters", "values", "expected"),
    [
        ("pppp", 4, None),
        ("pppp", 2, (2, 4)),
        ("pffp", 1, (1, 4)),
    ],
)
def test_a_number_that_some_trials_lack_says_so(
    letters: str, values: int, expected: tuple[int, int] | None
) -> None:
    """The mean of a few trials is not that of all; the number beside it tells."""
    cases = {f"c{i}": letter for i, letter in enumerate(letters)}
    found = group(events(cases, {"score": [0.5] * values, "full": [1.0] * len(letters)}))
    assert coverage(found, "score") == expected
    assert coverage(found, "full") is None
    assert coverage(found, "unheard_of") is None
    each = subject(found)
    assert each.estimate("score.mean").coverage == expected
    assert each.estimate("full.mean").coverage is None
    assert each.coverages() == ({"score": expected} if expected else {})
    lacking = None if expected is None else f"{expected[1] - expected[0]} of {expected[1]} trials"
    assert trials_without(found, "score") == lacking
