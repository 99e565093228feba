"""What the tests of the stores share."""

from __future__ import annotations

import mmap
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_crucible.capture.frames import (
    EVENT_TAG,
    SCHEMA,
    EventFrame,
    Frame,
    HeaderFrame,
    NoteFrame,
    encode,
)
from pytest_crucible.events.event import Event
from pytest_crucible.record import spool, spool_reader
from pytest_crucible.record.node_reader import Node
from pytest_crucible.record.spool_reader import SpoolReader
from pytest_crucible.record.store import Store

SMALL = mmap.ALLOCATIONGRANULARITY
"""The smallest segment that can be mapped."""
PREFIX = 8
"""Bytes that stand before each frame in a spool."""


def header(node: str = "main") -> HeaderFrame:
    return HeaderFrame(SCHEMA, "run", node, "uid", 1, "host", 2, 3)


def note(length: int, letter: str = "x") -> bytes:
    """A frame whose encoded text has this length."""
    return encode(NoteFrame(letter * length))


def event(number: int, time_ns: int = 0, pad: int = 0) -> bytes:
    return encode((EVENT_TAG, 0, "x", time_ns, {"n": number}, {"pad": "x" * pad}))


def numbers(frames: Iterable[tuple[int, Frame]]) -> list[int]:
    """The numbers that `event` put into events, in order."""
    return [frame.measurements["n"] for _, frame in frames if isinstance(frame, EventFrame)]


def read(path: Path) -> list[Frame]:
    """The frames of a file that must be whole."""
    reader = SpoolReader(path)
    frames = [frame for _, frame in reader]
    assert reader.torn is None
    return frames


def positions(store: Store) -> list[int]:
    return [position for position, _ in store.frames()]


def run(threads: list[threading.Thread]) -> None:
    """Run threads that take turns as often as they can, so that a race is lost in most runs."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    finally:
        sys.setswitchinterval(before)


@contextmanager
def small_segments() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (spool, spool_reader):
            patch.setattr(module, "SEGMENT", SMALL)
        yield


def node(*frames: Frame, name: str = "main") -> Node:
    return Node(name, list(enumerate(frames)), run="run")


def frame(n: int, time_us: int, scope: int = 0) -> EventFrame:
    return EventFrame(scope, "x", time_us * 1000, {"n": n}, {})


def told(events: list[Event]) -> list[int]:
    return [each.measurements["n"] for each in events]
