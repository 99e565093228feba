"""Frames in memory, in sealed chunks.

Buffers go round: lent from the free ones, kept at the tail, and, once as many frames as a chunk
holds are copied into one, free again. So recording an event makes no object, and when no buffer is
free it is time to seal: nobody has to look at each event whether it is.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import msgspec

from pytest_crucible._frames import Frame, decode

CHUNK = 256
"""Frames in a sealed chunk: few enough to seal in no time, enough to make objects rare."""

_LARGE = 1 << 20  # bytes; the buffers of such a chunk are not kept to be lent again
_decode_chunk = msgspec.msgpack.Decoder(list[Frame]).decode
_split_chunk = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
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

    def append(self, data: bytes) -> None:
        self._tail.append(bytearray(data))
        if len(self._tail) >= CHUNK or not self._free:
            self._seal()

    def _seal(self) -> None:
        # A try-lock: whoever holds it seals, also for us; waiting could deadlock a signal
        # handler. Copy a slice, then delete it: swapping the list for a new one lost 12 to 446
        # of 200,000 events with four threads, because append had already looked up the old one.
        if not self._sealing.acquire(blocking=False):
            return
        try:
            frames = self._tail[:]
            chunk = _chunk(frames)
            self._chunks.append(chunk)
            self._sealed += len(frames)
            del self._tail[: len(frames)]
            self._free_again(frames if len(chunk) < _LARGE else [])
        finally:
            self._sealing.release()

    def _free_again(self, buffers: list[bytearray]) -> None:
        """Let buffers be lent again; new ones take the place of those that got lost."""
        missing = CHUNK - len(self._free)
        self._free.extend(buffers[:missing])
        self._free.extend(bytearray() for _ in range(missing - len(buffers)))

    def position(self) -> int:
        with self._sealing:
            return self._sealed + len(self._tail)

    def frames(self, since: int = 0) -> Iterator[tuple[int, Frame]]:
        with self._sealing:
            chunks, position = [*self._chunks, _chunk(self._tail[:])], self._cleared
        for chunk in chunks:
            count = int.from_bytes(chunk[1:5], "big")
            if position + count <= since:
                position += count
                continue
            for frame in _frames(chunk):
                if position >= since:
                    yield position, frame
                position += 1

    def clear(self) -> None:
        """Forget everything. Positions go on, so that what comes later is not taken for it."""
        with self._sealing:
            count = len(self._tail)
            self._chunks.clear()
            buffers = self._tail[:count]
            del self._tail[:count]
            self._free_again(buffers)
            self._sealed += count
            self._cleared = self._sealed

    def notes(self) -> list[str]:
        return []

    def close(self) -> None:
        """Nothing to do: memory needs no footer."""


def _frames(chunk: bytes) -> list[Frame]:
    try:
        return _decode_chunk(chunk)
    except msgspec.DecodeError:  # one frame cannot be read; it must not take 255 others with it
        return [decode(each) for each in _split_chunk(chunk)]


def _chunk(frames: list[bytearray]) -> bytes:
    return b"".join([_ARRAY_32, len(frames).to_bytes(4, "big"), *frames])
