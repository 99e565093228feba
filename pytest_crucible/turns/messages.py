"""What `crucible ab` and its two sessions tell each other, over a pair of sockets.

A message is one line of JSON. The command sends `Run` and waits for `Done`, so only one of the two
sessions works at a time; after `End` comes `Over`. Before, a session says `Began` and `Ready`. If
one end is gone, the other reads the end of the stream.
"""

from __future__ import annotations

import socket
from typing import Generic, TypeVar

import msgspec

NO_WORKERS = "tests cannot take turns under pytest-xdist; leave out -n (-n0 overrides addopts)"
_CHUNK = 65_536


class Case(msgspec.Struct, frozen=True):
    """A test that takes turns.

    Attributes:
        experiment, condition, case, trial: as in the plan; a warm-up has a trial below 0.
        test: node id.
        content: fingerprint of the case; None if it is unknown.
    """

    experiment: str
    condition: str
    case: str
    trial: int
    test: str
    content: str | None = None


class Began(msgspec.Struct, frozen=True, tag=True):
    """A session records, if it has experiments; ``folder`` is its run folder."""

    folder: str


class Ready(msgspec.Struct, frozen=True, tag=True):
    """A session has collected its tests.

    Attributes:
        cases: its trials, in the order of collection.
        unmarked: number of tests without an experiment, which do not run.
        imported: where the modules that it has imported are, by top-level name.
    """

    cases: list[Case]
    unmarked: int
    imported: dict[str, str]


class Run(msgspec.Struct, frozen=True, tag=True):
    """Run a test.

    Attributes:
        index: which one, an index into `Ready.cases`.
        then: which one comes next in this session; None: it was the last. What both need (fixtures
            of their module) stays alive.
    """

    index: int
    then: int | None


class Done(msgspec.Struct, frozen=True, tag=True):
    """A test has run.

    Attributes:
        stopped: why the session does not go on (``-x``); None if it does.
    """

    stopped: str | None = None


class Over(msgspec.Struct, frozen=True, tag=True):
    """The last test has run; ``imported`` as of `Ready`."""

    imported: dict[str, str]


class End(msgspec.Struct, frozen=True, tag=True):
    """There are no more tests to run."""


FromSession = Began | Ready | Done | Over
ToSession = Run | End
Received = TypeVar("Received")


class Channel(Generic[Received]):
    """One end of the pair.

    Args:
        end: the socket.
        kind: type of the messages that arrive here.
    """

    def __init__(self, end: socket.socket, kind: type[Received]) -> None:
        self._end = end
        self._decoder = msgspec.json.Decoder(kind)
        self._buffer = b""

    def send(self, message: msgspec.Struct) -> None:
        """Send a message.

        Raises:
            OSError: the other end is gone.
        """
        self._end.settimeout(None)
        self._end.sendall(msgspec.json.encode(message) + b"\n")

    def receive(self, seconds: float | None = None) -> Received:
        """Wait for the next message.

        Args:
            seconds: how long; None: for ever.

        Raises:
            TimeoutError: none came.
            EOFError: the other end is gone.
        """
        self._end.settimeout(seconds)
        while b"\n" not in self._buffer:
            try:
                chunk = self._end.recv(_CHUNK)
            except ConnectionError as error:
                raise EOFError from error
            if not chunk:
                raise EOFError
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return self._decoder.decode(line)

    def finish(self) -> None:
        """Tell the other end that nothing more comes; it may still send."""
        try:
            self._end.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is gone already

    def close(self) -> None:
        """Close this end."""
        self._end.close()
