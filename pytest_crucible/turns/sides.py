"""One side: a live pytest session in a process of its own, which runs a test when it is told to."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from pytest_crucible._errors import CrucibleError, DefinitionError
from pytest_crucible.runs.manifest import NAME
from pytest_crucible.turns.imports import ROOTS
from pytest_crucible.turns.messages import Began, Channel, Done, End, FromSession, Over, Ready, Run
from pytest_crucible.turns.revisions import environment

OPTION = "crucible-turns"
"""Name of pytest's option by which a session learns that it takes turns: ``FD:ROUNDS:TOKEN``."""

TAIL = 30
_POLL = 0.2
_GRACE = 30.0
"""Seconds that a session has to write its record, once it has been told to stop."""
_HASH_SEED = "0"
Expected = TypeVar("Expected", bound=FromSession)


class SideError(CrucibleError):
    """A side failed.

    Attributes:
        tail: the end of what it printed.
    """

    def __init__(self, problem: str, tail: Sequence[str]) -> None:
        self.tail = tuple(tail)
        super().__init__(problem)


@dataclass(frozen=True, slots=True)
class Place:
    """Where and with what a side runs.

    Attributes:
        name: ``base`` or ``head``.
        tree: its worktree.
        inside: the folder in it that pytest runs in.
        python: the interpreter: a path from the worktree, or a name on the PATH.
        log: the file for what it prints.
    """

    name: str
    tree: Path
    inside: Path
    python: str
    log: Path

    def interpreter(self) -> tuple[str, bool]:
        """Return the interpreter, and whether it is one of the worktree's own.

        Raises:
            DefinitionError: there is none.
        """
        if os.sep not in self.python:
            found = shutil.which(self.python)
        else:
            path = self.tree / self.python  # stays as it is, if it is absolute
            found = str(path) if os.access(path, os.X_OK) and path.is_file() else None
        if found is None:
            raise DefinitionError(
                f"--python: {self.python!r} is no interpreter of {self.name}; a path, from the "
                "worktree or absolute, or a name on the PATH (--setup may make it)"
            )
        return found, not Path(self.python).is_absolute() and os.sep in self.python

    def set_up(self, command: str, checkout: Path) -> None:
        """Run the user's command in the worktree.

        Raises:
            SideError: it failed.
        """
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=self.tree, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**environment(), "CRUCIBLE_CHECKOUT": str(checkout)}, start_new_session=True,
            )  # fmt: skip
            try:
                code = process.wait()
            except BaseException:
                _kill(process)
                raise
        if code:
            raise SideError(f"{self.name}: --setup failed, {ended_with(code)}", tail_of(self.log))


class Side:
    """A running session.

    Attributes:
        place: where it runs.
        folder: its run folder; None as long as it has none.
        busy: whether it is at work: on a test, its collection or its record.
        ran: number of tests that have begun.

    Args:
        place: where it runs.
        arguments: of pytest.
        rounds: how often it runs each case.
        token: the same for both sides; it is in their manifests.
        cpus: the CPUs that it may use; empty: all.

    Raises:
        DefinitionError: there is no such interpreter, or no such folder.
    """

    def __init__(
        self,
        place: Place,
        arguments: Sequence[str],
        rounds: int,
        token: str,
        cpus: Collection[int] = (),
    ) -> None:
        self.place = place
        self.folder: Path | None = None
        self.busy = True
        self.ran = 0
        interpreter, own = place.interpreter()
        if not place.inside.is_dir():
            missing = place.inside.relative_to(place.tree)
            raise DefinitionError(f"{place.name} has no folder {str(missing)!r}")
        ours, theirs = socket.socketpair()
        with theirs, place.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    interpreter, "-m", "pytest", *arguments,
                    # What the project's ini compares with is of another machine.
                    "-o", "crucible_baseline=", f"--{OPTION}={theirs.fileno()}:{rounds}:{token}",
                ],
                cwd=place.inside, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=_environment(environment(), place.tree, own),
                pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        if cpus:
            os.sched_setaffinity(self._process.pid, cpus)
        self._channel: Channel[FromSession] = Channel(ours, FromSession)  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """``base`` or ``head``."""
        return self.place.name

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process.poll() is None

    @property
    def has_manifest(self) -> bool:
        """Whether its record is finished."""
        return self.folder is not None and (self.folder / NAME).exists()

    def ready(self) -> Ready:
        """Wait until it has collected its tests.

        Raises:
            SideError: it could not.
        """
        problem = "collection failed"
        said = self._expect((Began, Ready), problem)
        if isinstance(said, Began):
            self.folder = Path(said.folder)
            said = self._expect((Ready,), problem)
        assert isinstance(said, Ready)
        self.busy = False
        return said

    def run(self, run: Run) -> None:
        """Let it run a test, and wait for the end.

        Raises:
            SideError: the session ended instead.
        """
        self.ran += 1
        self._tell(run)
        done = self._expect((Done,), "its session ended early")
        self.busy = False
        if done.stopped is not None:
            self._process.wait()
            raise SideError(f"{self.name}: its session ended early: {done.stopped}", self.tail())

    def finish(self) -> None:
        """Tell it that it has run its last test."""
        self._tell(End())

    def over(self) -> Over:
        """Wait for what it says after its last test.

        Raises:
            SideError: the session ended instead.
        """
        return self._expect((Over,), "its session ended early")

    def wait(self) -> None:
        """Wait until it has written its record.

        Raises:
            SideError: something else than a test or an expectation failed.
        """
        code = self._process.wait()
        if code not in (0, 1) or not self.has_manifest:
            raise SideError(f"{self.name}: its session failed, {ended_with(code)}", self.tail())

    def stop(self) -> None:
        """Tell the session to end, if it is not doing so already."""
        self._channel.finish()  # an idle session reads that
        if self.busy and self.running:
            self._process.send_signal(signal.SIGINT)

    def close(self) -> None:
        """Let the session write its record, for some seconds; then kill what is left of it."""
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            pass
        _kill(self._process)
        self._channel.close()

    def tail(self) -> list[str]:
        """Return the last lines that it printed."""
        return tail_of(self.place.log)

    def _tell(self, message: Run | End) -> None:
        self.busy = True
        try:
            self._channel.send(message)
        except OSError:
            pass  # it is gone: `_expect` finds out why

    def _expect(self, kinds: tuple[type[Expected], ...], problem: str) -> Expected:
        while True:
            alive = self.running
            try:
                message = self._channel.receive(_POLL)
            except TimeoutError:
                if alive:
                    continue
            except (EOFError, msgspec.DecodeError):
                pass
            else:
                if isinstance(message, kinds):
                    return message
            raise SideError(f"{self.name}: {problem}, {self._how_it_ended()}", self.tail())

    def _how_it_ended(self) -> str:
        """Wait a moment for the exit code of a session whose stream has ended."""
        until = time.monotonic() + _GRACE
        while self.running and time.monotonic() < until:
            time.sleep(_POLL / 10)
        code = self._process.poll()
        if code is None:
            return "it no longer answers"
        hint = ""
        if any(f"--{OPTION}" in line for line in self.tail()):
            hint = ": its environment has no pytest-crucible, or an older one"
        return f"{ended_with(code)}{hint}"


def _environment(own: Mapping[str, str], tree: Path, is_its_own: bool) -> dict[str, str]:
    """Return the environment of a session.

    Args:
        own: that of this process.
        tree: the worktree.
        is_its_own: whether its interpreter is in the worktree, where its code is installed.
    """
    # Another seed per process: sets and dictionaries of the two sides would differ in their order,
    # and so in their speed.
    made = {"PYTHONHASHSEED": _HASH_SEED, **own}
    if not is_its_own:
        before = [str(tree / root) for root in ROOTS]
        after = [path] if (path := own.get("PYTHONPATH")) else []
        made["PYTHONPATH"] = os.pathsep.join([*before, *after])
    return made


def ended_with(code: int) -> str:
    """``exit code 2``, or ``killed by SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    return f"killed by {signal.Signals(-code).name}"


def tail_of(log: Path) -> list[str]:
    """Return the last lines of a file that are not empty."""
    with log.open(encoding="utf-8", errors="replace") as file:
        return list(deque((line.rstrip() for line in file if line.strip()), TAIL))


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it started: they are a group of their own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
