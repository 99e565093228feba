"""A node's spool file: crash-proof, append-only, one per process.

Layout: the file grows by whole segments. Within a segment, frames follow each other as
``length (4 bytes, little-endian) · CRC-32 (4 bytes) · msgpack``; a length of zero means that the
rest of the segment is unused. A frame larger than a segment gets several, to itself.

The newest segment is memory-mapped and shared, so a frame belongs to the kernel the moment
``append`` returns: SIGKILL, a segfault or ``os._exit`` lose nothing. Power loss does (there is no
fsync). Segments are allocated before they are mapped, because writing to a hole of a full disk
through a map is a SIGBUS, not an error one can catch.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import msgspec

from pytest_crucible import _clock
from pytest_crucible._frames import FooterFrame, Frame, HeaderFrame, NoteFrame, decode, encode

SEGMENT = 1 << 20
SUFFIX = ".spool"

_PREFIX = struct.Struct("<II")
_prefix = _PREFIX.pack


class SpoolStore:
    """Writes the spool file of this process.

    Args:
        path: the file; must not exist, its folder must.
        header: first frame.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, header: HeaderFrame) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._end = 0  # of the allocated file
        self._growing = threading.RLock()
        self._closed = False
        self._overflow: list[bytes] = []  # frames that the disk had no room for
        self._notes: list[str] = []
        self._map = self._next_map(0)
        self.append(encode(header))

    def append(self, data: bytes) -> None:
        frame = _prefix(len(data), crc32(data)) + data
        try:
            # One C call that checks, copies and advances under the GIL: atomic for threads and
            # for signal handlers without a lock.
            self._map.write(frame)
        except ValueError:
            self._append_to_new_segment(frame)

    def _append_to_new_segment(self, frame: bytes) -> None:
        with self._growing:
            try:
                self._map.write(frame)  # another thread has made room meanwhile
                return
            except ValueError:
                pass
            if self._closed:
                self._note("events arrived after the spool had been closed")
                return
            try:
                fresh = self._next_map(len(frame))
            except OSError as error:
                self._overflow.append(frame)
                self._note(
                    f"spool {self.path.name}: {_why(error)}; later events are in memory only"
                )
                return
            fresh.write(frame)
            if len(fresh) > SEGMENT:
                fresh.seek(len(fresh))  # only the first frame may cross a segment's border
            # The old map is dropped, not closed: a thread may be about to write its last bytes.
            self._map = fresh

    def _next_map(self, size: int) -> mmap.mmap:
        length = max(1, -(-size // SEGMENT)) * SEGMENT
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file, self._end, length)
        else:  # macOS: zeros written now are blocks reserved now
            os.pwrite(self._file, bytes(length), self._end)
        fresh = mmap.mmap(self._file, length, mmap.MAP_SHARED, offset=self._end)
        self._end += length
        return fresh

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def position(self) -> int:
        with self._growing:
            if self._closed:
                return os.fstat(self._file).st_size
            return self._end - len(self._map) + self._map.tell()

    def frames(self, since: int = 0) -> Iterator[tuple[int, Frame]]:
        yield from SpoolReader(self._file, str(self.path), since)
        for position, frame in enumerate(list(self._overflow), self._end):
            yield position, decode(frame[_PREFIX.size :])

    def notes(self) -> list[str]:
        return list(self._notes)

    def close(self) -> None:
        with self._growing:
            if self._closed:
                return
            late, self._overflow = self._overflow, []
            for frame in late:  # the disk may have room again
                self._append_to_new_segment(frame)
            for note in self._notes:
                self.append(encode(NoteFrame(note)))
            if not self._overflow:
                self.append(encode(FooterFrame(_clock.wall_ns())))
            self._closed = True
            last, self._map = self._map, mmap.mmap(-1, 1)  # too small: late writes get noted
            last.flush()
            os.ftruncate(self._file, self._end - len(last) + last.tell())
            self._restore_if_removed()
        # The descriptor stays open for `frames`; the process's end closes it.

    def _restore_if_removed(self) -> None:
        """Put the file back where the controller looks, if somebody removed its folder."""
        try:
            if os.path.samestat(self.path.stat(), os.fstat(self._file)):
                return
            self._note(f"spool {self.path.name}: another file took its place")
            return
        except FileNotFoundError:
            pass
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(os.dup(self._file), "rb") as source, open(self.path, "xb") as target:
                source.seek(0)
                shutil.copyfileobj(source, target)
        except OSError as error:
            self._note(
                f"spool {self.path.name}: removed during the run, not restored: {_why(error)}"
            )


def _why(error: OSError) -> str:
    return "disk full" if error.errno == errno.ENOSPC else (error.strerror or str(error))


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
        self.torn = None
        if isinstance(self._source, int):
            yield from self._read(self._source)
            return
        file = os.open(self._source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            yield from self._read(file)
        finally:
            os.close(file)

    def _read(self, file: int) -> Iterator[tuple[int, Frame]]:
        size = os.fstat(file).st_size
        offset, window, base = self._since, b"", 0
        while offset + _PREFIX.size <= size:
            if SEGMENT - offset % SEGMENT < _PREFIX.size:
                offset = (offset // SEGMENT + 1) * SEGMENT
                continue
            at = offset - base
            if at + _PREFIX.size > len(window):
                window, base, at = os.pread(file, SEGMENT, offset), offset, 0
                if len(window) < _PREFIX.size:
                    return
            length, checksum = _PREFIX.unpack_from(window, at)
            if not length:
                offset = (offset // SEGMENT + 1) * SEGMENT
                continue
            at += _PREFIX.size
            data = window[at : at + length]
            if len(data) < length and offset + _PREFIX.size + length <= size:
                window, base = os.pread(file, max(SEGMENT, length + _PREFIX.size), offset), offset
                data = window[_PREFIX.size : _PREFIX.size + length]
            frame = self._decode(data, length, checksum, offset)
            if frame is None:
                offset = (offset // SEGMENT + 1) * SEGMENT
                continue
            yield offset, frame
            offset += _PREFIX.size + length

    def _decode(self, data: bytes, length: int, checksum: int, offset: int) -> Frame | None:
        if len(data) < length or crc32(data) != checksum:
            self.torn = f"{self._name}: torn at byte {offset}"
            return None
        try:
            frame: Frame = decode(data)
        except msgspec.DecodeError as error:
            self.torn = f"{self._name}: unreadable frame at byte {offset}: {error}"
            return None
        return frame
