"""Trials: outcomes by first and last attempt, crashes, and trials that never ran."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.events.event import TRIAL_START, TRIAL_STOP, Event
from pytest_crucible.events.scope import Scope
from pytest_crucible.metrics.summary import summarise_trials
from pytest_crucible.metrics.trials import MISSING, SUCCESSES, Trial, TrialBook
from pytest_crucible.metrics.values import Tests
from tests.made_events import event, trial, trial_scope

OUTCOMES = ("passed", "failed", "errored", "skipped", "xfailed", "xpassed", "interrupted")


def book(
    *attempts: list[Event], plan: tuple[tuple[str, str, str, str, int], ...] = ()
) -> list[Trial]:
    found = TrialBook()
    for events in attempts:
        for each in events:
            found.add(each)
    found.plan(plan)
    return found.all()


def only(trials: list[Trial]) -> Trial:
    (found,) = trials
    return found


def test_trial_is_told_by_its_stop() -> None:
    """Outcome, duration and error come from the event that ends the attempt."""
    found = only(book(trial("failed", trial_scope(), duration_ms=2.5, error="KeyError at t.py:3")))
    (attempt,) = found.attempts
    assert (found.outcome, found.case, found.test) == ("failed", "case-1", "test_it[case-1]")
    assert (attempt.duration_ms, attempt.error) == (2.5, "KeyError at t.py:3")


def test_trial_that_began_and_never_ended_has_crashed() -> None:
    """A start without an end is a crash, not a gap."""
    found = only(book(trial(None, trial_scope(), node="gw1")))
    assert (found.outcome, found.attempts[0].duration_ms) == ("crashed", None)
    assert found.attempts[0].node == ("run-1", "gw1")


def test_trial_that_was_planned_and_never_began_is_missing() -> None:
    """The plan tells which trials there should be, beyond those that left a trace."""
    plan = (
        ("exp", "default", "test_it[case-1]", "case-1", 1),
        ("exp", "default", "test_it[case-2]", "case-2", 1),
    )
    trials = book(trial("passed", trial_scope("case-1")), plan=plan)
    assert [(each.case, each.outcome) for each in trials] == [
        ("case-1", "passed"),
        ("case-2", MISSING),
    ]
    assert trials[1].first_outcome == MISSING


def test_first_and_last_attempts_are_told_apart() -> None:
    """A rerun makes a second attempt: the last decides, the first is remembered."""
    trials = book(
        trial("failed", trial_scope(attempt=1)),
        trial("failed", trial_scope(attempt=2)),
        trial("passed", trial_scope(attempt=3)),
    )
    assert (only(trials).first_outcome, only(trials).outcome) == ("failed", "passed")
    found = summarise_trials(trials)
    assert (found.trials, found.attempts, found.passed, found.failed) == (1, 3, 1, 0)
    assert (found.pass_rate, found.first_pass_rate) == (1.0, 0.0)


def test_crash_and_replacement_on_another_node_are_two_attempts() -> None:
    """A worker that replaces a crashed one tries the trial again, under the same number."""
    found = only(
        book(trial(None, trial_scope(), node="gw0"), trial("passed", trial_scope(), node="gw1"))
    )
    assert [each.outcome for each in found.attempts] == ["crashed", "passed"]


def test_repetitions_and_conditions_are_trials_of_their_own() -> None:
    """Only case, repetition and condition together name a trial."""
    scopes = [
        trial_scope(case, number, condition=condition)
        for case in ("a", "b")
        for number in (1, 2)
        for condition in ("control", "treatment")
    ]
    assert len(book(*(trial("passed", scope) for scope in scopes))) == 8


def test_stop_without_start_still_counts() -> None:
    """A torn file may lose the start; the end is evidence enough."""
    trials = book([event(TRIAL_STOP, metadata={"outcome": "passed"}, scope=trial_scope())])
    assert only(trials).outcome == "passed"


@pytest.mark.parametrize("scope", [None, Scope(experiment="exp"), Scope(experiment="e", case="c")])
def test_events_outside_trials_are_ignored(scope: Scope | None) -> None:
    """Without a case and a repetition there is no trial to note."""
    assert book([event(TRIAL_STOP, scope=scope)]) == []


def test_trial_of_another_run_is_a_duplicate() -> None:
    """Shards of one matrix that ran the same trial give one trial, judged by the first of them."""
    found = only(
        book(
            trial("failed", trial_scope(), run="run-1"),
            trial("passed", trial_scope(), run="run-2"),
            trial("passed", trial_scope(attempt=2), run="run-2"),
        )
    )
    assert (found.outcome, len(found.attempts), found.duplicates) == ("failed", 1, 2)


def test_location_of_the_test_is_kept() -> None:
    """File and line come with the events of the trial, where they are known."""
    place = {"file": "tests/test_x.py", "line": 7}
    start = event(TRIAL_START, metadata=place, scope=trial_scope())
    assert only(book([start])).location == ("tests/test_x.py", 7)
    assert only(book(trial("passed", trial_scope()))).location is None


def test_outcomes_enter_the_rates_as_promised() -> None:
    """Crashes, errors and interruptions stay in the denominator; skipped and missing do not."""
    attempts = [trial(outcome, trial_scope(outcome)) for outcome in OUTCOMES]
    plan = (("exp", "default", "test_it[gone]", "gone", 1),)
    found = summarise_trials(book(*attempts, trial(None, trial_scope("crash")), plan=plan))
    assert found == Tests(
        trials=9, passed=2, failed=2, errored=1, crashed=2, skipped=1, missing=1, attempts=8,
        pass_rate=2 / 7, first_pass_rate=2 / 7, duration_ms=found.duration_ms,
    )  # fmt: skip
    assert (found.duration_ms.count, found.duration_ms.mean) == (7, 1.0)


def test_nothing_judged_has_no_rate() -> None:
    """A rate over nothing is None, neither 0 nor 1."""
    found = summarise_trials(book(trial("skipped", trial_scope())))
    assert (found.pass_rate, found.first_pass_rate) == (None, None)


@given(st.lists(st.sampled_from([*OUTCOMES, None, "never"])))
def test_outcomes_partition_the_trials(outcomes: list[str | None]) -> None:
    """Every trial is counted under exactly one outcome, and the rate follows from them."""
    scopes = {f"case-{i}": outcome for i, outcome in enumerate(outcomes)}
    plan = tuple(("exp", "default", f"test_it[{case}]", case, 1) for case in scopes)
    began = [trial(out, trial_scope(case)) for case, out in scopes.items() if out != "never"]
    found = summarise_trials(book(*began, plan=plan))
    parts = (found.passed, found.failed, found.errored, found.crashed, found.skipped, found.missing)
    assert sum(parts) == found.trials == len(outcomes)
    judged = [out for out in outcomes if out not in ("skipped", "never")]
    passed = sum(out in SUCCESSES for out in judged)
    assert found.pass_rate == (passed / len(judged) if judged else None)
