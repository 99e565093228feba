"""Groups: the observations of a run as columns, one row per event."""

from __future__ import annotations

from array import array
from dataclasses import fields, replace
from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from pytest_crucible.events.enrichment import enrich
from pytest_crucible.events.event import Event
from pytest_crucible.events.scope import JUDGE
from pytest_crucible.metrics.groups import (
    NO_CASE,
    Group,
    Observations,
    Place,
    add_row,
    name_index,
)
from tests.made_events import MS, T0_US, event, trial_scope

CALL = event(
    "req_llm.request.stop",
    {"duration": 12 * MS, "cost": 0.25, "input_tokens": 3, "output_tokens": 4},
    {"model": "m1"},
    at_us=5,
)


def filled(*events: Event) -> Group:
    """A group with these events, each at the place of its scope."""
    group = Group("exp", "default")
    places: dict[object, Place] = {}
    for each in events:
        scope = each.scope or trial_scope()
        place = places.setdefault(scope, Place(scope, group, None, scope.trial or 0))
        add_row(place, each, enrich(each))
    return group


def columns(group: Group) -> dict[str, list[float]]:
    own = {each.name: getattr(group, each.name) for each in fields(group)}
    return {
        name: list(value)
        for name, value in {**own, **group.numbers}.items()
        if isinstance(value, array)
    }


def test_a_row_holds_what_its_event_tells() -> None:
    """Latency in ms, cost in $, tokens, success, when, and where it belongs."""
    group = filled(changed(CALL, scope=trial_scope("a", trial=2)))
    assert columns(group) == {
        "name": [0], "case": [0], "trial": [2], "time_us": [T0_US + 5],
        "latency_ms": [12], "cost_usd": [0.25], "success": [1],
        "input_tokens": [3], "output_tokens": [4], "total_tokens": [7],
        "counted": [1], "counted_cost": [1], "counted_tokens": [1],
        "judge": [0], "weight": [],
    }  # fmt: skip
    assert (group.names, group.cases, group.models) == ({CALL.name: 0}, {"a": 0}, {"m1": 1})


def test_what_an_event_does_not_tell_is_nan() -> None:
    """Never 0: a mean must not take it for a number."""
    group = filled(event("cache.hit"))
    for column in ("latency_ms", "cost_usd", "success", "input_tokens", "total_tokens"):
        (value,) = getattr(group, column)
        assert isnan(value)
    assert (list(group.counted), list(group.counted_cost), list(group.counted_tokens)) == (
        [0], [0], [0],
    )  # fmt: skip


@given(
    st.lists(st.sampled_from(["a.stop", "ensemble.prediction.stop", "b.start", "c"]), max_size=20)
)
def test_every_column_has_a_row_per_event(names: list[str]) -> None:
    """Whatever comes; and names are numbered in order of appearance."""
    group = filled(*(event(name, {"duration": MS}) for name in names))
    sizes = {name: len(column) for name, column in columns(group).items() if name != "weight"}
    assert set(sizes.values()) == {len(names)}
    assert list(group.names) == list(dict.fromkeys(names))
    assert [list(group.names)[index] for index in group.name] == names


def test_events_outside_trials_have_no_case() -> None:
    """Their trial is 0, and no case is made of them."""
    outside = replace(trial_scope(), test=None, case=None, trial=None, attempt=None)
    group = filled(changed(CALL, scope=outside), changed(CALL, scope=trial_scope("a")))
    assert (list(group.case), list(group.trial)) == ([NO_CASE, 0], [0, 1])
    assert list(group.cases) == ["a"]


def test_cases_are_numbered_as_they_come() -> None:
    """One number per case, the same for all its trials and attempts."""
    group = Group("exp", "default")
    assert [group.case_index(case) for case in ("b", "a", "b", None, "c")] == [0, 1, 0, NO_CASE, 2]
    assert list(group.cases) == ["b", "a", "c"]


def test_judges_are_marked() -> None:
    """Their rows are in the group they judge, and known as theirs."""
    group = filled(CALL, changed(CALL, scope=replace(trial_scope(), role=JUDGE)))
    assert list(group.judge) == [0, 1]
    assert (group.calls.application, group.calls.judge) == (1, 1)


def test_failures_are_known_by_their_row() -> None:
    """By what they say: ``error``, else ``exception``, else that nobody knows."""
    group = filled(
        CALL,
        event("x.exception", metadata={"error": "Timeout", "exception": "no"}),
        event("x.exception", metadata={"exception": "KeyError"}),
        event("x.exception"),
        event("x.stop", metadata={"cancelled": True}),
    )
    assert group.failed == {1: "Timeout", 2: "KeyError", 3: "unknown"}
    assert group.errors == {"Timeout": 1, "KeyError": 1, "unknown": 1}
    assert group.cancelled == {4}


def test_a_part_that_failed_is_no_failure_of_its_whole() -> None:
    """Once a whole takes it as its part, the row does not count, and neither does its error."""
    part = event("x.exception", {"duration": MS}, {"error": "Timeout"}, at_us=2_000)
    cancelled = event("x.stop", {"duration": MS}, {"cancelled": True}, at_us=3_000)
    whole = event("ensemble.prediction.stop", {"duration": 9 * MS}, at_us=5_000)
    group = filled(part, cancelled, whole)
    assert list(group.counted) == [0, 0, 1]
    assert (group.failed, group.cancelled) == ({}, set())


def test_weights_begin_where_a_sample_does() -> None:
    """Rows before the first weighted one stand for themselves; so do rows without a weight."""
    group = filled(CALL, changed(CALL, weight=3.0), CALL)
    assert (list(group.weight), group.sampled) == ([1, 3, 1], True)
    assert filled(CALL, CALL).sampled is False


def test_errors_of_a_sample_are_those_of_all() -> None:
    """Each failed row counts as often as it stands for."""
    failed = event("x.exception", metadata={"error": "Timeout"})
    group = filled(changed(failed, weight=2.5), changed(failed, weight=1.0), failed)
    assert group.errors == {"Timeout": 4}


def test_wholes_are_kept_only_where_there_are_some() -> None:
    """The first event about ensembles or hedging begins it; events before it are not looked at."""
    group = Group("exp", "default")
    name_index(group, "req_llm.request.stop")
    assert group.wholes is None
    name_index(group, "hedging.request.start")
    assert group.wholes == []
    (whole,) = filled(CALL, event("ensemble.prediction.stop", {"duration": MS})).wholes or []
    assert (whole.kind, whole.case, whole.trial) == ("ensemble.prediction", NO_CASE, 0)


@pytest.mark.parametrize("experiment", ["exp", "other"])
@pytest.mark.parametrize("condition", ["a", "b"])
def test_a_group_per_experiment_and_condition(experiment: str, condition: str) -> None:
    """Asked for again it is the same one."""
    found = Observations()
    group = found.group(experiment, condition)
    assert (group.experiment, group.condition) == (experiment, condition)
    assert found.group(experiment, condition) is group
    assert found.group(experiment, "c") is not group
    assert list(found.groups) == [(experiment, condition), (experiment, "c")]


@pytest.mark.parametrize("sample_id", [None, "", float("nan")])
def test_what_names_no_sample_is_no_case(sample_id: object) -> None:
    """Missing cells of a table do not become one case."""
    found = Group("exp", "default")
    assert found.sample(sample_id, "k") == NO_CASE
    assert (found.cases, found.clusters) == ({}, {})


def test_samples_are_cases_in_clusters() -> None:
    """By their text; a second cluster of a sample is noted, and the first one counts."""
    found = Group("exp", "default")
    assert [found.sample(name, cluster) for name, cluster in ((7, 1), ("7", 1), ("b", None))] == [
        0, 0, 1,
    ]  # fmt: skip
    assert found.split == {}
    found.sample(7, 2)
    found.sample(7, 3)
    assert found.clusters == {"7": "1"}
    assert found.split == {"7": ("1", "2")}
