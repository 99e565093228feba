"""Spans: over blocks, tasks, functions and generators."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, suppress
from contextvars import copy_context
from typing import Any

import pytest

import pytest_crucible as crucible
from pytest_crucible import telemetry
from pytest_crucible.capture.open_scope import current_scope
from tests.capture.support import Heard, names


def test_span_emits_start_and_stop(heard: Heard) -> None:
    """A span emits start and stop; the stop has the start's metadata and what was added since."""
    with telemetry.span("req", {"model": "old", "a": 1}, model="new") as span:
        span.measure(input_tokens=3)
        span.annotate(finish="stop")
    (start, began, first), (stop, ended, last) = heard
    assert (start, stop) == ("req.start", "req.stop")
    assert set(began) == {"monotonic_time", "system_time"}
    assert set(ended) == {"input_tokens", "duration"}
    assert ended["duration"] >= 0
    assert first == {"model": "new", "a": 1, "span_id": span.id}
    assert last == {**first, "finish": "stop"}


def test_span_does_not_share_the_callers_dict() -> None:
    """Neither the caller's dict nor the one given to a start handler changes afterwards."""
    kept: list[Any] = []
    telemetry.attach("a", "req.start", lambda _n, _m, metadata, _c: kept.append(metadata))
    mine = {"a": 1}
    with telemetry.span("req", mine) as span:
        mine["b"] = 2
        span.annotate(c=3)
    assert mine == {"a": 1, "b": 2}
    assert kept == [{"a": 1, "span_id": span.id}]


def test_spans_nest(heard: Heard) -> None:
    """A span inside another names it as its parent, one after it does not."""
    assert telemetry.current_span_id() is None
    with telemetry.span("outer") as outer:
        with telemetry.span("inner") as inner:
            assert telemetry.current_span_id() == inner.id
        assert telemetry.current_span_id() == outer.id
    with telemetry.span("after"):
        pass
    parents = {name: meta.get("parent_span_id") for name, _, meta in heard}
    assert parents["inner.start"] == parents["inner.stop"] == outer.id
    assert parents["outer.start"] is None
    assert parents["after.start"] is None
    assert len({meta["span_id"] for _, _, meta in heard}) == 3


@pytest.mark.parametrize(
    "error",
    [ValueError("secret"), pytest.fail.Exception("secret"), TimeoutError(), OSError()],
    ids=lambda error: type(error).__name__,
)
def test_exception_in_a_span_is_a_failure(heard: Heard, error: BaseException) -> None:
    """A block that raises ends in an exception event with the type, but not the text."""
    with pytest.raises(type(error)), telemetry.span("req", a=1):
        raise error
    name, measurements, metadata = heard[-1]
    assert name == "req.exception"
    assert "duration" in measurements
    kind = type(error).__name__
    assert metadata.items() >= {"a": 1, "kind": kind, "error": kind}.items()
    assert "cancelled" not in metadata
    assert "secret" not in repr(metadata)


@pytest.mark.parametrize(
    "error", [asyncio.CancelledError(), KeyboardInterrupt(), SystemExit()], ids=repr
)
def test_cancellation_of_a_span_is_no_failure(heard: Heard, error: BaseException) -> None:
    """A block that is stopped from outside is cancelled, not failed."""
    with pytest.raises(type(error)), telemetry.span("req"):
        raise error
    name, _, metadata = heard[-1]
    assert name == "req.exception"
    assert metadata["cancelled"] is True
    assert "error" not in metadata


def test_async_span_follows_its_task(heard: Heard) -> None:
    """Spans of concurrent tasks are children of the span around them, not of each other."""

    async def work() -> str | None:
        async with telemetry.span("work") as span:
            await asyncio.sleep(0)
            return span.id

    async def main() -> tuple[str | None, ...]:
        async with telemetry.span("main"):
            return await asyncio.gather(work(), work())

    ids = asyncio.run(main())
    root = heard[0][2]["span_id"]
    parents = [meta["parent_span_id"] for name, _, meta in heard if name == "work.stop"]
    assert parents == [root, root]
    assert len({root, *ids}) == 3


def test_cancelled_task_closes_its_span(heard: Heard) -> None:
    """Cancelling a task, as hedging does, ends its span as cancelled."""

    async def main() -> None:
        async def lose() -> None:
            async with telemetry.span("req"):
                await asyncio.Event().wait()

        task = asyncio.create_task(lose())
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert heard[-1][0] == "req.exception"
    assert heard[-1][2]["cancelled"] is True


def test_decorated_function_opens_a_span_per_call(heard: Heard) -> None:
    """A decorated function keeps its name and result and gets a new span for every call."""

    @telemetry.span("work", a=1)
    def double(x: int) -> int:
        """Twice."""
        assert telemetry.current_span_id() is not None
        return 2 * x

    assert (double(2), double(3), double.__name__, double.__doc__) == (4, 6, "double", "Twice.")
    assert names(heard) == ["work.start", "work.stop"] * 2
    assert len({meta["span_id"] for _, _, meta in heard}) == 2
    assert all(meta["a"] == 1 for _, _, meta in heard)


def test_failure_of_one_call_is_not_told_of_the_next(heard: Heard) -> None:
    """What one call of a decorated function left in its span does not show in the next."""

    @telemetry.span("work")
    def check(ok: bool) -> None:
        if not ok:
            raise ValueError

    with suppress(ValueError):
        check(ok=False)
    check(ok=True)
    assert heard[-1][0] == "work.stop"
    assert not {"error", "kind"} & set(heard[-1][2])


def test_decorated_coroutine_function(heard: Heard) -> None:
    """The span of a decorated coroutine function lasts until its result is there."""

    @telemetry.span("work")
    async def double(x: int) -> int:
        await asyncio.sleep(0)
        telemetry.execute("inside")
        return 2 * x

    assert asyncio.run(double(2)) == 4
    assert names(heard) == ["work.start", "inside", "work.stop"]


def test_decorated_generator_function(heard: Heard) -> None:
    """A decorated generator passes on what is sent and returned, and is no parent of spans."""

    @telemetry.span("stream")
    def echo() -> Generator[str, str, str]:
        got = yield "first"
        yield got
        return "done"

    items = echo()
    assert heard == []
    assert next(items) == "first"
    assert telemetry.current_span_id() is None
    assert items.send("sent") == "sent"
    with pytest.raises(StopIteration, match="done"):
        next(items)
    assert names(heard) == ["stream.start", "stream.stop"]


def test_decorated_async_generator_function(heard: Heard) -> None:
    """A decorated async generator passes on what is sent, and lasts until its last item."""

    @telemetry.span("stream")
    async def echo() -> AsyncGenerator[str, str]:
        got = yield "first"
        yield got

    async def main() -> list[str]:
        items = echo()
        got = [await anext(items), await items.asend("sent")]
        assert telemetry.current_span_id() is None
        assert names(heard) == ["stream.start"]
        return [*got, *[item async for item in items]]

    assert asyncio.run(main()) == ["first", "sent"]
    assert names(heard) == ["stream.start", "stream.stop"]


def test_decorated_async_generator_gets_what_is_thrown(heard: Heard) -> None:
    """An error in the block of a decorated context manager reaches the manager's own code."""
    caught: list[BaseException] = []

    @asynccontextmanager
    @telemetry.span("manager")
    async def manager() -> AsyncIterator[int]:
        try:
            yield 1
        except ValueError as error:
            caught.append(error)

    async def main() -> None:
        async with manager():
            raise ValueError("in the block")

    asyncio.run(main())
    assert [str(error) for error in caught] == ["in the block"]
    assert names(heard) == ["manager.start", "manager.stop"]


def test_closing_a_decorated_async_generator_runs_its_cleanup(heard: Heard) -> None:
    """A consumer that leaves early closes the decorated function too, before the span ends."""

    @telemetry.span("stream")
    async def numbers() -> AsyncGenerator[int, None]:
        try:
            yield 1
            yield 2
        finally:
            telemetry.execute("cleanup")

    async def main() -> None:
        items = numbers()
        await anext(items)
        await items.aclose()

    asyncio.run(main())
    assert names(heard) == ["stream.start", "cleanup", "stream.exception"]
    assert heard[-1][2]["cancelled"] is True


def test_span_left_in_another_context(heard: Heard) -> None:
    """A span that is left in another context than it was entered in still ends."""

    async def main() -> None:
        span = telemetry.span("req")
        await asyncio.create_task(span.__aenter__())
        await span.__aexit__(None, None, None)

    asyncio.run(main())
    assert names(heard) == ["req.start", "req.stop"]


FORK = """
import os
from pytest_crucible import telemetry

child = os.fork()
if child:
    os.waitpid(child, 0)
with telemetry.span("req") as span:
    print(span.id, flush=True)
"""


def test_forked_child_has_span_ids_of_its_own() -> None:
    """A forked child does not go on with its parent's span ids."""
    # In a process of its own: forking one that has threads, as a worker has, draws a warning.
    run = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True)
    ids = run.stdout.split()
    assert len(ids) == len(set(ids)) == 2


def test_used_again_it_remembers_nothing(heard: Heard) -> None:
    """A span used a second time has no parent and no measurements of the first time."""
    again = telemetry.span("again")
    with telemetry.span("outer"), again:
        again.measure(input_tokens=12)
    with again:
        pass
    name, measurements, metadata = heard[-1]
    assert (name, set(measurements), set(metadata)) == ("again.stop", {"duration"}, {"span_id"})


def test_parent_that_the_caller_named_stays() -> None:
    """Where no span is around it, a span has the parent that its metadata name, each time."""
    named = telemetry.span("named", parent_span_id="far away")
    for _ in range(2):
        with named:
            assert named._metadata["parent_span_id"] == "far away"


@pytest.fixture
def two() -> Iterator[tuple[crucible.Experiment, crucible.Experiment]]:
    """Two open experiments, neither of them current."""
    one = crucible.start("one")
    with pytest.warns(crucible.AttributionWarning):
        handles = one, crucible.start("two")
    yield handles
    for handle in handles:
        crucible.cleanup(handle)


Two = tuple[crucible.Experiment, crucible.Experiment]


def test_end_in_another_context_belongs_to_the_experiment(two: Two) -> None:
    """An experiment's span that another thread leaves, within another experiment, is its own."""
    one, other = two

    def leave() -> None:
        with other.active():
            span.__exit__(None, None, None)
            telemetry.execute("mine")

    def enter_and_leave() -> None:
        span.__enter__()
        thread = threading.Thread(target=leave)
        thread.start()
        thread.join()

    span = one.span("there")
    copy_context().run(enter_and_leave)
    assert [event.name for event in one.events] == ["there.start", "there.stop"]
    assert [event.name for event in other.events] == ["mine"]


@pytest.mark.parametrize("name", ["x.start", "x.stop"])
def test_interrupted_it_leaves_nothing_behind(two: Two, name: str) -> None:
    """A handler's KeyboardInterrupt leaves the context as it was before the span."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    telemetry.attach("a", name, interrupt)
    with pytest.raises(KeyboardInterrupt), two[0].span("x"):
        pass
    assert current_scope.get() is None
    assert telemetry.current_span_id() is None
