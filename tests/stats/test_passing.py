"""pass@k, pass^k, the flip rate and ``pass_if``."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.metrics.catalog import PLAIN
from pytest_crucible.metrics.groups import Group
from pytest_crucible.stats.metric_samples import sample_of
from pytest_crucible.stats.passing import (
    counts_by_case,
    failing_cases,
    parse_pass_if,
    pass_at_k,
    pass_hat_k,
)
from tests.stats.support import events, group

OUTCOMES = {"a": "ppp", "b": "pff", "c": "fff", "d": "p", "e": "sss", "g": "pcs"}
TRIALS = group(events(OUTCOMES)).trials


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(
    st.lists(st.booleans(), min_size=n, max_size=n), st.integers(1, n))))  # fmt: skip
def test_all_choices_of_k_trials(drawn: tuple[list[bool], int]) -> None:
    """pass@k and pass^k are the shares of all choices of k trials with one pass, with all."""
    outcomes, k = drawn
    choices = list(itertools.combinations(outcomes, k))
    passed, n = sum(outcomes), len(outcomes)
    assert pass_at_k(passed, n, k) == pytest.approx(sum(map(any, choices)) / len(choices))
    assert pass_hat_k(passed, n, k) == pytest.approx(sum(map(all, choices)) / len(choices))


def test_counts_leave_out_trials_without_outcome() -> None:
    """A crash is a failure; what was skipped says nothing."""
    assert counts_by_case(TRIALS) == {
        "a": (3, 3), "b": (1, 3), "c": (0, 3), "d": (1, 1), "g": (1, 2),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("pass_at_1", {"a": 1, "b": 1 / 3, "c": 0, "d": 1, "g": 0.5}),
        ("pass_at_2", {"a": 1, "b": 2 / 3, "c": 0, "g": 1}),
        ("pass_hat_2", {"a": 1, "b": 0, "c": 0, "g": 0}),
        ("pass_at_4", {}),
        ("pass_at_0", {}),
        ("flip_rate", {"a": 0, "b": 1, "c": 0, "g": 1}),
    ],
)
def test_statistics_by_case(path: str, values: dict[str, float]) -> None:
    """One value per case that has enough trials."""
    found = sample_of(Group("exp", "default", trials=TRIALS), PLAIN[path])
    assert found is not None
    assert dict(zip(found.names, found.values, strict=True)) == pytest.approx(values)
    assert found.kind == "rate"


def test_failing_cases() -> None:
    """Those that passed less often than asked for."""
    assert failing_cases(TRIALS, 2) == ["b", "c", "d", "g"]
    assert failing_cases([], 1) == []


def test_pass_if_is_read() -> None:
    """``8/10`` of ten trials, with or without spaces."""
    assert parse_pass_if("8/10", 10) == parse_pass_if(" 8 / 10 ", 10) == 8


@pytest.mark.parametrize(
    ("text", "reason"),
    [("8", "not of the form"), ("8/10%", "not of the form"), ("-1/10", "not of the form"),
     ("8/9", "speaks of 9 trials"), ("0/10", "between 1 and 10"), ("11/10", "between 1 and 10")],
)  # fmt: skip
def test_pass_if_that_cannot_be_says_why(text: str, reason: str) -> None:
    """One line that says what would be valid."""
    with pytest.raises(ValueError, match=reason):
        parse_pass_if(text, 10)
