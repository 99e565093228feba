"""Merging: many nodes become one stream of events, whatever order they are given in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.capture.frames import (
    SCHEMA,
    EventFrame,
    ExperimentFrame,
    FooterFrame,
    Frame,
    HeaderFrame,
    NoteFrame,
    PlanFrame,
    ScopeFrame,
)
from pytest_crucible.events.event import Event
from pytest_crucible.events.scope import Scope
from pytest_crucible.record.memory import MemoryStore
from pytest_crucible.record.merge import merge
from pytest_crucible.record.node_reader import Node
from pytest_crucible.record.spool import SpoolStore
from pytest_crucible.record.spool_reader import SpoolReader
from tests.record.support import event, header


def node(*frames: Frame, name: str = "main") -> Node:
    return Node(name, list(enumerate(frames)), run="run")


def frame(n: int, time_us: int, scope: int = 0) -> EventFrame:
    return EventFrame(scope, "x", time_us * 1000, {"n": n}, {})


def told(events: list[Event]) -> list[int]:
    return [each.measurements["n"] for each in events]


# --- one node ----------------------------------------------------------------------------------


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


# --- many nodes --------------------------------------------------------------------------------


def test_no_nodes_give_no_events() -> None:
    """Merging nothing gives nothing."""
    assert list(merge([])) == []


def test_clock_that_is_set_back_keeps_the_order_of_its_node() -> None:
    """A node's events stay in its order when its wall clock is set back, and the times are kept."""
    back = [frame(0, 100), frame(1, 20), frame(2, 110)]
    for nodes in ([back], [back, [frame(10, 50), frame(11, 105)]]):
        events = list(merge(node(*each, name=f"gw{i}") for i, each in enumerate(nodes)))
        assert [n for n in told(events) if n < 10] == [0, 1, 2]
    assert told(events) == [10, 0, 1, 11, 2]
    assert [each.time_us for each in events] == [50, 100, 20, 105, 110]


@given(
    times=st.lists(st.integers(0, 20), min_size=1, max_size=30),
    split=st.randoms(use_true_random=False),
    count=st.integers(1, 5),
)
def test_any_split_over_nodes_gives_the_same_stream(
    times: list[int], split: Any, count: int
) -> None:
    """However a stream is spread over nodes, merging them gives all of it, in order of time."""
    stream = [frame(n, time) for n, time in enumerate(sorted(times))]
    parts: list[list[Frame]] = [[] for _ in range(count)]
    for each in stream:
        split.choice(parts).append(each)
    nodes = [node(*part, name=f"gw{number}") for number, part in enumerate(parts)]
    split.shuffle(nodes)
    events = list(merge(nodes))
    assert sorted(told(events)) == list(range(len(stream)))
    assert [each.time_us for each in events] == sorted(times)
    assert len({each.id for each in events}) == len(stream)


@given(
    parts=st.lists(st.lists(st.integers(0, 20), max_size=10), min_size=1, max_size=5),
    order=st.randoms(use_true_random=False),
)
def test_order_of_the_nodes_does_not_matter(parts: list[list[int]], order: Any) -> None:
    """The order in which nodes are given changes nothing, even with jumping clocks and ties."""
    nodes = [
        node(*(frame(n, time) for n, time in enumerate(part)), name=f"gw{number}")
        for number, part in enumerate(parts)
    ]
    expected = list(merge(nodes))
    order.shuffle(nodes)
    events = list(merge(nodes))
    assert events == expected
    for number, part in enumerate(parts):
        mine = [each.sequence for each in events if each.node == f"gw{number}"]
        assert mine == list(range(len(part)))


def test_stores_and_files_merge_alike(tmp_path: Path) -> None:
    """Frames in memory and frames in files give the same events."""
    memory = MemoryStore()
    spool = SpoolStore(tmp_path / "gw1.spool", header("gw1"))
    for number in range(10):
        memory.append(event(2 * number, time_ns=2_000 * number))
        spool.append(event(2 * number + 1, time_ns=2_000 * number + 1_000))
    spool.close()
    nodes = [Node("gw0", memory.frames()), Node("?", SpoolReader(spool.path))]
    events = list(merge(nodes))
    assert told(events) == list(range(20))
    assert [each.node for each in events] == ["gw0", "gw1"] * 10
