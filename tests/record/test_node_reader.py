"""Reading one node: its frames become events, and its tables are learned on the way."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_crucible.capture.frames import (
    SCHEMA,
    EventFrame,
    ExperimentFrame,
    FooterFrame,
    HeaderFrame,
    NoteFrame,
    PlanFrame,
    ScopeFrame,
)
from pytest_crucible.events.event import Event
from pytest_crucible.events.scope import Scope
from pytest_crucible.record.merge import merge
from pytest_crucible.record.node_reader import Node
from tests.record.support import frame, header, node, told


def test_event_carries_its_identity_and_scope() -> None:
    """An event has the run, node and sequence that identify it, and the scope of its number."""
    scope = ScopeFrame(4, "e", "c", "t", "k", 1, 2)
    (found,) = node(header("gw1"), scope, EventFrame(4, "x", 5_999, {"n": 1}, {"k": "v"}, 1, 3))
    assert found == Event(
        name="x",
        measurements={"n": 1},
        metadata={"k": "v"},
        time_us=5,
        run="run",
        node="gw1",
        sequence=2,
        scope=Scope(experiment="e", condition="c", test="t", case="k", trial=1, attempt=2),
        attribution="sole",
        degraded=3,
    )
    assert found.id == "run-gw1-2"


@pytest.mark.parametrize(
    ("passed", "read"),
    [(None, {}), ({}, {}), ([1, 2], {"value": [1, 2]}), ("text", {"value": "text"})],
)
def test_what_was_no_mapping_becomes_one(passed: Any, read: dict[str, Any]) -> None:
    """Measurements and metadata are always mappings, whatever the caller passed."""
    (found,) = node(EventFrame(0, 5, 0, passed, passed))
    assert (found.name, found.measurements, found.metadata) == ("5", read, read)


def test_number_without_a_meaning_is_no_scope() -> None:
    """An event whose scope frame was lost has no scope, rather than a wrong one."""
    (found,) = node(frame(1, 1, scope=9))
    assert found.scope is None


def test_scopes_may_be_told_beforehand() -> None:
    """Frames that start after their scope frame are understood by what is told."""
    known = {3: Scope(experiment="e")}
    (found,) = Node("main", [(10, frame(1, 1, scope=3))], scopes=known)
    assert found.scope == Scope(experiment="e")


def test_reading_learns_the_tables() -> None:
    """After its events have been read a node knows its header, plan, definitions and notes."""
    trial = ("e", "c", "t", "k", 0)
    found = node(
        header("gw0"),
        ExperimentFrame("e", {"trials": 2}),
        PlanFrame([trial]),
        frame(1, 1),
        NoteFrame("disk full"),
        FooterFrame(9),
        name="file",
    )
    for _ in range(2):  # reading again learns nothing twice
        assert told(list(found)) == [1]
        assert (found.name, found.run, found.header) == ("gw0", "run", header("gw0"))
        assert found.definitions == {"e": {"trials": 2}}
        assert found.plan == [trial]
        assert found.notes == ["gw0: disk full"]
        assert (found.events, found.closed, found.ended) == (1, True, True)


def test_node_without_a_footer_has_not_ended() -> None:
    """A node whose footer is missing has not ended as it should, unless it belongs to another."""
    crashed, child = node(header("gw0")), node(header("gw0-7"))
    child.frames = [(0, HeaderFrame(SCHEMA, "run", "gw0-7", "u", 1, "h", 2, 3, parent="gw0"))]
    assert (list(crashed), list(child)) == ([], [])
    assert (crashed.closed, crashed.ended) == (False, False)
    assert (child.closed, child.ended) == (False, True)


def test_other_schema_is_noted() -> None:
    """A node that another version wrote says so."""
    newer = HeaderFrame(SCHEMA + 1, "run", "main", "u", 1, "h", 2, 3)
    found = Node("main", [(0, newer)], source="nodes/main.spool")
    assert list(found) == []
    assert found.notes == [f"nodes/main.spool: schema {SCHEMA + 1}, this version reads {SCHEMA}"]


def test_clock_of_another_host_is_corrected() -> None:
    """A node whose clock is known to be ahead is merged at the controller's time."""
    ahead = HeaderFrame(SCHEMA, "run", "gw0", "u", 1, "h", 2, 3, clock_offset_ns=10_000_000)
    events = list(merge([node(header(), frame(1, 50)), node(ahead, frame(0, 10_040))]))
    assert told(events) == [0, 1]
    assert [each.time_us for each in events] == [40, 50]
