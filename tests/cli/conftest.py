"""Runs for the commands to read, and no CI around them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_crucible.runs.experiment_definition import define
from tests.cli.support import MANY
from tests.made_events import reference_events, write_run
from tests.report.support import made, observed


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return made(tmp_path / "base", observed(MANY))


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    return made(tmp_path / "slow", observed(MANY, slower=2))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run whose only expectation is not met."""
    definition = define("exp", hypothesis="it works", expect=["reliability.failed < 1"])
    return write_run(tmp_path / "results" / "run-1", reference_events(), definitions=[definition])
