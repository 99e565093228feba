"""Recovery: runs whose controller died get their manifest from what was recorded."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from pytest_crucible._errors import ArtifactError
from pytest_crucible.analysis.recover import recover, unfinished_runs
from pytest_crucible.capture.frames import SCHEMA, HeaderFrame
from pytest_crucible.record.spool import SpoolStore
from pytest_crucible.runs.manifest import read_manifest, write_manifest
from tests.made_events import T0_US, event, write_run
from tests.report.support import made, observed


def test_a_recovered_run_has_its_manifest(tmp_path: Path) -> None:
    """Metrics, verdicts and completeness come from the record; doing it again changes nothing."""
    folder = made(tmp_path / "run-1", observed())
    results = recover(folder)
    first = (folder / "manifest.json").read_bytes()
    manifest = read_manifest(folder)
    assert manifest is not None
    assert (manifest["run"], manifest["recovered"]) == ("run-1", True)
    assert manifest["started"].startswith("2025-11-23")
    assert manifest["experiments"]["exp"]["recorded"] == len(results.experiments[0].trials) == 40
    recover(folder)
    assert (folder / "manifest.json").read_bytes() == first


def test_a_torn_run_is_recovered_as_far_as_it_goes(tmp_path: Path) -> None:
    """What was written whole is in the manifest, and the loss is its reason."""
    folder = write_run(tmp_path / "run-1", [event("a"), event("b")])
    spool = folder / "nodes" / "main.spool"
    spool.write_bytes(spool.read_bytes()[:-30])
    results = recover(folder)
    assert results.lost
    manifest = read_manifest(folder)
    assert manifest is not None
    assert any("torn at byte" in each for each in manifest["completeness"]["reasons"])


def test_only_runs_without_a_manifest_are_unfinished(tmp_path: Path) -> None:
    """Of an output folder those without one; of a run folder itself, or nothing."""
    done, dead = (write_run(tmp_path / name, [event()]) for name in ("a", "b"))
    write_manifest(done, {"run": "a"})
    (tmp_path / "other").mkdir()
    assert unfinished_runs(tmp_path) == unfinished_runs(dead) == [dead]
    assert unfinished_runs(done) == []


@pytest.mark.parametrize(("name", "why"), [("", "no run in this folder"), ("x", "no such folder")])
def test_nothing_to_look_at_is_an_error(name: str, why: str, tmp_path: Path) -> None:
    """A folder without runs, or no folder at all, is told by its path."""
    with pytest.raises(ArtifactError, match=why):
        unfinished_runs(tmp_path / name)


@pytest.mark.parametrize(("host", "closed"), [("here", False), ("here", True), ("away", False)])
def test_a_run_that_goes_on_is_left_alone(host: str, closed: bool, tmp_path: Path) -> None:
    """A live process of this host that has not ended its record is waited for."""
    (tmp_path / "nodes").mkdir()
    name = socket.gethostname() if host == "here" else "another-host"
    header = HeaderFrame(SCHEMA, "r", "main", "uid", os.getpid(), name, T0_US * 1000, 0)
    store = SpoolStore(tmp_path / "nodes" / "main.spool", header)
    if closed:
        store.close()
    if host == "here" and not closed:
        with pytest.raises(ArtifactError, match=rf"still running \(process {os.getpid()}\)"):
            recover(tmp_path)
        assert not (tmp_path / "manifest.json").exists()
    else:
        recover(tmp_path)
        assert (tmp_path / "manifest.json").exists()
