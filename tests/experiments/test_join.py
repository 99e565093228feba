"""Joining: another process records into a trial, or is told in one line why it cannot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_crucible as crucible
from pytest_crucible.events.scope import Scope
from pytest_crucible.experiments.handle import TICKET
from pytest_crucible.runs.run import open_folder

DEATH = """
import os, signal
import pytest_crucible as crucible
with crucible.join() as experiment:
    for n in range(300):
        crucible.telemetry.execute("child.work", {"n": n})
    os.kill(os.getpid(), signal.SIGKILL)
"""


def ticket_for(folder: Path) -> str:
    (folder / "nodes").mkdir(parents=True)
    scope = {"experiment": "joined", "condition": "default", "test": "t", "case": "c", "trial": 1}
    return json.dumps(
        {
            "folder": os.fspath(folder), "run": "run", "node": "main",
            "definition": {"name": "joined", "hypothesis": None},
            "scope": {**scope, "attempt": 1},
        }
    )  # fmt: skip


def test_without_a_ticket_nothing_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that joins also runs on its own: it gets None, and leaves no file."""
    monkeypatch.delenv(TICKET, raising=False)
    monkeypatch.chdir(tmp_path)
    with crucible.join() as experiment:
        crucible.telemetry.execute("nobody.listens")
    assert experiment is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("wrong", ["nonsense", "[]", "{}", '{"folder": "/x", "scope": {"a": 1}}'])
def test_a_wrong_ticket_is_one_clear_error(wrong: str) -> None:
    """It says what it was given."""
    with pytest.raises(crucible.LifecycleError, match="not a ticket of an experiment: ") as caught:
        crucible.join(wrong)  # at the call, not when the block begins
    assert "\n" not in str(caught.value)
    assert wrong in str(caught.value)


def test_a_ticket_holds_what_a_joined_process_obeys(tmp_path: Path) -> None:
    """Anything else in it is refused, not ignored: one line names it and the valid ones."""
    ticket = json.loads(ticket_for(tmp_path / "run"))
    for key, value in (("budget_usd", 1.0), ("validate", "strict")):
        given = {**ticket, "definition": {**ticket["definition"], key: value}}
        with pytest.raises(crucible.LifecycleError, match=f"not a ticket .*: {key}=") as caught:
            crucible.join(json.dumps(given)).__enter__()
        assert "\n" not in str(caught.value)
    assert list((tmp_path / "run" / "nodes").iterdir()) == []


def test_a_run_folder_that_is_gone_is_one_clear_error(tmp_path: Path) -> None:
    """It names the folder and the reason."""
    ticket = ticket_for(tmp_path / "run")
    (tmp_path / "run" / "nodes").rmdir()
    with pytest.raises(crucible.OutputError, match=r"cannot join the run in .*No such file"):
        crucible.join(ticket).__enter__()


def test_what_a_joined_process_emits_belongs_to_the_trial(tmp_path: Path) -> None:
    """With the trial's whole scope, until the block ends."""
    with crucible.join(ticket_for(tmp_path / "run")) as experiment:
        assert experiment is not None
        crucible.telemetry.execute("child.work")
    crucible.telemetry.execute("after.the.block")
    (node,) = open_folder(tmp_path / "run").nodes
    (event,) = node
    assert event.name == "child.work"
    assert event.attribution == "context"
    assert event.scope == Scope(
        experiment="joined", condition="default", test="t", case="c", trial=1, attempt=1
    )
    assert node.closed


def test_a_joined_process_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    """Every event whose execute() had returned is there; the run is none the worse."""
    environment = {**os.environ, TICKET: ticket_for(tmp_path / "run")}
    done = subprocess.run([sys.executable, "-c", DEATH], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    (node,) = open_folder(tmp_path / "run").nodes
    assert [event.measurements["n"] for event in node] == list(range(300))
    assert node.ended
