"""Groups: the observations of a run in columns, one group per experiment and condition.

Columns are ``array`` objects: a value takes 8 bytes, the garbage collector has nothing to do, and
NumPy reads them without copying.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pytest_crucible._text import plural
from pytest_crucible.events.enrichment import Enriched, error_text
from pytest_crucible.events.event import Event, weight_of
from pytest_crucible.events.schema import MEASURED, Measured
from pytest_crucible.events.scope import JUDGE, Scope, is_warmup
from pytest_crucible.metrics.counting.ensembles import Whole, Wholes, concerns
from pytest_crucible.metrics.counting.model_calls import CallCounts, Calls
from pytest_crucible.metrics.counting.nesting import Nesting
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
    """Finite numbers, with the case (index into `Group.cases`), trial and attempt of each number.

    ``invalid`` counts the recorded values that are not finite numbers.
    """

    values: array[float] = field(default_factory=_doubles)
    cases: array[int] = field(default_factory=_longs)
    trials: array[int] = field(default_factory=_longs)
    attempts: array[int] = field(default_factory=_longs)
    invalid: int = 0


NO_PROCESS = -1


@dataclass(slots=True)
class MeasuredSeries(Series):
    """Times in ms of `Experiment.measure`, one per process and measurement.

    ``processes`` has the index into `Group.processes` of each; `NO_PROCESS` for numbers that
    `Experiment.record` gave under the same name.
    """

    processes: array[int] = field(default_factory=_longs)


@dataclass(slots=True)
class Group(Measured["array[float]"]):
    """The observations of one experiment under one condition.

    There is one row per event of the code under test; columns have the shape ``(rows,)``. NaN means
    that an event has no such number.

    Attributes:
        names: index of every event name; ``name`` holds these indices.
        cases: index of every case id; ``case`` holds these indices, `NO_CASE` outside trials.
        clusters: the cluster of every case that has one, by case id.
        split: two clusters of every case that events put into several, by case id.
        enclosing: tests that consist of blocks; they are among ``cases``, but are none.
        trial: number of the trial, 0 outside trials.
        time_us: µs since the epoch.
        numbers: the columns of `MEASURED`, which are also attributes: ``latency_ms``, ….
        counted: 1 if the row counts in the overall metrics, 0 if it does not (a start, a part of
            another operation).
        counted_cost, counted_tokens: the same for its cost and for its tokens.
        recorded: the numbers given to ``record``, and those measured, by name.
        processes: index of every process that measured, by its name.
        logged: the numbers given to ``log``, by name.
        declared: the observations of metrics that plugins declare, by name.
        trials: the trials and their outcomes.
        invalid: number of events that do not fit the catalog, by problem and by the experiment's
            setting: ``warn`` or ``error``.
        failed: errors of failed operations, by row.
        cancelled: rows of operations stopped from outside.
        models: number of events that name a model, by model.
        judge: 1 if the row belongs to a judge.
        weight: how many events the row stands for; empty if every row stands for itself.
        sampled: whether some events may have been dropped.
        began: when each case began, see `trials.begun`; None, unless the experiment is judged at
            any look, while cases are added.
        calls: counts of calls of models, each call once.
        http_calls: number of HTTP calls to model hosts, by host and protocol.
        merged: rows that report a call which another row reports, too; the other row counts.
        wholes: ensemble predictions and hedged requests; None if no event is about them.
        appends: the ``append`` methods of ``numbers``, by column.
    """

    experiment: str
    condition: str
    names: dict[str, int] = field(default_factory=dict)
    cases: dict[str, int] = field(default_factory=dict)
    clusters: dict[str, str] = field(default_factory=dict)
    split: dict[str, tuple[str, str]] = field(default_factory=dict)
    enclosing: set[str] = field(default_factory=set)
    name: array[int] = field(default_factory=_longs)
    case: array[int] = field(default_factory=_longs)
    trial: array[int] = field(default_factory=_longs)
    time_us: array[int] = field(default_factory=_longs)
    numbers: dict[str, array[float]] = field(default_factory=_measured)
    counted: array[int] = field(default_factory=lambda: array("b"))
    counted_cost: array[int] = field(default_factory=lambda: array("b"))
    counted_tokens: array[int] = field(default_factory=lambda: array("b"))
    recorded: dict[str, Series] = field(default_factory=dict)
    processes: dict[str, int] = field(default_factory=dict)
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
    began: Mapping[str, float] | None = None
    calls: CallCounts = field(default_factory=CallCounts)
    http_calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    merged: set[int] = field(default_factory=set)
    wholes: list[Whole] | None = None
    appends: list[tuple[str, Callable[[float], None]]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        # Looked up once: looking up six methods per row takes a tenth of the time of a row.
        self.appends = [(name, column.append) for name, column in self.numbers.items()]

    @property
    def sequential(self) -> bool:
        """Whether the experiment is judged at any look."""
        return self.began is not None

    @property
    def errors(self) -> dict[str, int]:
        """Number of failed operations by error; an estimate if only a sample was kept."""
        if not self.weight:
            return dict(Counter(self.failed.values()))
        counts: dict[str, float] = {}
        for row, error in self.failed.items():
            counts[error] = counts.get(error, 0.0) + self.weight[row]
        return {error: round(count) for error, count in counts.items()}

    def __repr__(self) -> str:
        sizes = f"{plural(len(self.name), 'event')}, {plural(len(self.trials), 'trial')}"
        return f"<observations of {self.experiment!r} {self.condition!r}: {sizes}>"

    def measured(self, column: str) -> array[float]:
        """Return a column of numbers by its name, ``latency_ms``; NaN where an event has none.

        Raises:
            KeyError: there is no such column.
        """
        return self.numbers[column]

    def timed(self) -> Iterator[str]:
        """Yield the names of the numbers that `Experiment.measure` gave."""
        return (name for name, each in self.recorded.items() if isinstance(each, MeasuredSeries))

    def case_index(self, case: str | None) -> int:
        """Return the index of a case in `cases`, after adding a new one; `NO_CASE` for None."""
        if case is None:
            return NO_CASE
        return self.cases.setdefault(case, len(self.cases))

    def sample(self, sample_id: object, cluster: object = None) -> int:
        """Return the index of the case that an event outside trials names in its metadata."""
        nameless = sample_id is None or sample_id == ""
        if nameless or (isinstance(sample_id, float) and math.isnan(sample_id)):  # as in pandas
            return NO_CASE
        case = str(sample_id)
        if cluster is not None:
            first = self.clusters.setdefault(case, str(cluster))
            if first != str(cluster):
                self.split.setdefault(case, (first, str(cluster)))
        return self.case_index(case)


def series_of(group: Group, values: Iterable[tuple[str | None, float]]) -> Series:
    """Return pairs of case and value as a series; count the values that are not finite.

    Args:
        group: the group, which gets cases that it does not have.
        values: pairs of case (None outside trials) and value.
    """
    series = Series()
    for pair in values:
        given: object = pair
        if not isinstance(given, (tuple, list)) or len(given) != 2:
            raise TypeError(f"values= must give pairs of case and value, not {pair!r:.80}")
        case, value = pair
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
    """The result of one pass over a run's events.

    Attributes:
        groups: by (experiment, condition), in order of appearance.
        warmups: the same for warm-up trials, which do not count.
        events: number of events of the code under test that belong to an experiment.
        unattributed, late, sole: number of events with this attribution.
        degraded: number of events with values that could not be encoded.
        failures: handlers that raised and so were detached, one sentence each.
        capture: reasons why spans were not captured, one sentence each, with their nodes.
        budgets: budgets that were used up, one sentence each.
        enclosing: tests that consist of blocks (`Experiment.case`), which are the trials.
        problems: what cannot be right about the cases, one sentence each.
    """

    groups: dict[tuple[str, str], Group] = field(default_factory=dict)
    warmups: dict[tuple[str, str], Group] = field(default_factory=dict)
    events: int = 0
    unattributed: int = 0
    late: int = 0
    sole: int = 0
    degraded: int = 0
    failures: list[str] = field(default_factory=list)
    capture: dict[str, list[str]] = field(default_factory=dict)
    budgets: dict[str, None] = field(default_factory=dict)
    enclosing: list[Trial] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def group(self, experiment: str, condition: str) -> Group:
        """Return the group of an experiment and a condition, which is made if it is new."""
        key = (experiment, condition)
        group = self.groups.get(key)
        if group is None:
            group = self.groups[key] = Group(experiment, condition)
        return group

    def group_of(self, scope: Scope) -> Group:
        """Return the group of a scope: that of the warm-ups, if it is one."""
        if not is_warmup(scope):
            return self.group(scope.experiment, scope.condition)
        key = (scope.experiment, scope.condition)
        return self.warmups.setdefault(key, Group(*key))


class Place:
    """What the events of one scope have in common, and the state of counting them.

    It keeps the scope alive, because places are looked up by the scope's ``id``.
    """

    def __init__(self, scope: Scope, group: Group, runs: frozenset[str] | None, trial: int) -> None:
        self.scope = scope
        self.runs = runs  # whose events count; None: those of all
        self.group = group
        self.case = group.case_index(scope.case)
        self.trial = trial
        self.nesting = Nesting()
        self.judge = scope.role == JUDGE
        self.calls = Calls(group, group.calls, self.judge)
        self.wholes: Wholes | None = None

    def add_to_wholes(self, event: Event, enriched: Enriched, row: int) -> None:
        """Add an event to the group's `Whole` objects; only if the group has ``wholes``."""
        if self.wholes is None:
            assert self.group.wholes is not None
            self.wholes = Wholes(self.group.wholes, self.case, self.trial)
        self.wholes.add(event, enriched, row)


def add_row(place: Place, event: Event, enriched: Enriched) -> None:
    """Add one event to the group of its scope's place."""
    group = place.group
    row = len(group.counted)
    index = group.names.get(event.name)
    group.name.append(name_index(group, event.name) if index is None else index)
    case = place.case
    if case == NO_CASE and "sample_id" in event.metadata:
        case = group.sample(event.metadata["sample_id"], event.metadata.get("cluster"))
    group.case.append(case)
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
    """Return the index of an event's name in its group, after adding a new name."""
    index = group.names.get(name)
    if index is None:
        index = group.names[name] = len(group.names)
        if group.wholes is None and concerns(name):
            group.wholes = []
    return index
