"""A record that grows is read piece by piece: nothing twice, nothing lost, scopes known."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_crucible.capture.recorder import record_into
from pytest_crucible.events.event import TRIAL_START, TRIAL_STOP
from pytest_crucible.experiments.recording import NodeRecording
from pytest_crucible.metrics.piecewise import Piecewise
from tests.made_events import trial_scope


@pytest.fixture
def recording(tmp_path: Path) -> Iterator[NodeRecording]:
    (tmp_path / "nodes").mkdir()
    made = NodeRecording(tmp_path, "run", "gw0")
    yield made
    made.close()


def test_each_piece_has_what_is_new(recording: NodeRecording) -> None:
    pieces = Piecewise(recording.store, recording.node)
    opened = recording.open(trial_scope("x"))
    record_into(opened, TRIAL_START, {}, {})
    record_into(opened, "call", {"duration": 1}, {})
    first = pieces.new()
    assert first is not None
    assert [trial.outcome for trial in first.groups["exp", "default"].trials] == ["crashed"]
    assert first.events == 1
    assert pieces.new() is None
    record_into(opened, "call", {"duration": 1}, {})
    record_into(opened, "call", {"duration": 1}, {})
    record_into(opened, TRIAL_STOP, {"duration": 1}, {"outcome": "passed"})
    recording.close_scope(opened)
    second = pieces.new()  # its scope was told in the first piece
    assert second is not None
    assert second.events == 2
    assert [trial.outcome for trial in second.groups["exp", "default"].trials] == ["passed"]


def test_enrichers_see_every_event(recording: NodeRecording) -> None:
    seen: list[str] = []
    pieces = Piecewise(recording.store, "gw0", (lambda event, _: seen.append(event.name),))
    opened = recording.open(trial_scope("x"))
    for name in ("one", "two"):
        record_into(opened, name, {}, {})
        pieces.new()
    recording.close_scope(opened)
    assert seen == ["one", "two"]
