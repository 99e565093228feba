"""Archives of experiments that were kept in memory: a run folder like any other, in one file."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from pytest_crucible.analysis.run import open_run
from pytest_crucible.capture.frames import EVENT_TAG, NoteFrame, ScopeFrame, encode
from pytest_crucible.record.memory import CHUNK, MemoryStore
from pytest_crucible.record.node_reader import Node
from pytest_crucible.runs.manifest import read_manifest
from pytest_crucible.runs.memory_archive import archive_frames


def filled(events: int) -> MemoryStore:
    """A store with a scope and this many events in it."""
    store = MemoryStore()
    store.append(encode(ScopeFrame(1, "exp", "default", None, None, None, None)))
    for number in range(events):
        store.append(encode((EVENT_TAG, 1, "work.done", number * 1000, {"n": number}, {})))
    return store


def archived(folder: Path, store: MemoryStore) -> Path:
    told = {"exp": {"definition": {"name": "exp"}, "note": "kept"}}
    return archive_frames(folder / "e.zip", "run-1", store.frames(), told)


@pytest.mark.parametrize("events", [0, 1, 3 * CHUNK])
def test_every_frame_is_in_the_archive(events: int, tmp_path: Path) -> None:
    """In order, with the positions that the frames had in memory: ids of events stay the same."""
    store = filled(events)
    path = archived(tmp_path, store)
    before = list(Node("main", store.frames(), run="run-1"))
    run = open_run(path)
    found = [event for node in run.nodes for event in node]
    assert [(event.id, event.measurements) for event in found] == [
        (event.id, event.measurements) for event in before
    ]
    assert len(found) == events
    (node,) = run.nodes
    assert node.closed


def test_the_manifest_tells_of_the_experiments(tmp_path: Path) -> None:
    """Whatever they had to say; and that positions are numbers of frames, not of bytes."""
    path = archived(tmp_path, filled(1))
    with zipfile.ZipFile(path) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith("manifest.json"))
        manifest = json.loads(archive.read(name))
    assert manifest["run"] == "run-1"
    assert manifest["experiments"]["exp"]["note"] == "kept"
    assert manifest["positions"] == "index"


def test_what_could_not_be_read_is_a_note(tmp_path: Path) -> None:
    """It stands where the frame stood."""
    store = filled(1)
    store.append(encode(NoteFrame("something is missing")))
    (node,) = open_run(archived(tmp_path, store)).nodes
    list(node)
    assert node.notes == ["main: something is missing"]


def test_nothing_is_left_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that it was packed from is gone, also where the archive cannot be written."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    archived(tmp_path, filled(1))
    with pytest.raises(OSError, match="gone"):
        archive_frames(tmp_path / "gone" / "e.zip", "run-1", filled(1).frames(), {})
    assert list(temporary.iterdir()) == []
    assert read_manifest(tmp_path) is None
