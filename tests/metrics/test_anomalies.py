"""Anomalies of a group: by event name, for latency, cost and every recorded number."""

from __future__ import annotations

import pytest

from pytest_crucible.events.event import Event
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import flatten, summarise
from pytest_crucible.metrics.values import Metrics
from tests.made_events import MS, event, recorded, trial_scope

STEADY = (10, 11, 9, 10, 12, 9, 11, 10, 8, 10)


def calls(name: str, latencies: tuple[float, ...], case: str = "a") -> list[Event]:
    return [
        event(name, {"duration": each * MS, "cost": each / 1000}, scope=trial_scope(case, 2))
        for each in latencies
    ]


def metrics(events: list[Event]) -> Metrics:
    return summarise(observe(events).groups["exp", "default"])


def test_latency_and_cost_are_held_against_those_of_the_same_name() -> None:
    """A tool that takes 1 ms is no anomaly beside models that take 10, nor hides one."""
    tool = tuple(each / 10 for each in STEADY)
    found = metrics([*calls("llm.stop", (*STEADY, 80)), *calls("tool.stop", tool)]).anomalies
    latency, cost = found["latency"], found["cost"]
    assert (latency.count, latency.judged, latency.share) == (1, 21, 1 / 21)
    assert list(latency.limits) == ["llm.stop"]
    assert cost.count == 1
    worst = latency.worst
    assert worst is not None
    assert (worst.value, worst.event) == (80, "llm.stop")
    assert worst.median == pytest.approx(10)
    assert (worst.case, worst.trial) == ("a", 2)
    assert worst.score > 5


def test_recorded_numbers_are_looked_at_as_they_are() -> None:
    """A score is not put on a log scale; outcomes of 0 and 1 have no anomalies but a reason."""
    events = [
        recorded({"score": 0.8 + each / 100, "right": True}, trial_scope(str(each)))
        for each in range(-10, 10)
    ]
    events.append(recorded({"score": -3.0, "right": False}, trial_scope("bad")))
    found = metrics(events).anomalies
    assert set(found) == {"score", "right"}
    assert found["score"].count == 1
    assert found["score"].worst is not None
    assert (found["score"].worst.value, found["score"].worst.case) == (-3.0, "bad")
    assert found["right"].count == found["right"].judged == 0
    assert "MAD is 0" in found["right"].reasons["crucible.record"]


def test_what_nobody_recorded_has_no_entry() -> None:
    """Without latencies, costs or numbers there is nothing to say."""
    assert metrics([event("x")]).anomalies == {}


def test_too_few_of_a_name_have_a_reason() -> None:
    """Three calls are too few to call one of them unusual."""
    found = metrics(calls("llm.stop", (1, 2, 900))).anomalies["latency"]
    assert (found.count, found.judged, found.share, found.worst) == (0, 0, None, None)
    assert found.reasons == {"llm.stop": "needs at least 5 numbers, has 3"}


def test_paths_for_expectations() -> None:
    """The count and the share can be expected to stay low."""
    paths = dict(flatten(metrics(calls("llm.stop", (*STEADY, 80)))))
    assert paths["anomalies.latency.count"] == 1
    assert paths["anomalies.cost.share"] == 1 / 11
