"""Frames in memory, in sealed chunks.

Buffers go round: lent from the free ones, kept at the tail, and, once as many frames as a chunk
holds are copied into one, free again. So recording an event makes no object, and when no buffer is
free it is time to seal: nobody has to look at each event whether it is.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Iterator

import msgspec

from pytest_crucible._forks import in_child
from pytest_crucible.capture.frames import UNREADABLE, Frame, decode, decode_frame, unreadable

CHUNK = 256
"""Frames in a sealed chunk: few enough to seal in no time, enough to make objects rare."""

_LARGE = 1 << 20  # bytes; the buffers of such a chunk are not kept to be lent again
_decode_chunk = msgspec.msgpack.Decoder(list[Frame]).decode
_split_chunk = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_BEGINNING = re.compile(rb"[\x90-\x9f][\x00-\x07]")
"""Of a frame, in msgpack: an array of less than 16 items, the first of which tells its kind."""
_ARRAY_32 = b"\xdd"  # msgpack's mark for an array with a 32-bit length


class MemoryStore:
    """Keeps frames for as long as the process lives; 126 bytes an event at a million."""

    def __init__(self) -> None:
        self._free = [bytearray() for _ in range(CHUNK)]
        self._tail: list[bytearray] = []
        # Each is one C call: atomic for threads and signal handlers without a lock.
        self.take = self._free.pop
        self.keep = self._tail.append
        self._chunks: list[bytes] = []
        self._sealed = 0
        self._cleared = 0  # how many of the sealed ones are gone
        self._sealing = threading.Lock()
        _stores.add(self)

    def append(self, data: bytes) -> None:
        self._tail.append(bytearray(data))
        if len(self._tail) >= CHUNK or not self._free:
            self._seal()

    def _seal(self) -> None:
        # Whoever holds the lock seals, also for us: a signal handler must not wait for the code
        # that it interrupts. Not a try-lock: an exception of a signal handler's between acquiring
        # it and "try" would leave it locked.
        if self._sealing.locked():
            if not self._free:  # who seals may have to wait for its turn; events go on meanwhile
                self._free.extend([bytearray() for _ in range(CHUNK)])
            return
        with self._sealing:
            frames = [*self._tail]
            chunk, count = _chunk(frames), len(frames)
            new, gone = [chunk], slice(count)
            # Signal handlers and other threads get their turn after calls, so they see these three
            # lines as one. Delete, do not swap: swapping the list for a new one lost 12 to 446 of
            # 200,000 events with four threads, because append had already looked up the old one.
            self._chunks += new
            self._sealed += count
            del self._tail[gone]
            self._free_again(frames if len(chunk) < _LARGE else [])

    def _free_again(self, buffers: list[bytearray]) -> None:
        """Let buffers be lent again; new ones take the place of those that got lost."""
        missing = max(0, CHUNK - len(self._free))
        self._free.extend(buffers[:missing])
        self._free.extend([bytearray() for _ in range(missing - len(buffers))])

    def position(self) -> int:
        return self._sealed + len(self._tail)

    def frames(self, since: int = 0) -> Iterator[tuple[int, Frame]]:
        # Without the lock, so that a signal handler may read. Up to the join these lines are one,
        # see `_seal`; after it the buffers may be lent again.
        chunks, tail, position = [*self._chunks], [*self._tail], self._cleared
        rest = b"".join(tail)
        for chunk in [*chunks, _array(len(tail)) + rest]:
            count = int.from_bytes(chunk[1:5], "big")
            if position + count <= since:
                position += count
                continue
            for frame in _frames(chunk, count):
                if position >= since:
                    yield position, frame
                position += 1

    def clear(self) -> None:
        """Forget everything. Positions go on, so that what comes later is not taken for it."""
        with self._sealing:
            until = self.position()
            gone = slice(until - self._sealed)
            self._sealed = self._cleared = until
            del self._chunks[:], self._tail[gone]
            self._free_again([])

    def notes(self) -> list[str]:
        return []

    def close(self) -> None:
        """Nothing to do: memory needs no footer."""


_stores: weakref.WeakSet[MemoryStore] = weakref.WeakSet()


def _renew_locks() -> None:
    for store in list(_stores):
        store._sealing = threading.Lock()


# Another thread of the parent may be sealing as a child is forked.
in_child(_renew_locks)


def _frames(chunk: bytes, count: int) -> list[Frame]:
    try:
        return _decode_chunk(chunk)
    except UNREADABLE:  # one frame cannot be read; it must not take 255 others with it
        pass
    try:
        return [decode(each) for each in _split_chunk(chunk)]
    except UNREADABLE as error:
        lost = unreadable(error)
        return [*_searched(chunk, lost), *[lost] * count][:count]  # so that positions stay


def _searched(chunk: bytes, lost: Frame) -> list[Frame]:
    """The frames of a chunk in which one does not end where it says; ``lost`` in place of that.

    Such is a dict that was changed while it was encoded (by its time zone's code, or by a thread
    that got its turn there): it holds more or fewer items than it says.
    """
    found = []
    borders = [each.start() for each in _BEGINNING.finditer(chunk, 5)] + [len(chunk)]
    at = 0
    while at < len(borders) - 1:
        for end in range(at + 1, len(borders)):
            try:
                frame = decode_frame(chunk[borders[at] : borders[end]])
            except UNREADABLE:
                continue
            found.append(frame)
            at = end
            break
        else:
            if not found or found[-1] is not lost:
                found.append(lost)
            at += 1
    return found


def _chunk(frames: list[bytearray]) -> bytes:
    return b"".join([_array(len(frames)), *frames])


def _array(length: int) -> bytes:
    return _ARRAY_32 + length.to_bytes(4, "big")
