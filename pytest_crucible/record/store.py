"""Stores keep the frames of one node: `memory` for library use, `spool` for everything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from pytest_crucible.capture.frames import Frame


class Store(Protocol):
    """What the recorder writes to.

    ``append`` may be called from any thread and from a signal handler, and never raises because
    of the disk: what goes wrong there is told by ``notes``.
    """

    def append(self, data: bytes) -> None:
        """Keep one encoded frame. When this returns, the frame is as safe as it will be."""

    @property
    def take(self) -> Callable[[], bytearray]:
        """Lend a buffer to encode a frame into, one at a time for each who asks.

        Raises IndexError if none is free; then `append`, which sees to it that there are some.
        """

    @property
    def keep(self) -> Callable[[bytearray], None]:
        """Keep the frame in a buffer that was taken, which is the store's again: like `append`."""

    def position(self) -> int:
        """Where the next frame will stand; for `frames`."""

    def frames(self, since: int = 0) -> Iterator[tuple[int, Frame]]:
        """The frames from position ``since`` on, in order, with their positions.

        A position is a frame's sequence number: it grows with every frame and never changes.
        """

    def notes(self) -> list[str]:
        """Why the record is incomplete, a sentence each; empty if it is not."""

    def close(self) -> None:
        """Write the footer; nothing may be appended afterwards. May be called twice."""


class Recorded:
    """The frames of a store from a position on, as often as they are wanted."""

    def __init__(self, store: Store, since: int = 0) -> None:
        self._store = store
        self._since = since

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        return self._store.frames(self._since)
