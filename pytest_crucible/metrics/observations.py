"""Observations: one pass over events, into columns per experiment and condition.

Columns are ``array`` objects: 8 bytes a value, no garbage for the collector, and NumPy reads them
without copying.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pytest_crucible._catalog import is_container
from pytest_crucible._enrich import Enriched, enrich, number
from pytest_crucible._event import RECORD, TRIAL_START, TRIAL_STOP, Event
from pytest_crucible._scope import Scope
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
    """Numbers with the case each belongs to (index into `Group.cases`, −1 for none)."""

    values: array[float] = field(default_factory=_doubles)
    cases: array[int] = field(default_factory=_longs)

    def add(self, value: float, case: int) -> None:
        self.values.append(value)
        self.cases.append(case)


@dataclass(slots=True)
class Group:
    """The observations of one experiment under one condition.

    One row per event of the code under test; NaN stands for "this event has no such number".

    Attributes:
        names: event names; ``name`` holds indices into it.
        cases: case ids; ``case`` holds indices into it, `NO_CASE` for events outside trials.
        time_us: when, µs.
        latency_ms, cost_usd, input_tokens, output_tokens, total_tokens: as enriched.
        success: 1, 0, or NaN for events that neither succeed nor fail.
        counted: 1 where the row counts in the overall metrics, 0 where its parts do.
        counted_cost, counted_tokens: the same for cost and for tokens.
        recorded: the numbers given to ``record``, by name.
        trials: what became of every trial.
        errors: failed operations by error.
        cancelled: operations stopped from outside.
    """

    experiment: str
    condition: str
    names: dict[str, int] = field(default_factory=dict)
    cases: dict[str, int] = field(default_factory=dict)
    name: array[int] = field(default_factory=_longs)
    case: array[int] = field(default_factory=_longs)
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
    errors: dict[str, int] = field(default_factory=dict)
    cancelled: int = 0

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
        interruptions: why trials were broken off from outside, if any were.
    """

    groups: dict[tuple[str, str], Group] = field(default_factory=dict)
    events: int = 0
    unattributed: int = 0
    late: int = 0
    sole: int = 0
    degraded: int = 0
    failures: list[str] = field(default_factory=list)

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
    found, book, nesting = Observations(), TrialBook(), _Nesting()
    extra = tuple(enrichers)
    for event in events:
        if event.attribution != "context":
            _count_attribution(found, event)
        found.degraded += event.degraded
        if event.name == HANDLER_FAILURE:
            found.failures.append(_handler_failure(event))
        scope = event.scope
        if scope is None:
            continue
        if event.internal:
            if event.name == RECORD:
                _add_recorded(found.group(scope.experiment, scope.condition), event, scope)
            elif event.name in (TRIAL_START, TRIAL_STOP):
                book.add(event)
            continue
        found.events += 1
        enriched = enrich(event)
        for enricher in extra:
            enricher(event, enriched)
        group = found.group(scope.experiment, scope.condition)
        _add_row(group, event, scope, enriched, nesting)
    book.plan(plan())
    for trial in book.all():
        found.group(trial.experiment, trial.condition).trials.append(trial)
    return found


def _count_attribution(found: Observations, event: Event) -> None:
    match event.attribution:
        case "unattributed":
            found.unattributed += 1
        case "late":
            found.late += 1
        case "sole":
            found.sole += 1


def _handler_failure(event: Event) -> str:
    get = event.metadata.get
    return (
        f"{event.node}: handler {get('handler_id')!r} was detached after it raised "
        f"{get('kind')}: {get('reason')} (on {get('event_name')})"
    )


def _add_recorded(group: Group, event: Event, scope: Scope) -> None:
    case = group.case_index(scope.case)
    for name, value in event.measurements.items():
        numeric = float(value) if isinstance(value, bool) else number(value)
        if numeric is not None:
            series = group.recorded.get(name)
            if series is None:
                series = group.recorded[name] = Series()
            series.add(numeric, case)


def _add_row(
    group: Group, event: Event, scope: Scope, enriched: Enriched, nesting: _Nesting
) -> None:
    group.name.append(group.names.setdefault(event.name, len(group.names)))
    group.case.append(group.case_index(scope.case))
    group.time_us.append(event.time_us)
    group.latency_ms.append(_or_nan(enriched.latency_ms))
    group.cost_usd.append(_or_nan(enriched.cost_usd))
    success = enriched.success
    group.success.append(NAN if success is None else float(success))
    group.input_tokens.append(_or_nan(enriched.input_tokens))
    group.output_tokens.append(_or_nan(enriched.output_tokens))
    group.total_tokens.append(_or_nan(enriched.total_tokens))
    counted, cost, tokens = nesting.place(event, scope, enriched)
    group.counted.append(counted)
    group.counted_cost.append(cost)
    group.counted_tokens.append(tokens)
    if success is False:
        error = str(event.metadata.get("error") or event.metadata.get("exception") or "unknown")
        group.errors[error] = group.errors.get(error, 0) + 1
    if enriched.cancelled:
        group.cancelled += 1


def _or_nan(value: float | None) -> float:
    return NAN if value is None else value


class _Nesting:
    """Tells wholes from parts, so that nothing is counted twice.

    A span's parts end before it does. So a set of the spans that have had a part so far is enough,
    and it stays as small as the number of open spans. Events without span ids (plain ``execute``
    calls) are wholes if the catalog says so and a part ended in the same scope within their time.
    """

    def __init__(self) -> None:
        self._parents: tuple[set[Any], set[Any], set[Any]] = (set(), set(), set())
        self._latest: dict[Scope, list[int]] = {}

    def place(self, event: Event, scope: Scope, enriched: Enriched) -> tuple[bool, bool, bool]:
        """Whether the event's operation, its cost and its tokens count."""
        if event.name.endswith(".start"):
            return False, enriched.cost_usd is not None, enriched.total_tokens is not None
        has = (
            enriched.latency_ms is not None or enriched.success is not None,
            enriched.cost_usd is not None,
            enriched.total_tokens is not None,
        )
        get = event.metadata.get
        span, parent = get("span_id"), get("parent_span_id")
        whole = is_container(event.name)
        counts = []
        for kind in range(3):
            parents = self._parents[kind]
            below = span is not None and _key(event, span) in parents
            if below:
                parents.discard(_key(event, span))
            elif whole:
                below = self._part_within(event, scope, enriched, kind)
            if (has[kind] or below) and parent is not None:
                parents.add(_key(event, parent))
            counts.append(has[kind] and not below)
            if has[kind] and not whole:
                self._latest.setdefault(scope, [0, 0, 0])[kind] = event.time_us
        return counts[0], counts[1], counts[2]

    def _part_within(self, event: Event, scope: Scope, enriched: Enriched, kind: int) -> bool:
        latest = self._latest.get(scope)
        if latest is None or not latest[kind]:
            return False
        if enriched.latency_ms is None:
            return True
        return latest[kind] >= event.time_us - enriched.latency_ms * 1000


def _key(event: Event, span: object) -> tuple[str, object]:
    return event.node, span if isinstance(span, (str, int)) else repr(span)
