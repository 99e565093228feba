"""Observations: what one pass over events gathers."""

from __future__ import annotations

import pytest

from pytest_crucible.events.enrichment import Enriched
from pytest_crucible.events.event import INVALID, Event
from pytest_crucible.events.scope import Scope
from pytest_crucible.metrics.observations import NO_CASE, observe
from pytest_crucible.metrics.summary import summarise
from pytest_crucible.telemetry import HANDLER_FAILURE
from tests.made_events import MS, event, recorded, trial, trial_scope
from tests.metrics.support import group


def test_errors_are_counted_by_what_they_say() -> None:
    """Failed operations are told apart by error, exception, or not at all."""
    found = group(
        event("a.exception", metadata={"error": "timeout"}),
        event("a.exception", metadata={"error": "timeout"}),
        event("a.exception", metadata={"exception": "Boom"}),
        event("a.exception"),
    )
    assert found.errors == {"timeout": 2, "Boom": 1, "unknown": 1}


def test_experiments_and_conditions_are_kept_apart() -> None:
    """Each arm of each experiment has numbers of its own."""
    scopes = [Scope(experiment=e, condition=c) for e in "xy" for c in ("control", "treatment")]
    found = observe(event(metadata={"cost": i}, scope=scope) for i, scope in enumerate(scopes))
    costs = {key: list(group.cost_usd) for key, group in found.groups.items()}
    assert costs == {
        ("x", "control"): [0], ("x", "treatment"): [1],
        ("y", "control"): [2], ("y", "treatment"): [3],
    }  # fmt: skip
    assert found.events == 4


def test_recorded_numbers_become_series_by_name() -> None:
    """Booleans count as 0 and 1; case and trial are kept."""
    found = group(
        recorded({"score": 0.5, "ok": True}, trial_scope("a", 1)),
        recorded({"score": 1, "ok": False}, trial_scope("b", 2)),
        recorded({"score": 2}, Scope(experiment="exp")),
    )
    score = found.recorded["score"]
    assert list(score.values) == [0.5, 1, 2]
    assert [list(found.cases)[i] for i in score.cases[:2]] == ["a", "b"]
    assert (score.cases[2], list(score.trials)) == (NO_CASE, [1, 2, 0])
    assert list(found.recorded["ok"].values) == [1, 0]


def test_recorded_values_that_are_no_numbers_are_counted() -> None:
    """Text, NaN and infinity are no values, and are not forgotten either."""
    values = [1, "text", float("inf"), float("nan")]
    found = group(*(recorded({"score": value}, trial_scope()) for value in values))
    assert (list(found.recorded["score"].values), found.recorded["score"].invalid) == ([1], 3)


def test_numbers_of_attempts_that_were_repeated_are_dropped() -> None:
    """A trial is judged by its last attempt; what earlier ones cost was really spent."""
    events = [
        each
        for attempt, outcome in ((1, "failed"), (2, "passed"))
        for scope in [trial_scope("a", 1, attempt)]
        for each in (
            trial(outcome, scope)[0],
            recorded({"score": attempt}, scope),
            event(metadata={"cost": 1}, scope=scope),
            trial(outcome, scope)[1],
        )
    ]
    events += [recorded({"score": 9}, trial_scope("b"))]
    found = group(*events)
    assert list(found.recorded["score"].values) == [2, 9]
    assert summarise(found).cost.total == 2


def test_numbers_of_duplicate_trials_are_dropped() -> None:
    """What another shard recorded for a trial that already ran counts no second time."""
    scope = trial_scope()
    found = group(
        *trial("passed", scope),
        recorded({"score": 1}, scope),
        *trial("passed", scope, run="run-2"),
        recorded({"score": 2}, scope, run="run-2"),
    )
    assert list(found.recorded["score"].values) == [1]


def test_numbers_of_child_processes_belong_to_the_latest_attempt() -> None:
    """A process that joined a trial records for the attempt that is going on."""
    first, second = trial_scope("a", 1, 1), trial_scope("a", 1, 2)
    found = group(
        *trial("failed", first),
        recorded({"score": 1}, first, node="gw0-77"),
        *trial("passed", second),
        recorded({"score": 2}, second, node="gw0-78"),
    )
    assert list(found.recorded["score"].values) == [2]


def test_internal_events_are_no_observations() -> None:
    """The plugin's own events never show up as telemetry of the code under test."""
    found = observe([event("crucible.unheard.of", {"duration": MS}), event()])
    assert (found.events, list(found.groups["exp", "default"].names)) == (
        1,
        ["req_llm.request.stop"],
    )


@pytest.mark.parametrize("attribution", ["unattributed", "late", "sole"])
def test_attribution_is_counted(attribution: str) -> None:
    """Events that did not find their scope by context are counted by how they did."""
    found = observe([event(attribution=attribution), event()])
    counts = {name: getattr(found, name) for name in ("unattributed", "late", "sole")}
    assert counts == {name: int(name == attribution) for name in counts}


def test_unattributed_events_belong_to_nobody() -> None:
    """An event without a scope is counted and enters no experiment's numbers."""
    found = observe([event(metadata={"cost": 5}, scope=None, attribution="unattributed")])
    assert (found.unattributed, found.events, found.groups) == (1, 0, {})


def test_degraded_values_are_summed() -> None:
    """Every value that could not be encoded is told."""
    assert observe([event(degraded=2), event(degraded=1, scope=None)]).degraded == 3


def test_handler_failures_become_sentences() -> None:
    """A detached handler is named, with its error and the event it failed on."""
    metadata = {"handler_id": "h", "kind": "KeyError", "reason": "'x'", "event_name": "a.stop"}
    (sentence,) = observe([event(HANDLER_FAILURE, metadata=metadata)]).failures
    assert sentence == "main: handler 'h' was detached after it raised KeyError: 'x' (on a.stop)"


def test_enrichers_see_every_event_of_the_code_under_test() -> None:
    """An enricher can give an event the cost that it did not tell itself."""

    def price(event: Event, enriched: Enriched) -> None:
        enriched.cost_usd = (enriched.input_tokens or 0) * 0.01

    events = [event(metadata={"input_tokens": 3}), recorded({"score": 1}, trial_scope())]
    found = observe(events, enrichers=[price])
    assert list(found.groups["exp", "default"].cost_usd) == [0.03]


def test_planned_trials_that_never_ran_are_groups_too() -> None:
    """A condition of which nothing was recorded still shows its missing trials."""
    found = observe([], plan=lambda: [("exp", "treatment", "t", "c", 1)])
    (missing,) = found.groups["exp", "treatment"].trials
    assert (missing.outcome, missing.test) == ("missing", "t")


def test_count_of_problems_that_is_no_number_is_one() -> None:
    """A foreign file may hold anything under our names; each such event is one at least."""
    scope = Scope(experiment="exp")
    told = {"problem": "a.b without duration", "validate": "warn"}
    events = [event(INVALID, {"count": count}, told, scope=scope) for count in (2, "x", 10**400)]
    (group,) = observe(events).groups.values()
    assert dict(group.invalid) == {("a.b without duration", "warn"): 4}
