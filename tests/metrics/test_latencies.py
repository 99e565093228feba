"""Latency of a trial: the time that it spent in outermost operations."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.events.event import Event
from pytest_crucible.events.scope import JUDGE, Scope
from pytest_crucible.metrics.latencies import Busy, latencies
from pytest_crucible.metrics.observations import NO_CASE, observe
from pytest_crucible.metrics.streaming import StreamingMetrics
from pytest_crucible.metrics.summary import summarise
from tests.made_events import MS, event, trial, trial_scope

START_US = 1_700_000_000_000_000


def operation(
    at_ms: float, ms: float, case: str = "a", number: int = 1, role: str | None = None
) -> Event:
    """An operation that ends ``at_ms`` after the start."""
    scope = replace(trial_scope(case, number), role=role)
    return event("x.stop", {"duration": ms * MS}, scope=scope, at_us=int(START_US + at_ms * 1000))


def spent(*events: Event) -> list[float]:
    return [float(ms) for ms in latencies(observe(events).group("exp", "default")).ms]


def streamed(*events: Event) -> list[float]:
    stream = StreamingMetrics("exp")
    for each in events:
        stream.add(each)
    found = stream.metrics().latency
    return [] if found.mean is None else [found.mean] * found.count


def test_a_further_short_call_does_not_make_a_trial_faster() -> None:
    """The time adds up, whatever the typical call takes."""
    assert spent(operation(1000, 1000), operation(1002, 1)) == [1001]


def test_overlaps_count_once() -> None:
    """Two calls at the same time take as long as the longer one; touching ones do not overlap."""
    calls = operation(100, 100), operation(120, 100), operation(130, 10), operation(150, 20)
    assert spent(*calls) == pytest.approx([150])
    assert streamed(*calls) == pytest.approx([150])


def test_times_that_no_clock_has_shown_are_added_up() -> None:
    """A simulated second, reported at once, began before its trial: nothing shows an overlap."""
    start, stop = trial("passed", trial_scope("a"))
    start = replace_time(start, START_US)
    calls = operation(1, 1000), operation(2, 500)
    assert spent(start, *calls, stop) == [1500]
    assert streamed(start, *calls, stop) == [1500]


def replace_time(each: Event, at_us: int) -> Event:
    return event(
        each.name, dict(each.measurements), dict(each.metadata), scope=each.scope, at_us=at_us
    )


def test_one_latency_per_trial_without_judges_and_without_what_is_outside() -> None:
    """A judge's time is not the application's; an event between trials belongs to none."""
    outside = event("x.stop", {"duration": 7 * MS}, scope=Scope(experiment="exp"))
    events = (
        operation(10, 10),
        operation(90, 30, role=JUDGE),
        operation(40, 20, number=2),
        operation(60, 5, case="b"),
        outside,
    )
    group = observe(events).group("exp", "default")
    found = latencies(group)
    assert (found.ms.tolist(), found.cases.tolist()) == ([10, 20, 5], [0, 0, 1])
    assert summarise(group).latency.count == 3
    alone = latencies(observe([outside, outside]).group("exp", "default"))
    assert (alone.ms.tolist(), alone.cases.tolist()) == ([7, 7], [NO_CASE, NO_CASE])


INTERVALS = st.lists(
    st.tuples(st.integers(1, 400), st.integers(1, 100), st.integers(0, 2)), min_size=1, max_size=30
)


@given(INTERVALS)
def test_union_of_intervals(found: list[tuple[int, int, int]]) -> None:
    """The batch and the stream give the number of covered milliseconds, counted one by one."""
    covered: dict[int, set[int]] = {}
    for end, length, case in found:
        covered.setdefault(case, set()).update(range(end - length, end))
    events = [operation(end, length, case=f"c{case}") for end, length, case in found]
    group = observe(events).group("exp", "default")
    by_case = dict(zip(latencies(group).cases.tolist(), latencies(group).ms.tolist(), strict=True))
    expected = {group.cases[f"c{case}"]: len(each) for case, each in covered.items()}
    assert by_case == pytest.approx(expected)
    stream = StreamingMetrics("exp")
    for each in events:
        stream.add(each)
    assert stream.metrics().latency.total == pytest.approx(sum(expected.values()))


def test_many_operations_need_little_memory() -> None:
    """Operations that are over are added up; what two parts of a trial tell merges."""
    busy, other = Busy(), Busy()
    for number in range(10_000):
        busy.add(START_US + number * 2000, 1.0)
        assert len(busy.to_dict()["intervals"]) <= Busy.MOST
    other.add(START_US + 30_000_000, 5.0)
    busy.merge(other)
    assert busy.ms() == 10_005
