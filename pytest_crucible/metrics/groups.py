"""Groups: the observations of a run, as columns per experiment and condition, and how they fill.

Columns are ``array`` objects: 8 bytes a value, no garbage for the collector, and NumPy reads them
without copying.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pytest_crucible._text import plural
from pytest_crucible.events.enrichment import Enriched, error_text
from pytest_crucible.events.event import Event, weight_of
from pytest_crucible.events.schema import MEASURED, Measured
from pytest_crucible.events.scope import JUDGE, Scope
from pytest_crucible.metrics.counting.ensembles import Whole, Wholes, concerns
from pytest_crucible.metrics.counting.model_calls import CallCounts, Calls
from pytest_crucible.metrics.counting.spans import Nesting
from pytest_crucible.metrics.curves import LoggedSeries
from pytest_crucible.metrics.trials import Trial

NAN = float("nan")
NO_CASE = -1


def _doubles() -> array[float]:
    return array("d")


def _longs() -> array[int]:
    return array("q")


def _measured() -> dict[str, array[float]]:
    return {name: _doubles() for name in MEASURED}


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
class Group(Measured["array[float]"]):
    """The observations of one experiment under one condition.

    One row per event of the code under test; NaN stands for "this event has no such number".

    Attributes:
        names: event names; ``name`` holds indices into it.
        cases: case ids; ``case`` holds indices into it, `NO_CASE` for events outside trials.
        trial: number of the trial, 0 outside trials.
        time_us: when, µs.
        numbers: the columns of `MEASURED`, which are also attributes: ``latency_ms``, ….
        counted: 1 where the row counts in the overall metrics, 0 where its parts do.
        counted_cost, counted_tokens: the same for cost and for tokens.
        recorded: the numbers given to ``record``, by name.
        logged: the numbers given to ``log``, by name.
        declared: the observations of metrics that plugins declare, by name.
        trials: what became of every trial.
        invalid: how many events the catalog says are wrong, by problem and by what the experiment
            says to that: ``warn`` or ``error``.
        failed: rows of failed operations, with their errors.
        cancelled: rows of operations stopped from outside.
        models: how many events named which model.
        judge: 1 where the row is a judge's.
        weight: how many events the row stands for; empty where every row stands for itself.
        sampled: whether some events may have been dropped.
        calls: of models, each counted once.
        http_calls: calls to model hosts that were seen, by host and protocol.
        merged: rows that tell of a call which another row stands for.
        wholes: ensemble predictions and hedged requests; None where no event is about them.
        appends: of each of ``numbers`` by what another one is added.
    """

    experiment: str
    condition: str
    names: dict[str, int] = field(default_factory=dict)
    cases: dict[str, int] = field(default_factory=dict)
    name: array[int] = field(default_factory=_longs)
    case: array[int] = field(default_factory=_longs)
    trial: array[int] = field(default_factory=_longs)
    time_us: array[int] = field(default_factory=_longs)
    numbers: dict[str, array[float]] = field(default_factory=_measured)
    counted: array[int] = field(default_factory=lambda: array("b"))
    counted_cost: array[int] = field(default_factory=lambda: array("b"))
    counted_tokens: array[int] = field(default_factory=lambda: array("b"))
    recorded: dict[str, Series] = field(default_factory=dict)
    logged: dict[str, LoggedSeries] = field(default_factory=dict)
    declared: dict[str, Series] = field(default_factory=dict)
    trials: list[Trial] = field(default_factory=list)
    invalid: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: dict[int, str] = field(default_factory=dict)
    cancelled: set[int] = field(default_factory=set)
    models: dict[str, int] = field(default_factory=dict)
    judge: array[int] = field(default_factory=lambda: array("b"))
    weight: array[float] = field(default_factory=_doubles)
    sampled: bool = False
    calls: CallCounts = field(default_factory=CallCounts)
    http_calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    merged: set[int] = field(default_factory=set)
    wholes: list[Whole] | None = None
    appends: list[tuple[str, Callable[[float], None]]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        # Looked up once: six columns a row are a tenth of what a row takes.
        self.appends = [(name, column.append) for name, column in self.numbers.items()]

    @property
    def errors(self) -> dict[str, int]:
        """Failed operations by error; estimates where a sample was taken."""
        if not self.weight:
            return dict(Counter(self.failed.values()))
        counts: dict[str, float] = {}
        for row, error in self.failed.items():
            counts[error] = counts.get(error, 0.0) + self.weight[row]
        return {error: round(count) for error, count in counts.items()}

    def __repr__(self) -> str:
        told = f"{plural(len(self.name), 'event')}, {plural(len(self.trials), 'trial')}"
        return f"<observations of {self.experiment!r} {self.condition!r}: {told}>"

    def measured(self, column: str) -> array[float]:
        return self.numbers[column]

    def case_index(self, case: str | None) -> int:
        """The index of a case in `cases`, which gets it if it is new; `NO_CASE` for None."""
        if case is None:
            return NO_CASE
        return self.cases.setdefault(case, len(self.cases))


def series_of(group: Group, values: Iterable[tuple[str | None, float]]) -> Series:
    """Values, each with its case, as they stand in a group; what is not finite is counted."""
    series = Series()
    for case, value in values:
        number = float(value)
        if math.isfinite(number):
            series.values.append(number)
            series.cases.append(group.case_index(case))
            series.trials.append(0)
            series.attempts.append(0)
        else:
            series.invalid += 1
    return series


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


class Place:
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
        self.wholes: Wholes | None = None

    def add_to_wholes(self, event: Event, enriched: Enriched, row: int) -> None:
        """Only in groups in which an event was about ensembles or hedging."""
        if self.wholes is None:
            assert self.group.wholes is not None
            self.wholes = Wholes(self.group.wholes, self.case, self.trial)
        self.wholes.add(event, enriched, row)


def add_row(place: Place, event: Event, enriched: Enriched) -> None:
    """Add one event to the group of its place."""
    group = place.group
    row = len(group.counted)
    index = group.names.get(event.name)
    group.name.append(name_index(group, event.name) if index is None else index)
    group.case.append(place.case)
    group.trial.append(place.trial)
    group.time_us.append(event.time_us)
    for name, append in group.appends:
        value = getattr(enriched, name)
        append(NAN if value is None else value)
    group.judge.append(place.judge)
    if event.weight is not None or group.sampled:
        group.sampled = True
        group.weight.extend([1.0] * (row - len(group.weight)))
        group.weight.append(weight_of(event))
    (counted, cost, tokens), parts = place.nesting.place(event, enriched, row)
    group.counted.append(counted)
    group.counted_cost.append(cost)
    group.counted_tokens.append(tokens)
    for part in parts:
        group.counted[part] = 0
        group.failed.pop(part, None)
        group.cancelled.discard(part)
    if enriched.success is False and counted:
        group.failed[row] = error_text(event.metadata)
    if enriched.cancelled and counted:
        group.cancelled.add(row)
    place.calls.add(event, enriched, row)
    if group.wholes is not None:
        place.add_to_wholes(event, enriched, row)
    if enriched.model is not None:
        model = str(enriched.model)
        group.models[model] = group.models.get(model, 0) + 1


def name_index(group: Group, name: str) -> int:
    """The index of an event's name in its group."""
    index = group.names.get(name)
    if index is None:
        index = group.names[name] = len(group.names)
        if group.wholes is None and concerns(name):
            group.wholes = []
    return index
