"""A disk that is full in the middle of a run: told, counted, survived."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_crucible.artifact.run import open_folder
from tests.session import support

EVENTS = 40
SUITE = f"""
import pytest

@pytest.mark.experiment("full")
@pytest.mark.parametrize("n", range(4))
def test_n(n, experiment):
    for i in range({EVENTS}):
        experiment.execute("work.done", {{"cost_usd": 0.25}}, {{"text": "x" * 100_000}})
    experiment.record(score=n)
"""


@pytest.fixture
def tiny_disk(
    pytester: pytest.Pytester, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The output folder, on a file system of 5 MB; the suite writes 16. There is room elsewhere."""
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(tmp_path))
    monkeypatch.setenv("TMPDIR", os.fspath(tmp_path))
    folder = pytester.mkdir(support.OUTPUT)
    mount = shutil.which("mount")
    command = ["mount", "-t", "tmpfs", "-o", "size=5m", "none", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs root: a tiny file system has to be mounted")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize("mode", ["-p no:xdist", "-n2"])
def test_a_full_disk_loses_no_number(
    pytester: pytest.Pytester, tiny_disk: Path, tmp_path: Path, mode: str
) -> None:
    """The whole record is finished where there is room, and the run says what happened."""
    pytester.makepyfile(SUITE)
    done = support.run(pytester, *mode.split(), "--crucible-export=jsonl")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.assert_outcomes(passed=4)
    assert "Traceback" not in done.stdout.str() + done.stderr.str()
    done.stdout.fnmatch_lines(
        [
            f"*recorded 4/4 trials · {4 * EVENTS} events",
            "*cost.total*$40.00",
            "incomplete: *disk full*",
            "incomplete: the disk was full: the whole record is in *",
        ]
    )
    (folder,) = tmp_path.glob("crucible-*/*-*")
    run = open_folder(folder)
    events = [event for event in run.events() if not event.internal]
    assert len(events) == 4 * EVENTS
    assert (folder / "events.jsonl").is_file()
    assert all(node.closed for node in run.nodes)


@pytest.mark.parametrize("mode", ["-p no:xdist", "-n2"])
def test_without_room_anywhere_the_run_says_so(
    pytester: pytest.Pytester,
    tiny_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    """What fitted is there, the rest is told as missing, and the session fails in good order."""
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(tiny_disk))
    monkeypatch.setenv("TMPDIR", os.fspath(tiny_disk))
    pytester.makepyfile(SUITE)
    done = support.run(pytester, *mode.split())
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.assert_outcomes(passed=4)
    assert "Traceback" not in done.stdout.str() + done.stderr.str()
    assert "INTERNALERROR" not in done.stdout.str()
    done.stdout.fnmatch_lines(["*recorded ?/4 trials · *", "incomplete: *disk full*"])
