"""Streaming metrics: the numbers of the whole record, in memory that does not grow, mergeable."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pytest_crucible as crucible
from pytest_crucible import telemetry
from pytest_crucible.events.event import Event
from pytest_crucible.events.scope import JUDGE, Scope
from pytest_crucible.metrics import streaming
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.streaming import StreamingMetrics
from pytest_crucible.metrics.summary import summarise
from pytest_crucible.metrics.values import Metrics, Tests
from tests.made_events import MS, event, recorded

ERROR = 0.01
PERCENTILES = {"median", "p50", "p90", "p95", "p99"}
SCOPE = Scope(experiment="exp")


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    for each in crucible.list_experiments():
        crucible.cleanup(each)


def batch(events: list[Event]) -> Metrics:
    """The metrics of the whole record, without what only the whole can tell."""
    whole = summarise(observe(events).group("exp", "default"))
    return replace(whole, tests=Tests(), anomalies={}, ensemble=None, hedging=None)


def streamed(events: list[Event], exact: int = 1000) -> StreamingMetrics:
    stream = StreamingMetrics("exp", exact=exact)
    for each in events:
        stream.add(each)
    return stream


def assert_close(found: Any, whole: Any, error: float, where: str = "") -> None:
    """Equal but for rounding; percentiles within the relative error."""
    if isinstance(whole, dict):
        assert found.keys() == whole.keys(), where
        for key in whole:
            assert_close(found[key], whole[key], error, f"{where}.{key}")
    elif hasattr(whole, "__dataclass_fields__"):
        for each in fields(whole):
            names = f"{where}.{each.name}"
            assert_close(getattr(found, each.name), getattr(whole, each.name), error, names)
    elif isinstance(whole, float):
        percentile = where.rpartition(".")[2] in PERCENTILES
        rel = error * (1 + 1e-9) if percentile else 1e-9
        assert found == pytest.approx(whole, rel=rel, abs=1e-9), where
    else:
        assert found == whole, where


def same(found: Metrics, whole: Metrics, error: float = 0.0) -> None:
    assert_close(found, whole, max(error, 1e-9))


NAMES = ["req_llm.request.stop", "req_llm.request.exception", "altar.tool.stop", "cache.hit"]


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Spans within spans, plain events, wholes that take plain events for parts, two scopes."""
    events: list[Event] = []
    clock = 0
    judge = replace(SCOPE, role=JUDGE)

    def say(name: str, numbers: dict[str, Any], metadata: dict[str, Any], scope: Scope) -> None:
        nonlocal clock
        clock += draw(st.integers(0, 2000))
        sequence = len(events)
        events.append(event(name, numbers, metadata, at_us=clock, scope=scope, sequence=sequence))

    def some(parent: str | None, depth: int) -> None:
        for _ in range(draw(st.integers(0, 4))):
            scope = draw(st.sampled_from([SCOPE, SCOPE, judge]))
            numbers: dict[str, Any] = {}
            if draw(st.booleans()):
                numbers["duration"] = draw(st.integers(0, 5)) * MS
            if draw(st.booleans()):
                numbers["cost_usd"] = draw(st.sampled_from([0.0, 0.5, 3.0]))
            if draw(st.booleans()):
                numbers["input_tokens"] = draw(st.integers(0, 100))
            above = {} if parent is None else {"parent_span_id": parent}
            kind = draw(st.sampled_from(["plain", "whole", "span", "record"]))
            if kind == "record":
                numbers = {"score": draw(st.floats(0, 1) | st.booleans() | st.just("?"))}
                events.append(recorded(numbers, SCOPE))
            elif kind == "plain":
                say(draw(st.sampled_from(NAMES)), numbers, above, scope)
            elif kind == "whole":
                say("ensemble.prediction.stop", numbers, above, scope)
            else:
                own = {"span_id": f"s{len(events)}", **above}
                name = draw(st.sampled_from(["agent", "ensemble.prediction", "req_llm.request"]))
                say(f"{name}.start", {}, own, scope)
                if depth:
                    some(own["span_id"], depth - 1)
                end = draw(st.sampled_from(["stop", "exception"]))
                cancelled = {"cancelled": True} if draw(st.integers(0, 4)) == 0 else {}
                say(f"{name}.{end}", numbers, {**own, **cancelled}, scope)

    some(None, 2)
    return events


@given(histories())
@settings(max_examples=60)
def test_small_streams_give_the_very_numbers_of_the_record(events: list[Event]) -> None:
    """Whatever nests in whatever, nothing counts twice and nothing is missing."""
    same(streamed(events).metrics(), batch(events))


@given(histories(), st.integers(0, 3))
@settings(max_examples=50)
def test_beyond_a_few_numbers_percentiles_are_within_the_bound(
    events: list[Event], exact: int
) -> None:
    """Everything else stays equal when the sketch takes over."""
    same(streamed(events, exact).metrics(), batch(events), ERROR)


@given(
    st.lists(st.tuples(st.floats(1e-3, 1e6), st.integers(0, 2)), min_size=1, max_size=120),
    st.integers(0, 30),
)
@settings(max_examples=50)
def test_nodes_merge_in_any_order(told: list[tuple[float, int]], exact: int) -> None:
    """However events are spread over three nodes and merged, the numbers are those of all."""
    events = [
        event(
            measurements={"duration": latency * MS, "cost_usd": latency / 7},
            metadata={"span_id": f"s{number}"},
            node=f"gw{node}",
            sequence=number,
        )
        for number, (latency, node) in enumerate(told)
    ]
    a, b, c = (streamed([e for e in events if e.node == f"gw{n}"], exact) for n in range(3))
    for merged in (a.merge(b).merge(c), c.merge(a.merge(b)), b.merge(c).merge(a)):
        same(merged.metrics(), batch(events), ERROR)


@given(histories(), st.integers(0, 3))
@settings(max_examples=25)
def test_metrics_travel_as_plain_data(events: list[Event], exact: int) -> None:
    """Told as JSON and read elsewhere they say the same, and go on merging."""
    cut = len(events) // 2
    parts = streamed(events[:cut], exact), streamed(events[cut:], exact)
    there, other = (
        StreamingMetrics.from_dict(json.loads(json.dumps(part.to_dict()))) for part in parts
    )
    assert there.metrics() == parts[0].metrics()
    same(there.merge(other).metrics(), parts[0].merge(parts[1]).metrics())


@pytest.mark.parametrize("data", [{}, {"experiment": "e"}, {"sums": 3}])
def test_other_data_are_refused(data: dict[str, Any]) -> None:
    """What is no such data is said to be none."""
    with pytest.raises(ValueError, match="not what StreamingMetrics"):
        StreamingMetrics.from_dict(data)


def test_look_back_is_bounded_and_still_right() -> None:
    """Thousands of plain events that might become parts, over many trials, are added up once."""
    events = []
    for number in range(12_000):
        scope = Scope(experiment="exp", test="t", case=f"c{number // 100}", trial=1, attempt=1)
        events.append(
            event(
                measurements={"duration": (1 + number % 97) * MS, "cost_usd": 0.25},
                at_us=number * 10,
                scope=scope if number < 9_600 else SCOPE,
                sequence=number,
            )
        )
    stream = streamed(events)
    same(stream.metrics(), batch(events), ERROR)
    assert len(stream._places) == streaming.MAX_SCOPES


def test_memory_does_not_grow_with_the_number_of_events() -> None:
    """After the first few thousand events nothing is kept of another ten thousand."""

    def size(stream: StreamingMetrics) -> int:
        numbers = stream._sums._overall.latency
        numbers.describe()
        return len(numbers._kept) + len(numbers._sketch.above)

    events = [
        event(measurements={"duration": (1 + n % 50) * MS}, metadata={"span_id": f"s{n}"})
        for n in range(15_000)
    ]
    stream = streamed(events[:5_000])
    before = size(stream)
    for each in events[5_000:]:
        stream.add(each)
    assert size(stream) == before <= 50
    assert stream.metrics().latency.count == 15_000


def test_told_of_twice_counts_once_as_in_the_record() -> None:
    """Two instrumentations that tell of one call, one of them a stream: as `observe` sees it."""
    start = 1_763_900_000_000_000_000
    events = []
    for number in range(200):
        began = start + number * 10 * MS
        for source in ("openai", "openinference"):
            metadata = {
                "span_id": f"{source}{number}",
                "strand": "a",
                "instrumentation": source,
                "start_ns": began,
                "model": "m",
            }
            numbers = {"duration": 5 * MS, "input_tokens": 3, "cost_usd": 0.5}
            at_us = (began - start) // 1000 + 5000
            events.append(event("req_llm.request.stop", numbers, metadata, at_us=at_us))
    found = streamed(events).metrics()
    same(found, batch(events))
    assert found.reliability.total == 200
    assert found.cost.total == 100.0


def test_weights_count_as_in_the_record() -> None:
    """What was sampled is described by the same estimates, few or many."""
    import msgspec

    events = [
        msgspec.structs.replace(
            event(measurements={"duration": (n % 13) * MS, "cost_usd": 0.1}), weight=1.0 + n % 3
        )
        for n in range(300)
    ]
    whole = batch(events)
    few, many = streamed(events).metrics(), streamed(events, exact=10).metrics()
    same(few, whole)
    for each in (few, many):
        assert each.cost.total == pytest.approx(whole.cost.total)
        assert each.latency.mean == pytest.approx(whole.latency.mean)
        assert each.latency.std_dev == pytest.approx(whole.latency.std_dev)
        assert each.summary == whole.summary


def test_other_experiments_and_strangers_do_not_merge() -> None:
    """Events of others are left out; metrics of others are refused."""
    stream = streamed(
        [event(scope=Scope(experiment="other")), event(scope=None), event(attribution="late")]
    )
    assert stream.metrics().summary.total_events == 1
    with pytest.raises(ValueError, match="do not merge"):
        stream.merge(StreamingMetrics("exp", "treatment"))
    with pytest.raises(ValueError, match="do not merge"):
        stream.merge(StreamingMetrics("exp", relative_error=0.05))


# --- of a running experiment -------------------------------------------------------------------


def test_running_metrics_read_only_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call takes in what came since the last one, and the end gives the same numbers."""
    taken: list[str] = []
    original = StreamingMetrics.add

    def add(self: StreamingMetrics, event: Event, enrichers: Any = ()) -> None:
        taken.append(event.name)
        original(self, event, enrichers)

    monkeypatch.setattr(StreamingMetrics, "add", add)
    with crucible.experiment("exp") as handle:
        for number in range(5):
            for _ in range(100):
                with telemetry.span("req_llm.request") as span:
                    span.measure(cost_usd=0.5)
            with handle.judge(), telemetry.span("req_llm.request"):
                telemetry.execute("cache.hit")
            handle.record(score=number)
            found = handle.metrics()
            assert found.cost.total == 50.0 * (number + 1)
            assert len(taken) == 204 * (number + 1)
        assert handle.metrics() == found
    same(found, replace(handle.metrics(), anomalies={}))
    assert found.recorded["score"].count == 5


def test_running_metrics_of_several_threads_count_nothing_twice() -> None:
    """Whoever asks while others emit sees each event once."""
    with crucible.experiment("exp") as handle:

        def work() -> None:
            for _ in range(100):
                handle.execute("x", {"duration": MS})
                handle.metrics()

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = handle.metrics()
    assert found.latency.count == found.summary.total_events == 300
    same(found, replace(handle.metrics(), anomalies={}))


def test_running_metrics_of_a_sample_are_its_estimates() -> None:
    """Where a sample is taken the numbers are worked out from what is kept."""
    with crucible.experiment("exp", sampling="reservoir:10") as handle:
        for _ in range(100):
            telemetry.execute("x", {"duration": MS})
        found = handle.metrics()
        assert (found.latency.count, found.summary.kept_events) == (100, 10)
    assert handle.metrics() == found
    assert handle.metrics(exact=True) == found


def test_forked_child_has_metrics_of_its_own() -> None:
    """A forked child counts what is in its own record, each event once."""
    with crucible.experiment("exp") as handle:
        telemetry.execute("x", {"duration": MS})
        assert handle.metrics().latency.count == 1
        child = os.fork()
        if not child:
            try:
                telemetry.execute("x", {"duration": MS})
                found = handle.metrics().latency.count
                os._exit(found if found == len(handle.events) else 98)
            finally:
                os._exit(99)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
