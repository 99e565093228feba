"""Stores keep the frames of one node: `memory` for use as a library, `spool` for all else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from pytest_crucible.capture.frames import Frame


class Store(Protocol):
    """Keeps the frames that the recorder writes.

    Any thread and any signal handler may call ``append``. It never raises because of the disk;
    ``notes`` says what went wrong there.
    """

    def append(self, data: bytes) -> None:
        """Keep one encoded frame. When this returns, the frame is as safe as it can be."""

    @property
    def take(self) -> Callable[[], bytearray]:
        """Lend a buffer to encode one frame into; then pass it to `keep`.

        Raises IndexError if no buffer is free; then call `append`, which makes some free.
        """

    @property
    def keep(self) -> Callable[[bytearray], None]:
        """Keep the frame in a lent buffer, like `append`; the buffer belongs to the store again."""

    def position(self) -> int:
        """Return the position of the next frame; for `frames`."""

    def frames(self, since: int = 0) -> Iterator[tuple[int, Frame]]:
        """Yield the frames from position ``since`` on, in order, with their positions.

        A position is a frame's sequence number: it grows with every frame and never changes.
        """

    def holds(self, data: bytes, since: int = 0) -> bool:
        """Return whether the encoded frames from a position on contain these bytes.

        Much faster than decoding them. May also find them a little before the position.
        """

    def notes(self) -> list[str]:
        """Return why the record is incomplete, a sentence each; empty if it is complete."""

    def close(self) -> None:
        """Write the footer. Append nothing afterwards; calling this twice is allowed."""


class Recorded:
    """The frames of a store from a position on; every iteration reads them again."""

    def __init__(self, store: Store, since: int = 0) -> None:
        self._store = store
        self._since = since

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        return self._store.frames(self._since)

    def holds(self, data: bytes) -> bool:
        """Return whether the frames contain these bytes, see `Store.holds`."""
        return self._store.holds(data, self._since)
