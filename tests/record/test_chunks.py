"""Events many at once: the same events as one by one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible.capture.frames import (
    SCHEMA,
    EventFrame,
    Frame,
    HeaderFrame,
    NoteFrame,
    SamplingFrame,
    ScopeFrame,
    decode,
    encode,
)
from pytest_crucible.events.event import Event
from pytest_crucible.record import node_reader
from pytest_crucible.record.merge import merge
from pytest_crucible.record.node_reader import Node

MAPPINGS = st.sampled_from([None, {}, {"a": 1}, {"a": {"b": [1]}}, 5, [1], "text"])
NAMES = st.sampled_from(["a.stop", "crucible.record", 7, None])
TIMES = st.integers(0, 20_000) | st.integers(0, 10**16)
EVENTS = st.builds(EventFrame, st.integers(-3, 3), NAMES, TIMES, MAPPINGS, MAPPINGS)
SAMPLED = st.builds(
    EventFrame, st.integers(-3, 3), NAMES, TIMES, MAPPINGS, MAPPINGS,
    st.integers(0, 5), st.integers(0, 2), st.integers(0, 3), st.integers(-1, 2), st.just(2.5),
)  # fmt: skip
OTHERS = st.one_of(
    st.builds(ScopeFrame, st.integers(1, 3), st.sampled_from("ef"), st.just("c"), *[st.none()] * 4),
    st.builds(NoteFrame, st.sampled_from("xy")),
    st.integers(0, 9).map(lambda seen: SamplingFrame("e", "c", "reservoir:2", 1, seen)),
    st.integers(0, 10**9).map(
        lambda offset: HeaderFrame(SCHEMA, f"r{offset}", "n1", "u", 1, "h", 1, 1, None, offset)
    ),
)
RECORDS = st.lists(st.one_of(EVENTS, EVENTS, EVENTS, SAMPLED, OTHERS), max_size=30)


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    """Few are many here, so that small examples come in several chunks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(node_reader, "CHUNK", 5)
        yield


def fresh(record: list[Frame]) -> list[tuple[int, Frame]]:
    return list(enumerate(decode(encode(frame)) for frame in record))


def told(node: Node) -> dict[str, Any]:
    names = ("name", "run", "header", "notes", "events", "learned", "samplings", "closed")
    return {name: getattr(node, name) for name in names}


@given(RECORDS, st.sets(st.integers(0, 30)))
@settings(max_examples=300)
def test_chunks_hold_the_events_of_a_node(record: list[Frame], set_by: set[int]) -> None:
    """Whatever stands between the events: scopes told anew, clocks, samples, enrichers."""
    enriched = [(place, {"cost_usd": 1.0}) for place in sorted(set_by)]
    # Reading tells an event in a reservoir its weight: each reader has frames of its own.
    nodes = [Node("n", fresh(record), run="r", enriched=enriched) for _ in range(2)]
    chunks = list(nodes[0].chunks())
    assert all(len(chunk) for chunk in chunks)
    assert [event for chunk in chunks for event in chunk.events()] == list(nodes[1])
    assert told(nodes[0]) == told(nodes[1])


@given(
    st.lists(
        RECORDS.map(lambda record: [each for each in record if type(each) is not HeaderFrame]),
        max_size=4,
    )
)
@settings(max_examples=300)
def test_chunks_hold_the_events_of_all_nodes(records: list[list[Frame]]) -> None:
    """In the same order, also where clocks are set back and times are the same."""

    def nodes() -> list[Node]:
        return [Node(f"gw{n % 2}", fresh(each), run="r") for n, each in enumerate(records)]

    found: list[Event] = [e for chunk in merge(nodes()).chunks() for e in chunk.events()]
    assert found == list(merge(nodes()))
