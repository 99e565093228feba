"""A disk that is full in the middle of a run: told, counted, survived."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pytest_crucible.runs.run import open_folder
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


@contextmanager
def tiny(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of that size, mounted at ``folder``."""
    size = f"size={megabytes}m"
    command = ["mount", "-t", "tmpfs", "-o", size, "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs root: a tiny file system has to be mounted")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def tiny_output(pytester: pytest.Pytester) -> Iterator[Path]:
    """The output folder, on a disk of 5 MB; the suite writes 16."""
    with tiny(pytester.mkdir(support.OUTPUT), 5) as folder:
        yield folder


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files go, also those of workers."""
    monkeypatch.setattr(tempfile, "tempdir", os.fspath(tmp_path))
    monkeypatch.setenv("TMPDIR", os.fspath(tmp_path))
    return tmp_path


@pytest.mark.parametrize("mode", ["-p no:xdist", "-n2"])
def test_a_full_disk_loses_no_number(
    pytester: pytest.Pytester, tiny_output: Path, elsewhere: Path, mode: str
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
    (folder,) = elsewhere.glob("crucible-*/*-*")
    run = open_folder(folder)
    events = [event for event in run.events if not event.internal]
    assert len(events) == 4 * EVENTS
    assert (folder / "events.jsonl").is_file()
    assert all(node.closed for node in run.nodes)


@pytest.mark.parametrize("mode", ["-p no:xdist", "-n2"])
def test_without_room_anywhere_the_run_says_so(
    pytester: pytest.Pytester, tiny_output: Path, elsewhere: Path, mode: str
) -> None:
    """What fitted is there, the rest is told as missing, and the session fails in good order."""
    pytester.makepyfile(SUITE)
    with tiny(elsewhere, 2):
        done = support.run(pytester, *mode.split())
        assert list(elsewhere.glob("crucible-*")) == []
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.assert_outcomes(passed=4, failed=1)  # the experiment: some trials have no end
    assert "Traceback" not in done.stdout.str() + done.stderr.str()
    assert "INTERNALERROR" not in done.stdout.str()
    done.stdout.fnmatch_lines(["*recorded ?/4 trials · *", "incomplete: *disk full*"])
