"""Trials: the outcome of every repetition of every case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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

ERRORS = frozenset({"errored", UNFINISHED})
"""Outcomes of trials that no answer of the code under test explains: the harness broke."""

MISSING = "missing"
SKIPPED = "skipped"

_GIVING_WAY = BROKEN_OFF | {SKIPPED}

Key = tuple[str, str, str, int]
"""experiment, condition, case, trial"""


def _key(scope: Scope) -> Key:
    return scope.experiment, scope.condition, scope.case or "", scope.trial or 0


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
        location: file and line (from 1) of the test; None if unknown.
        duplicates: attempts in other runs of a merged artifact; only the earliest run counts,
            unless it broke off: then the first later run that did not counts, too.
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

    @property
    def ran(self) -> bool:
        """Whether the trial is in the denominator of a success rate."""
        return self.outcome in SUCCESSES or self.outcome in FAILURES

    @property
    def replaced(self) -> int:
        """Number of attempts that broke off before one that did not."""
        if self.outcome in BROKEN_OFF:
            return 0
        return sum(attempt.outcome in BROKEN_OFF for attempt in self.attempts)


class TrialBook:
    """Gathers trials from their start and stop events and from the plan.

    Args:
        resumed: what `resumed` returned after an earlier pass over the same events.
    """

    def __init__(self, resumed: Mapping[Key, frozenset[str]] | None = None) -> None:
        self._trials: dict[Key, Trial] = {}
        self._resumed = resumed or {}
        self._left_out: dict[Key, dict[str, str]] = {}  # run → last outcome

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
        outcome = UNFINISHED
        if event.name == TRIAL_STOP:
            outcome = str(event.metadata.get("outcome", UNFINISHED))
        if attempt is None:
            self._left_out.setdefault(_key(scope), {})[event.run] = outcome
        if attempt is None or event.name != TRIAL_STOP:
            return
        attempt.outcome = outcome
        duration = number(event.measurements.get("duration"))
        attempt.duration_ms = None if duration is None else duration / 1_000_000
        error = event.metadata.get("error")
        attempt.error = None if error is None else str(error)

    def current_attempt(self, event: Event) -> int:
        """Return the attempt that an event belongs to: its number over all nodes, from 1.

        0 for an event outside trials; −1 if the attempts of its run do not count.
        """
        scope = event.scope
        if scope is None or scope.case is None or scope.trial is None:
            return 0
        trial = self._trials.get(_key(scope))
        if trial is None or not trial.attempts:
            return 0
        attempts = list(enumerate(trial.attempts, 1))
        for position, attempt in attempts:
            if attempt.node == (event.run, event.node) and attempt.number == scope.attempt:
                return position
        # From a child process: the event belongs to the latest attempt of its run.
        return max((place for place, each in attempts if each.node[0] == event.run), default=-1)

    def runs_of(self, scope: Scope) -> frozenset[str] | None:
        """Return the runs whose attempts at the trial of ``scope`` count; None outside trials."""
        trial = self._trials.get(_key(scope))
        if trial is None or not trial.attempts:
            return None
        return self._resumed.get(_key(scope), frozenset()) | {trial.attempts[0].node[0]}

    def resumed(self) -> dict[Key, frozenset[str]]:
        """Return the later runs that must count, too, by trial; call it after all events.

        That is where the attempts that count broke off, or were skipped, and a later run ran the
        trial to its end: the first such run, and those before it that broke off like the earliest.
        A book that is made with them counts them.
        """
        found: dict[Key, frozenset[str]] = {}
        for key, outcomes in self._left_out.items():
            runs = list(outcomes)
            ended = [run for run in runs if outcomes[run] not in _GIVING_WAY]
            if ended and self._trials[key].outcome in _GIVING_WAY:
                found[key] = frozenset(runs[: runs.index(ended[0]) + 1])
        return found

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
        runs = self.runs_of(scope)
        if runs is not None and event.run not in runs:
            trial.duplicates += event.name == TRIAL_START
            return None
        attempt = Attempt(node, scope.attempt or 1)
        trial.attempts.append(attempt)
        return attempt

    def all(self) -> list[Trial]:
        """Return all trials, in the order in which they were planned or first seen."""
        return list(self._trials.values())
