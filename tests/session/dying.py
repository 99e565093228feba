"""A suite whose fifth trial dies as it is told to, and what survived of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.results import Results
from pytest_crucible.analysis.run import open_run
from tests.session.support import ARGUMENTS

TRIALS = 12
FATAL = 5
"""The trial that dies, after this many events."""
IN_FLIGHT = 3

SUITE = """
import ctypes, os, signal, sys, time
import pytest

def segfault():
    ctypes.string_at(0)

def terminate(number):
    os.kill(os.getpid(), number)
    time.sleep(30)

def hang():
    time.sleep(60)

@pytest.mark.experiment("faults")
@pytest.mark.parametrize("n", range({trials}))
{decorator}
def test_n(n, experiment):
    for i in range({in_flight}):
        experiment.execute("work.done", {{"i": i}})
    if n == {fatal}:
        {fault}
    experiment.record(score=n)
"""


# Without the neighbours that have no part in it: importing them is nearly half of such a session.
PYTEST = [sys.executable, "-m", "pytest", *ARGUMENTS]


def run_suite(
    pytester: pytest.Pytester, fault: str, *args: str, decorator: str = ""
) -> subprocess.CompletedProcess[str]:
    source = SUITE.format(
        trials=TRIALS, fatal=FATAL, in_flight=IN_FLIGHT, fault=fault, decorator=decorator
    )
    pytester.makepyfile(test_faults=source)
    return subprocess.run(
        [*PYTEST, *args],
        cwd=pytester.path, capture_output=True, text=True, timeout=120, check=False,
        stdin=subprocess.DEVNULL, env=clean_environment(),
    )  # fmt: skip


def clean_environment() -> dict[str, str]:
    """Without what an outer xdist leaves for its children."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_XDIST")}


def results_of(folder: Path) -> Results:
    return analyse(open_run(folder / "crucible-results"))


def events_of_fatal_trial(folder: Path) -> int:
    events = open_run(folder / "crucible-results").events
    return sum(
        event.scope is not None
        and str(event.scope.test).endswith(f"[{FATAL}]")
        and event.name == "work.done"
        for event in events
    )
