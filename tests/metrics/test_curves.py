"""Curves: the last value of a step counts, one curve per trial, and what is summarised of them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible.events.event import LOG, Event
from pytest_crucible.events.scope import Scope
from pytest_crucible.metrics.catalog import PLAIN
from pytest_crucible.metrics.curves import POINTS, Curve, Logged, curve_of, trial_curves
from pytest_crucible.metrics.observations import Group, observe
from pytest_crucible.metrics.summary import flatten, summarise
from pytest_crucible.stats.estimates import estimate
from tests.made_events import event, recorded, trial, trial_scope

NAN = float("nan")


def log(
    value: Any, step: Any, scope: Scope | None = None, name: str = "loss", **context: Any
) -> Event:
    """What ``experiment.log(name, value, step)`` leaves behind."""
    numbers = {"value": value, "step": step}
    return event(LOG, numbers, {"name": name, **context}, scope=scope or Scope(experiment="exp"))


def group(*events: Event) -> Group:
    (found,) = observe(events).groups.values()
    return found


def logged(*events: Event, name: str = "loss") -> Logged:
    return summarise(group(*events)).logged[name]


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(-5, 20), st.floats(allow_nan=False)), max_size=60))
def test_curve_is_ordered_and_the_last_value_of_a_step_wins(pairs: list[tuple[int, float]]) -> None:
    """However steps were logged, each stands once, in order, with what was logged for it last."""
    expected = dict(sorted(dict(pairs).items()))
    found = curve_of([log(value, step) for step, value in pairs], "loss")
    assert found == Curve(list(expected), list(expected.values()))


def test_summary_of_one_curve_holds_facts() -> None:
    """First, last and best with its step: those of the curve; the direction is told by the name."""
    found = logged(log(3.0, 2), log(9.0, 0), log(1.0, 1))
    assert (found.trials, found.points, found.steps) == (1, 3, 3)
    assert (found.first, found.last) == (9.0, 3.0)
    assert (found.best, found.best_step, found.best_is) == (1.0, 1, "min")
    assert found.curve == ((0, 9.0), (1, 1.0), (2, 3.0))
    assert not found.not_finite


@pytest.mark.parametrize(
    ("name", "more", "best", "step"),
    [
        ("loss", {}, 1, 1),
        ("val/loss", {}, 1, 1),
        ("eval_loss", {}, 1, 1),
        ("perplexity", {}, 1, 1),
        ("accuracy", {}, 9, 0),
        ("score", {}, 9, 0),
        ("closs_score", {}, 9, 0),
        ("accuracy", {"best": "min"}, 1, 1),
        ("loss", {"best": "max"}, 9, 0),
    ],
)
def test_best_is_the_lowest_of_losses_and_the_highest_of_scores(
    name: str, more: dict[str, Any], best: float, step: int
) -> None:
    """As the name says, unless ``best=`` says otherwise; of equal ones the first."""
    values = [9, 1, 3, 9, 1]
    found = logged(*(log(v, i, name=name, **more) for i, v in enumerate(values)), name=name)
    assert (found.best, found.best_step) == (best, step)


def test_values_that_are_not_finite_are_kept_and_counted() -> None:
    """They are never the best; a curve that ends in one has no last value."""
    events = [log(2.0, 0), log(math.inf, 1), log(1.0, 2), log(NAN, 3)]
    found = logged(*events)
    assert (found.points, found.not_finite) == (4, 2)
    assert (found.first, found.last, found.best, found.best_step) == (2.0, None, 1.0, 2)
    assert [value for _, value in found.curve] == [2.0, None, 1.0, None]
    assert json.dumps(summarise(group(*events)).to_dict(), allow_nan=False)


def test_nothing_finite_has_no_best() -> None:
    """A run that diverged at once has steps, and nothing else."""
    found = logged(log(NAN, 0), log(-math.inf, 1))
    assert (found.steps, found.first, found.last, found.best, found.best_step) == (
        2, None, None, None, None,
    )  # fmt: skip


def test_what_is_no_number_counts_as_not_finite() -> None:
    """NaN is null in JSON; events that others made up under this name break nothing."""
    found = logged(log(1, 5), log("x", 6), log(None, 7), log(1.0, "0"), log(1.0, None))
    assert (found.points, found.not_finite, found.steps) == (5, 4, 3)
    assert (found.first, found.last, found.best) == (1, None, 1)


def test_numbers_beyond_every_column_are_counted() -> None:
    """An integer that fits no column, in a file of somebody else's, is no traceback."""
    scope = trial_scope()
    huge = event(LOG, {"value": 10**400, "step": 1}, {"name": "loss"}, scope=scope)
    far = event(LOG, {"value": 1.0, "step": 2**70}, {"name": "loss"}, scope=scope)
    found = logged(log(2.0, 0, scope), huge, far)
    assert (found.points, found.not_finite, found.first, found.last) == (3, 2, 2.0, None)


def test_trials_have_curves_of_their_own_and_means_over_them() -> None:
    """With several trials each number is the mean over the trials' own."""
    scopes = [trial_scope("a"), trial_scope("a", 2), trial_scope("b")]
    events = [
        each
        for shift, scope in enumerate(scopes)
        for each in (log(9.0 + shift, 0, scope), log(1.0 + shift, 1 + shift, scope))
    ]
    found = logged(*events)
    assert (found.trials, found.points, found.steps) == (3, 6, 2)
    assert (found.first, found.last, found.best_step) == (10, 2, 2)
    assert found.curve == ((0, 10.0), (1, 1.0), (2, 2.0), (3, 3.0))
    curves = list(trial_curves(group(*events).logged["loss"]))
    assert [(c.case, c.trial, c.values.tolist()) for c in curves] == [
        (0, 1, [9, 1]), (0, 2, [10, 2]), (1, 1, [11, 3]),
    ]  # fmt: skip


def test_repeated_attempts_leave_only_the_last_curve() -> None:
    """A trial is judged by its last attempt."""
    events = [
        each
        for attempt, outcome in ((1, "failed"), (2, "passed"))
        for scope in [trial_scope("a", 1, attempt)]
        for each in (
            trial(outcome, scope)[0],
            *(log(attempt, step, scope) for step in range(5 - attempt)),
            trial(outcome, scope)[1],
        )
    ]
    found = logged(*events)
    assert (found.trials, found.points, found.last) == (1, 3, 2)


def test_long_curves_are_summarised_in_few_points() -> None:
    """Each point is the mean of a stretch of steps, and the last one stands for the end."""
    found = logged(*(log(float(step), step) for step in range(1000)))
    assert len(found.curve) == POINTS
    assert found.curve[0] == (41, 20.5)
    assert found.curve[-1][0] == 999


def test_largest_floats_have_a_mean() -> None:
    """The mean of what is finite is finite."""
    events = [log(1.7e308, 0, trial_scope(case)) for case in "ab"]
    assert logged(*events).last == pytest.approx(1.7e308)


# --- in expectations ---------------------------------------------------------------------------


def numbers(found: Group) -> dict[str, float | None]:
    return dict(flatten(summarise(found)))


def test_one_curve_is_a_fact() -> None:
    """Where the only curve ended needs no interval."""
    found = group(log(2.0, 0), log(0.4, 1))
    paths = numbers(found)
    assert {key: value for key, value in paths.items() if key.startswith("loss.")} == {
        "loss.steps": 2, "loss.first": 2.0, "loss.last": 0.4, "loss.best": 0.4, "loss.best_step": 1,
    }  # fmt: skip
    known = estimate(found, PLAIN["loss.last"], paths)
    assert (known.value, known.exact, known.low) == (0.4, True, None)


def test_several_trials_are_observations_with_an_interval() -> None:
    """The last value of each trial is an observation; trials of a case belong together."""
    scopes = [trial_scope(case, t) for case in "abcd" for t in (1, 2)]
    found = group(*(log(i / 10, 0, scope) for i, scope in enumerate(scopes)))
    known = estimate(found, PLAIN["loss.last"], numbers(found))
    assert (known.n, known.cases, known.exact) == (8, 4, False)
    assert known.low is not None
    assert known.high is not None
    assert known.low < 0.35 < known.high
    assert known.value == pytest.approx(0.35)


@pytest.mark.parametrize(
    ("scopes", "path", "reason"),
    [
        ([trial_scope()], "loss.last", "the last value is not a finite number"),
        ([trial_scope()], "loss.best", "no value is a finite number"),
        ([trial_scope("a"), trial_scope("b")], "loss.last", "none of its 2 values is a finite"),
    ],
)
def test_what_diverged_has_no_value_and_says_why(
    scopes: list[Scope], path: str, reason: str
) -> None:
    """NaN is never a pass, and never called "nothing recorded"."""
    found = group(*(log(NAN, 0, scope) for scope in scopes))
    known = estimate(found, PLAIN[path], numbers(found))
    assert known.value is None
    assert reason in str(known.reason)


def test_name_may_be_recorded_as_well() -> None:
    """What is recorded and what is logged under one name answer to different statistics."""
    found = group(recorded({"loss": 7}, trial_scope()), log(1.0, 0, trial_scope()))
    paths = numbers(found)
    assert (paths["loss.mean"], paths["loss.last"]) == (7, 1)
    assert estimate(found, PLAIN["loss.last"], paths).value == 1
    assert estimate(found, PLAIN["loss.mean"], paths).value == 7
