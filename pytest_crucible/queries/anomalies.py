"""Anomalous events: those of a view, and the marks that exports carry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from pytest_crucible._errors import ArtifactError
from pytest_crucible.events.enrichment import enrich, number
from pytest_crucible.events.enrichment_batch import Alike, number_column
from pytest_crucible.events.event import RESERVED, Event
from pytest_crucible.events.schema import BY_METRIC, NUMBERS
from pytest_crucible.events.scope import Scope
from pytest_crucible.exports.rows import Mark
from pytest_crucible.metrics.anomalies import Limits
from pytest_crucible.metrics.outliers import detect
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.record.chunks import Origin

COLUMN = "anomaly"
"""Column of exports: the metrics in which an event is one; only there if any event is."""

_LOG = frozenset(BY_METRIC.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """An event one of whose numbers lies far from those of the others.

    Attributes:
        event: the event.
        value: its number.
        score: in units of the method's spread, with the sign of the side.
        median: of the numbers that it was held against (for ``zscore``: their mean).
        threshold: of the score.
    """

    event: Event
    value: float
    score: float
    median: float
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomalies:
    """The anomalies among some events: a sequence, in the order of the events.

    Attributes:
        found: the anomalies.
        judged: how many events have such a number and could be judged.
        reasons: why others could not, by their name.
    """

    found: tuple[Anomaly, ...] = ()
    judged: int = 0
    reasons: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Anomaly]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: int) -> Anomaly:
        return self.found[index]


def anomalies(
    events: Iterable[Event], metric: str, method: str, threshold: float | None, log: bool | None
) -> Anomalies:
    """See `Events.anomalies`."""
    detect(np.empty(0), method, threshold)  # arguments are wrong with or without events
    groups: dict[tuple[str, str, str], list[tuple[int, float, Event]]] = defaultdict(list)
    read = _reader(metric)
    for position, event in enumerate(events):
        value = read(event)
        if value is not None:
            scope = event.scope
            owner = ("", "") if scope is None else (scope.experiment, scope.condition)
            groups[*owner, event.name].append((position, value, event))
    found: list[tuple[int, Anomaly]] = []
    judged, reasons = 0, {}
    for (_, _, name), members in groups.items():
        values = np.array([value for _, value, _ in members])
        detected = detect(values, method, threshold, log=metric in _LOG if log is None else log)
        judged += detected.judged
        if detected.reason is not None:
            reasons[name] = detected.reason
            continue
        assert detected.centre is not None
        assert detected.threshold is not None
        for row, score in zip(detected.rows.tolist(), detected.scores.tolist(), strict=True):
            position, value, event = members[row]
            anomaly = Anomaly(
                event=event,
                value=value,
                score=score,
                median=detected.centre,
                threshold=detected.threshold,
            )
            found.append((position, anomaly))
    found.sort(key=lambda each: each[0])
    return Anomalies(found=tuple(each for _, each in found), judged=judged, reasons=reasons)


def _reader(metric: str) -> Callable[[Event], float | None]:
    if metric not in NUMBERS:
        return lambda event: number(event.measurements.get(metric))

    def enriched(event: Event) -> float | None:
        value: float | None = None if event.internal else getattr(enrich(event), metric)
        return value

    return enriched


# --- marks in exports -------------------------------------------------------------------------


def marks(metrics: Iterable[Metrics]) -> Mark | None:
    """What marks the rows of anomalous events; None where there are none.

    Args:
        metrics: of the experiments whose events will be written.
    """
    return _marks(
        (each.experiment, each.condition, metric, unusual.limits)
        for each in metrics
        for metric, unusual in each.anomalies.items()
    )


class _Unusual(msgspec.Struct):
    limits: dict[str, Limits] | None = None


class _Metrics(msgspec.Struct):
    anomalies: dict[str, _Unusual] | None = None


class _Experiment(msgspec.Struct):
    conditions: dict[str, _Metrics] | None = None


def marks_of(manifest: Mapping[str, Any] | None) -> Mark | None:
    """The same, by what the manifest of a run says.

    Raises:
        ArtifactError: it does not say it as a manifest does.
    """
    try:
        experiments = msgspec.convert(
            (manifest or {}).get("experiments") or {}, dict[str, _Experiment]
        )
    except msgspec.ValidationError as error:
        raise ArtifactError(f"not a manifest: in its 'experiments': {error}") from error
    return _marks(
        (experiment, condition, metric, unusual.limits or {})
        for experiment, each in experiments.items()
        for condition, metrics in (each.conditions or {}).items()
        for metric, unusual in (metrics.anomalies or {}).items()
    )


def _marks(found: Iterable[tuple[str, str, str, Mapping[str, Limits]]]) -> Mark | None:
    checks: dict[tuple[str, str, str], list[_Check]] = {}
    for experiment, condition, metric, by_event in found:
        for event, (low, high) in by_event.items():
            checks.setdefault((experiment, condition, event), []).append((metric, low, high))
    return _Marks(checks) if checks else None


_Check = tuple[str, float | None, float | None]
"""A metric and the limits within which it is usual."""


@dataclass(frozen=True, slots=True)
class _Marks:
    """Marks what is beyond its limits, which are by experiment, condition and event name."""

    checks: Mapping[tuple[str, str, str], Sequence[_Check]]

    def __call__(self, event: Event, row: dict[str, Any]) -> dict[str, Any]:
        beyond = [
            metric
            for metric, *usual in self._of(event.scope, event.name)
            if _beyond(_value(row, metric), *usual)
        ]
        if beyond:
            row.setdefault(COLUMN, ", ".join(beyond))  # an enricher may have said it before
        return row

    def places(self, events: Alike, origins: Sequence[Origin]) -> list[int]:
        by_origin = {each: self._of(each.scope, events.name) for each in set(origins)}
        metrics = {metric for checks in by_origin.values() for metric, *_ in checks}
        columns = {metric: _values(events, metric) for metric in metrics}
        return [
            place
            for place, origin in enumerate(origins)
            if any(_beyond(columns[metric][place], *usual) for metric, *usual in by_origin[origin])
        ]

    def _of(self, scope: Scope | None, name: str) -> Sequence[_Check]:
        key = None if scope is None else (scope.experiment, scope.condition, name)
        return () if key is None else self.checks.get(key, ())


def _value(row: Mapping[str, Any], metric: str) -> float | None:
    if metric in BY_METRIC:
        value: float | None = row[BY_METRIC[metric]]
        return value
    return _number(row["measurements"].get(metric))


def _values(events: Alike, metric: str) -> Sequence[float | None]:
    """`_value` of each."""
    found: Sequence[float | None] | None = None
    if metric not in BY_METRIC:
        found = list(map(_number, events.numbers.get(metric, ())))
    elif not events.name.startswith(RESERVED):
        found = number_column(events, BY_METRIC[metric])
    return found or [None] * len(events.measurements)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, bool) else number(value)


def _beyond(value: float | None, low: float | None, high: float | None) -> bool:
    if value is None:
        return False
    return (low is not None and value < low) or (high is not None and value > high)
