"""The memory store."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible._frames import EVENT_TAG, NoteFrame, encode
from pytest_crucible.stores.memory import CHUNK, MemoryStore
from tests.stores.support import event, numbers, positions, run


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
