"""No frame is lost, doubled or torn, whatever happens at any place where Python sees to signals."""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pytest_crucible import telemetry
from pytest_crucible.capture.open_scope import current_scope
from pytest_crucible.capture.recorder import close_scope, open_scope, stop_listening
from pytest_crucible.events.scope import Scope
from pytest_crucible.record import memory, spool, spool_reader
from pytest_crucible.record.memory import MemoryStore
from pytest_crucible.record.spool import SpoolStore
from pytest_crucible.record.store import Store
from tests.record.support import SMALL, header, numbers, read

# Signal handlers run after these, and as a function begins; so does another thread.
_THEN = {dis.opmap[name] for name in ("CALL", "CALL_FUNCTION_EX", "JUMP_BACKWARD")}
EVENTS = 10
PAD = {"pad": "x" * 700}


class Interrupt:
    """Acts at one of the places where a signal handler may run within this package."""

    def __init__(self, place: int, act: Callable[[], object]) -> None:
        self.place = place
        self.act = act
        self.seen = 0
        self.happened = False
        self._last: dict[FrameType, int] = {}

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        if "pytest_crucible" not in frame.f_code.co_filename:
            return None
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            self._reached()
        elif event == "opcode":
            if self._last.get(frame) in _THEN:
                self._reached()
            self._last[frame] = frame.f_code.co_code[frame.f_lasti]
        elif event == "return":
            self._last.pop(frame, None)
        return self

    def _reached(self) -> None:
        self.seen += 1
        if self.seen == self.place:
            self.happened = True
            sys.settrace(None)
            self.act()


class _Recording:
    """Events by number, and which of them were recorded for certain."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.emitted: list[int] = []

    def emit(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            telemetry.execute("x", {"n": number}, PAD)
            self.emitted.append(number)

    def check(self) -> None:
        """All are there once, in order as far as it is known; beside them the interrupted one."""
        found = numbers(self.store.frames())
        assert len(found) == len(set(found))
        assert set(self.emitted) <= set(found)
        assert len(found) <= len(self.emitted) + 1
        positions = [position for position, _ in self.store.frames()]
        assert positions == sorted(set(positions))


@pytest.fixture(params=["memory", "spool"])
def places(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Iterator[tuple[int, _Recording]]]:
    """Makes a fresh recording per place, for as long as there is one more to act at."""
    monkeypatch.setattr(memory, "CHUNK", 8)
    monkeypatch.setattr(spool, "SEGMENT", SMALL)
    monkeypatch.setattr(spool_reader, "SEGMENT", SMALL)

    def make(place: int) -> Store:
        if request.param == "memory":
            return MemoryStore()
        return SpoolStore(tmp_path / f"{place}.spool", header())

    def each() -> Iterator[tuple[int, _Recording]]:
        for place in range(1, 10_000):
            store = make(place)
            opened = open_scope(Scope(experiment="e"), store, 1)
            token = current_scope.set(opened)
            try:
                yield place, _Recording(store)
            finally:
                current_scope.reset(token)
                close_scope(opened)
                stop_listening()
                assert store.notes() == []
                store.close()
            if isinstance(store, SpoolStore):
                assert set(numbers(enumerate(read(store.path)))) == set(numbers(store.frames()))

    return each


def _run(
    recording: _Recording,
    place: int,
    act: Callable[[], object],
    work: Callable[[], object] | None = None,
) -> bool:
    """Emit, or do other work; at the place, act. Returns whether there was such a place."""
    interrupt, before = Interrupt(place, act), sys.gettrace()
    sys.settrace(interrupt)
    try:
        if work is None:
            recording.emit(0, EVENTS)
        else:
            work()
    finally:
        sys.settrace(before)
    return interrupt.happened


Places = Callable[[], Iterator[tuple[int, _Recording]]]


@pytest.mark.parametrize(
    "kind", [KeyboardInterrupt, ValueError, IndexError, RuntimeError, KeyError, TimeoutError]
)
def test_an_exception_at_any_place(places: Places, kind: type[BaseException]) -> None:
    """What a signal handler raises gets out, wherever it comes, and recording goes on as before."""

    def act() -> None:
        raise kind

    for place, recording in places():
        try:
            assert not _run(recording, place, act), "the exception was swallowed"
        except kind:
            recording.emit(100, 40)
            recording.check()
        else:
            break
    assert place > EVENTS


def test_events_at_any_place(places: Places) -> None:
    """A signal handler, or another thread, may emit many events wherever it comes."""
    for place, recording in places():
        if not _run(recording, place, lambda: recording.emit(1000, 30)):  # noqa: B023  (called here)
            break
        recording.check()
    assert place > EVENTS


def test_reading_at_any_place(places: Places) -> None:
    """A signal handler may read the record wherever it comes: all that was emitted is there."""
    for place, recording in places():
        if not _run(recording, place, recording.check):
            break
        recording.check()
    assert place > EVENTS


def test_events_at_any_place_of_reading(places: Places) -> None:
    """Whoever reads gets what was there, though buffers go round many times meanwhile."""
    for place, recording in places():
        found: list[int] = []
        recording.emit(0, EVENTS)
        there = _run(
            recording,
            place,
            lambda: recording.emit(1000, 30),  # noqa: B023  (called here)
            lambda: found.extend(numbers(recording.store.frames())),  # noqa: B023
        )
        assert [number for number in found if number < 1000] == list(range(EVENTS))
        assert len(found) == len(set(found))
        if not there:
            break
        recording.check()
