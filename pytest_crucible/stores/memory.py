"""Frames in memory, in sealed chunks."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import msgspec

from pytest_crucible._frames import Frame, decode

CHUNK = 256
"""Frames in a sealed chunk: few enough to seal in no time, enough to make objects rare."""

_decode_chunk = msgspec.msgpack.Decoder(list[Frame]).decode
_split_chunk = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_ARRAY_32 = b"\xdd"  # msgpack's mark for an array with a 32-bit length


class MemoryStore:
    """Keeps frames for as long as the process lives; 164 bytes an event at a million."""

    def __init__(self) -> None:
        self._tail: list[bytes] = []
        self._chunks: list[bytes] = []
        self._sealed = 0
        self._cleared = 0  # how many of the sealed ones are gone
        self._sealing = threading.Lock()

    def append(self, data: bytes) -> None:
        tail = self._tail
        tail.append(data)
        if len(tail) >= CHUNK:
            self._seal()

    def _seal(self) -> None:
        # A try-lock: whoever holds it seals, also for us; waiting could deadlock a signal
        # handler. Copy a slice, then delete it: swapping the list for a new one lost 12 to 446
        # of 200,000 events with four threads, because append had already looked up the old one.
        if not self._sealing.acquire(blocking=False):
            return
        try:
            count = len(self._tail)
            self._chunks.append(_chunk(self._tail[:count]))
            self._sealed += count
            del self._tail[:count]
        finally:
            self._sealing.release()

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
            del self._tail[:count]
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


def _chunk(frames: list[bytes]) -> bytes:
    return b"".join([_ARRAY_32, len(frames).to_bytes(4, "big"), *frames])
