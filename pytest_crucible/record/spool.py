"""A node's spool file: crash-proof, append-only, one per process.

Layout: the file grows by whole segments. A segment holds frames one after the other, each as
``length (4 bytes, little-endian) · Adler-32 (4 bytes) · msgpack``; a length of zero means that the
rest of the segment is unused. A frame larger than a segment gets as many segments as it needs, for
itself alone.

The newest segment is memory-mapped and shared, so a frame is in the kernel as soon as ``append``
returns: SIGKILL, a segfault or ``os._exit`` lose nothing. A power failure may lose frames, because
there is no fsync. Segments are allocated before they are mapped: writing through a map to a hole of
a file on a full disk is a SIGBUS, which Python cannot catch.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import struct
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

from pytest_crucible import _clock
from pytest_crucible._errors import came_between
from pytest_crucible._layout import SEGMENT
from pytest_crucible.capture.frames import (
    FooterFrame,
    Frame,
    HeaderFrame,
    NoteFrame,
    decode,
    encode,
)
from pytest_crucible.record.spool_reader import PREFIX, SpoolReader, checksum

_prefix = PREFIX.pack
_SMALL = 1024  # bytes
# By length of a frame: the function that packs prefix and frame in one call.
_framed = [struct.Struct(f"{PREFIX.format}{length}s").pack for length in range(_SMALL)]


class SpoolStore:
    """Writes the spool file of this process.

    Frames go into the map of the newest segment; a frame that does not fit gets a new segment. Once
    the disk is full, all further frames wait in memory (``_overflow``), until `close` tries to
    write them.

    Args:
        path: the file; it must not exist, its folder must.
        header: the first frame.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, header: HeaderFrame) -> None:
        self.path = path
        self._file = self._create(path)
        self._end = 0  # of the allocated file
        self._growing = threading.RLock()
        self._closed = False
        self._overflow: list[bytes] = []  # the frames since the disk was full
        self._room = 0  # offset in the map where the first of those did not fit
        self._notes: list[str] = []
        self._free = [bytearray()]  # it gets longer only if several threads encode at once
        self.take, self._give = self._free.pop, self._free.append
        self._map, self._start = self._next_map(0)
        self.append(encode(header))

    def _create(self, path: Path) -> int:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        # Stays open as long as somebody may call `frames`.
        weakref.finalize(self, os.close, file).atexit = False
        return file

    def append(self, data: bytes) -> None:
        """Keep one encoded frame, see `Store.append`."""
        if not self._free:
            self._give(bytearray())
        frame = _prefix(len(data), checksum(data)) + data
        if not self._fits(frame):
            self._append_to_new_segment(frame)

    def keep(self, buffer: bytearray) -> None:
        """Keep the frame in a lent buffer, see `Store.keep`."""
        length = len(buffer)
        if length < _SMALL:
            frame = _framed[length](length, checksum(buffer), buffer)
            self._give(buffer)
        else:
            frame = _prefix(length, checksum(buffer)) + buffer  # too large a buffer to use again
            self._give(bytearray())
        try:
            self._map.write(frame)  # like `_fits`, but saves a call
        except ValueError as error:
            if came_between(error):
                raise
            self._append_to_new_segment(frame)

    def _fits(self, frame: bytes) -> bool:
        """Write a frame into the newest segment; return False if there is no room."""
        try:
            # One C call checks, copies and advances while it holds the GIL: atomic for threads and
            # signal handlers, without a lock.
            self._map.write(frame)
        except ValueError as error:
            if came_between(error):  # a signal handler's exception; the frame is written
                raise
            return False
        return True

    def continue_in_child(self, path: Path, header: HeaderFrame) -> None:
        """Continue in another file; a forked child calls this right after the fork.

        The child shares the old map with the parent, which still writes to it. And another thread
        of the parent may have held the lock at the fork, so the child needs a new one.

        If the file cannot be made, the child's events are not recorded.

        Args:
            path: the child's file.
            header: its first frame.
        """
        self.path, self._end, self._notes, self._overflow = path, 0, [], []
        self._growing = threading.RLock()
        self._map = mmap.mmap(-1, 1)  # too small for any frame
        if self._closed:
            return
        try:
            self._file = self._create(path)
            self._map, self._start = self._next_map(0)
        except OSError as error:
            self._closed = True  # the open file may be the parent's: we must not write to it
            self._note(f"spool {path.name}: {_why(error)}")
            return
        self.append(encode(header))

    def _append_to_new_segment(self, frame: bytes) -> None:
        with self._growing:
            if self._fits(frame):  # another thread has made a segment meanwhile
                return
            if self._closed:
                self._note("events arrived after the spool had been closed")
                return
            if self._overflow:
                self._overflow.append(frame)
                return
            try:
                fresh, start = self._next_map(len(frame))
            except OSError as error:
                if error.errno is None:
                    raise  # not from the disk but from a signal handler (e.g. TimeoutError)
                # From now on all frames wait, even those that would fit into the rest of the
                # segment: else events might stand before the frame that defines their scope.
                self._room = self._map.tell()
                self._map.seek(len(self._map))
                self._overflow.append(frame)
                self._note(
                    f"spool {self.path.name}: {_why(error)}; later events are in memory only"
                )
                return
            fresh.write(frame)
            if len(fresh) > SEGMENT:
                fresh.seek(len(fresh))  # only the first frame may cross the border of a segment
            # We drop the old map and do not close it: a thread may be about to write to it. If a
            # signal handler has appended meanwhile, its map is newer than ours.
            if start >= self._start:
                self._map, self._start = fresh, start

    def _next_map(self, size: int) -> tuple[mmap.mmap, int]:
        length = max(1, -(-size // SEGMENT)) * SEGMENT
        start = self._end
        self._end += length  # first: a signal handler may make a segment, too
        try:
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(self._file, start, length)
            # Writing zeros reserves the blocks, too, and brings their pages into memory in a few
            # large pieces; without it every 4 KiB of events costs a page fault of 5 µs.
            if os.pwrite(self._file, bytes(length), start) < length:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return mmap.mmap(self._file, length, mmap.MAP_SHARED, offset=start), start
        except OSError:
            if self._end == start + length:
                self._end = start
            raise

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.append(text)

    def position(self) -> int:
        """Return the byte offset of the next frame; in the overflow, each frame counts as 1."""
        with self._growing:
            if self._closed:
                return os.fstat(self._file).st_size
            if self._overflow:
                return self._end + len(self._overflow)
            return self._start + self._map.tell()

    def frames(self, since: int = 0) -> Iterator[tuple[int, Frame]]:
        """Yield the frames from position ``since`` on, see `Store.frames`."""
        yield from SpoolReader(self._file, str(self.path), since)
        for position, frame in enumerate(list(self._overflow), self._end):
            if position >= since:
                yield position, decode(frame[PREFIX.size :])

    def holds(self, data: bytes, since: int = 0) -> bool:
        """Return whether the frames from a position on contain these bytes, see `Store.holds`."""
        waiting = any(data in frame for frame in list(self._overflow))
        return waiting or SpoolReader(self._file, since=since).holds(data)

    def notes(self) -> list[str]:
        """Return why the record is incomplete, a sentence each."""
        return list(self._notes)

    def close(self) -> None:
        """Write the frames that wait, the notes and the footer, and cut off the unused end."""
        with self._growing:
            if self._closed:
                return
            if self._overflow:
                late, self._overflow = self._overflow, []
                self._map.seek(self._room)
                for frame in late:  # the disk may have room by now
                    self._append_to_new_segment(frame)
            if self._overflow:
                self._map.seek(self._room)  # the notes may fit into the rest of the segment
            for note in self._notes:
                self.append(encode(NoteFrame(note)))
            if not self._overflow:
                self.append(encode(FooterFrame(_clock.wall_ns())))
            self._closed = True
            last, self._map = self._map, mmap.mmap(-1, 1)  # too small, so late events cause a note
            last.flush()
            os.ftruncate(self._file, self._start + last.tell())
            self._restore_if_removed()

    def _restore_if_removed(self) -> None:
        """Write the file again where the controller looks for it, if somebody removed it."""
        try:
            if not os.path.samestat(self.path.stat(), os.fstat(self._file)):
                self._note(f"spool {self.path.name}: another file took its place")
            return
        except OSError:
            pass  # the file is gone, or a file has replaced its folder
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
