"""Flags of single events: the same decisions as in groups, and nothing else in memory."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.events.event import TRIAL_START, Event
from pytest_crucible.metrics.counting.flags import Values, flags_of
from pytest_crucible.metrics.observations import observe
from tests.made_events import MS, event, trial_scope
from tests.metrics.counting.test_nesting import call, ensemble, nested, span

SCOPE = trial_scope()


def placed(events: list[Event], **more: Any) -> list[Event]:
    """The events in one trial, numbered as a node numbers them."""
    return [
        msgspec.structs.replace(each, **{"sequence": n, "scope": SCOPE} | more)
        for n, each in enumerate(events)
    ]


def flags(events: list[Event]) -> list[Values]:
    found = flags_of(partial(iter, events))
    return [found.of(each.run, each.node, (each.sequence,))[0] for each in events]


ids = st.sampled_from(["a", "b", "c", None])
reports = st.builds(
    lambda name, cost, at, more: call(cost, 10, at, name=name, **more),
    st.sampled_from([
        "req_llm.request.start", "req_llm.request.stop", "work.stop", "ensemble.prediction.stop",
    ]),
    st.sampled_from([None, 0.1, 0.25]),
    st.integers(10, 60),
    st.fixed_dictionaries({}, optional={
        "span_id": ids, "parent_span_id": ids, "response_id": ids, "strand": st.just("main"),
        "instrumentation": st.sampled_from(["x", "y"]), "continues": st.booleans(),
    }),
)  # fmt: skip


@given(st.lists(reports, max_size=30))
def test_flags_are_those_of_the_group(events: list[Event]) -> None:
    """Whatever the spans, every row of the group and its event agree on all three flags."""
    events = placed(events)
    groups = observe(events).groups.values()
    expected = [
        tuple(map(bool, row))
        for group in groups
        for row in zip(group.counted, group.counted_cost, group.counted_tokens, strict=True)
    ]
    assert flags(events) == expected


def test_a_parent_that_reports_the_sum_does_not_count() -> None:
    """Cost counts in the parts, the operation in the whole."""
    events = placed(nested(span("agent", cost=0.3), span("a", "agent", 0.1)))
    assert flags(events) == [
        (False, False, False), (False, False, False),
        (False, True, True), (True, False, False),
    ]  # fmt: skip


def test_a_part_is_taken_back_by_a_whole_that_ends_later() -> None:
    """A plain event counts until the container that it ran in has ended."""
    events = placed([call(0.1), ensemble()])
    assert flags(events[:1]) == [(True, True, True)]
    assert flags(events) == [(False, True, True), (True, False, False)]


def test_warmups_are_false_and_own_events_are_empty() -> None:
    """A warm-up does not count; a trial's start and events outside experiments have no flags."""
    warmup = placed([call(0.1)], scope=trial_scope(trial=-1))
    assert flags(warmup) == [(False, False, False)]
    assert flags(placed([event(TRIAL_START)])) == [(None, None, None)]
    assert flags(placed([call(0.1)], scope=None)) == [(None, None, None)]


def test_sequences_far_apart_take_no_memory() -> None:
    """Neither huge nor negative sequences of foreign files are filled up."""
    events = [
        msgspec.structs.replace(event("work.stop", {"duration": MS}), sequence=n, scope=SCOPE)
        for n in (-(2**63), 2**63 - 1, 3, 2**40, 0)
    ]
    assert flags(events) == [(True, False, False)] * 5
    assert sum(map(len, flags_of(partial(iter, events))._bits)) < 10
