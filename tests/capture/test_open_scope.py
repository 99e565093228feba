"""The open scope: it follows the running code, has a state, and knows how long it was open."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import pytest

from pytest_crucible.capture.frames import NoteFrame, SamplingFrame, encode
from pytest_crucible.capture.open_scope import (
    CLOSED,
    OPEN,
    PAUSED,
    SAMPLED,
    OpenScope,
    Timeline,
    current_scope,
)
from pytest_crucible.capture.sampler import NodeSampler
from pytest_crucible.events.scope import Scope
from pytest_crucible.record.memory import MemoryStore
from tests.made_events import set_clock


def opened(experiment: str = "e", sampling: str | None = None) -> OpenScope:
    store = MemoryStore()
    sampler = None
    if sampling is not None:
        sampler = NodeSampler(experiment, "default", sampling, store.append, seed=1)
    return OpenScope(1, Scope(experiment=experiment), store, sampler)


@contextmanager
def inside(scope: OpenScope) -> Iterator[OpenScope]:
    token = current_scope.set(scope)
    try:
        yield scope
    finally:
        current_scope.reset(token)


def seen() -> str | None:
    """The experiment of the running code."""
    scope = current_scope.get()
    return None if scope is None else scope.scope.experiment


# --- the context variable ----------------------------------------------------------------------


def test_without_a_scope_there_is_none() -> None:
    """In code that no experiment runs around, and again after it."""
    assert seen() is None
    with inside(opened()):
        assert seen() == "e"
    assert seen() is None


def test_tasks_begin_where_they_were_made() -> None:
    """A task keeps the scope of the code that made it, whatever is current later and elsewhere."""

    async def later(barrier: asyncio.Event) -> str | None:
        await barrier.wait()
        return seen()

    async def main() -> list[str | None]:
        barrier, tasks = asyncio.Event(), []
        for name in ("a", "b"):
            with inside(opened(name)):
                tasks.append(asyncio.create_task(later(barrier)))
        tasks.append(asyncio.create_task(later(barrier)))
        with inside(opened("c")):
            barrier.set()
            return list(await asyncio.gather(*tasks))

    assert asyncio.run(main()) == ["a", "b", None]


def test_a_task_does_not_change_its_makers_scope() -> None:
    """What a task enters is its own."""

    async def enter() -> None:
        current_scope.set(opened("inner"))
        assert seen() == "inner"

    async def main() -> str | None:
        with inside(opened("outer")):
            await asyncio.create_task(enter())
            return seen()

    assert asyncio.run(main()) == "outer"


def test_an_async_generator_sees_who_asks() -> None:
    """It runs in the context of each step's caller."""

    async def steps() -> AsyncIterator[str | None]:
        while True:
            yield seen()

    async def main() -> list[str | None]:
        found, generator = [], steps()
        for name in ("a", "b"):
            with inside(opened(name)):
                found.append(await anext(generator))
        return found

    assert asyncio.run(main()) == ["a", "b"]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: asyncio.run(asyncio.to_thread(seen)), "e"),
        (lambda: copy_context().run(seen), "e"),
        (lambda: in_pool(copy_context().run, seen), "e"),
        (lambda: in_pool(seen), None),
    ],
    ids=["to_thread", "copy_context", "pool with context", "bare pool"],
)
def test_threads_have_it_if_they_have_the_context(
    call: Callable[[], str | None], expected: str | None
) -> None:
    """``to_thread`` and a copied context carry it; a bare thread of a pool has none."""
    with inside(opened()):
        assert call() == expected


def in_pool(function: Callable[..., Any], *arguments: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function, *arguments).result()


def test_threads_do_not_share_what_they_set() -> None:
    """Two threads in two scopes at once see each its own."""
    barrier = threading.Barrier(2)
    found: dict[str, str | None] = {}

    def work(name: str) -> None:
        with inside(opened(name)):
            barrier.wait(timeout=10)
            found[name] = seen()

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert found == {"a": "a", "b": "b"}


def test_it_is_what_it_was_opened_with() -> None:
    """Names, number and store; the emit path has the store's buffers one look-up nearer."""
    store = MemoryStore()
    scope = OpenScope(7, Scope(experiment="e"), store)
    assert (scope.id, scope.scope, scope.sink) == (7, Scope(experiment="e"), store)
    buffer = scope.take()
    buffer[:] = encode(NoteFrame("kept"))
    scope.keep(buffer)
    assert [frame for _, frame in store.frames()] == [NoteFrame("kept")]
    assert scope.timeline.durations()[0] > 0


# --- states ------------------------------------------------------------------------------------


def test_open_is_the_state_that_costs_one_truth_test() -> None:
    """Zero and nothing else; with a sampler every event is looked at."""
    assert opened().state == OPEN == 0
    assert opened(sampling="uniform:0.1").state == SAMPLED
    assert all((PAUSED, CLOSED, SAMPLED))


@pytest.mark.parametrize("state", [PAUSED, CLOSED, OPEN])
def test_judges_follow_the_state_of_what_they_judge(state: int) -> None:
    """While a scope is paused nobody records for it; those who have left are left alone."""
    scope, judge, gone = opened(), opened(), opened()
    gone.change(PAUSED)
    scope.enclose(judge)
    scope.change(state)
    assert (scope.state, judge.state, gone.state) == (state, state, PAUSED)


def test_a_sample_is_told_to_whoever_reads() -> None:
    """How it is drawn, by experiment and condition; nothing where all events are kept."""
    assert opened().tell_sampled() == {}
    (told,) = opened(sampling="reservoir:5").tell_sampled().items()
    assert told[0] == ("e", "default")
    assert isinstance(told[1], SamplingFrame)
    assert (told[1].sampling, told[1].seen) == ("reservoir:5", 0)


def test_two_scopes_of_the_same_names_are_two() -> None:
    """Each is its own key: one may close while the other goes on."""
    first, second = opened(), opened()
    assert first.scope == second.scope
    assert len({first, second}) == 2


# --- how long it was open ----------------------------------------------------------------------


class Clock:
    """Wall and monotonic time, an hour apart, that stand still unless they are moved."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1_000
        set_clock(patch, lambda: self.now + 3_600, lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_timeline_grows_until_it_ends(clock: Clock) -> None:
    """Durations are told at any time and fixed by the end; wall times are those of the moments."""
    timeline = Timeline()
    assert (timeline.began_wall_ns, timeline.durations()) == (4_600, (0, 0))
    clock.now += 50
    assert timeline.durations() == (50, 0)
    clock.now += 10
    timeline.end("done")
    clock.now += 1_000
    assert timeline.durations() == (60, 0)
    assert (timeline.ended_wall_ns, timeline.reason) == (4_660, "done")


def test_pauses_add_up(clock: Clock) -> None:
    """Paused time is part of the duration, told beside it, also while the pause lasts."""
    timeline = Timeline()
    for length in (5, 20):
        clock.now += 10
        timeline.pause()
        assert timeline.paused_wall_ns == clock.now + 3_600
        clock.now += length
        assert timeline.durations()[1] in (5, 25)
        timeline.resume()
        assert timeline.paused_wall_ns is None
    assert timeline.durations() == (45, 25)
    assert timeline.pauses == 2


def test_the_end_ends_a_pause(clock: Clock) -> None:
    """What ended while it was paused was paused until then and no longer."""
    timeline = Timeline()
    clock.now += 10
    timeline.pause()
    clock.now += 30
    timeline.end(None)
    clock.now += 500
    assert timeline.durations() == (40, 30)
    assert timeline.paused_wall_ns is None


def test_the_first_end_counts(clock: Clock) -> None:
    """Ending again changes neither the time nor the reason."""
    timeline = Timeline()
    clock.now += 10
    timeline.end("first")
    clock.now += 10
    timeline.end("second")
    assert (timeline.durations(), timeline.reason) == ((10, 0), "first")


def test_resuming_what_is_not_paused_changes_nothing(clock: Clock) -> None:
    """So that the end, which resumes, needs not ask."""
    timeline = Timeline()
    clock.now += 10
    timeline.resume()
    assert (timeline.durations(), timeline.pauses) == ((10, 0), 0)
