"""Merging: many nodes become one stream of events, whatever order they are given in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.capture.frames import EVENT_TAG, INSERTED_NOTE, Frame, NoteFrame, encode
from pytest_crucible.events.event import INSERTED
from pytest_crucible.record.memory import MemoryStore
from pytest_crucible.record.merge import merge
from pytest_crucible.record.node_reader import Node
from pytest_crucible.record.spool import SpoolStore
from pytest_crucible.record.spool_reader import SpoolReader
from pytest_crucible.record.store import Recorded
from tests.record.support import event, frame, header, node, told

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


# --- inserted events -----------------------------------------------------------------------------


@given(
    entries=st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=30),
    other=st.lists(st.integers(0, 50), max_size=5),
)
def test_inserted_events_stand_at_their_time(
    entries: list[tuple[bool, int]], other: list[int]
) -> None:
    """The others keep their order; a store, its chunks and several nodes tell the same."""
    store = MemoryStore()
    for number, (is_inserted, time) in enumerate(entries):
        if is_inserted:
            store.append(encode(NoteFrame(INSERTED_NOTE)))
        how = INSERTED if is_inserted else 0
        store.append(encode((EVENT_TAG, 0, "x", time * 1000, {"n": number}, {}, how)))

    def nodes() -> list[Node]:
        alone = [Node("main", Recorded(store))]
        beside = [node(*(frame(100 + n, t) for n, t in enumerate(sorted(other))), name="gw1")]
        return alone + (beside if other else [])

    events = list(merge(nodes()))
    found = [n for n in told(events) if n < 100]
    recorded = [number for number, (is_inserted, _) in enumerate(entries) if not is_inserted]
    assert [n for n in found if n in recorded] == recorded
    assert sorted(found) == list(range(len(entries)))
    assert [e for chunk in merge(nodes()).chunks() for e in chunk.events()] == events
    if all(is_inserted for is_inserted, _ in entries):
        assert [each.time_us for each in events] == sorted(each.time_us for each in events)
    (main, *_) = nodes()
    list(main.read())
    assert (main.notes, main.unordered) == ([], any(is_inserted for is_inserted, _ in entries))
