"""How a worker's spool reaches the controller's run folder.

A worker that sees the controller's output folder writes its spool there. One that does not (another
host, another root) writes it to a folder of its own and sends the bytes at the start and the end of
each test, each piece with its offset: the controller writes them where they belong, so a piece that
comes twice changes nothing.

Traps: a signal handler that raises in the middle of an execnet send corrupts the gateway, so
signals wait; sends come from the main thread only; an exception in a callback closes the channel.
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
PINGS = 8
_PING_TIMEOUT_S = 10


class Channel(Protocol):
    """What is used of an execnet channel."""

    def send(self, item: object, /) -> None: ...
    def receive(self, timeout: float | None = None) -> Any: ...
    def setcallback(self, callback: Callable[[Any], None], /) -> None: ...
    def isclosed(self) -> bool: ...


def place(folder: Path) -> dict[str, Any]:
    """What identifies a folder to a process that may or may not see the same one.

    The folder itself need not exist: its nearest existing parent stands for it.
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


def same_place(told: dict[str, Any]) -> bool:
    """Whether this process sees the very folder that `place` described, and may write there."""
    try:
        status = os.stat(told["existing"])  # noqa: PTH116  (the pair below is os.stat's)
    except OSError:
        return False
    same = (status.st_dev, status.st_ino) == (told["device"], told["inode"])
    return same and told["host"] == _boot_id() and os.access(told["existing"], os.W_OK)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:  # not Linux
        import socket

        return socket.gethostname()


def move_to_room(folder: Path, rescued: Sequence[Path]) -> Path:
    """The run folder to go on with, after the disk was too full for some records.

    Args:
        folder: the run folder.
        rescued: those records, written anew where there was room (`NodeRecording.rescue`).

    Returns:
        A run folder beside the first of them that holds all of them and copies of the others;
        ``folder`` itself if nothing was rescued.

    Raises:
        OSError: there is no room for that either.
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
    """The worker's end: sends what is new in its spool files."""

    def __init__(self, folder: Path, channel: Channel) -> None:
        self._nodes = folder / NODES
        self._channel = channel
        self._sent: dict[str, int] = {}

    def ship(self) -> None:
        """Send everything that is in the files and has not been sent. Main thread only."""
        for path in sorted(self._nodes.glob(f"*{SUFFIX}")):
            with open(path, "rb") as file:
                self._ship_file(path.name, file.fileno())

    def _ship_file(self, name: str, file: int) -> None:
        offset = self._sent.get(name, 0)
        while True:
            piece = os.pread(file, PIECE, offset)
            filled = piece.rstrip(b"\0")  # the rest of a segment is zeros; so is a file's hole
            if filled:
                self._send(("piece", name, offset, filled))
                self._sent[name] = offset + len(filled)
            if len(piece) < PIECE:
                return
            offset += PIECE

    def finish(self) -> None:
        """Send the rest, and how long each file is: its end may be zeros."""
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
    """The controller's end: writes what one worker sends.

    Attributes:
        problems: what could not be written, a sentence each.
    """

    def __init__(self, output: Path, run: str, channel: Channel) -> None:
        self._output = output
        self._run = run
        self._channel = channel
        self.problems: list[str] = []
        channel.setcallback(self.receive)

    def receive(self, message: Any) -> None:
        """Called by execnet in its receiver thread for everything the worker sends."""
        try:
            kind, name, number, data = message
            if kind == "ping":
                self._channel.send(wall_ns())
            else:
                self._write(kind, name, number, data)
        except Exception as error:
            # Raising here would close the channel, and what still comes would be lost.
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
            # A frame may end in zeros, which are not sent: the file must be long enough for them.
            end = -(-(number + len(data)) // SEGMENT) * SEGMENT
            if os.fstat(file).st_size < end:
                os.ftruncate(file, end)
        finally:
            os.close(file)


def measure_clock(channel: Channel) -> tuple[int, int]:
    """This host's wall clock minus the controller's, and the bound of the error, in ns.

    Of eight round trips the shortest counts; the offset cannot be wrong by more than half of it.
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
