"""Buffers that stores lend for encoding: what is kept comes back, whoever holds what meanwhile."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.capture.frames import NoteFrame, encode
from pytest_crucible.record.memory import CHUNK, MemoryStore
from pytest_crucible.record.spool import SpoolStore
from pytest_crucible.record.store import Store
from tests.record.support import event, header, numbers, run

Make = Callable[[Path], Store]
MAKE: dict[str, Make] = {
    "memory": lambda folder: MemoryStore(),
    "spool": lambda folder: SpoolStore(folder / "main.spool", header()),
}
each_store = pytest.mark.parametrize("kind", sorted(MAKE))


@contextmanager
def made(kind: str) -> Iterator[Store]:
    with TemporaryDirectory() as folder:
        store = MAKE[kind](Path(folder))
        try:
            yield store
        finally:
            store.close()


def put(store: Store, data: bytes) -> None:
    """Keep a frame as ``execute`` does: in a buffer, if there is one."""
    try:
        buffer = store.take()
    except IndexError:
        store.append(data)
    else:
        buffer[:] = data
        store.keep(buffer)


@each_store
@given(sizes=st.lists(st.tuples(st.booleans(), st.integers(0, 3000)), max_size=600))
def test_both_ways_come_back_in_order(kind: str, sizes: list[tuple[bool, int]]) -> None:
    """Frames of any size, in a buffer or as bytes, come back in the order in which they came."""
    with made(kind) as store:
        for lent, size in sizes:
            data = encode(NoteFrame("x" * size))
            if lent:
                put(store, data)
            else:
                store.append(data)
        found = [frame for _, frame in store.frames() if isinstance(frame, NoteFrame)]
        assert [len(frame.text) for frame in found] == [size for _, size in sizes]


@each_store
def test_threads_lose_nothing(kind: str) -> None:
    """Frames of four threads at once are all there, each thread's in its own order."""
    count = 5_000

    def work(thread: int) -> None:
        for number in range(count):
            put(store, event(thread * count + number))

    with made(kind) as store:
        run([threading.Thread(target=work, args=(thread,)) for thread in range(4)])
        found = numbers(store.frames())
    for thread in range(4):
        own = [number for number in found if number // count == thread]
        assert own == list(range(thread * count, (thread + 1) * count))


@each_store
def test_nobody_else_has_a_lent_buffer(kind: str) -> None:
    """While a buffer is lent, others get other ones or none; frames stand in order of keeping."""
    with made(kind) as store:
        first = store.take()
        first[:] = event(1)
        for number in range(2, 2 * CHUNK):
            put(store, event(number))
            assert first == event(1)
        store.keep(first)
        assert numbers(store.frames()) == [*range(2, 2 * CHUNK), 1]


@each_store
def test_lost_buffers_are_replaced(kind: str) -> None:
    """Buffers that never come back (encoding raised) do not make the store run out of them."""
    with made(kind) as store:
        for number in range(3):
            while True:
                try:
                    store.take()
                except IndexError:
                    break
            put(store, event(number))  # must go another way
            assert store.take() == b""
        assert numbers(store.frames()) == [0, 1, 2]


@each_store
def test_memory_of_large_frames_is_given_back(kind: str) -> None:
    """One huge event does not leave a huge buffer behind."""
    with made(kind) as store:
        put(store, encode(NoteFrame("x" * 5_000_000)))
        for number in range(2 * CHUNK + 10):
            put(store, event(number))
        lent: list[bytearray] = []
        while len(lent) < CHUNK:
            try:
                lent.append(store.take())
            except IndexError:
                break
        assert lent
        assert max(map(sys.getsizeof, lent)) < 10_000


def test_there_are_buffers_while_another_thread_seals() -> None:
    """Who seals may have to wait for its turn; the others do not run out of buffers meanwhile."""
    store = MemoryStore()
    with store._sealing:
        without = 0
        for number in range(4 * CHUNK):
            try:
                buffer = store.take()
            except IndexError:
                without += 1
                store.append(event(number))
            else:
                buffer[:] = event(number)
                store.keep(buffer)
    assert without <= 4
    store.append(event(4 * CHUNK))
    assert numbers(store.frames()) == list(range(4 * CHUNK + 1))
    assert len(store._free) == CHUNK
