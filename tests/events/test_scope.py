"""Scopes: the names of where an event belongs."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest

from pytest_crucible.events.scope import JUDGE, Scope

TRIAL = Scope(experiment="e", condition="c", test="t[a]", case="a", trial=2, attempt=1)


def test_outside_trials_only_experiment_and_condition_are_known() -> None:
    """A library's events belong to an experiment, under ``default`` if nothing else is said."""
    scope = Scope(experiment="e")
    assert scope.condition == "default"
    assert (scope.test, scope.case, scope.trial, scope.attempt, scope.role) == (None,) * 5


def test_equal_names_are_one_scope() -> None:
    """Events read from two files meet in one group of a dict."""
    again = Scope(experiment="e", condition="c", test="t[a]", case="a", trial=2, attempt=1)
    assert {TRIAL: 1}[again] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"experiment": "f"}, {"condition": "d"}, {"test": "u"}, {"case": "b"}, {"trial": 1},
        {"attempt": 2}, {"role": JUDGE},
    ],
    ids=str,
)  # fmt: skip
def test_whatever_differs_is_another_scope(change: dict[str, str | int]) -> None:
    """Another attempt of a trial, and a judge of it, are places of their own."""
    assert replace(TRIAL, **change) != TRIAL  # type: ignore[arg-type]


def test_a_scope_never_changes() -> None:
    """Threads and tasks share it: whoever has it, it says the same."""
    with pytest.raises(FrozenInstanceError):
        TRIAL.trial = 3  # type: ignore[misc]


def test_names_are_given_by_name() -> None:
    """Seven texts and numbers in a row would be mixed up."""
    with pytest.raises(TypeError):
        Scope("e", "c")  # type: ignore[call-arg]
