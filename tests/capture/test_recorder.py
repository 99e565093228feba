"""The recorder: which scope an event belongs to, and that it never harms the code under test."""

from __future__ import annotations

import asyncio
import contextvars
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo

import numpy as np
import pytest

from pytest_crucible import telemetry
from pytest_crucible.capture import recorder as _recorder
from pytest_crucible.capture.open_scope import OpenScope, current_scope
from pytest_crucible.capture.recorder import (
    close_scope,
    open_scope,
    pause_scope,
    record_into,
    resume_scope,
    stop_listening,
)
from pytest_crucible.events.event import Event
from pytest_crucible.events.scope import Scope
from pytest_crucible.record.memory import MemoryStore
from pytest_crucible.record.node_reader import Node


@pytest.fixture(autouse=True)
def _nothing_left_open() -> Iterator[None]:
    yield
    for opened in list(_recorder._open):
        close_scope(opened)
    stop_listening()
    for handler in telemetry.list_handlers():
        telemetry.detach(handler.id)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@contextmanager
def inside(opened: OpenScope) -> Iterator[OpenScope]:
    """Run the block in the context of a scope."""
    token = current_scope.set(opened)
    try:
        yield opened
    finally:
        current_scope.reset(token)


def open_in(store: MemoryStore, experiment: str = "e", number: int = 1) -> OpenScope:
    return open_scope(Scope(experiment=experiment), store, number)


def events(store: MemoryStore) -> list[Event]:
    return list(Node("main", store.frames(), run="run"))


def summary(store: MemoryStore) -> list[tuple[str, str | None, str]]:
    """Name, experiment and attribution of every event."""
    return [
        (event.name, event.scope.experiment if event.scope else None, event.attribution)
        for event in events(store)
    ]


def in_thread(function: Callable[..., object], *args: object) -> None:
    """Call a function in a bare thread: it has no context."""
    thread = threading.Thread(target=function, args=args)
    thread.start()
    thread.join()


# --- attribution -------------------------------------------------------------------------------


def test_scope_comes_back_as_it_was_opened(store: MemoryStore) -> None:
    """An event carries all names of its scope, its measurements and its metadata."""
    scope = Scope(experiment="e", condition="c", test="t", case="k", trial=2, attempt=1)
    with inside(open_scope(scope, store, 7)):
        telemetry.execute("x", {"n": 1}, {"k": "v"})
    (event,) = events(store)
    assert event.scope == scope
    assert (event.name, event.measurements, event.metadata) == ("x", {"n": 1}, {"k": "v"})
    assert (event.attribution, event.degraded) == ("context", 0)


def test_context_decides_between_open_experiments(store: MemoryStore) -> None:
    """With several experiments open, each event goes to the one of its context."""
    first, second = open_in(store, "first"), open_in(store, "second", 2)
    with inside(first):
        telemetry.execute("a")
        with inside(second):
            telemetry.execute("b")
        telemetry.execute("c")
    assert summary(store) == [
        ("a", "first", "context"),
        ("b", "second", "context"),
        ("c", "first", "context"),
    ]


def test_tasks_and_copied_contexts_keep_their_scope(store: MemoryStore) -> None:
    """Tasks, `to_thread` and `copy_context().run` in a thread belong to their scope exactly."""
    open_in(store, "other", 2)

    async def work() -> None:
        telemetry.execute("task")
        await asyncio.to_thread(telemetry.execute, "to_thread")

    with inside(open_in(store)):
        asyncio.run(work())
        in_thread(contextvars.copy_context().run, telemetry.execute, "copied")
    assert summary(store) == [
        ("task", "e", "context"),
        ("to_thread", "e", "context"),
        ("copied", "e", "context"),
    ]


def test_bare_thread_belongs_to_the_sole_experiment(store: MemoryStore) -> None:
    """An event of a thread without context goes to the only open experiment, innermost scope."""
    open_in(store)
    inner = open_scope(Scope(experiment="e", test="t"), store, 2)
    in_thread(telemetry.execute, "x", {"n": 1})
    close_scope(inner)
    in_thread(telemetry.execute, "y")
    assert summary(store) == [("x", "e", "sole"), ("y", "e", "sole")]
    assert [event.scope and event.scope.test for event in events(store)] == ["t", None]


def test_bare_thread_between_two_experiments_is_never_guessed(store: MemoryStore) -> None:
    """With two experiments open, an event without context is kept once as unattributed."""
    open_in(store, "first")
    open_in(store, "second", 2)
    in_thread(telemetry.execute, "x")
    assert summary(store) == [("x", None, "unattributed")]


def test_unattributed_event_is_told_to_every_store() -> None:
    """Each store that the event may belong to has it, so each record says that it is incomplete."""
    first, second = MemoryStore(), MemoryStore()
    open_in(first)
    open_in(second)
    in_thread(telemetry.execute, "x")
    assert summary(first) == summary(second) == [("x", None, "unattributed")]


def test_event_after_the_end_of_its_scope_is_late(store: MemoryStore) -> None:
    """What a scope's context emits after its end is kept as late, not given to another one."""
    opened = open_in(store)
    open_in(store, "next", 2)
    with inside(opened):
        close_scope(opened)
        telemetry.execute("x")
    assert summary(store) == [("x", "e", "late")]


def test_paused_scope_records_nothing(store: MemoryStore) -> None:
    """Between pause and resume nothing is recorded, neither by context nor from bare threads."""
    with inside(open_in(store)) as opened:
        pause_scope(opened)
        telemetry.execute("x")
        in_thread(telemetry.execute, "x")
        resume_scope(opened)
        telemetry.execute("y")
        in_thread(telemetry.execute, "z")
    assert summary(store) == [("y", "e", "context"), ("z", "e", "sole")]


def test_recording_into_a_scope_ignores_pause_and_handlers(store: MemoryStore) -> None:
    """The plugin's own events are recorded also while paused, and no handler hears them."""
    heard: list[str] = []
    telemetry.attach("a", "*", lambda name, *_: heard.append(name))
    opened = open_in(store)
    pause_scope(opened)
    record_into(opened, "crucible.record", {"n": 1}, {})
    assert summary(store) == [("crucible.record", "e", "context")]
    assert heard == []


def test_nobody_listens_without_an_open_scope(store: MemoryStore) -> None:
    """The bus listens from the first scope's opening until the last has been closed."""
    assert not telemetry.enabled("x")
    first, second = open_in(store), open_in(store, number=2)
    close_scope(first)
    stop_listening()
    assert telemetry.enabled("x")
    close_scope(second)
    stop_listening()
    assert not telemetry.enabled("x")


def test_event_with_no_experiment_open_goes_nowhere(store: MemoryStore) -> None:
    """Without an open experiment a context-free event is in no record."""
    close_scope(open_in(store))
    in_thread(telemetry.execute, "x")
    assert summary(store) == []


# --- values ------------------------------------------------------------------------------------


def test_caller_may_change_its_dicts_afterwards(store: MemoryStore) -> None:
    """An event holds what the caller's dicts held when it was emitted, however deep."""
    measurements, metadata = {"n": 1}, {"tools": [{"name": "search"}]}
    with inside(open_in(store)):
        telemetry.execute("x", measurements, metadata)
    measurements["n"] = 2
    metadata["tools"][0]["name"] = "changed"
    (event,) = events(store)
    assert event.measurements == {"n": 1}
    assert event.metadata == {"tools": [{"name": "search"}]}


@pytest.mark.parametrize("bare", [False, True], ids=["in context", "in a bare thread"])
def test_odd_values_do_not_reach_the_code_under_test(store: MemoryStore, bare: bool) -> None:
    """Values that msgpack cannot hold are kept as text and counted, and nothing raises."""
    cycle: list[object] = []
    cycle.append(cycle)

    def emit() -> None:
        moment = datetime(2026, 1, 1, tzinfo=tzinfo())  # type: ignore[abstract]
        metadata = {"text": "\ud800", "moment": moment, "ok": 1}
        telemetry.execute("x", {"big": 2**64, "cycle": cycle}, metadata)

    opened = open_in(store)
    if bare:
        in_thread(emit)
    else:
        with inside(opened):
            emit()
    (event,) = events(store)
    assert event.measurements == {"big": str(2**64), "cycle": ["..."]}
    assert event.metadata["text"] == "'\\ud800'"
    assert event.metadata["moment"].startswith("datetime.datetime(2026, 1, 1")
    assert event.metadata["ok"] == 1
    assert event.degraded == 4
    assert event.attribution == ("sole" if bare else "context")


def test_numpy_scalars_are_plain_numbers(store: MemoryStore) -> None:
    """NumPy scalars are recorded as numbers and are no degradation."""
    with inside(open_in(store)):
        telemetry.execute("x", {"a": np.float32(0.5), "b": np.int64(2)}, {"c": np.bool_(True)})
    (event,) = events(store)
    assert (event.measurements, event.metadata) == ({"a": 0.5, "b": 2}, {"c": True})
    assert event.degraded == 0


def test_what_is_no_mapping_is_kept(store: MemoryStore) -> None:
    """Measurements that are no mapping are kept under `value`; a name that is no text as text."""
    with inside(open_in(store)):
        telemetry.execute(5, [1, 2], "text")  # type: ignore[arg-type]
    (event,) = events(store)
    assert event.name == "5"
    assert (event.measurements, event.metadata) == ({"value": [1, 2]}, {"value": "text"})


# --- signals and threads -----------------------------------------------------------------------


class InterruptingZone(tzinfo):
    """A time zone during whose encoding a signal arrives: encoding a moment asks for its offset."""

    def utcoffset(self, moment: datetime | None) -> timedelta:
        signal.raise_signal(signal.SIGUSR1)
        return timedelta(0)

    def dst(self, moment: datetime | None) -> None:
        return None

    def tzname(self, moment: datetime | None) -> None:
        return None


@pytest.fixture
def _signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("_signals")
@pytest.mark.parametrize("kind", [ValueError, RuntimeError, IndexError])
def test_signal_handlers_exception_is_not_swallowed(
    store: MemoryStore, kind: type[Exception]
) -> None:
    """What a signal handler raises while an event is encoded gets out, and the event is kept."""

    def raise_once(*_: object) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        raise kind("time is up")

    signal.signal(signal.SIGUSR1, raise_once)
    moment = datetime(2026, 1, 1, tzinfo=InterruptingZone())
    with inside(open_in(store)), pytest.raises(kind, match="time is up"):
        telemetry.execute("x", {"at": moment})
    (event,) = events(store)
    assert (event.measurements, event.degraded) == ({"at": datetime(2026, 1, 1, tzinfo=UTC)}, 0)


@pytest.mark.usefixtures("_signals")
def test_event_while_another_is_encoded(store: MemoryStore) -> None:
    """Both are whole, though the inner one is encoded in the middle of the outer one."""
    signal.signal(
        signal.SIGUSR1, lambda *_: telemetry.execute("inner", {"n": 1}, {"pad": "y" * 50})
    )
    moment = datetime(2026, 1, 1, tzinfo=InterruptingZone())
    with inside(open_in(store)):
        for _ in range(1000):
            telemetry.execute("outer", {"at": moment}, {"pad": "x" * 50})
    assert [event.name for event in events(store)] == ["inner", "outer"] * 1000
    assert {str(event.metadata) for event in events(store)} == {
        str({"pad": "x" * 50}),
        str({"pad": "y" * 50}),
    }


@pytest.mark.usefixtures("_signals")
def test_signal_handler_may_emit(store: MemoryStore) -> None:
    """An event from a signal handler is recorded, whatever it interrupts, even the recorder."""

    def emit(*_: object) -> None:
        telemetry.execute("from.handler")

    signal.signal(signal.SIGUSR1, emit)
    open_in(store)

    thread = threading.Thread(target=emit)
    with _recorder._lock:  # held by the code that the handler interrupts
        thread.start()
        thread.join(timeout=10)
        assert not thread.is_alive()
    signal.raise_signal(signal.SIGUSR1)
    assert summary(store) == [("from.handler", "e", "sole")] * 2


def test_threads_lose_nothing(store: MemoryStore) -> None:
    """Events of four threads at once are all there, each thread's in its own order."""
    with inside(open_in(store)):

        def work(thread: int) -> None:
            for number in range(2_000):
                telemetry.execute("x", {"thread": thread, "number": number})

        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(work, thread))
            for thread in range(4)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    numbers: dict[int, list[int]] = {}
    for event in events(store):
        numbers.setdefault(event.measurements["thread"], []).append(event.measurements["number"])
    assert numbers == {thread: list(range(2_000)) for thread in range(4)}


# --- what only an attack finds -----------------------------------------------------------------


@pytest.mark.parametrize("kind", [AttributeError, IndexError, KeyError, OSError, ZeroDivisionError])
def test_whatever_a_value_raises_stays_out_of_the_code_under_test(
    store: MemoryStore, kind: type[Exception]
) -> None:
    """A value whose own code raises while it is encoded is kept as text, whatever it raises."""

    class Zone(InterruptingZone):
        def utcoffset(self, moment: datetime | None) -> timedelta:
            raise kind

    with inside(open_in(store)):
        telemetry.execute("x", {"at": datetime(2026, 1, 1, tzinfo=Zone())})
    (event,) = events(store)
    assert event.degraded == 1


@pytest.mark.usefixtures("_signals")
@pytest.mark.parametrize("end", [close_scope, pause_scope])
def test_exception_of_a_handler_that_ends_the_scope(
    store: MemoryStore, end: Callable[[OpenScope], None]
) -> None:
    """A signal handler may end or pause the experiment and raise; that is not swallowed."""

    def give_up(*_: object) -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        end(opened)
        raise RuntimeError("time is up")

    signal.signal(signal.SIGUSR1, give_up)
    opened = open_in(store)
    with inside(opened), pytest.raises(RuntimeError, match="time is up"):
        telemetry.execute("x", {"at": datetime(2026, 1, 1, tzinfo=InterruptingZone())})
