"""Columns: the same answers as the list of events gives, from arrays."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import pytest_crucible as crucible
from pytest_crucible import telemetry
from pytest_crucible.queries.events import Events


@pytest.fixture
def events() -> Iterator[Events]:
    with crucible.experiment("e", condition="arm") as handle:
        for n in range(40):
            telemetry.execute(
                f"req_llm.request.{'exception' if n % 5 == 0 else 'stop'}",
                {"duration": n * 1_000_000, "input_tokens": n},
                {"model": ["a", "b", 7][n % 3], "cost": 0.5} if n % 2 else {},
            )
        telemetry.execute("cache.hit")
        handle.record(score=1.0)
    yield handle.events
    crucible.cleanup(handle)


def test_columns_hold_what_the_events_do(events: Events) -> None:
    """One value per event, in order; NaN where an event has no such number."""
    columns = events.columns()
    assert len(columns) == len(events) == 41
    assert columns.time_us.tolist() == [event.time_us for event in events]
    assert columns.texts("name").tolist() == [event.name for event in events]
    assert columns.texts("model").tolist() == [
        None if (model := event.metadata.get("model")) is None else str(model) for event in events
    ]
    assert columns.latency_ms[:40].tolist() == [float(n) for n in range(40)]
    assert math.isnan(columns.latency_ms[40])
    assert math.isnan(columns.success[40])
    assert np.nansum(columns.cost_usd) == 10.0
    assert repr(columns) == "<columns of 41 events>"


@pytest.mark.parametrize("success", [None, True, False])
@pytest.mark.parametrize("name", [None, "req_llm.*", "*.stop", "nothing"])
@pytest.mark.parametrize("texts", [{}, {"model": "a"}, {"model": "b", "condition": "arm"}])
def test_queries_are_those_of_the_view(
    events: Events, success: bool | None, name: str | None, texts: dict[str, Any]
) -> None:
    """`EventColumns.query` and `Events.query` agree."""
    found = events.columns().query(name, success=success, **texts)
    plain = events.query(name, success=success, **texts)
    assert found.time_us.tolist() == [event.time_us for event in plain]
    assert found.texts("name").tolist() == [event.name for event in plain]


def test_queries_chain(events: Events) -> None:
    """A query of a query, by time and by any condition of one's own."""
    columns = events.columns()
    first, last = int(columns.time_us[3]), int(columns.time_us[20])
    inside = columns.query(time_range_us=(first, last))
    assert inside.time_us.tolist() == [e.time_us for e in events.between(first, last)]
    slow = inside.where(inside.latency_ms > 10).query(success=False)
    assert slow.latency_ms.tolist() == [15.0, 20.0]
    assert columns.query(model=None).texts("model").tolist() == [None] * 21


def test_they_are_read_once(events: Events) -> None:
    """Until something is recorded."""
    assert events.columns() is events.columns()


def test_mistakes_are_named(events: Events) -> None:
    columns = events.columns()
    with pytest.raises(TypeError, match="columns have no 'user'; valid: name, success, "):
        columns.query(user="x")  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="3 truth values for 41 events"):
        columns.where(np.ones(3, dtype=bool))
    with pytest.raises(KeyError):
        columns.texts("user")


def test_no_events() -> None:
    """Nothing is nothing, and can be asked too."""
    columns = Events(list).columns()
    assert len(columns.query("a.*", success=True, model="m")) == 0


def test_columns_cannot_be_changed(events: Events) -> None:
    """They are shared: what one asker did to them would be in the answers of all others."""
    with pytest.raises(ValueError, match="read-only"):
        events.columns().latency_ms[0] = 7


@pytest.mark.parametrize("model", [7, "7"])
def test_names_are_compared_as_texts(model: Any, events: Events) -> None:
    """A model that is a number is found by it, as by its text."""
    sevens = sum(str(event.metadata.get("model")) == "7" for event in events)
    assert len(events.columns().query(model=model)) == sevens > 0


@pytest.mark.parametrize(
    ("ask", "complaint"),
    [
        (lambda columns: columns.where(None), "takes an array of truth values"),
        (lambda columns: columns.where([True]), "takes an array of truth values"),
        (lambda columns: columns.query(success="yes"), "takes True or False"),
        (lambda columns: columns.texts("kind"), "no column of texts 'kind'; there are name"),
    ],
)
def test_what_cannot_be_asked_is_said(ask: Any, complaint: str, events: Events) -> None:
    """Each mistake in words, and not from inside NumPy."""
    with pytest.raises((TypeError, KeyError), match=complaint):
        ask(events.columns())
