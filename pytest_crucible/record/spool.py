"""A node's spool file: crash-proof, append-only, one per process.

Layout: the file grows by whole segments. Within a segment, frames follow each other as
``length (4 bytes, little-endian) · Adler-32 (4 bytes) · msgpack``; a length of zero means that the
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
# By length of a frame: makes the whole of prefix and frame in one call.
_framed = [struct.Struct(f"{PREFIX.format}{length}s").pack for length in range(_SMALL)]


class SpoolStore:
    """Writes the spool file of this process.

    Frames go into the map of the newest segment; where there is no room for one, another segment is
    made. From the moment that the disk has none left, all frames wait in memory (``_overflow``),
    until `close` tries once more.

    Args:
        path: the file; must not exist, its folder must.
        header: first frame.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, header: HeaderFrame) -> None:
        self.path = path
        self._file = self._create(path)
        self._end = 0  # of the allocated file
        self._growing = threading.RLock()
        self._closed = False
        self._overflow: list[bytes] = []  # the frames since the disk had no room for one
        self._room = 0  # where in the map there was too little room for the first of those
        self._notes: list[str] = []
        self._free = [bytearray()]  # more only if several threads are encoding at once
        self.take, self._give = self._free.pop, self._free.append
        self._map, self._start = self._next_map(0)
        self.append(encode(header))

    def _create(self, path: Path) -> int:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        # Open for as long as somebody may ask for `frames`.
        weakref.finalize(self, os.close, file).atexit = False
        return file

    def append(self, data: bytes) -> None:
        if not self._free:
            self._give(bytearray())
        frame = _prefix(len(data), checksum(data)) + data
        if not self._fits(frame):
            self._append_to_new_segment(frame)

    def keep(self, buffer: bytearray) -> None:
        length = len(buffer)
        if length < _SMALL:
            frame = _framed[length](length, checksum(buffer), buffer)
            self._give(buffer)
        else:
            frame = _prefix(length, checksum(buffer)) + buffer  # the buffer is too large to keep
            self._give(bytearray())
        try:
            self._map.write(frame)  # what `_fits` does, without another call
        except ValueError as error:
            if came_between(error):
                raise
            self._append_to_new_segment(frame)

    def _fits(self, frame: bytes) -> bool:
        """Write into the segment; False if there is no room."""
        try:
            # One C call that checks, copies and advances under the GIL: atomic for threads and
            # for signal handlers without a lock.
            self._map.write(frame)
        except ValueError as error:
            if came_between(error):  # and after it was written
                raise
            return False
        return True

    def continue_in_child(self, path: Path, header: HeaderFrame) -> None:
        """Go on in another file; for a forked child, right after the fork.

        The old map is shared with the parent, which goes on writing to it, and another thread of
        the parent may have held the lock.

        If the file cannot be made, what the child does is not recorded.
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
            self._closed = True  # the open file may be the parent's: nothing must be written there
            self._note(f"spool {path.name}: {_why(error)}")
            return
        self.append(encode(header))

    def _append_to_new_segment(self, frame: bytes) -> None:
        with self._growing:
            if self._fits(frame):  # another thread has made room meanwhile
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
                    raise  # not the disk's: a signal handler's (TimeoutError is an OSError)
                # From here on until `close`, everything: were smaller frames to slip into what is
                # left of the segment, events would come before the frame that tells their scope.
                self._room = self._map.tell()
                self._map.seek(len(self._map))
                self._overflow.append(frame)
                self._note(
                    f"spool {self.path.name}: {_why(error)}; later events are in memory only"
                )
                return
            fresh.write(frame)
            if len(fresh) > SEGMENT:
                fresh.seek(len(fresh))  # only the first frame may cross a segment's border
            # The old map is dropped, not closed: a thread may be about to write its last bytes.
            # A signal handler that appended while we were at it is ahead of us.
            if start >= self._start:
                self._map, self._start = fresh, start

    def _next_map(self, size: int) -> tuple[mmap.mmap, int]:
        length = max(1, -(-size // SEGMENT)) * SEGMENT
        start = self._end
        self._end += length  # before it is there: a signal handler may ask for one as well
        try:
            if hasattr(os, "posix_fallocate"):  # not on macOS
                os.posix_fallocate(self._file, start, length)
            # Zeros that are written reserve blocks as well, and their pages are in memory then, in
            # few large pieces: without, each 4 KiB of events costs a page fault of 5 µs.
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
        with self._growing:
            if self._closed:
                return os.fstat(self._file).st_size
            if self._overflow:
                return self._end + len(self._overflow)
            return self._start + self._map.tell()

    def frames(self, since: int = 0) -> Iterator[tuple[int, Frame]]:
        yield from SpoolReader(self._file, str(self.path), since)
        for position, frame in enumerate(list(self._overflow), self._end):
            if position >= since:
                yield position, decode(frame[PREFIX.size :])

    def notes(self) -> list[str]:
        return list(self._notes)

    def close(self) -> None:
        with self._growing:
            if self._closed:
                return
            if self._overflow:
                late, self._overflow = self._overflow, []
                self._map.seek(self._room)
                for frame in late:  # the disk may have room again
                    self._append_to_new_segment(frame)
            if self._overflow:
                self._map.seek(self._room)  # for the notes
            for note in self._notes:
                self.append(encode(NoteFrame(note)))
            if not self._overflow:
                self.append(encode(FooterFrame(_clock.wall_ns())))
            self._closed = True
            last, self._map = self._map, mmap.mmap(-1, 1)  # too small: late writes get noted
            last.flush()
            os.ftruncate(self._file, self._start + last.tell())
            self._restore_if_removed()

    def _restore_if_removed(self) -> None:
        """Put the file back where the controller looks, if somebody removed its folder."""
        try:
            if not os.path.samestat(self.path.stat(), os.fstat(self._file)):
                self._note(f"spool {self.path.name}: another file took its place")
            return
        except OSError:
            pass  # it is not there, or its folder is none any more
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
