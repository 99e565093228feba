"""Every example runs, and comes to the verdicts that it is there to show."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.run import open_run

EXAMPLES = Path(__file__).parent.parent / "examples"

VERDICTS = {
    "agent_tools": "CONFIRMED",
    "basic_usage": "CONFIRMED",
    "custom_metrics": "CONFIRMED",
    "digits": "CONFIRMED",
    "hedging": "CONFIRMED",
    "optimisers": "CONFIRMED",
    "single_vs_ensemble": "INCONCLUSIVE",  # on purpose: twelve questions are few
}


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False,
        # One thread each: the examples' models are small, and the suite has the other cores.
        env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "OMP_NUM_THREADS": "1",
             "OPENBLAS_NUM_THREADS": "1"}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the examples, in a folder that they may write into."""
    shutil.copytree(EXAMPLES, tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_examples_reach_their_verdicts(folder: Path) -> None:
    """What `make demo` runs: nothing fails, all is complete, and each says what it should."""
    options = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider"]
    # The second reading of each digit takes seconds and, as the models are fitted, adds nothing.
    out = run(folder, "-m", "pytest", "examples", *options, "-k", "not (test_digit and trial2)")
    assert re.search(r"^\d+ passed, .*\b30 recorded as failed", out, re.MULTILINE)
    results = analyse(open_run(folder / "crucible-results"))
    assert {each.definition.name: each.verdict for each in results.experiments} == VERDICTS
    assert results.incomplete == ()
    assert [each.invalid for each in results.experiments] == [{}] * len(VERDICTS)


def test_every_example_is_one_that_the_suite_knows() -> None:
    """A new example needs a line above, or a test of its own."""
    tests = {path.name for path in EXAMPLES.glob("test_*.py")}
    assert len(tests) == len(VERDICTS)
    scripts = {path.name for path in EXAMPLES.glob("*.py")} - tests
    assert scripts == {"assistant.py", "conftest.py", "fake_openai.py", "notebook_use.py"}


def test_notebook_example_runs_without_pytest(folder: Path) -> None:
    """The library alone: numbers, a comparison, a curve, a table and an archive."""
    out = run(folder, "examples/notebook_use.py")
    assert re.search(r"IMPROVED +latency .* -\d+\.\d %", out)
    assert re.search(r"CONFIRMED +bisect +bisect\.latency\.p50 < 0\.5 \* scan", out)
    assert "after 5 steps the error is 4.4e-16" in out
    (archive,) = (folder / "crucible-results").glob("*.zip")
    assert len(list(open_run(archive).events)) == 6
    assert len(list(open_run(folder / "crucible-results" / "lookups.csv").events)) == 600
