"""The library: experiments outside pytest, from start to export."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pytest_crucible as crucible
from pytest_crucible import _clock, telemetry
from pytest_crucible.artifact.run import open_run
from pytest_crucible.metrics.observations import observe


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Leaves no experiment behind, and proves that nobody listens any more."""
    yield
    for each in crucible.list_experiments():
        crucible.cleanup(each)
    assert not telemetry.enabled("anything")


def names(handle: crucible.ExperimentHandle) -> list[str]:
    return [each.name for each in handle.events]


# --- lifecycle ---------------------------------------------------------------------------------


def test_experiment_records_from_start_to_stop() -> None:
    """What is emitted before the start and after the end is nobody's."""
    telemetry.execute("before")
    handle = crucible.start("exp", hypothesis="it works", condition="control", tags=["t"])
    telemetry.execute("during")
    assert crucible.stop(handle) is handle
    telemetry.execute("after")
    assert names(handle) == ["during"]
    assert (handle.name, handle.condition, handle.status) == ("exp", "control", "stopped")
    assert (handle.definition.hypothesis, handle.definition.tags) == ("it works", ("t",))
    assert (handle.case, handle.trial, handle.attempt) == (None, None, None)
    assert repr(handle) == "<experiment 'exp' 'control' stopped>"


def test_block_is_stopped_even_if_it_raises() -> None:
    """An exception leaves the block, and the experiment is over with its record kept."""

    def run() -> None:
        with crucible.experiment("exp"):
            telemetry.execute("x")
            raise KeyError("boom")

    with pytest.raises(KeyError, match="boom"):
        run()
    (handle,) = crucible.list_experiments("stopped")
    assert (names(handle), handle.condition) == (["x"], "default")


def test_block_may_be_stopped_or_cleaned_up_from_within() -> None:
    """Who ends an experiment early is not told off at the end of the block."""
    with crucible.experiment("stopped") as handle:
        crucible.stop(handle)
    with crucible.experiment("gone") as handle:
        crucible.cleanup(handle)
    assert [each.name for each in crucible.list_experiments()] == ["stopped"]


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


def test_steps_that_the_state_does_not_allow_are_errors() -> None:
    """Each wrong step says which experiment, and in which state it is."""
    handle = crucible.start("exp")
    with pytest.raises(crucible.LifecycleError, match="'exp' cannot be resumed: it is running"):
        handle.resume()
    handle.pause()
    with pytest.raises(crucible.LifecycleError, match="'exp' cannot be paused: it is paused"):
        handle.pause()
    crucible.stop(handle)
    with pytest.raises(crucible.LifecycleError, match="'exp' has been stopped already"):
        crucible.stop(handle)
    with pytest.raises(crucible.LifecycleError, match="cannot be paused: it is stopped"):
        handle.pause()
    with pytest.raises(crucible.LifecycleError, match="cannot be resumed: it is stopped"):
        handle.resume()


def test_experiments_are_found_by_id_and_status() -> None:
    """`get` and `list_experiments` give the handles that `start` gave."""
    first, second, third = (crucible.start(name) for name in "abc")
    second.pause()
    crucible.stop(third)
    assert crucible.get(first.id) is first
    assert crucible.list_experiments() == [first, second, third]
    assert crucible.list_experiments("running") == [first]
    assert crucible.list_experiments("paused") == [second]
    assert crucible.list_experiments("stopped") == [third]
    assert len({first.id, second.id, third.id}) == 3


def test_cleanup_stops_and_forgets() -> None:
    """Running or stopped, an experiment is gone afterwards, and its id means nothing."""
    running, stopped = crucible.start("running"), crucible.start("stopped")
    crucible.stop(stopped.id)
    crucible.cleanup(running)
    crucible.cleanup(stopped.id)
    assert crucible.list_experiments() == []
    assert running.status == "stopped"
    calls: list[Callable[[], object]] = [
        lambda: crucible.get(running.id),
        lambda: crucible.stop(running),
        lambda: crucible.cleanup(running),
        lambda: crucible.calculate_metrics(running),
        lambda: crucible.export(running),
    ]
    for call in calls:
        with pytest.raises(LookupError, match=f"no experiment with the id '{running.id}'"):
            call()


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"conditions": ["a", "b"]}, "conditions= needs pytest"),
        ({"scope": "module"}, "scope= needs pytest"),
        ({"trials": 3}, "trials= needs pytest"),
        ({"expect": ["success_rate > 0.9"]}, "expect= needs pytest"),
        ({"failures": "record"}, "failures= needs pytest"),
        ({"hypotesis": "x"}, "did you mean 'hypothesis'"),
        ({"tags": "one"}, "must be a list"),
    ],
)
def test_arguments_that_make_no_sense_start_nothing(
    arguments: dict[str, Any], problem: str
) -> None:
    """A wrong argument is one line, and leaves no experiment open."""
    with pytest.raises(crucible.DefinitionError, match=problem):
        crucible.start("exp", **arguments)
    with pytest.raises(crucible.DefinitionError, match="non-empty string"):
        crucible.start(" ")
    assert crucible.list_experiments() == []


def test_metadata_may_hold_anything() -> None:
    """A client or a lock in the metadata neither has to be copied nor encoded."""
    lock = threading.Lock()
    handle = crucible.start("exp", metadata={"lock": lock})
    assert handle.definition.metadata == {"lock": lock}


def test_experiment_in_memory_cannot_be_joined() -> None:
    """Another process has no way in, and is told so instead of recording into nothing."""
    with pytest.raises(crucible.LifecycleError, match="'exp' is kept in memory"):
        crucible.start("exp").child_env()


# --- whose event is it -------------------------------------------------------------------------


def run_bare(*functions: Callable[[], object]) -> None:
    """Run functions in threads that inherit no context, as most thread pools do."""
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


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

    async def work(name: str) -> crucible.ExperimentHandle:
        with crucible.experiment(name) as handle:
            for i in range(20):
                async with telemetry.span(f"{name}.{i}"):
                    await asyncio.sleep(0)
        return handle

    async def both() -> tuple[crucible.ExperimentHandle, crucible.ExperimentHandle]:
        return await asyncio.gather(work("a"), work("b"))

    for handle in asyncio.run(both()):
        assert len(handle.events) == 40
        assert {each.name.split(".")[0] for each in handle.events} == {handle.name}
        assert {each.attribution for each in handle.events} == {"context"}
        assert handle.metrics().reliability.total == 20


def test_threads_of_two_experiments_never_mix() -> None:
    """Threads that open, or are given, a context belong to its experiment for certain."""
    meet = threading.Barrier(3)
    found: list[crucible.ExperimentHandle] = []

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
    for handle in (first, second):
        assert names(handle) == ["mine.stop"]
        assert crucible.calculate_metrics(handle).summary.total_events == 1
        path = crucible.export(handle, "jsonl", tmp_path / f"{handle.name}.jsonl")
        found = observe(open_run(path).events())
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
def test_recording_no_number_is_an_error(value: object) -> None:
    """What is no number is refused where it is recorded, and nothing of the call is kept."""
    with crucible.experiment("exp") as handle, pytest.raises(TypeError):
        handle.record(fine=1, score=value)
    assert handle.metrics().recorded == {}


def test_metrics_are_the_same_by_handle_and_by_id() -> None:
    """`calculate_metrics` tells of a stopped experiment what its handle does."""
    with crucible.experiment("exp", condition="c") as handle:
        handle.execute("llm.stop", {"duration": 5_000_000}, {"cost": 0.5})
        handle.record(score=0.5)
    assert crucible.calculate_metrics(handle.id) == handle.metrics()
    assert (handle.metrics().latency.p50, handle.metrics().cost.total) == (5, 0.5)


def test_parent_span_adds_nothing_to_its_children() -> None:
    """Real nested spans: what the children cost is not counted again at the parent."""
    with crucible.experiment("exp") as handle, handle.span("agent.run", cost=0.3):
        for cost in (0.1, 0.2):
            with telemetry.span("llm.call", input_tokens=10) as span:
                span.measure(cost=cost)
    found = handle.metrics()
    assert found.cost.total == pytest.approx(0.3)
    assert (found.tokens.total, found.reliability.total, found.latency.count) == (20, 1, 1)


def test_compare_puts_metrics_side_by_side() -> None:
    """Every number that both have is compared, with a percentage where that has a meaning."""
    before, after = crucible.start("before"), crucible.start("after")
    before.execute("llm.stop", {"duration": 10_000_000})
    after.execute("llm.stop", {"duration": 15_000_000}, {"cost": 1})
    found = {each.metric: each for each in crucible.compare(before, after)}
    latency = found["latency.p50"]
    assert (latency.baseline, latency.candidate, latency.difference) == (10, 15, 5)
    assert latency.percent == 50
    assert found["cost.count"].percent is None
    assert "cost.total" not in found


# --- export ------------------------------------------------------------------------------------


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that moves on by a millisecond each time it is asked."""
    ticks = count(1_763_900_000_000_000_000, 1_000_000)
    monkeypatch.setattr(_clock, "wall_ns", lambda: next(ticks))


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_export_multiple_is_in_order_of_time(format: str, tmp_path: Path, ticking: None) -> None:
    """Events of several experiments stand in the order in which they happened."""
    handles = [crucible.start(name) for name in "abc"]
    order = [0, 1, 0, 2, 2, 1, 0]
    for i, which in enumerate(order):
        handles[which].execute(f"e{i}")
    path = crucible.export_multiple(handles[::-1], format, tmp_path / "new" / f"all.{format}")
    found = list(open_run(path).events())
    assert [each.name for each in found] == [f"e{i}" for i in range(len(order))]
    assert [each.run for each in found] == [handles[which].id for which in order]


def test_export_goes_to_a_safe_name_in_the_results_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the experiment is called, its file stays in the folder for results."""
    monkeypatch.chdir(tmp_path)
    with crucible.experiment("../../etc/x") as handle:
        telemetry.execute("x")
    path = crucible.export(handle)
    assert path.parent == Path("crucible-results")
    assert path.name.startswith("etc-x-")
    assert path.name.endswith(f"-{handle.id}.csv")
    assert [each.name for each in open_run(path).events()] == ["x"]


def test_export_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    """An unknown format, and a file where the folder should be, are one line each."""
    handle = crucible.start("exp")
    with pytest.raises(crucible.DefinitionError, match="unknown export format 'xlsx'"):
        crucible.export(handle, "xlsx")
    (tmp_path / "file").touch()
    with pytest.raises(crucible.OutputError, match="output folder"):
        crucible.export(handle, "csv", tmp_path / "file" / "x.csv")
