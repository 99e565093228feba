"""Trials: what became of every repetition of every case."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pytest_crucible.events.enrichment import number
from pytest_crucible.events.event import TRIAL_START, TRIAL_STOP, Event
from pytest_crucible.events.scope import Scope

SUCCESSES = frozenset({"passed", "xpassed"})
FAILURES = frozenset({"failed", "errored", "crashed", "xfailed", "interrupted"})
"""Outcomes that count as failed observations: none of them leaves the denominator."""

UNFINISHED = "crashed"
BROKEN_OFF = frozenset({UNFINISHED, "interrupted"})
"""Outcomes of trials that began and did not come to their end."""

MISSING = "missing"

Key = tuple[str, str, str, int]
"""experiment, condition, case, trial"""


@dataclass(slots=True)
class Attempt:
    """One execution of a trial.

    Attributes:
        node: run and node that executed it.
        number: as its node counted.
        outcome: passed, failed, errored, skipped, xfailed, xpassed, interrupted; ``crashed`` for
            an attempt that began and never ended.
        duration_ms: of setup, call and teardown together; None if it never ended.
        error: type and first line of what was raised, if anything.
    """

    node: tuple[str, str]
    number: int
    outcome: str = UNFINISHED
    duration_ms: float | None = None
    error: str | None = None


@dataclass(slots=True)
class Trial:
    """One repetition of one case under one condition, with all its attempts.

    Attributes:
        location: file and line (from 1) of the test, where it is known.
        duplicates: executions in other runs of a merged artifact; only the earliest run counts.
    """

    experiment: str
    condition: str
    case: str
    trial: int
    test: str
    attempts: list[Attempt] = field(default_factory=list)
    location: tuple[str, int] | None = None
    duplicates: int = 0

    @property
    def outcome(self) -> str:
        """The last attempt's outcome; ``missing`` if it never began."""
        return self.attempts[-1].outcome if self.attempts else MISSING

    @property
    def first_outcome(self) -> str:
        return self.attempts[0].outcome if self.attempts else MISSING


class TrialBook:
    """Gathers trials from their start and stop events and from the plan."""

    def __init__(self) -> None:
        self._trials: dict[Key, Trial] = {}

    def plan(self, trials: Iterable[tuple[str, str, str, str, int]]) -> None:
        """Trials that were selected to run, whether or not they did."""
        for experiment, condition, test, case, trial in trials:
            self._trial(experiment, condition, case, trial, test)

    def add(self, event: Event) -> None:
        """Note a `TRIAL_START` or `TRIAL_STOP` event; outside trials they are ignored."""
        scope = event.scope
        if scope is None or scope.case is None or scope.trial is None:
            return
        attempt = self._attempt(event, scope)
        if attempt is None or event.name != TRIAL_STOP:
            return
        attempt.outcome = str(event.metadata.get("outcome", UNFINISHED))
        duration = number(event.measurements.get("duration"))
        attempt.duration_ms = None if duration is None else duration / 1_000_000
        error = event.metadata.get("error")
        attempt.error = None if error is None else str(error)

    def current_attempt(self, event: Event) -> int:
        """Which attempt of its trial an event belongs to, over all nodes, from 1.

        0 outside trials; −1 in a trial that another run of a merged artifact ran before.
        """
        scope = event.scope
        if scope is None or scope.case is None or scope.trial is None:
            return 0
        trial = self._trials.get((scope.experiment, scope.condition, scope.case, scope.trial))
        for position, attempt in enumerate(trial.attempts if trial else (), 1):
            if attempt.node == (event.run, event.node) and attempt.number == scope.attempt:
                return position
        if trial and trial.attempts and trial.attempts[0].node[0] != event.run:
            return -1
        # A child process of the attempt: it belongs to the latest one.
        return len(trial.attempts) if trial else 0

    def run_of(self, scope: Scope) -> str | None:
        """The run whose execution of a scope's trial counts; None outside trials."""
        trial = self._trials.get(
            (scope.experiment, scope.condition, scope.case or "", scope.trial or 0)
        )
        return trial.attempts[0].node[0] if trial and trial.attempts else None

    def _trial(self, experiment: str, condition: str, case: str, trial: int, test: str) -> Trial:
        key = (experiment, condition, case, trial)
        found = self._trials.get(key)
        if found is None:
            found = self._trials[key] = Trial(experiment, condition, case, trial, test)
        return found

    def _attempt(self, event: Event, scope: Scope) -> Attempt | None:
        trial = self._trial(
            scope.experiment, scope.condition, scope.case or "", scope.trial or 0, scope.test or ""
        )
        file, line = event.metadata.get("file"), event.metadata.get("line")
        if isinstance(file, str) and isinstance(line, int):
            trial.location = (file, line)
        node = (event.run, event.node)
        for attempt in reversed(trial.attempts):
            if attempt.node == node and attempt.number == scope.attempt:
                return attempt
        if trial.attempts and trial.attempts[0].node[0] != event.run:
            trial.duplicates += event.name == TRIAL_START
            return None
        attempt = Attempt(node, scope.attempt or 1)
        trial.attempts.append(attempt)
        return attempt

    def all(self) -> list[Trial]:
        """Every trial, in the order in which it was planned or first seen."""
        return list(self._trials.values())
