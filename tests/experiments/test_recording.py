"""The recording of one process: its spool, its scopes, its forked children, and its rescue."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_crucible import _clock
from pytest_crucible.capture.frames import (
    EventFrame,
    ExperimentFrame,
    FooterFrame,
    Frame,
    HeaderFrame,
    NoteFrame,
    PlanFrame,
    SamplingFrame,
    ScopeFrame,
    encode,
)
from pytest_crucible.capture.open_scope import CLOSED
from pytest_crucible.capture.recorder import listening, record_into
from pytest_crucible.events.scope import Scope
from pytest_crucible.experiments.recording import NodeRecording
from pytest_crucible.record.spool_reader import SpoolReader
from pytest_crucible.runs.experiment_definition import define

SCOPE = Scope(experiment="e", condition="c", test="t[a]", case="a", trial=1, attempt=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nodes").mkdir()
    return tmp_path


@pytest.fixture
def recording(folder: Path) -> Iterator[NodeRecording]:
    made = NodeRecording(folder, "run-1", "gw0")
    yield made
    made.close()


def frames(path: Path) -> list[Frame]:
    return [frame for _, frame in SpoolReader(path)]


def names(path: Path) -> list[object]:
    """Of the events in a spool."""
    return [frame.name for frame in frames(path) if isinstance(frame, EventFrame)]


def test_the_file_says_who_wrote_it(folder: Path) -> None:
    """Run, node, process, and how its clock differs from the controller's."""
    before = _clock.wall_ns()
    recording = NodeRecording(folder, "run-1", "gw0", clock=(7, 3))
    recording.close()
    header, footer = frames(folder / "nodes" / "gw0.spool")
    assert isinstance(header, HeaderFrame)
    assert (header.run, header.node, header.pid, header.parent) == (
        "run-1", "gw0", os.getpid(), None,
    )  # fmt: skip
    assert (header.clock_offset_ns, header.clock_bound_ns) == (7, 3)
    assert before <= header.wall_ns <= _clock.wall_ns()
    assert isinstance(footer, FooterFrame)


def test_names_stay_inside_the_folder(folder: Path) -> None:
    """Whatever a node is called, its file stands in the folder of nodes."""
    recording = NodeRecording(folder, "run-1", "../../gw0")
    recording.close()
    (path,) = folder.rglob("*.spool")
    assert path.parent == folder / "nodes"


def test_experiments_and_plan_are_announced(recording: NodeRecording) -> None:
    """What the marker said, as plain data; what msgpack cannot hold becomes its text."""
    odd = define("e", metadata={"seed": 7, "model": object})
    plan = [("e", "c", "t[a]", "a", 1)]
    recording.announce({"e": odd}, plan)
    found = frames(recording.store.path)
    (experiment,) = [frame for frame in found if isinstance(frame, ExperimentFrame)]
    assert experiment.name == "e"
    assert experiment.definition["metadata"] == {"seed": 7, "model": "<class 'object'>"}
    (told,) = [frame for frame in found if isinstance(frame, PlanFrame)]
    assert told.trials == plan


def test_every_scope_has_a_number_of_its_own(recording: NodeRecording) -> None:
    """Also two of the same names: each event knows which one it was recorded into."""
    scopes = [recording.open(SCOPE) for _ in range(3)]
    for number, opened in enumerate(scopes):
        record_into(opened, f"event-{number}", {}, {})
    found = frames(recording.store.path)
    numbers = [frame.id for frame in found if isinstance(frame, ScopeFrame)]
    assert len(set(numbers)) == 3
    assert [frame.scope for frame in found if isinstance(frame, EventFrame)] == numbers


def test_scopes_of_one_condition_draw_from_one_sample(recording: NodeRecording) -> None:
    """A reservoir is of an experiment under a condition, not of each trial."""
    first, second = (recording.open(SCOPE, "reservoir:5") for _ in range(2))
    other = recording.open(Scope(experiment="e", condition="d"), "reservoir:5")
    assert first.sampler is second.sampler is not None
    assert other.sampler is not first.sampler
    assert recording.open(SCOPE).sampler is None


def test_closing_ends_what_is_open(recording: NodeRecording) -> None:
    """In good order, and only once; nobody listens any more."""
    first, second = recording.open(SCOPE), recording.open(SCOPE, "reservoir:5")
    recording.close_scope(first)
    assert (first.state, second.state != CLOSED) == (CLOSED, True)
    for _ in range(2):
        recording.close()
    assert second.state == CLOSED
    found = frames(recording.store.path)
    assert isinstance(found[-1], FooterFrame)
    assert sum(isinstance(frame, FooterFrame) for frame in found) == 1
    assert any(isinstance(frame, SamplingFrame) for frame in found)
    assert not listening()


# --- forked children ---------------------------------------------------------------------------


def in_child(work: object) -> None:
    """Run something in a forked child that then ends without any cleaning up."""
    child = os.fork()
    if child == 0:
        try:
            work()  # type: ignore[operator]
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def test_a_forked_child_goes_on_in_its_own_file(recording: NodeRecording) -> None:
    """With the scopes that are open, as a process of this one; the parent's file is its own."""
    opened = recording.open(SCOPE)
    record_into(opened, "before", {}, {})
    in_child(lambda: record_into(opened, "in the child", {}, {}))
    record_into(opened, "after", {}, {})
    recording.close()
    own = recording.store.path
    (theirs,) = (path for path in own.parent.iterdir() if path != own)
    assert names(own) == ["before", "after"]
    assert names(theirs) == ["in the child"]
    header, scope, *_ = frames(theirs)
    assert isinstance(header, HeaderFrame)
    assert (header.parent, header.run) == ("gw0", "run-1")
    assert header.node.startswith("gw0-")
    assert isinstance(scope, ScopeFrame)
    assert (scope.id, scope.case) == (opened.id, "a")


def test_a_recording_that_is_gone_is_not_continued(folder: Path) -> None:
    """A child makes no file for what nobody holds any more."""
    recording = NodeRecording(folder, "run-1", "gw0")
    recording.close()
    del recording
    in_child(lambda: None)
    assert [path.name for path in (folder / "nodes").iterdir()] == ["gw0.spool"]


# --- rescue ------------------------------------------------------------------------------------


def test_a_record_that_is_whole_needs_no_rescue(recording: NodeRecording) -> None:
    """The usual end."""
    recording.close()
    assert recording.rescue() is None


def test_a_record_the_disk_had_no_room_for_is_written_elsewhere(
    recording: NodeRecording, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Frame by frame, into a temporary folder of its own, which has room."""
    opened = recording.open(SCOPE)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        patch.setattr(os, "pwrite", full)
        for number in range(300):
            record_into(opened, "x", {"n": number}, {"pad": "x" * 1000})
        recording.close()
        assert recording.store.notes()
    copy = recording.rescue()
    assert copy is not None
    assert copy.parent.parent != recording.folder
    found = frames(copy)
    assert [frame.measurements["n"] for frame in found if isinstance(frame, EventFrame)] == list(
        range(300)
    )
    assert isinstance(found[0], HeaderFrame)
    assert isinstance(found[-1], FooterFrame)


def test_notes_alone_are_not_worth_a_copy(recording: NodeRecording) -> None:
    """What came after the end is noted; the file has its footer all the same."""
    recording.close()
    recording.store.append(encode(NoteFrame("late")))
    assert recording.store.notes()
    assert recording.rescue() is None
