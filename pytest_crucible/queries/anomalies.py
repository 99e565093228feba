"""Anomalous events: find them in a view, and mark their rows in exports."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from pytest_crucible._errors import ArtifactError
from pytest_crucible.events.enrichment import enrich, number
from pytest_crucible.events.enrichment_batch import Alike, Column, number_column
from pytest_crucible.events.event import RESERVED, Event
from pytest_crucible.events.schema import BY_METRIC, NUMBERS
from pytest_crucible.events.scope import Scope
from pytest_crucible.exports.rows import Mark
from pytest_crucible.metrics.anomalies import Limits
from pytest_crucible.metrics.outliers import detect
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.record.chunks import Chunk, Origin

COLUMN = "anomaly"
"""Column of exports: the metrics in which an event is an anomaly; absent if there are none."""

_LOG = frozenset(BY_METRIC.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Anomaly:
    """An event with a number that lies far from the numbers of comparable events.

    Attributes:
        event: the event.
        value: its number.
        score: distance from the median in units of the method's spread; negative below it.
        median: median of the numbers that it was compared with (for ``zscore``: their mean).
        threshold: an event is an anomaly if its score exceeds this, above or below.
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
        judged: how many events have such a number and could be compared.
        reasons: by event name, why events could not be compared.
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
    detect(np.empty(0), method, threshold)  # wrong arguments are refused even without events
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
    found.sort(key=lambda entry: entry[0])
    return Anomalies(found=tuple(anomaly for _, anomaly in found), judged=judged, reasons=reasons)


def _reader(metric: str) -> Callable[[Event], float | None]:
    if metric not in NUMBERS:
        return lambda event: number(event.measurements.get(metric))

    def enriched(event: Event) -> float | None:
        value: float | None = None if event.internal else getattr(enrich(event), metric)
        return value

    return enriched


# --- marks in exports -------------------------------------------------------------------------


def marks(metrics: Iterable[Metrics]) -> Mark | None:
    """Return the mark for rows of anomalous events; None if there are no anomalies.

    Args:
        metrics: the metrics of all conditions whose events are exported.
    """
    return _marks(
        (arm.experiment, arm.condition, metric, unusual.limits)
        for arm in metrics
        for metric, unusual in arm.anomalies.items()
    )


class _Unusual(msgspec.Struct):
    limits: dict[str, Limits] | None = None


class _Metrics(msgspec.Struct):
    anomalies: dict[str, _Unusual] | None = None


class _Experiment(msgspec.Struct):
    conditions: dict[str, _Metrics] | None = None


def marks_of(manifest: Mapping[str, Any] | None) -> Mark | None:
    """Return the mark for anomalies that the manifest of a run lists; None if it lists none.

    Raises:
        ArtifactError: the manifest does not have the form of one.
    """
    try:
        experiments = msgspec.convert(
            (manifest or {}).get("experiments") or {}, dict[str, _Experiment]
        )
    except msgspec.ValidationError as error:
        raise ArtifactError(f"not a manifest: in its 'experiments': {error}") from error
    return _marks(
        (experiment, condition, metric, unusual.limits or {})
        for experiment, entry in experiments.items()
        for condition, metrics in (entry.conditions or {}).items()
        for metric, unusual in (metrics.anomalies or {}).items()
    )


def _marks(entries: Iterable[tuple[str, str, str, Mapping[str, Limits]]]) -> Mark | None:
    checks: dict[tuple[str, str, str], list[_Check]] = {}
    for experiment, condition, metric, by_event in entries:
        for event, (low, high) in by_event.items():
            checks.setdefault((experiment, condition, event), []).append((metric, low, high))
    return _Marks(checks) if checks else None


_Check = tuple[str, float | None, float | None]
"""A metric, and the lowest and the highest value that is no anomaly."""


@dataclass(frozen=True, slots=True)
class _Marks:
    """The mark for anomalies: it sets `COLUMN` in the rows of events that are beyond a limit.

    Attributes:
        checks: by experiment, condition and event name.
    """

    checks: Mapping[tuple[str, str, str], Sequence[_Check]]

    def __call__(self, event: Event, row: dict[str, Any]) -> dict[str, Any]:
        beyond = [
            metric
            for metric, *limits in self._of(event.scope, event.name)
            if _beyond(_value(row, metric), *limits)
        ]
        if beyond:
            row.setdefault(COLUMN, ", ".join(beyond))  # an enricher may have set it
        return row

    def places(self, events: Alike, origins: Sequence[Origin]) -> list[int]:
        by_origin = {origin: self._of(origin.scope, events.name) for origin in set(origins)}
        metrics = {metric for checks in by_origin.values() for metric, *_ in checks}
        columns = {metric: _values(events, metric) for metric in metrics}
        return [
            row
            for row, origin in enumerate(origins)
            if any(_beyond(columns[metric][row], *limits) for metric, *limits in by_origin[origin])
        ]

    def columns(self, chunk: Chunk) -> Mapping[str, Column]:
        return {}

    def _of(self, scope: Scope | None, name: str) -> Sequence[_Check]:
        key = None if scope is None else (scope.experiment, scope.condition, name)
        return () if key is None else self.checks.get(key, ())


def _value(row: Mapping[str, Any], metric: str) -> float | None:
    if metric in BY_METRIC:
        value: float | None = row[BY_METRIC[metric]]
        return value
    return _number(row["measurements"].get(metric))


def _values(events: Alike, metric: str) -> Sequence[float | None]:
    """Return `_value` for every event."""
    values: Sequence[float | None] | None = None
    if metric not in BY_METRIC:
        values = list(map(_number, events.numbers.get(metric, ())))
    elif not events.name.startswith(RESERVED):
        values = number_column(events, BY_METRIC[metric])
    return values or [None] * len(events.measurements)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, bool) else number(value)


def _beyond(value: float | None, low: float | None, high: float | None) -> bool:
    if value is None:
        return False
    return (low is not None and value < low) or (high is not None and value > high)
