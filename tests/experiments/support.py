"""What the tests of experiments share: an adapter that may fail."""

from __future__ import annotations

import pytest

import pytest_crucible as crucible

TWO_OPEN = pytest.mark.filterwarnings("ignore:experiment '.*' is still open")
"""For tests that start several on purpose, and emit through their handles."""


class Memory:
    """An adapter that keeps what it is told once it is flushed, and may fail."""

    def __init__(self, fail: str = "") -> None:
        self.fail = fail
        self.pending: list[crucible.LogEntry] = []
        self.kept: list[crucible.LogEntry] = []

    def record(self, entry: crucible.LogEntry) -> None:
        if self.fail == "record":
            raise OSError("no room")
        self.pending.append(entry)

    def flush(self) -> None:
        if self.fail == "flush":
            raise OSError("no room")
        self.kept += self.pending
        self.pending = []

    def read(self, run: str) -> list[crucible.LogEntry]:
        return [entry for entry in self.kept if entry.run == run]
