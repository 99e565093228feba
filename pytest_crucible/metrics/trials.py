"""Trials: the outcome of every repetition of every case."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pytest_crucible.events.enrichment import number
from pytest_crucible.events.event import TRIAL_START, TRIAL_STOP, Event
from pytest_crucible.events.scope import Scope

SUCCESSES = frozenset({"passed", "xpassed"})
FAILURES = frozenset({"failed", "errored", "crashed", "xfailed", "interrupted"})
"""Outcomes that count as failures: all of them are in the denominator of a pass rate."""

UNFINISHED = "crashed"
BROKEN_OFF = frozenset({UNFINISHED, "interrupted"})
"""Outcomes of trials that began but never finished."""

MISSING = "missing"

Key = tuple[str, str, str, int]
"""experiment, condition, case, trial"""


@dataclass(slots=True)
class Attempt:
    """One execution of a trial.

    Attributes:
        node: names of the run and of the node that executed it.
        number: of the attempt, from 1, as its node counted.
        outcome: passed, failed, errored, skipped, xfailed, xpassed, interrupted; ``crashed`` for
            an attempt that began and never ended.
        duration_ms: of setup, call and teardown together; None if it never ended.
        error: type and first line of the exception; None if there was none.
        began_us: when it began, in µs since the epoch; None if its beginning was not recorded.
    """

    node: tuple[str, str]
    number: int
    outcome: str = UNFINISHED
    duration_ms: float | None = None
    error: str | None = None
    began_us: int | None = None


@dataclass(slots=True)
class Trial:
    """One repetition of one case under one condition, with all its attempts.

    Attributes:
        location: file and line (from 1) of the test; None if unknown.
        duplicates: attempts in other runs of a merged artifact; only the earliest run counts.
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
        """The outcome of the last attempt; ``missing`` if the trial never began."""
        return self.attempts[-1].outcome if self.attempts else MISSING

    @property
    def first_outcome(self) -> str:
        """The outcome of the first attempt; ``missing`` if the trial never began."""
        return self.attempts[0].outcome if self.attempts else MISSING


class TrialBook:
    """Gathers trials from their start and stop events and from the plan."""

    def __init__(self) -> None:
        self._trials: dict[Key, Trial] = {}

    def plan(self, trials: Iterable[tuple[str, str, str, str, int]]) -> None:
        """Add trials that were selected to run, whether or not they did."""
        for experiment, condition, test, case, trial in trials:
            self._trial(experiment, condition, case, trial, test)

    def add(self, event: Event) -> None:
        """Add a `TRIAL_START` or `TRIAL_STOP` event; ignore it if it belongs to no trial."""
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
        """Return the attempt that an event belongs to: its number over all nodes, from 1.

        0 for an event outside trials; −1 if another run of a merged artifact ran the trial earlier.
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
        # From a child process: the event belongs to the latest attempt.
        return len(trial.attempts) if trial else 0

    def run_of(self, scope: Scope) -> str | None:
        """Return the run whose attempts at the trial of ``scope`` count; None outside trials."""
        trial = self._trials.get(
            (scope.experiment, scope.condition, scope.case or "", scope.trial or 0)
        )
        return trial.attempts[0].node[0] if trial and trial.attempts else None

    def _trial(self, experiment: str, condition: str, case: str, trial: int, test: str) -> Trial:
        key = (experiment, condition, case, trial)
        entry = self._trials.get(key)
        if entry is None:
            entry = self._trials[key] = Trial(experiment, condition, case, trial, test)
        return entry

    def _attempt(self, event: Event, scope: Scope) -> Attempt | None:
        """Return the attempt that an event starts or stops; None for a duplicate."""
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
        began_us = event.time_us if event.name == TRIAL_START else None
        attempt = Attempt(node, scope.attempt or 1, began_us=began_us)
        trial.attempts.append(attempt)
        return attempt

    def all(self) -> list[Trial]:
        """Return all trials, in the order in which they were planned or first seen."""
        return list(self._trials.values())
