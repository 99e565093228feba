"""What the tests of the session share: running an inner session, and reading what it recorded."""

from __future__ import annotations

import re

import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.results import ExperimentResult, Results
from pytest_crucible.analysis.run import Run, open_run
from pytest_crucible.events.event import Event
from tests.conftest import QUIET

OUTPUT = "crucible-results"
DEFAULT = "default"

# hypothesis would be imported anew for the summary of every inner session: 1.3 s each.
ARGUMENTS = (*QUIET, "-p", "no:hypothesispytest")


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run the inner session in this process."""
    return pytester.runpytest_inprocess(*ARGUMENTS, *arguments)


def refused(result: pytest.RunResult) -> str:
    """The one line of a session that was refused before any of its tests ran."""
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if line]
    assert line.startswith("ERROR: ")
    assert not re.search(r"Traceback|INTERNALERROR|\d (passed|failed|error)", result.stdout.str())
    return line.removeprefix("ERROR: ")


def newest(pytester: pytest.Pytester) -> Run:
    """The newest run that the inner sessions recorded."""
    return open_run(pytester.path / OUTPUT)


def results(pytester: pytest.Pytester) -> Results:
    return analyse(newest(pytester))


def only(pytester: pytest.Pytester) -> ExperimentResult:
    """The only experiment of the newest run."""
    (experiment,) = results(pytester).experiments
    return experiment


def events(pytester: pytest.Pytester) -> list[Event]:
    """The events of the code under test."""
    return [event for event in newest(pytester).events if not event.internal]


def heard(pytester: pytest.Pytester) -> dict[str, list[str]]:
    """Per ``experiment/condition``: the names of its events, sorted; "" for unattributed ones."""
    found: dict[str, list[str]] = {}
    for event in events(pytester):
        scope = event.scope
        owner = f"{scope.experiment}/{scope.condition}" if scope else ""
        found.setdefault(owner, []).append(event.name)
    return {owner: sorted(names) for owner, names in found.items()}


def plan(pytester: pytest.Pytester) -> list[tuple[str, str, int]]:
    """Condition, case (without its file) and trial of all that was meant to run, in order."""
    opened = newest(pytester)
    list(opened.events)  # the plan is known once the events have been read
    return [
        (condition, case.partition("::")[2], trial)
        for _, condition, _, case, trial in opened.plan()
    ]


def outcomes(pytester: pytest.Pytester) -> dict[str, str]:
    """Outcome of each trial of the newest run, by test (without its file)."""
    return {
        trial.test.partition("::")[2]: trial.outcome
        for experiment in results(pytester).experiments
        for trial in experiment.trials
    }
