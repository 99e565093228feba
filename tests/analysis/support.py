"""Runs for the tests of analysis."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pytest_crucible.analysis.run import Run, open_run
from pytest_crucible.events.event import Event
from pytest_crucible.runs.experiment_definition import Definition
from tests.made_events import trial, trial_scope, write_run


def run_of(folder: Path, events: Iterable[Event], *definitions: Definition) -> Run:
    return open_run(write_run(folder / "run-1", events, definitions=definitions))


def arm(condition: str, outcomes: str) -> list[Event]:
    """Trials of one condition, one case each: ``p`` passed, ``f`` failed, ``c`` crashed."""
    words = {"p": "passed", "f": "failed", "s": "skipped", "c": None}
    return [
        each
        for number, letter in enumerate(outcomes)
        for each in trial(words[letter], trial_scope(f"case-{number}", condition=condition))
    ]
