"""Observations: one pass over the events of a run fills a group for every condition."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence

import numpy as np

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
from pytest_crucible.events.scope import Scope, is_warmup
from pytest_crucible.metrics.curves import LoggedSeries, add_logged
from pytest_crucible.metrics.groups import NAN as NAN
from pytest_crucible.metrics.groups import NO_CASE as NO_CASE
from pytest_crucible.metrics.groups import NO_PROCESS, MeasuredSeries, Place, add_row
from pytest_crucible.metrics.groups import Group as Group
from pytest_crucible.metrics.groups import Observations as Observations
from pytest_crucible.metrics.groups import Series as Series
from pytest_crucible.metrics.observations_batch import PlainEvents
from pytest_crucible.metrics.trials import TrialBook, two_clusters
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
        events: in order within each node. They are read again if a trial broke off in one run of a
            merged artifact, and ran to its end in another.
        plan: called after the last event; returns the trials that were selected to run, as
            (experiment, condition, test, case, trial).
        enrichers: called with every event of the code under test and its `Enriched` numbers, which
            they may change.
    """
    every = list(events) if iter(events) is events else events  # an iterator is read only once

    def read(observer: _Observer) -> None:
        for event in every:
            observer.add(event)

    return _observe(read, plan, tuple(enrichers))


def observe_nodes(
    nodes: Sequence[Node], plan: Callable[[], Iterable[tuple[str, str, str, str, int]]] = tuple
) -> Observations:
    """Gather the same observations from the records of nodes.

    Several times faster than `observe` if most events are plain (`observations_batch`). Rows of
    different trials may come in another order; nothing else differs.

    Args:
        nodes: the records.
        plan: as for `observe`.
    """

    def read(observer: _Observer) -> None:
        plain = PlainEvents(observer.observations, observer.place, observer.add)
        for event in merge_aside(nodes, plain):
            observer.add(event)

    return _observe(read, plan, ())


def _observe(
    read: Callable[[_Observer], None],
    plan: Callable[[], Iterable[tuple[str, str, str, str, int]]],
    enrichers: tuple[Enricher, ...],
) -> Observations:
    observer = _Observer(enrichers, TrialBook())
    read(observer)
    resumed = observer.book.resumed()
    if resumed:  # only now is it known whose attempts count: runs may have overlapped in time
        observer = _Observer(enrichers, TrialBook(resumed))
        read(observer)
    return observer.finish(plan())


class _Observer:
    """One pass over the events of a run."""

    def __init__(self, enrichers: tuple[Enricher, ...], book: TrialBook) -> None:
        self.observations = Observations()
        self.book = book
        self._warmups = TrialBook()
        self._places: dict[int, Place] = {}  # by id(scope): hashing six names per event is slow
        self._enrichers = enrichers

    def add(self, event: Event) -> None:
        """Add an event; the events of a node must come in order."""
        observations = self.observations
        if event.attribution != "context" or event.degraded:
            _count_oddities(observations, event)
        if event.name == HANDLER_FAILURE:
            observations.failures.append(_handler_failure(event))
        scope = event.scope
        if event.internal:
            self._add_internal(event, scope)
            return
        if scope is None:
            return
        place = self.place(scope, event.run)
        if place is None:
            return
        observations.events += 1
        enriched = enrich(event)
        for enricher in self._enrichers:
            enricher(event, enriched)
        add_row(place, event, enriched)

    def place(self, scope: Scope, run: str) -> Place | None:
        """Return where events of this scope go; None if those of this run do not count."""
        place = self._places.get(id(scope))
        if place is None:
            group = self.observations.group_of(scope)
            trial = self.book.trial_of(scope)
            number = trial.trial if trial else scope.trial or 0
            place = self._places[id(scope)] = Place(scope, group, self.book.runs_of(scope), number)
        return None if place.runs is not None and run not in place.runs else place

    def _add_internal(self, event: Event, scope: Scope | None) -> None:
        if event.name == CAPTURE:
            _add_capture(self.observations, event)
        elif scope is None:
            return
        elif event.name in (TRIAL_START, TRIAL_STOP):
            if is_warmup(scope):
                self._warmups.add(event)
            else:
                self.book.add(event)
        elif event.name in (RECORD, LOG, INVALID):
            group = self.observations.group_of(scope)
            attempt = self.book.current_attempt(event)
            if attempt >= 0:
                trial = self.book.trial_of(scope)
                number = trial.trial if trial else scope.trial or 0
                _add_internal(group, event, group.case_index(scope.case), number, attempt)

    def finish(self, plan: Iterable[tuple[str, str, str, str, int]]) -> Observations:
        """Add the trials to their groups, after the last event."""
        observations = self.observations
        self.book.plan(plan)
        for trial in self.book.all():
            group = observations.group(trial.experiment, trial.condition)
            group.trials.append(trial)
            if trial.cluster is not None:
                group.clusters[trial.case] = trial.cluster
        for trial in self._warmups.all():
            key = trial.experiment, trial.condition
            observations.warmups.setdefault(key, Group(*key)).trials.append(trial)
        for group in observations.groups.values():
            _keep_last_attempts(group)
            observations.problems += [
                two_clusters(group.experiment, case, *clusters)
                for case, clusters in group.split.items()
            ]
        for trial in self.book.enclosing():
            observations.enclosing.append(trial)
            _take_out(observations.group(trial.experiment, trial.condition), trial.case)
        observations.problems.extend(self.book.problems)
        return observations


def _take_out(group: Group, case: str) -> None:
    """Treat what a test did outside its blocks as outside trials: it belongs to no case."""
    group.enclosing.add(case)
    index = group.cases.get(case)
    if index is None:
        return
    all_series: list[Series | LoggedSeries] = [*group.recorded.values(), *group.logged.values()]
    for cases in (group.case, *(series.cases for series in all_series)):
        column = np.frombuffer(cases, dtype=np.int64)
        column[column == index] = NO_CASE


def _keep_last_attempts(group: Group) -> None:
    """Drop the numbers that earlier attempts recorded: a trial is judged by its last attempt.

    The events of earlier attempts stay: their cost was really spent.
    """
    last_attempts = {
        (group.cases.get(trial.case), trial.trial): len(trial.attempts)
        for trial in group.trials
        if len(trial.attempts) > 1
    }
    if not last_attempts:
        return
    all_series: list[Series | LoggedSeries] = [*group.recorded.values(), *group.logged.values()]
    for series in all_series:
        kept = [
            row
            for row, key in enumerate(zip(series.cases, series.trials, strict=True))
            if series.attempts[row] == last_attempts.get(key, series.attempts[row])
        ]
        columns = ["values", "cases", "trials", "attempts"]
        if isinstance(series, LoggedSeries):
            columns.append("steps")
        if isinstance(series, MeasuredSeries):
            columns.append("processes")
        for column in columns:
            values = getattr(series, column)
            setattr(series, column, array(values.typecode, [values[row] for row in kept]))


def _count_oddities(observations: Observations, event: Event) -> None:
    """Count events that the summary has to mention."""
    observations.degraded += event.degraded
    match event.attribution:
        case "unattributed":
            observations.unattributed += 1
        case "late":
            observations.late += 1
        case "sole":
            observations.sole += 1


def _add_capture(observations: Observations, event: Event) -> None:
    problem = event.metadata.get("problem")
    if "budget" in event.metadata:
        observations.budgets[str(event.metadata["budget"])] = None
    elif problem is not None:
        observations.capture.setdefault(str(problem), []).append(event.node)
    elif event.scope is not None:
        group = observations.group_of(event.scope)
        host, client = str(event.metadata.get("host")), str(event.metadata.get("client"))
        group.http_calls[host, client] += int(event.measurements.get("http_calls", 0))


def _handler_failure(event: Event) -> str:
    get = event.metadata.get
    return (
        f"{event.node}: handler {get('handler_id')!r} was detached after it raised "
        f"{get('kind')}: {get('reason')} (on {get('event_name')})"
    )


def _add_internal(group: Group, event: Event, case: int, trial: int, attempt: int) -> None:
    if event.name == RECORD:
        _add_recorded(group, event, case, trial, attempt)
    elif event.name == LOG:
        add_logged(group.logged, event, case, trial, attempt)
    else:
        problem = str(event.metadata.get("problem")), str(event.metadata.get("validate"))
        group.invalid[problem] += int(number(event.measurements.get("count")) or 1)


def _add_recorded(group: Group, event: Event, case: int, trial: int, attempt: int) -> None:
    process = event.metadata.get("process")  # only `measure` says one
    for name, value in event.measurements.items():
        series = group.recorded.get(name)
        if series is None:
            series = group.recorded[name] = Series()
        if process is not None:
            series = group.recorded[name] = _measured(series)
        numeric = float(value) if isinstance(value, bool) else number(value)
        if numeric is None:
            series.invalid += 1
        else:
            series.values.append(numeric)
            series.cases.append(case)
            series.trials.append(trial)
            series.attempts.append(attempt)
            if isinstance(series, MeasuredSeries):
                known = group.processes
                index = NO_PROCESS if process is None else known.setdefault(process, len(known))
                series.processes.append(index)


def _measured(series: Series) -> MeasuredSeries:
    if isinstance(series, MeasuredSeries):
        return series
    unknown = array("q", [NO_PROCESS] * len(series.values))
    columns = series.values, series.cases, series.trials, series.attempts, series.invalid
    return MeasuredSeries(*columns, processes=unknown)
