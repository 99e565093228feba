"""The handle: whose event it is, across threads, tasks and spans; and numbers given to it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pytest_crucible as crucible
from pytest_crucible import telemetry
from pytest_crucible.analysis.run import open_run
from pytest_crucible.metrics.observations import observe
from tests.conftest import QUIET
from tests.experiments.support import TWO_OPEN
from tests.test_html import ELEMENTS, HOSTILE, Tags


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    yield
    for each in crucible.list_experiments():
        crucible.cleanup(each)


def names(handle: crucible.Experiment) -> list[str]:
    return [each.name for each in handle.events]


def run_bare(*functions: Callable[[], object]) -> None:
    """Run functions in threads that inherit no context, as most thread pools do."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_paused_experiment_records_nothing() -> None:
    """Between pause and resume nothing is recorded, through whichever way it came."""
    with crucible.experiment("exp") as handle:
        telemetry.execute("a")
        handle.pause()
        assert handle.status == "paused"
        telemetry.execute("b")
        handle.execute("c")
        run_bare(lambda: telemetry.execute("d"))
        handle.resume()
        telemetry.execute("e")
    assert names(handle) == ["a", "e"]


# --- whose event is it -------------------------------------------------------------------------


def test_inner_experiment_takes_over_and_hands_back() -> None:
    """Of two nested blocks each hears its own events only."""
    with crucible.experiment("outer") as outer:
        telemetry.execute("o1")
        with crucible.experiment("inner") as inner:
            telemetry.execute("i1")
            outer.execute("o2")
        telemetry.execute("o3")
    assert (names(outer), names(inner)) == (["o1", "o2", "o3"], ["i1"])


def test_tasks_of_two_experiments_never_mix() -> None:
    """Interleaved async tasks, each with an experiment of its own, never see each other."""

    async def work(name: str) -> crucible.Experiment:
        with crucible.experiment(name) as handle:
            for i in range(20):
                async with telemetry.span(f"{name}.{i}"):
                    await asyncio.sleep(0)
        return handle

    async def both() -> tuple[crucible.Experiment, crucible.Experiment]:
        return await asyncio.gather(work("a"), work("b"))

    for handle in asyncio.run(both()):
        assert len(handle.events) == 40
        assert {each.name.split(".")[0] for each in handle.events} == {handle.name}
        assert {each.attribution for each in handle.events} == {"context"}
        assert handle.metrics().reliability.total == 20


def test_threads_of_two_experiments_never_mix() -> None:
    """Threads that open, or are given, a context belong to its experiment for certain."""
    meet = threading.Barrier(3)
    found: list[crucible.Experiment] = []

    def emit(name: str) -> None:
        meet.wait()
        for _ in range(100):
            telemetry.execute(name)

    def work(name: str) -> None:
        with crucible.experiment(name) as handle:
            found.append(handle)
            emit(name)

    with crucible.experiment("c") as third, ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(work, "a"), pool.submit(work, "b")]
        jobs.append(pool.submit(copy_context().run, emit, "c"))
    assert [job.result() for job in jobs] == [None] * 3
    for handle in [*found, third]:
        assert names(handle) == [handle.name] * 100


def test_bare_thread_goes_to_the_only_open_experiment() -> None:
    """With one experiment open there is no doubt, and how it was told is kept."""
    with crucible.experiment("exp") as handle:
        run_bare(lambda: telemetry.execute("x"))
    assert [(each.name, each.attribution) for each in handle.events] == [("x", "sole")]


def test_bare_thread_between_two_experiments_is_counted_not_guessed(tmp_path: Path) -> None:
    """An event that could belong to either enters no numbers, and each record tells of it."""
    with crucible.experiment("a") as first, crucible.experiment("b") as second:
        run_bare(lambda: telemetry.execute("x.stop", {"duration": 5}))
        first.execute("mine.stop", {"duration": 5})
        second.execute("mine.stop", {"duration": 5})
        for handle in (second, first):
            with pytest.warns(crucible.AttributionWarning, match="1 event belongs to no"):
                crucible.stop(handle)
    for handle in (first, second):
        assert names(handle) == ["mine.stop"]
        assert handle.metrics(exact=True).summary.total_events == 1
        path = crucible.export(handle, "jsonl", tmp_path / f"{handle.name}.jsonl")
        found = observe(open_run(path).events)
        assert (found.unattributed, found.events) == (1, 1)


def test_handle_reaches_its_experiment_from_any_thread() -> None:
    """Through the handle an event belongs to it, whatever the thread knows."""
    with crucible.experiment("a") as first, crucible.experiment("b") as second:

        def work() -> None:
            first.execute("x")
            first.record(score=1)
            with first.active():
                telemetry.execute("y")
            with first.span("z"):
                telemetry.execute("inside")

        run_bare(work)
    assert names(first) == ["x", "y", "z.start", "inside", "z.stop"]
    assert first.metrics().recorded["score"].count == 1
    assert names(second) == []


def test_what_comes_after_the_end_is_late() -> None:
    """A context that outlives its experiment still belongs to it, and is told as late."""
    with crucible.experiment("exp") as handle:
        context = copy_context()
    with crucible.experiment("other") as other:
        context.run(telemetry.execute, "x")
    assert [(each.name, each.attribution) for each in handle.events] == [("x", "late")]
    assert names(other) == []


# --- spans and numbers -------------------------------------------------------------------------


@TWO_OPEN
def test_spans_of_the_handle_decorate_functions_of_every_kind() -> None:
    """Plain, async and generator functions are measured per call, outside any block."""
    handle = crucible.start("a")
    other = crucible.start("b")

    @handle.span("plain", {"k": 1}, tool="t")
    def plain() -> int:
        telemetry.execute("in.plain")
        return 1

    @handle.span("coroutine")
    async def coroutine() -> int:
        await asyncio.sleep(0)
        return 2

    @handle.span("generator")
    def generator() -> Iterator[int]:
        telemetry.execute("in.generator")
        yield 3

    @handle.span("stream")
    async def stream() -> AsyncIterator[int]:
        yield 4

    async def use() -> list[int]:
        return [plain(), await coroutine(), *generator(), *[item async for item in stream()]]

    assert asyncio.run(use()) == [1, 2, 3, 4]
    assert names(handle) == [
        "plain.start", "in.plain", "plain.stop", "coroutine.start", "coroutine.stop",
        "generator.start", "generator.stop", "stream.start", "stream.stop",
    ]  # fmt: skip
    assert handle.events[0].metadata["tool"] == "t"
    assert handle.events[2].metadata["k"] == 1
    assert names(other) == []


def test_span_that_raises_is_a_failed_operation() -> None:
    """The exception passes through, and its type is told."""
    with crucible.experiment("exp") as handle:
        with pytest.raises(KeyError), handle.span("call"):
            raise KeyError("x")
        telemetry.execute("after")
    assert names(handle) == ["call.start", "call.exception", "after"]
    assert handle.metrics().reliability.failed == 1


def test_span_left_in_another_context_does_no_harm() -> None:
    """A span that an async generator fixture opens may be closed by another task."""
    handle = crucible.start("exp")
    span = handle.span("fixture")
    copy_context().run(span.__enter__)
    copy_context().run(span.__exit__, None, None, None)
    assert names(handle) == ["fixture.start", "fixture.stop"]


def test_recorded_numbers_become_metrics() -> None:
    """Numbers of every kind are taken: Python's, NumPy's, truth values."""
    with crucible.experiment("exp") as handle:
        handle.record(score=1, ok=True, part=Decimal("0.5"))
        handle.record(score=np.float32(2.5), ok=np.bool_(False), part=np.int64(3))
    found = handle.metrics().recorded
    assert {name: each.mean for name, each in found.items()} == {
        "score": 1.75, "ok": 0.5, "part": 1.75,
    }  # fmt: skip
    assert handle.events == []


@pytest.mark.parametrize("value", ["0.9", None, [1], 1j, np.array([1.0, 2.0])])
def test_recording_no_number_is_an_error(value: Any) -> None:
    """What is no number is refused where it is recorded, and nothing of the call is kept."""
    with crucible.experiment("exp") as handle, pytest.raises(TypeError):
        handle.record(fine=1, score=value)
    assert handle.metrics().recorded == {}


def test_running_metrics_tell_of_hedging() -> None:
    """What takes the whole record is worked out from it, while the experiment runs too."""
    with crucible.experiment("hedged") as handle:
        assert handle.metrics().hedging is None
        with telemetry.span("hedging.request"):
            telemetry.execute("hedging.request.duplicated", {"delay_ms": 5})
        hedging = handle.metrics().hedging
    assert hedging is not None
    assert hedging == handle.metrics().hedging


def test_pause_holds_for_judges_too() -> None:
    """What a judge emits while the experiment is paused is not recorded; afterwards it is."""
    with crucible.experiment("exp") as exp, exp.judge():
        with exp.paused():
            telemetry.execute("paused")
        telemetry.execute("recorded")
    assert [event.name for event in exp.events] == ["recorded"]


# --- inserting ---------------------------------------------------------------------------------

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def inserting() -> crucible.Experiment:
    """Three events of the past, in no order, between two of now."""
    with crucible.experiment("past") as handle:
        handle.execute("now", {"n": 1})
        for minute in (2, 0, 1):
            handle.insert(
                "llm.stop", {"duration": 5_000_000, "cost": 0.5}, {"minute": minute},
                at=NOON + timedelta(minutes=minute),
            )  # fmt: skip
        handle.execute("later", {"n": 1})
        assert handle.metrics().cost == handle.metrics(exact=True).cost
    return handle


def test_inserted_events_stand_at_their_time(tmp_path: Path) -> None:
    """In the handle, archives, exports, and windows; their sequence is that of recording."""
    handle = inserting()
    order = ["llm.stop"] * 3 + ["now", "later"]
    packed = crucible.archive(handle, tmp_path / "a.zip")
    files = [crucible.export(handle, each, tmp_path / f"e.{each}") for each in ("jsonl", "csv")]
    views = [handle.events, *(open_run(path).events for path in (packed, *files))]
    other = inserting()
    both = crucible.export_multiple([other, handle], "jsonl", tmp_path / "both.jsonl")
    assert [event.name for event in open_run(both).events][:7] == ["llm.stop"] * 6 + ["now"]
    for view in views:
        assert [event.name for event in view] == order
        assert [event.metadata.get("minute") for event in view][:3] == [0, 1, 2]
        assert [event.time_us for event in view] == sorted(event.time_us for event in view)
        assert {event.attribution for event in view} == {"inserted", "context"}
        assert list(view.columns().time_us) == [event.time_us for event in view]
        windows = view.windowed_metrics(60)
        assert [window.total_cost_usd for window in windows][:3] == [0.5] * 3
        assert len(view.between(NOON, NOON + timedelta(minutes=1))) == 2
    assert handle.metrics(exact=True).cost.total == 1.5
    assert handle.metrics().summary.start == "2026-03-01T12:00:00.000000+00:00"
    assert open_run(packed).results().incomplete == ()


def test_inserted_events_call_no_handler_and_respect_a_pause() -> None:
    """It does not happen now; and a paused experiment records nothing."""
    heard: list[str] = []
    telemetry.attach("h", "*", lambda name, *_: heard.append(name))
    try:
        with crucible.experiment("past") as handle:
            with handle.paused():
                handle.insert("x", at=NOON)
            handle.insert("y", at=NOON)
    finally:
        telemetry.detach("h")
    assert (names(handle), heard) == (["y"], [])
    with pytest.raises(crucible.LifecycleError, match="insert came too late"):
        handle.insert("z", at=NOON)


def test_the_time_of_an_inserted_event_has_a_zone() -> None:
    """Any zone is right, none is refused, and so is what is no time or does not fit."""
    with crucible.experiment("past") as handle:
        handle.insert("x", at=NOON.astimezone(timezone(timedelta(hours=5, minutes=30))))
        odd: Any
        for odd, kind, text in (
            (NOON.replace(tzinfo=None), ValueError, "has no time zone: datetime.now"),
            (1_700_000_000, TypeError, "it takes a datetime with its time zone"),
            (NOON.replace(year=1969), ValueError, "not between the years 1970 and 2261"),
            (NOON.replace(year=9999), ValueError, "not between the years 1970 and 2261"),
        ):
            with pytest.raises(kind, match=text):
                handle.insert("x", at=odd)
    assert [event.time_us for event in handle.events] == [int(NOON.timestamp() * 1e6)]


def test_inserted_events_of_a_test_stand_at_their_time(pytester: pytest.Pytester) -> None:
    """Also in a session's record, from every process."""
    pytester.makepyfile("""
        from datetime import datetime, timezone
        import pytest

        @pytest.mark.experiment("e")
        @pytest.mark.parametrize("minute", [2, 0, 1])
        def test_a(experiment, minute):
            experiment.execute("now")
            at = datetime(2026, 3, 1, 12, minute, tzinfo=timezone.utc)
            experiment.insert("past", {"minute": minute}, at=at)
            assert [each.name for each in experiment.events] == ["past", "now"]
    """)
    result = pytester.runpytest(*QUIET, "--crucible-export=jsonl")
    result.assert_outcomes(passed=3)
    run = open_run(pytester.path / "crucible-results")
    (exported,) = pytester.path.rglob("*.jsonl")
    for events in (run.events, open_run(exported).events):
        names = [event.name for event in events.query(internal=False)]
        assert names == ["past"] * 3 + ["now"] * 3
        assert [event.measurements["minute"] for event in events[:3]] == [0, 1, 2]
    assert run.results().incomplete == ()


def test_a_notebook_shows_the_handle() -> None:
    """Its state and its metrics, running, stopped or empty; whatever it is called, as text."""
    with crucible.experiment(HOSTILE, condition=HOSTILE, hypothesis=HOSTILE) as handle:
        assert "running" in handle._repr_html_()
        assert "latency" not in handle._repr_html_()
        handle.execute(HOSTILE, {"duration": 1})
        assert "latency.p50" in handle._repr_html_()
    assert Tags(handle._repr_html_()).names == ELEMENTS
    assert Tags(handle._repr_html_()).text.count(HOSTILE) >= 3
    assert "stopped" in handle._repr_html_()
