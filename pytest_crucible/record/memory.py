"""Frames in memory, in sealed chunks.

The store reuses its buffers. It lends a free buffer; the caller fills it and gives it back, and it
waits in the tail. When no buffer is free, the tail is *sealed*: its frames are copied into one
chunk, and its buffers are free again. So recording an event makes no object, and no event has to
check whether it is time to seal.
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
"""Frames in a sealed chunk: few enough to seal fast, enough to make few objects."""

_LARGE = 1 << 20  # bytes; the buffers of a chunk as large as this are not used again
_decode_chunk = msgspec.msgpack.Decoder(list[Frame]).decode
_split_chunk = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_BEGINNING = re.compile(rb"[\x90-\x9f][\x00-\x07]")
"""How a frame begins in msgpack: an array of less than 16 items, whose first is its kind."""
_ARRAY_32 = b"\xdd"  # msgpack's mark for an array with a 32-bit length


class MemoryStore:
    """Keeps frames as long as the process lives: 126 bytes an event, at a million events."""

    def __init__(self) -> None:
        self._free = [bytearray() for _ in range(CHUNK)]
        self._tail: list[bytearray] = []
        # `take` and `keep` are one C call each: atomic for threads and signal handlers, no lock.
        self.take = self._free.pop
        self.keep = self._tail.append
        self._chunks: list[bytes] = []
        self._sealed = 0
        self._cleared = 0  # how many of the sealed frames `clear` has removed
        self._sealing = threading.Lock()
        _stores.add(self)

    def append(self, data: bytes) -> None:
        """Keep one encoded frame, see `Store.append`."""
        self._tail.append(bytearray(data))
        if len(self._tail) >= CHUNK or not self._free:
            self._seal()

    def _seal(self) -> None:
        # If the lock is held, its holder seals our frames, too. We do not wait for it, because a
        # signal handler would wait for the code that it interrupted. Not a try-lock: if a signal
        # handler raised between acquiring it and "try", it would stay locked.
        if self._sealing.locked():
            if not self._free:  # the holder may be waiting for the GIL while events go on
                self._free.extend([bytearray() for _ in range(CHUNK)])
            return
        with self._sealing:
            frames = [*self._tail]
            chunk, count = _chunk(frames), len(frames)
            new, gone = [chunk], slice(count)
            # Signal handlers and other threads run only after a call, so to them these three lines
            # are one step. Delete items, do not replace the list: that lost 12 to 446 of 200,000
            # events with four threads, because append had already looked up the old list.
            self._chunks += new
            self._sealed += count
            del self._tail[gone]
            self._free_again(frames if len(chunk) < _LARGE else [])

    def _free_again(self, buffers: list[bytearray]) -> None:
        """Make buffers free again, and make new ones for buffers that got lost."""
        missing = max(0, CHUNK - len(self._free))
        self._free.extend(buffers[:missing])
        self._free.extend([bytearray() for _ in range(missing - len(buffers))])

    def position(self) -> int:
        """Return the number of the next frame, counting from the first frame ever kept."""
        return self._sealed + len(self._tail)

    def frames(self, since: int = 0) -> Iterator[tuple[int, Frame]]:
        """Yield the frames from position ``since`` on, see `Store.frames`."""
        # Without the lock, so that a signal handler may read. To other threads the lines up to the
        # join are one step, see `_seal`; after the join the buffers may be lent again.
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

    def holds(self, data: bytes, since: int = 0) -> bool:
        """Return whether the frames from a position on contain these bytes, see `Store.holds`."""
        chunks, tail, position = [*self._chunks], [*self._tail], self._cleared  # as in `frames`
        for chunk in chunks:
            position += int.from_bytes(chunk[1:5], "big")
            if position > since and data in chunk:
                return True
        return any(data in frame for frame in tail)

    def clear(self) -> None:
        """Remove all frames. Positions continue, so later frames cannot be mistaken for these."""
        with self._sealing:
            until = self.position()
            gone = slice(until - self._sealed)
            self._sealed = self._cleared = until
            del self._chunks[:], self._tail[gone]
            self._free_again([])

    def notes(self) -> list[str]:
        """Return no notes: a record in memory is always complete."""
        return []

    def close(self) -> None:
        """Do nothing: a record in memory needs no footer."""


_stores: weakref.WeakSet[MemoryStore] = weakref.WeakSet()


def _renew_locks() -> None:
    for store in list(_stores):
        store._sealing = threading.Lock()


# Another thread of the parent may be sealing when a child is forked.
in_child(_renew_locks)


def _frames(chunk: bytes, count: int) -> list[Frame]:
    try:
        return _decode_chunk(chunk)
    except UNREADABLE:  # one frame cannot be read; the other 255 must not be lost with it
        pass
    try:
        return [decode(each) for each in _split_chunk(chunk)]
    except UNREADABLE as error:
        lost = unreadable(error)
        return [*_searched(chunk, lost), *[lost] * count][:count]  # positions must not change


def _searched(chunk: bytes, lost: Frame) -> list[Frame]:
    """Find the frames of a chunk that holds a frame of the wrong length; ``lost`` replaces that.

    Such a frame holds a dict that changed while it was encoded (by the code of a time zone in it,
    or by another thread that ran meanwhile): it has more or fewer items than its length says.
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
