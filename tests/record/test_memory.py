"""The memory store."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.capture.frames import EVENT_TAG, NoteFrame, encode
from pytest_crucible.record.memory import CHUNK, MemoryStore
from tests.record.support import event, numbers, positions, run


@given(st.integers(0, 3 * CHUNK + 1), st.integers(0, 3 * CHUNK + 1))
def test_frames_come_back_in_order(before: int, after: int) -> None:
    """All frames come back in order, and those since a position are the ones appended after it."""
    store = MemoryStore()
    for number in range(before):
        store.append(event(number))
    position = store.position()
    for number in range(before, before + after):
        store.append(event(number))
    assert numbers(store.frames()) == list(range(before + after))
    assert numbers(store.frames(position)) == list(range(before, before + after))
    assert positions(store) == list(range(before + after))


@pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, CHUNK + 1])
def test_positions_do_not_change_when_a_chunk_is_sealed(count: int) -> None:
    """The position of a frame is its number, before and after its chunk is sealed."""
    store = MemoryStore()
    for number in range(count):
        assert store.position() == number
        store.append(event(number))
    assert numbers(store.frames(count - 1)) == [count - 1]
    assert numbers(store.frames(count)) == []


def test_reading_does_not_disturb_writing() -> None:
    """What is appended while frames are read is in the next reading, not lost."""
    store = MemoryStore()
    for number in range(CHUNK + 10):
        store.append(event(number))
    for position, _ in store.frames():
        store.append(event(CHUNK + 10 + position))
    assert numbers(store.frames()) == list(range(2 * (CHUNK + 10)))


def test_threads_lose_nothing() -> None:
    """Frames of four threads at once are all there, each thread's in its own order."""
    store = MemoryStore()

    def work(thread: int) -> None:
        for number in range(5_000):
            store.append(event(thread * 5_000 + number))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    run(threads)
    found = numbers(store.frames())
    assert sorted(found) == list(range(20_000))
    for thread in range(4):
        mine = [number for number in found if number // 5_000 == thread]
        assert mine == sorted(mine)


def test_append_while_sealing_does_not_wait() -> None:
    """A signal handler that appends while its own thread seals neither waits nor loses a frame."""
    store = MemoryStore()
    with store._sealing:
        for number in range(CHUNK + 1):
            store.append(event(number))
    store.append(event(CHUNK + 1))
    assert numbers(store.frames()) == list(range(CHUNK + 2))


@dataclass(frozen=True)
class Key:
    name: str


@pytest.mark.parametrize("count", [3, CHUNK + 3])
def test_a_frame_that_cannot_be_read_takes_no_other_with_it(count: int) -> None:
    """An event that was encoded but cannot be decoded is told as a note; the others are read."""
    store = MemoryStore()
    store.append(encode((EVENT_TAG, 0, "x", 0, {Key("a"): 1}, None)))
    for number in range(count):
        store.append(event(number))
    (_, first), *_ = store.frames()
    assert isinstance(first, NoteFrame)
    assert numbers(store.frames()) == list(range(count))


def test_memory_is_always_complete() -> None:
    """A memory store has nothing to note and may be closed at any time."""
    store = MemoryStore()
    store.append(event(1))
    store.close()
    store.close()
    assert store.notes() == []
    assert numbers(store.frames()) == [1]


def test_memory_is_given_back_by_clearing() -> None:
    """The buffers of large frames that were not yet sealed are no longer held, either."""
    store = MemoryStore()
    for _ in range(20):
        buffer = store.take()
        buffer[:] = encode(NoteFrame("x" * 100_000))
        store.keep(buffer)
    store.clear()
    assert max(sys.getsizeof(store.take()) for _ in range(CHUNK)) < 1000


@pytest.mark.parametrize(
    "data",
    [
        b"\x96\x00\x00\xa1x\x00\x83\xa1n\x01\xc0",  # three pairs are told, one is there
        b"\x96\x00\x00\xa1x\x00\x81\xa1n\x01\xa1m\x02\xc0",  # one is told, two are there
    ],
)
def test_torn_frame_takes_no_other_with_it(data: bytes) -> None:
    """The frame of a dict that changed while it was encoded is lost, but none around it."""
    store = MemoryStore()
    for number in range(2 * CHUNK):
        store.append(data if number == 100 else event(number))
    others = [number for number in range(2 * CHUNK) if number != 100]
    assert numbers(store.frames()) == others
    found = dict(store.frames())
    assert len(found) == 2 * CHUNK
    assert isinstance(found[100], NoteFrame)


def test_deep_frame_that_the_stack_has_no_room_for() -> None:
    """A reader deep in the stack that cannot decode a deep frame still gets the others."""
    value: object = 1
    for _ in range(sys.getrecursionlimit() - 300):
        value = [value]
    store = MemoryStore()
    for frame in (event(1), encode((EVENT_TAG, 0, "x", 0, {"n": value}, None)), event(2)):
        store.append(frame)

    def deeper(levels: int) -> list[int]:
        return deeper(levels - 1) if levels else numbers(store.frames())

    assert deeper(500) == [1, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_child_of_a_fork_goes_on_though_a_thread_was_sealing() -> None:
    """What another thread of the parent held when a child was forked, is free in the child."""
    # In a process of its own: forking one that has threads, as a worker has, draws a warning.
    code = """if True:
        import os, signal, threading
        from pytest_crucible import telemetry
        from pytest_crucible.capture import recorder as _recorder, sampler as _sampler
        from pytest_crucible.experiments import library

        plain = library.start("plain")
        sampled = library.start("sampled", sampling="uniform:1")
        held, done = threading.Event(), threading.Event()

        def hold():
            with plain._record._store._sealing, sampled.opened.sampler._lock, _recorder._lock:
                held.set()
                done.wait()

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        child = os.fork()
        if child == 0:
            signal.alarm(10)
            for handle in (plain, sampled):
                for _ in range(1000):
                    handle.execute("x")
                assert len(handle.events) == 1000
                library.cleanup(handle)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        done.set()
        thread.join()
        raise SystemExit(status)
    """
    command = [sys.executable, "-W", "ignore", "-c", code]
    assert subprocess.run(command, timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("count", [0, 1, CHUNK, CHUNK + 3])
def test_a_store_knows_whether_it_holds_bytes(count: int) -> None:
    """Sealed or not, and no longer once it is cleared."""
    store = MemoryStore()
    store.append(encode(NoteFrame("needle")))
    for number in range(count):
        store.append(event(number))
    assert (store.holds(b"needle"), store.holds(b"other")) == (True, False)
    assert not store.holds(b"needle", since=CHUNK) or count < CHUNK
    store.append(encode(NoteFrame("other")))
    assert store.holds(b"other", since=count + 1)
    store.clear()
    assert not store.holds(b"needle")
