"""Reading a node's spool file, whole or torn; `pytest_crucible.record.spool` tells its layout."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from zlib import adler32

from pytest_crucible._layout import SEGMENT
from pytest_crucible.capture.frames import UNREADABLE, Frame, decode_frame, unreadable

PREFIX = struct.Struct("<II")
"""What stands before a frame: its length and its `checksum`."""

BATCH = 1 << 14
"""Bytes of frames that are read at once, by default: a hundred events or two. Few enough that the
garbage collector does not take notice of what is held meanwhile."""

checksum = adler32
"""Of a frame. Half the time of CRC-32, and what it is there for it cannot miss: a frame whose end
was not written any more (zeros) has a smaller sum of bytes, and a single wrong byte another one."""


class SpoolReader:
    """Iterates over the frames of a spool file, whole or torn, with their positions.

    A frame's position is its byte offset.

    Args:
        file: path, or a descriptor that stays open.
        name: for messages.
        since: position to start at.

    Attributes:
        torn: where and why reading had to skip, in a sentence; None if it did not.
    """

    def __init__(self, file: int | str | Path, name: str | None = None, since: int = 0) -> None:
        self._source = file
        self._name = name or str(file)
        self._since = since
        self.torn: str | None = None

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        for positions, frames in self.batches():
            yield from zip(positions, frames, strict=True)

    def batches(self, size: int = BATCH) -> Iterator[tuple[list[int], list[Frame]]]:
        """The same, many at once: their positions, and the frames.

        Args:
            size: of a batch, in bytes; the first frame comes alone.
        """
        self.torn = None
        if isinstance(self._source, int):
            yield from self._read(self._source, size)
            return
        file = os.open(self._source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield from self._read(file, size)
        finally:
            os.close(file)

    def _read(self, file: int, batch: int) -> Iterator[tuple[list[int], list[Frame]]]:
        size = os.fstat(file).st_size
        offset, prefix = self._since, PREFIX.size
        unpack, check, decode = PREFIX.unpack_from, checksum, decode_frame
        enough = 0  # the first one alone: who opens a file often wants to know who wrote it only
        while offset + prefix <= size:
            # One segment, or what is left of it. Only its first frame may be larger than it is.
            base, end = offset, (offset // SEGMENT + 1) * SEGMENT
            window = os.pread(file, end - base, base)
            filled, at = len(window), 0
            positions: list[int] = []
            frames: list[Frame] = []
            while at + prefix <= filled:
                length, told = unpack(window, at)
                here = at + prefix
                at = here + length
                data = window[here:at]
                if at > filled and base + at <= size:
                    data = os.pread(file, length, base + here)
                if check(data) != told or (at > filled and len(data) < length):
                    if length or told:  # else the rest of the segment is unused
                        self.torn = f"{self._name}: torn at byte {base + here - prefix}"
                    at = 0
                    break
                try:
                    frame: Frame = decode(data)
                except UNREADABLE as error:
                    frame = unreadable(error)
                positions.append(base + here - prefix)
                frames.append(frame)
                if at > enough:
                    yield positions, frames
                    positions, frames, enough = [], [], at + batch
            if frames:
                yield positions, frames
            enough = batch
            offset = max(end, base + at)
