"""Observations: one pass over events, into columns per experiment and condition.

Columns are ``array`` objects: 8 bytes a value, no garbage for the collector, and NumPy reads them
without copying.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pytest_crucible._enrich import Enriched, enrich, number
from pytest_crucible._event import CAPTURE, RECORD, TRIAL_START, TRIAL_STOP, Event
from pytest_crucible._scope import JUDGE, Scope
from pytest_crucible.metrics.calls import CallCounts, Calls
from pytest_crucible.metrics.nesting import Nesting
from pytest_crucible.metrics.trials import Trial, TrialBook
from pytest_crucible.telemetry import HANDLER_FAILURE

NAN = float("nan")
NO_CASE = -1


def _doubles() -> array[float]:
    return array("d")


def _longs() -> array[int]:
    return array("q")


@dataclass(slots=True)
class Series:
    """Finite numbers with the case (index into `Group.cases`) and trial each belongs to.

    ``invalid`` counts what was recorded under the name but is no finite number.
    """

    values: array[float] = field(default_factory=_doubles)
    cases: array[int] = field(default_factory=_longs)
    trials: array[int] = field(default_factory=_longs)
    attempts: array[int] = field(default_factory=_longs)
    invalid: int = 0


@dataclass(slots=True)
class Group:
    """The observations of one experiment under one condition.

    One row per event of the code under test; NaN stands for "this event has no such number".

    Attributes:
        names: event names; ``name`` holds indices into it.
        cases: case ids; ``case`` holds indices into it, `NO_CASE` for events outside trials.
        trial: number of the trial, 0 outside trials.
        time_us: when, µs.
        latency_ms, cost_usd, input_tokens, output_tokens, total_tokens: as enriched.
        success: 1, 0, or NaN for events that neither succeed nor fail.
        counted: 1 where the row counts in the overall metrics, 0 where its parts do.
        counted_cost, counted_tokens: the same for cost and for tokens.
        recorded: the numbers given to ``record``, by name.
        trials: what became of every trial.
        failed: rows of failed operations, with their errors.
        cancelled: rows of operations stopped from outside.
        models: how many events named which model.
        judge: 1 where the row is a judge's.
        calls: of models, each counted once.
        http_calls: calls to model hosts that were seen, by host and protocol.
    """

    experiment: str
    condition: str
    names: dict[str, int] = field(default_factory=dict)
    cases: dict[str, int] = field(default_factory=dict)
    name: array[int] = field(default_factory=_longs)
    case: array[int] = field(default_factory=_longs)
    trial: array[int] = field(default_factory=_longs)
    time_us: array[int] = field(default_factory=_longs)
    latency_ms: array[float] = field(default_factory=_doubles)
    cost_usd: array[float] = field(default_factory=_doubles)
    success: array[float] = field(default_factory=_doubles)
    input_tokens: array[float] = field(default_factory=_doubles)
    output_tokens: array[float] = field(default_factory=_doubles)
    total_tokens: array[float] = field(default_factory=_doubles)
    counted: array[int] = field(default_factory=lambda: array("b"))
    counted_cost: array[int] = field(default_factory=lambda: array("b"))
    counted_tokens: array[int] = field(default_factory=lambda: array("b"))
    recorded: dict[str, Series] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    failed: dict[int, str] = field(default_factory=dict)
    cancelled: set[int] = field(default_factory=set)
    models: dict[str, int] = field(default_factory=dict)
    judge: array[int] = field(default_factory=lambda: array("b"))
    calls: CallCounts = field(default_factory=CallCounts)
    http_calls: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def errors(self) -> dict[str, int]:
        """Failed operations by error."""
        return dict(Counter(self.failed.values()))

    def case_index(self, case: str | None) -> int:
        if case is None:
            return NO_CASE
        return self.cases.setdefault(case, len(self.cases))


@dataclass(slots=True)
class Observations:
    """Everything that one pass over a run's events yields.

    Attributes:
        groups: by (experiment, condition), in order of appearance.
        events: number of events of the code under test that belong to an experiment.
        unattributed, late, sole, degraded: how many events were so.
        failures: handlers that were detached because they raised, in a sentence each.
        capture: what kept spans from being captured, a sentence each, with their nodes.
        budgets: budgets that were spent, a sentence each.
    """

    groups: dict[tuple[str, str], Group] = field(default_factory=dict)
    events: int = 0
    unattributed: int = 0
    late: int = 0
    sole: int = 0
    degraded: int = 0
    failures: list[str] = field(default_factory=list)
    capture: dict[str, list[str]] = field(default_factory=dict)
    budgets: dict[str, None] = field(default_factory=dict)

    def group(self, experiment: str, condition: str) -> Group:
        key = (experiment, condition)
        found = self.groups.get(key)
        if found is None:
            found = self.groups[key] = Group(experiment, condition)
        return found


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
    found, book = Observations(), TrialBook()
    places: dict[int, _Place] = {}  # by identity: hashing six names for each event is slow
    extra = tuple(enrichers)
    for event in events:
        _count_oddities(found, event)
        scope = event.scope
        if scope is None:
            continue
        if event.internal:
            if event.name == RECORD:
                group = found.group(scope.experiment, scope.condition)
                attempt = book.current_attempt(event)
                if attempt >= 0:
                    _add_recorded(group, event, scope, attempt)
            elif event.name in (TRIAL_START, TRIAL_STOP):
                book.add(event)
            continue
        place = places.get(id(scope))
        if place is None:
            group = found.group(scope.experiment, scope.condition)
            place = places[id(scope)] = _Place(scope, group, book.run_of(scope))
        if place.run is not None and place.run != event.run:
            continue  # another shard ran the same trial before
        found.events += 1
        enriched = enrich(event)
        for enricher in extra:
            enricher(event, enriched)
        _add_row(place, event, enriched)
    book.plan(plan())
    for trial in book.all():
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
    for series in group.recorded.values():
        kept = [
            row
            for row, key in enumerate(zip(series.cases, series.trials, strict=True))
            if series.attempts[row] == last.get(key, series.attempts[row])
        ]
        for column in ("values", "cases", "trials", "attempts"):
            old = getattr(series, column)
            setattr(series, column, array(old.typecode, [old[row] for row in kept]))


def _count_oddities(found: Observations, event: Event) -> None:
    """Count what the summary has to say aloud."""
    found.degraded += event.degraded
    if event.name == HANDLER_FAILURE:
        found.failures.append(_handler_failure(event))
    elif event.name == CAPTURE:
        _add_capture(found, event)
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


class _Place:
    """What all events of one scope share; holds on to the scope, whose identity is its key."""

    def __init__(self, scope: Scope, group: Group, run: str | None) -> None:
        self.scope = scope
        self.run = run
        self.group = group
        self.case = group.case_index(scope.case)
        self.trial = scope.trial or 0
        self.nesting = Nesting()
        self.judge = scope.role == JUDGE
        self.calls = Calls(group, group.calls, self.judge)


def _add_row(place: _Place, event: Event, enriched: Enriched) -> None:
    group = place.group
    row = len(group.counted)
    group.name.append(group.names.setdefault(event.name, len(group.names)))
    group.case.append(place.case)
    group.trial.append(place.trial)
    group.time_us.append(event.time_us)
    group.latency_ms.append(_or_nan(enriched.latency_ms))
    group.cost_usd.append(_or_nan(enriched.cost_usd))
    success = enriched.success
    group.success.append(NAN if success is None else float(success))
    group.input_tokens.append(_or_nan(enriched.input_tokens))
    group.output_tokens.append(_or_nan(enriched.output_tokens))
    group.total_tokens.append(_or_nan(enriched.total_tokens))
    group.judge.append(place.judge)
    (counted, cost, tokens), parts = place.nesting.place(event, enriched, row)
    group.counted.append(counted)
    group.counted_cost.append(cost)
    group.counted_tokens.append(tokens)
    for part in parts:
        group.counted[part] = 0
        group.failed.pop(part, None)
        group.cancelled.discard(part)
    if success is False and counted:
        error = event.metadata.get("error") or event.metadata.get("exception") or "unknown"
        group.failed[row] = str(error)
    if enriched.cancelled and counted:
        group.cancelled.add(row)
    place.calls.add(event, enriched, row)
    if enriched.model is not None:
        model = str(enriched.model)
        group.models[model] = group.models.get(model, 0) + 1


def _or_nan(value: float | None) -> float:
    return NAN if value is None else value
