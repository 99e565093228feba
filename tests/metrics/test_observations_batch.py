"""Plain events by the thousand: the same observations as one by one."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible.capture.frames import EVENT_TAG, Frame, ScopeFrame, decode, encode
from pytest_crucible.events.event import RECORD, TRIAL_START, TRIAL_STOP
from pytest_crucible.metrics import observations_batch as plain
from pytest_crucible.metrics.observations import Group, Observations, observe, observe_nodes
from pytest_crucible.record import node_reader
from pytest_crucible.record.node_reader import Node

values = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.integers(2**53, 2**64 - 1), st.floats(),
    st.sampled_from(["ok", "error", "m1", "7"]), st.just([1]), st.just({"prompt": 3, "total": 9}),
)  # fmt: skip
numbers = st.dictionaries(
    st.sampled_from([
        "duration", "duration_ns", "start", "stop", "latency_ms", "cost", "cost_usd", "tokens",
        "input_tokens", "output_tokens", "total_tokens", "success", "status", "n",
    ]),
    values,
    max_size=4,
)  # fmt: skip
context = st.dictionaries(
    st.sampled_from([
        "model", "provider", "cost", "total_cost", "error", "exception", "status", "response",
        "success", "tokens", "prompt_tokens", "cancelled", "span_id", "parent_span_id", "epoch",
    ]),
    values,
    max_size=4,
)  # fmt: skip
names = st.sampled_from([
    "req_llm.request.start", "req_llm.request.stop", "req_llm.request.exception", "work.done",
    "ensemble.prediction.stop", "crucible_train.epoch.stop", RECORD, "telemetry.handler.failure",
])  # fmt: skip
events = st.tuples(
    names, st.integers(1, 3), st.one_of(numbers, st.none(), st.just(5)),
    st.one_of(context, st.none(), st.just("text")), st.sampled_from([0, 0, 0, 0, 1, 2, 3]),
)  # fmt: skip


def frames(told: list[tuple[Any, ...]], offset: int = 0) -> list[tuple[int, Frame]]:
    """A record: three trials, and what happened in them."""
    made: list[Any] = [
        ScopeFrame(n, "exp", "ab"[n % 2], f"t[{n}]", f"c{n}", 1, 1) for n in (1, 2, 3)
    ]
    made += [(EVENT_TAG, n, TRIAL_START, n, {}, {}) for n in (1, 2, 3)]
    made += [
        (EVENT_TAG, scope, name, (1000 + place) * 1000 + offset, number, meta, attribution)
        for place, (name, scope, number, meta, attribution) in enumerate(told)
    ]
    made += [(EVENT_TAG, n, TRIAL_STOP, 10**12, {}, {"outcome": "passed"}) for n in (1, 2, 3)]
    return list(enumerate(decode(encode(each)) for each in made))


def rows(group: Group) -> list[tuple[Any, ...]]:
    """Every row with what its numbers stand for, in order of time; NaN as text."""
    told = [each.name for each in fields(group) if each.name not in ("name", "case")]
    columns = [value for name in told if isinstance(value := getattr(group, name), array) and value]
    columns += group.numbers.values()
    names, cases = list(group.names), list(group.cases)
    found = [
        (
            group.time_us[row], names[group.name[row]], cases[group.case[row]],
            group.failed.get(row), row in group.cancelled,
            *(repr(column[row]) for column in columns),
        )
        for row in range(len(group.counted))
    ]  # fmt: skip
    return sorted(found, key=lambda row: row[0])


def seen(found: Observations) -> Any:
    """Everything that was observed, but in which order the rows of several trials came."""
    groups = {
        key: (
            rows(group), dict(group.models), group.calls, group.errors, group.recorded,
            group.trials, sorted(group.names), sorted(group.cases), len(group.wholes or ()),
        )
        for key, group in found.groups.items()
    }  # fmt: skip
    return groups, replace(found, groups={})


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    """Few are many here, so that small examples go both ways."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "_FEWEST", 2)
        patch.setattr(node_reader, "CHUNK", 7)
        patch.setattr(node_reader, "_ENOUGH", 5)
        patch.setattr(node_reader, "_MAX_WAITING", 9)
        yield


@given(st.lists(events, max_size=40))
@settings(max_examples=200)
def test_the_same_as_one_by_one(told: list[tuple[Any, ...]]) -> None:
    """Whatever events hold, and however they follow each other."""
    record = frames(told)
    whole = observe(Node("n", record, run="r"))
    node = Node("n", record, run="r")
    assert seen(observe_nodes([node])) == seen(whole)
    assert node.events == len(told) + 6


@given(st.lists(events, min_size=10, max_size=60), st.integers(0, 60))
def test_nodes_share_the_events(told: list[tuple[Any, ...]], cut: int) -> None:
    """Sums over nodes are those of one node; only the order of rows may be another."""
    parts = [told[:cut], told[cut:]]
    whole = observe_nodes([Node("n", frames(told), run="r")])
    split = observe_nodes([Node(f"n{i}", frames(part), run="r") for i, part in enumerate(parts)])
    assert split.events == whole.events
    assert {key: len(group.counted) for key, group in split.groups.items()} == {
        key: len(group.counted) for key, group in whole.groups.items()
    }


def test_many_alike() -> None:
    """The columns of thousands of events that are all alike."""
    told = [
        (
            "req_llm.request.stop", 1, {"duration": n * 1_000_000, "input_tokens": n},
            {"model": "m", "cost": 0.5}, 0,
        )
        for n in range(1, 5001)
    ]  # fmt: skip
    found = observe_nodes([Node("n", frames(told), run="r")])
    (group,) = (each for each in found.groups.values() if each.counted)
    assert np.frombuffer(group.latency_ms).tolist() == [float(n) for n in range(1, 5001)]
    assert math.fsum(group.cost_usd) == 2500
    assert group.models == {"m": 5000}
    assert group.calls.application == 5000
    assert not group.calls.unpriced
    assert seen(found) == seen(observe(Node("n", frames(told), run="r")))
