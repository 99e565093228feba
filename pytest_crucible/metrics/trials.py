"""Trials: the outcome of every repetition of every case."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_crucible.events.enrichment import number
from pytest_crucible.events.event import TRIAL_START, TRIAL_STOP, Event
from pytest_crucible.events.fingerprint import comparable
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

DECIDED = "decided"
"""Key of the metadata of `TRIAL_STOP`: why no further trial was needed."""

POSITIONAL, BLOCK = "positional", "block"
"""Keys of the metadata of `TRIAL_START`: the id of the case is its position in a list; the trial is
a block of a test, see `Experiment.case`."""

Key = tuple[str, str, str, int, str]
"""experiment, condition, case, trial, test"""


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
        trial: its number: no other trial of the case has it.
        test: node id of the test; empty outside pytest.
        location: file and line (from 1) of the test; None if unknown.
        block: whether it is a block of a test, or of other code, see `Experiment.case`.
        cluster: the group that the case belongs to; None if it is on its own.
        fingerprint: hash of the content of the case; None if that is unknown.
        positional: whether the id of the case only says where it stands in a list.
        slices: the parts of the cases that the case belongs to, by name of the slices.
        decided: why it was not needed, or the test went no further: the claims were decided.
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
    block: bool = False
    cluster: str | None = None
    fingerprint: str | None = None
    positional: bool = False
    slices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    decided: str | None = None
    duplicates: int = 0

    @property
    def name(self) -> str:
        """What reports call it: the test; for a block also the case."""
        if not self.block:
            return self.test
        return f"{self.test} case {self.case}" if self.test else f"case {self.case}"

    @property
    def outcome(self) -> str:
        """The outcome of the last attempt; ``missing`` if the trial never began."""
        return self.attempts[-1].outcome if self.attempts else MISSING

    @property
    def first_outcome(self) -> str:
        """The outcome of the first attempt; ``missing`` if the trial never began."""
        return self.attempts[0].outcome if self.attempts else MISSING

    @property
    def spared(self) -> bool:
        """Whether the trial did not run because the claims were decided without it."""
        return self.decided is not None and self.outcome == SKIPPED

    @property
    def ended_us(self) -> float | None:
        """When the last attempt ended, in µs since the epoch; None if nobody knows."""
        if not self.attempts:
            return None
        began, lasted = self.attempts[-1].began_us, self.attempts[-1].duration_ms
        return None if began is None or lasted is None else began + lasted * 1000

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


def begun(trials: Iterable[Trial]) -> dict[str, float]:
    """Return when each case began, in µs since the epoch, for judging in this order.

    Cases of a cluster begin together. Where several processes ran parts of one, it began with the
    last of these parts: no outcome of its own had a say in when that was.
    """
    parts: dict[tuple[bool, str], dict[tuple[str, str], float]] = {}
    units: dict[str, tuple[bool, str]] = {}
    for trial in trials:
        alone = trial.cluster is None
        unit = units[trial.case] = alone, trial.case if trial.cluster is None else trial.cluster
        if trial.attempts and trial.attempts[0].began_us is not None:
            began, node = trial.attempts[0].began_us, trial.attempts[0].node
            of_unit = parts.setdefault(unit, {})
            of_unit[node] = min(began, of_unit.get(node, began))
    return {case: max(parts[unit].values()) for case, unit in units.items() if unit in parts}


class TrialBook:
    """Gathers trials from their start and stop events and from the plan.

    Attributes:
        problems: what cannot be right about the cases, a sentence each.

    Args:
        resumed: what `resumed` returned after an earlier pass over the same events.
    """

    def __init__(self, resumed: Mapping[Key, frozenset[str]] | None = None) -> None:
        self._trials: dict[Key, Trial] = {}
        self._numbers: dict[tuple[str, str, str], set[int]] = {}
        self._cases: dict[tuple[str, str], Trial] = {}
        self._tests_of_blocks: set[tuple[str, str, str]] = set()
        self.problems: dict[str, None] = {}
        self._resumed = resumed or {}
        self._left_out: dict[Key, dict[str, str]] = {}  # run → last outcome

    def plan(self, trials: Iterable[tuple[str, str, str, str, int]]) -> None:
        """Add trials that were selected to run, whether or not they did."""
        for experiment, condition, test, case, trial in trials:
            self._trial((experiment, condition, case, trial, test))

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
        self._trial(_key(scope)).decided = _text(event.metadata, DECIDED)

    def trial_of(self, scope: Scope) -> Trial | None:
        """Return the trial of a scope; None outside trials."""
        return self._trials.get(_key(scope))

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

    def _trial(self, key: Key) -> Trial:
        entry = self._trials.get(key)
        if entry is None:
            experiment, condition, case, trial, test = key
            # The same case may have a first trial in several tests.
            taken = self._numbers.setdefault((experiment, condition, case), set())
            number = trial if trial not in taken else max(taken) + 1
            taken.add(number)
            entry = self._trials[key] = Trial(experiment, condition, case, number, test)
        return entry

    def _attempt(self, event: Event, scope: Scope) -> Attempt | None:
        """Return the attempt that an event starts or stops; None for a duplicate."""
        trial = self._trial(_key(scope))
        if event.name == TRIAL_START:
            self._describe(trial, event)
        node = (event.run, event.node)
        for attempt in reversed(trial.attempts):
            if attempt.node == node and attempt.number == (scope.attempt or 1):
                return attempt
        runs = self.runs_of(scope)
        if runs is not None and event.run not in runs:
            trial.duplicates += event.name == TRIAL_START
            return None
        began_us = event.time_us if event.name == TRIAL_START else None
        attempt = Attempt(node, scope.attempt or 1, began_us=began_us)
        trial.attempts.append(attempt)
        return attempt

    def _describe(self, trial: Trial, event: Event) -> None:
        """Keep what a start says about the trial, and check it against others of the case."""
        said = event.metadata
        file, line = said.get("file"), said.get("line")
        if isinstance(file, str) and isinstance(line, int):
            trial.location = (file, line)
        trial.cluster, trial.fingerprint = _text(said, "cluster"), _text(said, "fingerprint")
        trial.positional = said.get(POSITIONAL) is True
        slices = said.get("slices")
        if isinstance(slices, Mapping):
            trial.slices = dict(_slices(slices))
        if said.get(BLOCK) is True:
            trial.block = True
            self._tests_of_blocks.add((trial.experiment, trial.condition, trial.test))
        first = self._cases.setdefault((trial.experiment, trial.case), trial)
        if first.fingerprint != trial.fingerprint and comparable(
            first.fingerprint, trial.fingerprint
        ):
            self.problems[
                f"case {trial.case!r} of {trial.experiment!r} stands for different content: "
                "give every case an id of its own"
            ] = None
        if first.cluster != trial.cluster:
            problem = two_clusters(trial.experiment, trial.case, first.cluster, trial.cluster)
            self.problems[problem] = None

    def all(self) -> list[Trial]:
        """Return all trials, in the order in which they were planned or first seen."""
        return [trial for trial in self._trials.values() if not self.encloses(trial)]

    def enclosing(self) -> list[Trial]:
        """Return the tests that consist of blocks: they are no trials themselves."""
        return [trial for trial in self._trials.values() if self.encloses(trial)]

    def encloses(self, trial: Trial) -> bool:
        """Whether a trial is a test that consists of blocks."""
        if trial.block or not self._tests_of_blocks:
            return False
        return (trial.experiment, trial.condition, trial.test) in self._tests_of_blocks


def two_clusters(experiment: str, case: str, one: str | None, other: str | None) -> str:
    """Say that a case is in two clusters, or only sometimes in one."""
    names = ("no cluster" if each is None else f"cluster {each!r}" for each in (one, other))
    return f"case {case!r} of {experiment!r} is in {' and in '.join(names)}: a case belongs to one"


def _key(scope: Scope) -> Key:
    return (
        scope.experiment, scope.condition, scope.case or "", scope.trial or 0, scope.test or "",
    )  # fmt: skip


def _text(said: Mapping[str, object], key: str) -> str | None:
    value = said.get(key)
    if isinstance(value, (int, float)):  # from CSV, which does not tell "1" from 1
        return str(value)
    return value if isinstance(value, str) and value else None


def _slices(said: Mapping[Any, object], above: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield name and values of the slices; flat files have nested the names at their dots."""
    for name, value in said.items():
        if isinstance(value, Mapping):
            yield from _slices(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", _texts(value)


def _texts(value: object) -> tuple[str, ...]:
    if isinstance(value, str):  # from CSV, where a list is JSON
        try:
            value = json.loads(value)
        except ValueError:
            pass
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else (str(value),)
