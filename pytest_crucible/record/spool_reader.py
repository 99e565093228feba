"""Reads a node's spool file, whole or torn; `pytest_crucible.record.spool` describes its layout."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from zlib import adler32

from pytest_crucible._layout import SEGMENT
from pytest_crucible.capture.frames import UNREADABLE, Frame, decode_frame, unreadable

PREFIX = struct.Struct("<II")
"""Before every frame: its length and its `checksum`."""

BATCH = 1 << 14
"""Bytes of frames in a batch, by default: one or two hundred events. So few objects live at a time
that the garbage collector does not start."""

checksum = adler32
"""Checksum of a frame. It takes half the time of CRC-32 and finds the errors that happen: a frame
whose end was not written (zeros) has a smaller sum of bytes, and a wrong byte changes the sum."""


class SpoolReader:
    """Iterates over the frames of a spool file, whole or torn, with their positions (byte offsets).

    Args:
        file: path, or a descriptor, which stays open.
        name: for messages.
        since: position to start at.

    Attributes:
        torn: a sentence that says where a frame was unreadable and skipped; None if none was.
    """

    def __init__(self, file: int | str | Path, name: str | None = None, since: int = 0) -> None:
        self._source = file
        self._name = name or str(file)
        self._since = since
        self.torn: str | None = None

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        for positions, frames in self.batches():
            yield from zip(positions, frames, strict=True)

    def holds(self, data: bytes) -> bool:
        """Return whether the file contains these bytes, from the position to start at."""
        if isinstance(self._source, int):
            return _contains(self._source, data, self._since)
        with open(self._source, "rb") as file:
            return _contains(file.fileno(), data, self._since)

    def batches(self, size: int = BATCH) -> Iterator[tuple[list[int], list[Frame]]]:
        """Iterate over the same frames in batches: lists of positions and of frames.

        Args:
            size: of a batch, in bytes; the first batch is the first frame alone.
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
        enough = 0  # the first frame alone: many callers need only the header
        while offset + prefix <= size:
            # One segment, or the rest of one. Only the first frame may be larger than a segment.
            base, end = offset, (offset // SEGMENT + 1) * SEGMENT
            window = os.pread(file, end - base, base)
            filled, at = len(window), 0
            positions: list[int] = []
            frames: list[Frame] = []
            while at + prefix <= filled:
                length, expected = unpack(window, at)
                here = at + prefix
                at = here + length
                data = window[here:at]
                if at > filled and base + at <= size:
                    data = os.pread(file, length, base + here)
                if check(data) != expected or (at > filled and len(data) < length):
                    if length or expected:  # else the rest of the segment is unused
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


def _contains(file: int, data: bytes, since: int) -> bool:
    if not os.fstat(file).st_size:  # an empty file cannot be mapped
        return False
    with mmap.mmap(file, 0, access=mmap.ACCESS_READ) as mapped:
        return mapped.find(data, since) >= 0
