"""A disk that is full in the middle of a run: told, counted, survived."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

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
def tiny_disk(pytester: pytest.Pytester) -> Iterator[Path]:
    """The output folder, on a file system of 5 MB; the suite writes 16."""
    folder = pytester.mkdir(support.OUTPUT)
    mount = shutil.which("mount")
    command = ["mount", "-t", "tmpfs", "-o", "size=5m", "none", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs root: a tiny file system has to be mounted")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("mode", ["-p no:xdist", "-n2"])
def test_a_full_disk_loses_no_number(pytester: pytest.Pytester, tiny_disk: Path, mode: str) -> None:
    """Events that only memory had room for count in the summary; the run says what happened."""
    pytester.makepyfile(SUITE)
    done = support.run(pytester, *mode.split(), "--crucible-export=jsonl")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.assert_outcomes(passed=4)
    assert "Traceback" not in done.stdout.str() + done.stderr.str()
    done.stdout.fnmatch_lines(
        [f"*recorded 4/4 trials · {4 * EVENTS} events", "*cost.total*$40.00", "incomplete: *disk full*"]
    )
