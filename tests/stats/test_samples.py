"""Samples: observations, and the case each belongs to."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pytest_crucible.stats.samples import ONE_PROCESS, coverage, trials_without
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


def test_cases_under_other_names() -> None:
    """Only those that are asked for, with their values; what has no cases stays as it is."""
    each = sample([1.0, 2.0, 3.0], [0, 1, 2])
    kept = each.only({"c0": "first", "c2": "last"})
    assert kept.by_case() == {"first": 1.0, "last": 3.0}
    assert each.without(["c1"]).by_case() == {"c0": 1.0, "c2": 3.0}
    assert each.present() == {"c0", "c1", "c2"}
    alone = sample([1.0])
    assert alone.only({}) is alone
    assert alone.present() == set()


def test_processes_take_the_place_of_a_single_case() -> None:
    """Times of one process are alike; a single process says nothing about another."""
    timed = replace(
        sample([1.0, 2.0, 3.0, 4.0], [0] * 4),
        processes=np.array([0, 0, 1, 1]),
        process_names=("p", "q"),
    )
    found = timed.by_process()
    assert (found.in_processes, found.units, found.refusal) == (True, 2, None)
    assert found.by_case() == {"p": 1.5, "q": 3.5}
    single = replace(timed, processes=np.zeros(4, dtype=np.int64)).by_process()
    assert single.refusal == ONE_PROCESS
    several = replace(timed, cases=np.arange(4), names=("a", "b", "c", "d"))
    assert several.by_process() is several
