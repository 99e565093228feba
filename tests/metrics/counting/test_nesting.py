"""Spans: wholes and their parts, told apart so that nothing is counted twice.

Cost and tokens count where they were spent, in the parts; latency and success where they were
felt, in the whole.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.events.enrichment import enrich
from pytest_crucible.events.event import Event
from pytest_crucible.metrics.counting.nesting import MAX_PARTS, Counted, Nesting
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import summarise
from tests.made_events import MS, T0_US, event, trial_scope
from tests.metrics.support import group, metrics


def call(cost: float | None = None, ms: float = 10, at_ms: float = 10, **more: Any) -> Event:
    """A request that ended ``at_ms`` after the start of the run and took ``ms``."""
    numbers: dict[str, Any] = {"duration": ms * MS}
    if cost is not None:
        numbers |= {"cost": cost, "total_tokens": cost * 1000}
    name = more.pop("name", "req_llm.request.stop")
    return event(name, numbers, more, at_us=int(at_ms * 1000))


def ensemble(cost: float | None = None, ms: float = 30, at_ms: float = 30, **more: Any) -> Event:
    return call(cost, ms, at_ms, name="ensemble.prediction.stop", **more)


def span(id: str, parent: str | None = None, cost: float | None = None, **more: Any) -> list[Event]:
    """Start and end of a span named after its id."""
    ids: dict[str, Any] = {"span_id": id} | ({"parent_span_id": parent} if parent else {})
    end = f"{id}.exception" if "error" in more or "cancelled" in more else f"{id}.stop"
    return [event(f"{id}.start", metadata=ids), call(cost, name=end, **ids, **more)]


def nested(*spans: list[Event]) -> list[Event]:
    """Spans within one another, outermost first: starts in order, ends in reverse."""
    return [start for start, _ in spans] + [end for _, end in reversed(spans)]


def test_parent_span_with_a_total_adds_nothing_to_its_children() -> None:
    """The sum that a parent span reports is left out, and its children are no operations."""
    start, end = span("agent", cost=0.3)
    found = metrics(start, *span("a", "agent", 0.1), *span("b", "agent", 0.2), end)
    assert found.cost.total == pytest.approx(0.3)
    assert found.cost.count == 2
    assert found.tokens.total == pytest.approx(300)
    assert (found.latency.count, found.reliability.total) == (1, 1)
    assert {name: each.count for name, each in found.by_event.items() if ".stop" in name} == {
        "a.stop": 1, "agent.stop": 1, "b.stop": 1,
    }  # fmt: skip


@pytest.mark.parametrize("middle", [0.1, None])
def test_grandparent_span_adds_nothing_either(middle: float | None) -> None:
    """A whole of wholes is left out as well, even if the one between told nothing."""
    found = metrics(*nested(span("g", cost=0.1), span("p", "g", middle), span("c", "p", 0.1)))
    assert (found.cost.total, found.cost.count, found.reliability.total) == (0.1, 1, 1)


def test_parent_alone_with_a_cost_counts() -> None:
    """A cost that only the parent knows counts."""
    found = metrics(*nested(span("agent", cost=0.5), span("call", "agent")))
    assert (found.cost.total, found.cost.count, found.tokens.total) == (0.5, 1, 500)


def test_siblings_and_spans_of_other_nodes_all_count() -> None:
    """The same span id in two processes means two spans."""
    found = metrics(
        event(metadata={"cost": 1, "parent_span_id": "p", "span_id": "c"}, node="gw0"),
        event(metadata={"cost": 2, "span_id": "p"}, node="gw1"),
        event(metadata={"cost": 4, "span_id": "p"}, node="gw0"),
    )
    assert found.cost.total == 3


def test_span_of_another_trial_is_an_operation_there() -> None:
    """A span that is open around trials does not take their operations away from them."""
    trial = trial_scope()
    found = observe(
        [
            event("suite.start", metadata={"span_id": "s"}),
            event(metadata={"span_id": "c", "parent_span_id": "s"}, scope=trial),
        ]
    )
    assert list(found.groups["exp", "default"].counted) == [0, 1]


def test_span_ids_may_be_anything() -> None:
    """Foreign span ids that cannot be hashed still tell parents from children."""
    found = metrics(
        event(metadata={"cost": 1, "span_id": [2], "parent_span_id": [1]}),
        event(metadata={"cost": 1, "span_id": [1]}),
    )
    assert found.cost.total == 1


def test_start_of_a_span_is_not_counted_again_at_its_end() -> None:
    """What a span's start says is repeated by its end, and counts there."""
    known = {"cost_usd": 0.1, "input_tokens": 7, "span_id": "s"}
    found = metrics(event("x.start", metadata=known), event("x.stop", {"duration": MS}, known))
    assert (found.cost.total, found.tokens.total, found.reliability.total) == (0.1, 7, 1)


def test_plain_start_event_keeps_its_cost() -> None:
    """A start event that no span made may be the only one to tell a cost; it is no operation."""
    found = metrics(event("x.start", metadata={"cost": 0.1, "status": "ok"}))
    assert (found.cost.total, found.reliability.total, found.summary.total_events) == (0.1, 0, 1)


def test_plain_ensemble_after_its_parts_adds_nothing() -> None:
    """An ensemble without span ids is a whole if parts ended within its time."""
    found = metrics(call(0.1, at_ms=10), call(0.2, at_ms=25), ensemble(0.3))
    assert found.cost.total == pytest.approx(0.3)
    assert (found.latency.count, found.latency.max, found.reliability.total) == (1, 30, 1)


def test_ensemble_alone_counts() -> None:
    """An ensemble whose parts nobody reported is all there is, every time."""
    found = metrics(ensemble(0.3, at_ms=30), ensemble(0.3, at_ms=70))
    assert (found.cost.total, found.cost.count, found.reliability.total) == (0.6, 2, 2)


def test_ensemble_that_alone_knows_the_cost_counts() -> None:
    """Parts that tell no cost leave it to the ensemble, but are no operations of their own."""
    found = metrics(call(at_ms=10), call(at_ms=20), ensemble(0.3))
    assert (found.cost.total, found.reliability.total) == (0.3, 1)


def test_ensemble_after_an_earlier_call_counts() -> None:
    """A call that ended before the ensemble began is none of its parts."""
    found = metrics(call(0.1, at_ms=10), ensemble(0.3, ms=30, at_ms=60))
    assert found.cost.total == pytest.approx(0.4)
    assert found.reliability.total == 2


def test_parts_in_another_scope_are_no_parts() -> None:
    """An ensemble is never held to contain what ran in another trial."""
    first, second = trial_scope("a"), trial_scope("b")
    found = metrics(
        event(metadata={"cost": 1}, scope=first),
        event("ensemble.prediction.stop", {"duration": MS}, {"total_cost": 2}, scope=second),
    )
    assert (found.cost.total, found.reliability.total) == (3, 2)


def test_ensemble_span_over_plain_parts_adds_nothing() -> None:
    """A whole with a span id is recognised when its parts have none."""
    found = metrics(call(0.1, at_ms=10), ensemble(0.1, span_id="e"))
    assert (found.cost.total, found.reliability.total) == (0.1, 1)


def test_wholes_of_plain_wholes_add_nothing() -> None:
    """A pipeline of stages, or a hedge over an ensemble, is one operation at one cost."""
    found = metrics(
        call(0.1, at_ms=10),
        ensemble(0.1),
        call(0.1, ms=40, at_ms=40, name="crucible_framework.stage.stop"),
        call(0.1, ms=50, at_ms=50, name="crucible_framework.pipeline.stop"),
    )
    assert (found.cost.total, found.reliability.total, found.latency.mean) == (0.1, 1, 50)


def test_error_that_climbs_through_spans_is_one_failure() -> None:
    """An exception that leaves nested spans is one failed operation and one error."""
    spans = nested(span("agent", error="ValueError"), span("call", "agent", error="ValueError"))
    found = group(*spans)
    assert found.errors == {"ValueError": 1}
    assert summarise(found).reliability.failed == 1


def test_cancellation_that_climbs_through_spans_is_one() -> None:
    """A cancelled operation is neither a success nor a failure, and counts once."""
    spans = nested(span("agent", cancelled=True), span("call", "agent", cancelled=True))
    found = metrics(*spans).reliability
    assert (found.cancelled, found.total, found.success_rate) == (1, 0, None)


def test_plain_cancellation_counts() -> None:
    """A cancelled operation of which only that is known counts as cancelled."""
    assert metrics(event("x.stop", metadata={"cancelled": True})).reliability.cancelled == 1


def test_a_plain_whole_that_told_nothing_passes_on_what_its_parts_told() -> None:
    """So that the whole around it adds nothing to them either."""
    around = call(0.1, ms=50, at_ms=50, name="crucible_framework.pipeline.stop")
    found = metrics(call(0.1, at_ms=10), ensemble(), around)
    assert (found.cost.total, found.tokens.total, found.reliability.total) == (0.1, 100, 1)


def test_a_whole_without_a_start_takes_its_parts_at_its_end() -> None:
    """Some instrumentations say only at its end what a span is: its parts wait for it."""
    _, end = span("agent", cost=0.3)
    (_, a), (_, b) = span("a", "agent", 0.1), span("b", "agent", 0.2)
    found = metrics(a, b, end)
    assert found.cost.total == pytest.approx(0.3)
    assert (found.latency.count, found.reliability.total) == (1, 1)
    assert metrics(a, b).reliability.total == 2  # it never came: then they are all there is


def test_an_error_inside_a_whole_without_a_start_is_not_a_second_one() -> None:
    """What its parts had said of success is taken back."""
    (_, part), (_, whole) = (
        span("call", "agent", error="Boom"), span("agent", error="Boom"),
    )  # fmt: skip
    assert group(part, whole).errors == {"Boom": 1}
    (_, cancelled), (_, around) = span("call", "agent", cancelled=True), span("agent")
    assert metrics(cancelled, around).reliability.cancelled == 0


def test_what_began_inside_ends_inside() -> None:
    """A task that ends after the agent that began it was no operation of its own."""
    (begins, ends), (starts, late) = span("agent"), span("task", "agent", 0.1)
    found = metrics(begins, starts, ends, late)
    assert (found.reliability.total, found.cost.total) == (1, 0.1)


def test_a_span_takes_no_plain_event_that_ran_beside_it() -> None:
    """Only the catalog's wholes take events by time; a span of any name may just run meanwhile."""
    start, end = span("agent")
    found = metrics(start, call(0.1), end)
    assert (found.reliability.total, found.cost.total) == (2, 0.1)


def test_a_whole_without_a_duration_takes_all_so_far() -> None:
    """Without one nothing tells which events were before it."""
    whole = event(
        "ensemble.prediction.stop", metadata={"total_cost": 0.2, "status": "ok"}, at_us=10**6
    )
    found = metrics(call(0.1, at_ms=1), call(0.1, at_ms=500), whole)
    assert (found.cost.total, found.reliability.total) == (0.2, 1)


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[Event], float, int]:
    """Spans within spans, what their leaves cost, and how many are outermost.

    A span around others tells the sum of them, or nothing; some have no start.
    """
    events: list[Event] = []
    names = (f"s{number}" for number in count())

    def grow(depth: int, parent: str | None) -> float:
        name = next(names)
        children = draw(st.integers(0, 2 if depth else 0))
        place = len(events)
        cost = sum(grow(depth - 1, name) for _ in range(children)) if children else 0.25
        tells = draw(st.booleans()) or not children
        start, end = span(name, parent, cost if tells else None)
        if draw(st.booleans()):
            events.insert(place, start)
        events.append(end)
        return cost

    roots = draw(st.integers(1, 3))
    return events, sum(grow(2, None) for _ in range(roots)), roots


@given(trees())
def test_however_spans_nest_nothing_counts_twice(tree: tuple[list[Event], float, int]) -> None:
    """Cost and tokens are those of the leaves, operations those that somebody waited for."""
    events, cost, roots = tree
    found = metrics(*events)
    assert found.cost.total == pytest.approx(cost)
    assert found.tokens.total == pytest.approx(1000 * cost)
    assert (found.reliability.total, found.latency.count) == (roots, roots)


# --- one by one --------------------------------------------------------------------------------


def place(nesting: Nesting, event: Event, row: int) -> tuple[Counted, list[int]]:
    return nesting.place(event, enrich(event), row)


def test_placing_says_what_counts_and_what_it_takes() -> None:
    """Operation, cost and tokens each for themselves; a whole names the rows of its parts."""
    nesting = Nesting()
    assert place(nesting, call(0.1, at_ms=10), 0) == ((True, True, True), [])
    assert nesting.may_claim(0)
    assert place(nesting, event("note", metadata={"cost": 1}), 1) == ((False, True, False), [])
    (taken,) = [place(nesting, ensemble(0.1, ms=500, at_ms=500), 2)]
    assert taken == ((True, False, False), [1, 0])
    assert nesting.may_claim(2)  # of another whole


def test_a_part_may_wait_for_a_whole_that_has_not_begun() -> None:
    """Its parent's end, if it comes, takes it; then there is nothing left to take."""
    nesting = Nesting()
    (_, part), (_, whole) = span("call", "agent", 0.1), span("agent")
    assert place(nesting, part, 0) == ((True, True, True), [])
    assert nesting.may_claim(0)
    assert place(nesting, whole, 1) == ((True, False, False), [0])
    assert place(nesting, whole, 2)[1] == []


def test_a_span_is_never_claimed_by_time() -> None:
    """It says itself what it is part of."""
    nesting = Nesting()
    start, end = span("call", cost=0.1)
    assert place(nesting, start, 0) == ((False, False, False), [])
    assert place(nesting, end, 1) == ((True, True, True), [])
    assert not nesting.may_claim(1)
    assert place(nesting, ensemble(0.1, ms=500, at_ms=500), 2) == ((True, True, True), [])


def test_events_by_the_block_may_be_parts_as_well() -> None:
    """What was placed many at once is claimed like what was placed one by one."""
    nesting = Nesting()
    times = [T0_US + 1_000 * each for each in (10, 20, 30)]
    told = np.array([True, True, True])
    nesting.remember((np.array(times), np.array([0, 1, 2]), told, ~told))
    whole = ensemble(0.1, ms=15, at_ms=31)
    assert place(nesting, whole, 3) == ((True, False, True), [2, 1])
    assert place(nesting, ensemble(0.1, ms=15, at_ms=32), 4)[1] == [3]  # and only once


def test_memory_of_plain_parts_is_bounded() -> None:
    """Of a whole without span ids the last 4,096 events are looked at, whichever way they came."""
    many = 3 * MAX_PARTS
    single, blocks = Nesting(), Nesting()
    for row in range(many):
        place(single, call(0.1, at_ms=row), row)
    for first in range(0, many, 500):
        rows = np.arange(first, min(first + 500, many))
        told = np.ones(rows.size, dtype=bool)
        blocks.remember((T0_US + 1000 * rows, rows, told, told))
    whole = event("ensemble.prediction.stop", metadata={"status": "ok"}, at_us=10**9)
    for nesting in (single, blocks):
        _, parts = place(nesting, whole, many)
        assert parts[0] == many - 1
        assert MAX_PARTS <= len(parts) <= MAX_PARTS + 500
