"""Observations: one pass over events, into columns per experiment and condition."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence

from pytest_crucible.capture.bus import HANDLER_FAILURE
from pytest_crucible.events.enrichment import Enriched, enrich, number
from pytest_crucible.events.event import (
    CAPTURE,
    INVALID,
    LOG,
    RECORD,
    TRIAL_START,
    TRIAL_STOP,
    Event,
)
from pytest_crucible.events.scope import Scope
from pytest_crucible.metrics.curves import LoggedSeries, add_logged
from pytest_crucible.metrics.groups import NAN as NAN
from pytest_crucible.metrics.groups import NO_CASE as NO_CASE
from pytest_crucible.metrics.groups import Group as Group
from pytest_crucible.metrics.groups import Observations as Observations
from pytest_crucible.metrics.groups import Place, add_row
from pytest_crucible.metrics.groups import Series as Series
from pytest_crucible.metrics.observations_batch import PlainEvents
from pytest_crucible.metrics.trials import TrialBook
from pytest_crucible.record.merge import merge_aside
from pytest_crucible.record.node_reader import Node

Enricher = Callable[[Event, Enriched], None]


def observe(
    events: Iterable[Event],
    plan: Callable[[], Iterable[tuple[str, str, str, str, int]]] = tuple,
    enrichers: Iterable[Enricher] = (),
) -> Observations:
    """Gather observations from events.

    Args:
        events: in order within each node.
        plan: asked after the last event for the trials that were meant to run.
        enrichers: called with each event of the code under test and what was worked out about it.
    """
    observer = _Observer(tuple(enrichers))
    for event in events:
        observer.add(event)
    return observer.finish(plan())


def observe_nodes(
    nodes: Sequence[Node], plan: Callable[[], Iterable[tuple[str, str, str, str, int]]] = tuple
) -> Observations:
    """The same from the records of nodes, several times faster where most events are plain.

    Rows of different trials may come in another order; nothing else differs.
    """
    observer = _Observer(())
    plain = PlainEvents(observer.found, observer.place, observer.add)
    for event in merge_aside(nodes, plain):
        observer.add(event)
    return observer.finish(plan())


class _Observer:
    """One pass over the events of a run."""

    def __init__(self, enrichers: tuple[Enricher, ...]) -> None:
        self.found = Observations()
        self._book = TrialBook()
        self._places: dict[int, Place] = {}  # by identity: to hash six names an event is slow
        self._enrichers = enrichers

    def add(self, event: Event) -> None:
        found = self.found
        if event.attribution != "context" or event.degraded:
            _count_oddities(found, event)
        if event.name == HANDLER_FAILURE:
            found.failures.append(_handler_failure(event))
        scope = event.scope
        if event.internal:
            self._add_internal(event, scope)
            return
        if scope is None:
            return
        place = self.place(scope, event.run)
        if place is None:
            return
        found.events += 1
        enriched = enrich(event)
        for enricher in self._enrichers:
            enricher(event, enriched)
        add_row(place, event, enriched)

    def place(self, scope: Scope, run: str) -> Place | None:
        """Where the events of a scope go; None if another shard ran the same trial before."""
        place = self._places.get(id(scope))
        if place is None:
            group = self.found.group(scope.experiment, scope.condition)
            place = self._places[id(scope)] = Place(scope, group, self._book.run_of(scope))
        return None if place.run is not None and place.run != run else place

    def _add_internal(self, event: Event, scope: Scope | None) -> None:
        if event.name == CAPTURE:
            _add_capture(self.found, event)
        elif scope is None:
            return
        elif event.name in (TRIAL_START, TRIAL_STOP):
            self._book.add(event)
        elif event.name in (RECORD, LOG, INVALID):
            group = self.found.group(scope.experiment, scope.condition)
            attempt = self._book.current_attempt(event)
            if attempt >= 0:
                _add_internal(group, event, scope, attempt)

    def finish(self, plan: Iterable[tuple[str, str, str, str, int]]) -> Observations:
        found = self.found
        self._book.plan(plan)
        for trial in self._book.all():
            found.group(trial.experiment, trial.condition).trials.append(trial)
        for group in found.groups.values():
            _keep_last_attempts(group)
        return found


def _keep_last_attempts(group: Group) -> None:
    """Drop the numbers of attempts that were repeated: a trial is judged by its last attempt.

    What they cost stays: it was really spent.
    """
    last = {
        (group.cases.get(trial.case), trial.trial): len(trial.attempts)
        for trial in group.trials
        if len(trial.attempts) > 1
    }
    if not last:
        return
    every: list[Series | LoggedSeries] = [*group.recorded.values(), *group.logged.values()]
    for series in every:
        kept = [
            row
            for row, key in enumerate(zip(series.cases, series.trials, strict=True))
            if series.attempts[row] == last.get(key, series.attempts[row])
        ]
        columns = ["values", "cases", "trials", "attempts"]
        if isinstance(series, LoggedSeries):
            columns.append("steps")
        for column in columns:
            old = getattr(series, column)
            setattr(series, column, array(old.typecode, [old[row] for row in kept]))


def _count_oddities(found: Observations, event: Event) -> None:
    """Count what the summary has to say aloud."""
    found.degraded += event.degraded
    match event.attribution:
        case "unattributed":
            found.unattributed += 1
        case "late":
            found.late += 1
        case "sole":
            found.sole += 1


def _add_capture(found: Observations, event: Event) -> None:
    problem = event.metadata.get("problem")
    if "budget" in event.metadata:
        found.budgets[str(event.metadata["budget"])] = None
    elif problem is not None:
        found.capture.setdefault(str(problem), []).append(event.node)
    elif event.scope is not None:
        group = found.group(event.scope.experiment, event.scope.condition)
        seen = str(event.metadata.get("host")), str(event.metadata.get("client"))
        group.http_calls[seen] += int(event.measurements.get("http_calls", 0))


def _handler_failure(event: Event) -> str:
    get = event.metadata.get
    return (
        f"{event.node}: handler {get('handler_id')!r} was detached after it raised "
        f"{get('kind')}: {get('reason')} (on {get('event_name')})"
    )


def _add_internal(group: Group, event: Event, scope: Scope, attempt: int) -> None:
    if event.name == RECORD:
        _add_recorded(group, event, scope, attempt)
    elif event.name == LOG:
        add_logged(group.logged, event, scope, group.case_index(scope.case), attempt)
    else:
        problem = str(event.metadata.get("problem")), str(event.metadata.get("validate"))
        group.invalid[problem] += int(number(event.measurements.get("count")) or 1)


def _add_recorded(group: Group, event: Event, scope: Scope, attempt: int) -> None:
    case = group.case_index(scope.case)
    for name, value in event.measurements.items():
        series = group.recorded.get(name)
        if series is None:
            series = group.recorded[name] = Series()
        numeric = float(value) if isinstance(value, bool) else number(value)
        if numeric is None:
            series.invalid += 1
        else:
            series.values.append(numeric)
            series.cases.append(case)
            series.trials.append(scope.trial or 0)
            series.attempts.append(attempt)
