"""How a worker's spool reaches the controller's run folder.

A worker that sees the controller's output folder writes its spool there. Another worker (on another
host, with another root) writes the spool to a folder of its own, and sends the bytes at the start
and the end of each test. Every piece has its offset, and the controller writes it there, so a piece
that comes twice does no harm.

Traps: a signal handler that raises in the middle of an execnet send corrupts the gateway, so
signals wait; only the main thread may send; an exception in a callback closes the channel.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from pytest_crucible._clock import wall_ns
from pytest_crucible._files import make_run_folder, slug
from pytest_crucible._layout import NODES, SEGMENT, SUFFIX

PIECE = 256 * 1024
"""Bytes that are sent at a time, at most."""

PINGS = 8
"""Round trips to measure the clock."""

_PING_TIMEOUT_S = 10


class Channel(Protocol):
    """The methods of an execnet channel that we use."""

    def send(self, item: object, /) -> None: ...
    def receive(self, timeout: float | None = None) -> Any: ...
    def setcallback(self, callback: Callable[[Any], None], /) -> None: ...
    def isclosed(self) -> bool: ...


def place(folder: Path) -> dict[str, Any]:
    """Describe a folder so that another process can test whether it sees the same one.

    The folder need not exist: the description is that of its nearest existing parent.
    """
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    status = existing.stat()
    return {
        "host": _boot_id(),
        "existing": os.fspath(existing),
        "device": status.st_dev,
        "inode": status.st_ino,
    }


def same_place(described: dict[str, Any]) -> bool:
    """Whether this process sees the very folder that `place` described, and may write there."""
    try:
        status = os.stat(described["existing"])  # noqa: PTH116  (the pair below is os.stat's)
    except OSError:
        return False
    same = (status.st_dev, status.st_ino) == (described["device"], described["inode"])
    return same and described["host"] == _boot_id() and os.access(described["existing"], os.W_OK)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # not Linux
        import socket

        return socket.gethostname()


def move_to_room(folder: Path, rescued: Sequence[Path]) -> Path:
    """Gather all records of a run in one folder, after a full disk had no room for some of them.

    Args:
        folder: the run folder.
        rescued: the records that were written elsewhere (`NodeRecording.rescue`).

    Returns:
        A run folder next to the first rescued record, with all rescued records and copies of the
        others; ``folder`` itself if nothing was rescued.

    Raises:
        OSError: there is no room in the new folder either.
    """
    if not rescued:
        return folder
    fresh = make_run_folder(rescued[0].parent, folder.name)
    names = {path.name for path in rescued}
    for path in (folder / NODES).glob(f"*{SUFFIX}"):
        if path.name not in names:
            shutil.copyfile(path, fresh / NODES / path.name)
    for path in rescued:
        shutil.move(path, fresh / NODES / path.name)
        if path.parent != fresh.parent:
            path.parent.rmdir()
    return fresh


class Shipper:
    """The worker's end of the channel: sends what is new in its spool files."""

    def __init__(self, folder: Path, channel: Channel) -> None:
        self._nodes = folder / NODES
        self._channel = channel
        self._sent: dict[str, int] = {}

    def ship(self) -> None:
        """Send all bytes that have not been sent yet; call it in the main thread only."""
        for path in sorted(self._nodes.glob(f"*{SUFFIX}")):
            with open(path, "rb") as file:
                self._ship_file(path.name, file.fileno())

    def _ship_file(self, name: str, file: int) -> None:
        offset = self._sent.get(name, 0)
        while True:
            piece = os.pread(file, PIECE, offset)
            filled = piece.rstrip(b"\0")  # the unused rest of a segment is zeros
            if filled:
                self._send(("piece", name, offset, filled))
                self._sent[name] = offset + len(filled)
            if len(piece) < PIECE:
                return
            offset += PIECE

    def finish(self) -> None:
        """Send the rest, and the length of each file, because zeros at its end were not sent."""
        self.ship()
        for path in sorted(self._nodes.glob(f"*{SUFFIX}")):
            self._send(("size", path.name, path.stat().st_size, b""))

    def _send(self, message: tuple[str, str, int, bytes]) -> None:
        with _signals_waiting():
            if not self._channel.isclosed():
                self._channel.send(message)


@contextmanager
def _signals_waiting() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Inbox:
    """The controller's end of the channel: writes what one worker sends.

    Attributes:
        problems: errors while receiving, a sentence each.
    """

    def __init__(self, output: Path, run: str, channel: Channel) -> None:
        self._output = output
        self._run = run
        self._channel = channel
        self.problems: list[str] = []
        channel.setcallback(self.receive)

    def receive(self, message: Any) -> None:
        """Handle one message of the worker; execnet calls this in its receiver thread."""
        try:
            kind, name, number, data = message
            if kind == "ping":
                self._channel.send(wall_ns())
            else:
                self._write(kind, name, number, data)
        except Exception as error:
            # An exception here would close the channel, and all later messages would be lost.
            problem = f"receiving a worker's record failed: {error}"
            if problem not in self.problems:
                self.problems.append(problem)

    def _write(self, kind: str, name: str, number: int, data: bytes) -> None:
        stem = name.removesuffix(SUFFIX)
        path = make_run_folder(self._output, self._run) / NODES / f"{slug(stem)}{SUFFIX}"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if kind == "size":
                os.ftruncate(file, number)
                return
            os.pwrite(file, data, number)
            # A frame may end with zeros, which are not sent: make the file long enough for them.
            end = -(-(number + len(data)) // SEGMENT) * SEGMENT
            if os.fstat(file).st_size < end:
                os.ftruncate(file, end)
        finally:
            os.close(file)


def measure_clock(channel: Channel) -> tuple[int, int]:
    """Measure this host's wall clock minus the controller's, and the bound of the error, in ns.

    Of `PINGS` round trips the shortest counts (Cristian 1989): the error is at most half of it.
    """
    best = (0, 2**62)
    for _ in range(PINGS):
        sent = wall_ns()
        channel.send(("ping", "", 0, b""))
        theirs = channel.receive(timeout=_PING_TIMEOUT_S)
        received = wall_ns()
        half = (received - sent) // 2
        if half < best[1]:
            best = (sent + half - theirs, half)
    return best
