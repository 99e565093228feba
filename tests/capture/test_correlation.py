"""Correlation: one id follows a piece of work through tasks and threads, and nothing else."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest

import pytest_crucible as crucible
from pytest_crucible import telemetry
from pytest_crucible.capture import correlation as _correlation
from pytest_crucible.events.event import Event


@pytest.fixture
def exp() -> Iterator[crucible.Experiment]:
    with crucible.experiment("exp") as handle:
        yield handle


def ids(events: crucible.Events) -> dict[str, Any]:
    return {event.name: event.metadata.get("correlation_id") for event in events}


def of(events: crucible.Events, name: str) -> Event:
    (found,) = events.query(name)
    return found


def test_spans_and_events_carry_the_id(exp: crucible.Experiment) -> None:
    """All that is emitted in the block has the id, what comes before and after has none."""
    telemetry.execute("before")
    with telemetry.correlate("job") as job:
        assert (job, telemetry.current_correlation_id()) == ("job", "job")
        telemetry.execute("bare")
        with telemetry.span("work") as span:
            telemetry.execute("plain", {"a": 1}, {"b": 2})
    telemetry.execute("after")
    assert telemetry.current_correlation_id() is None
    assert ids(exp.events) == {
        "before": None, "bare": "job", "work.start": "job", "plain": "job", "work.stop": "job",
        "after": None,
    }  # fmt: skip
    assert of(exp.events, "plain").metadata == {
        "correlation_id": "job", "open_span_id": span.id, "b": 2,
    }  # fmt: skip
    assert of(exp.events, "bare").metadata == {"correlation_id": "job"}


def test_a_made_up_id_is_unique_and_spares_the_users_random_state() -> None:
    """Without an id it makes one, with a generator of its own."""
    state = random.getstate()
    made = set()
    for _ in range(100):
        with telemetry.correlate() as job:
            made.add(job)
    assert len(made) == 100
    assert set(map(len, made)) == {16}
    assert random.getstate() == state
    with pytest.raises(ValueError, match="must not be empty"), telemetry.correlate(""):
        pass


def test_the_innermost_block_and_the_users_own_id_win(exp: crucible.Experiment) -> None:
    """Blocks nest; metadata that name an id keep it, of events and of spans."""
    with telemetry.correlate("outer"):
        with telemetry.correlate("inner"):
            telemetry.execute("inner")
        telemetry.execute("outer")
        telemetry.execute("own", None, {"correlation_id": "mine"})
        with telemetry.span("span", correlation_id="mine"):
            pass
    assert ids(exp.events) == {
        "inner": "inner", "outer": "outer", "own": "mine", "span.start": "mine",
        "span.stop": "mine",
    }  # fmt: skip


def test_a_span_keeps_the_id_it_began_with(exp: crucible.Experiment) -> None:
    """Also when it ends outside the block; used again, it takes the id of that time."""
    span = telemetry.span("work")
    with telemetry.correlate("one"):
        span.__enter__()
    span.__exit__(None, None, None)
    with telemetry.correlate("two"), span:
        pass
    with span:
        pass
    found = [event.metadata.get("correlation_id") for event in exp.events]
    assert found == ["one", "one", "two", "two", None, None]


def test_concurrent_tasks_keep_their_ids_apart(exp: crucible.Experiment) -> None:
    """Tasks, `to_thread` and tasks that outlive the block carry the id they were started with."""

    async def work(number: int, late: list[asyncio.Task[None]]) -> None:
        with telemetry.correlate(f"job {number}"):
            await asyncio.sleep(0)
            await asyncio.gather(step(number), asyncio.to_thread(telemetry.execute, f"t.{number}"))
            late.append(asyncio.create_task(step(10 + number)))

    async def step(number: int) -> None:
        await asyncio.sleep(0)
        with telemetry.span(f"s.{number}"):
            await asyncio.sleep(0)
            telemetry.execute(f"e.{number}")

    async def main() -> None:
        late: list[asyncio.Task[None]] = []
        await asyncio.gather(*(work(number, late) for number in range(5)), step(100))
        await asyncio.gather(*late)

    asyncio.run(main())
    found = ids(exp.events)
    assert len(found) == 5 + 3 * 11
    for name, job in found.items():
        number = int(name.split(".")[1])
        assert job == (None if number == 100 else f"job {number % 10}")


def test_threads_carry_it_with_their_context_only(exp: crucible.Experiment) -> None:
    """`copy_context().run` takes it along; a bare thread has none, and may enter it itself."""

    def enter(id: str) -> None:
        with telemetry.correlate(id):
            telemetry.execute("entered")

    with telemetry.correlate("job") as job, ThreadPoolExecutor(1) as pool:
        pool.submit(copy_context().run, telemetry.execute, "copied").result()
        bare = threading.Thread(target=telemetry.execute, args=("bare",))
        bare.start()
        bare.join()
        thread = threading.Thread(target=enter, args=(job,))
        thread.start()
        thread.join()
    assert ids(exp.events) == {"copied": "job", "bare": None, "entered": "job"}


def test_handlers_hear_it_too() -> None:
    """Who listens without an experiment hears the same metadata, and users' dicts stay theirs."""
    heard: list[Any] = []
    telemetry.attach("h", "*", lambda name, _m, metadata, _c: heard.append((name, dict(metadata))))
    mine = {"a": 1}
    try:
        with telemetry.correlate("job"):
            telemetry.execute("x", None, mine)
        telemetry.execute("y", None, mine)
    finally:
        telemetry.detach("h")
    assert heard == [("x", {"correlation_id": "job", "a": 1}), ("y", {"a": 1})]
    assert mine == {"a": 1}


def test_metadata_that_are_none_do_not_raise(exp: crucible.Experiment) -> None:
    """Nothing that a caller passes raises into the code under test."""
    with telemetry.correlate("job"), telemetry.span("s"):
        telemetry.execute("x", None, 3)  # type: ignore[arg-type]
        telemetry.execute("y", None, {})
    assert of(exp.events, "y").metadata["correlation_id"] == "job"


def test_recorded_numbers_belong_to_it(exp: crucible.Experiment) -> None:
    """`record` inside a block is part of its trace, and the metric is what it was."""
    with telemetry.correlate("job"):
        exp.record(score=0.5)
    assert exp.metrics().recorded["score"].mean == 0.5


def test_a_block_may_be_left_in_another_context(exp: crucible.Experiment) -> None:
    """As fixtures that are async generators do: no error, and the id stays where it was."""
    block = telemetry.correlate("job")
    elsewhere = copy_context()
    elsewhere.run(block.__enter__)
    block.__exit__(None, None, None)
    telemetry.execute("here")
    elsewhere.run(telemetry.execute, "there")
    assert ids(exp.events) == {"here": None, "there": "job"}


UNUSED = """
from pytest_crucible import telemetry
from pytest_crucible.capture import bus as _bus, recorder as _recorder
import pytest_crucible as crucible
with crucible.experiment("exp") as exp:
    assert _bus._tap is _recorder.capture
    with telemetry.correlate("job"):
        telemetry.execute("x")
    assert _bus._tap is not _recorder.capture
assert [each.metadata for each in exp.events] == [{"correlation_id": "job"}]
assert _bus._tap is None
telemetry.execute("x")
with crucible.experiment("exp") as exp, telemetry.correlate("other"):
    telemetry.execute("x")
assert [each.metadata for each in exp.events] == [{"correlation_id": "other"}]
"""


def test_unused_it_is_not_in_the_way() -> None:
    """Until a process correlates, events go straight to the recorder, as if it did not exist."""
    subprocess.run([sys.executable, "-c", UNUSED], check=True)


class Unreadable(dict[str, Any]):
    """A mapping that does not want to be looked into."""

    def __contains__(self, key: object) -> bool:
        raise ValueError


def test_metadata_that_cannot_be_read_do_no_harm(exp: crucible.Experiment) -> None:
    """An event whose metadata cannot be looked into is recorded as it is."""
    with telemetry.correlate("job"), telemetry.span("around"):
        telemetry.execute("x", None, Unreadable(a=1))
    assert of(exp.events, "x").metadata == {"a": 1}


def test_nobody_takes_it_as_begun_before_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another thread that correlates while the first one begins to does not rely on it too soon."""
    seen: list[bool] = []
    monkeypatch.setattr(_correlation, "_used", False)
    monkeypatch.setattr(_correlation, "on_first_use", [lambda: seen.append(_correlation._used)])
    with telemetry.correlate():
        pass
    assert seen == [False]
    assert _correlation._used
