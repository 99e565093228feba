"""Unusual values of a group: anomalies in latency, in cost, and in each recorded number.

Latencies and costs are held against those of the same event name, wholes and parts alike, on a
log scale: both multiply, and have a long tail that is no anomaly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.events.event import RECORD
from pytest_crucible.events.schema import BY_METRIC
from pytest_crucible.metrics.observations import NO_CASE, Group
from pytest_crucible.metrics.outliers import MAD, Detection, Floats, detect

Limits = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The value that lies farthest from the others.

    Attributes:
        event: name of its event.
        score: in units of the method's spread, with the sign of the side.
        median: of the values that it was held against.
        case, trial: where it happened; None outside trials.
    """

    value: float
    event: str
    score: float
    median: float
    case: str | None = None
    trial: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusual:
    """Anomalies of one metric.

    Attributes:
        count, judged: how many values are anomalies, of how many.
        share: of them.
        left_out: values that could not be held against the others.
        method: by which they were found.
        worst: the one farthest out; None where there is none.
        limits: by event name, from where on a value is an anomaly; only where there are any.
        reasons: by event name, why its values could not be judged.
    """

    count: int = 0
    judged: int = 0
    share: float | None = None
    left_out: int = 0
    method: str = MAD
    worst: Worst | None = None
    limits: Mapping[str, Limits] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Part:
    """Values that are held against each other, and where each happened."""

    event: str
    values: Floats
    cases: NDArray[np.int64]
    trials: NDArray[np.int64]


def unusual(group: Group) -> dict[str, Unusual]:
    """Look for anomalies in everything that a group's events tell: latency, cost, numbers."""
    found = {}
    for metric, column in BY_METRIC.items():
        values = np.frombuffer(group.numbers[column], dtype=np.float64)
        if not np.isnan(values).all():
            found[metric] = _search(group, _by_event(group, values), log=True)
    for name, series in sorted(group.recorded.items()):
        part = _Part(
            RECORD,
            np.frombuffer(series.values, dtype=np.float64),
            np.frombuffer(series.cases, dtype=np.int64),
            np.frombuffer(series.trials, dtype=np.int64),
        )
        if part.values.size:
            found[name] = _search(group, iter((part,)), log=False)
    return found


def _by_event(group: Group, values: Floats) -> Iterator[_Part]:
    rows = np.flatnonzero(~np.isnan(values))
    names = np.frombuffer(group.name, dtype=np.int64)[rows]
    order = np.argsort(names, kind="stable")
    rows, names = rows[order], names[order]
    starts = np.flatnonzero(np.diff(names, prepend=-1))
    texts = list(group.names)
    cases = np.frombuffer(group.case, dtype=np.int64)
    trials = np.frombuffer(group.trial, dtype=np.int64)
    for first, index in zip(starts.tolist(), names[starts].tolist(), strict=True):
        last = first + int(np.searchsorted(names[first:], index, side="right"))
        own = rows[first:last]
        yield _Part(texts[index], values[own], cases[own], trials[own])


def _search(group: Group, parts: Iterator[_Part], *, log: bool) -> Unusual:
    count = judged = left_out = 0
    worst: Worst | None = None
    limits, reasons = {}, {}
    for part in parts:
        detected = detect(part.values, log=log)
        judged += detected.judged
        left_out += detected.left_out
        count += int(detected.rows.size)
        if detected.reason is not None:
            reasons[part.event] = detected.reason
        elif detected.rows.size:
            limits[part.event] = _finite(detected.low), _finite(detected.high)
            farthest = _worst(group, part, detected)
            if worst is None or abs(farthest.score) > abs(worst.score):
                worst = farthest
    return Unusual(
        count=count,
        judged=judged,
        share=count / judged if judged else None,
        left_out=left_out,
        worst=worst,
        limits=limits,
        reasons=reasons,
    )


def _worst(group: Group, part: _Part, detected: Detection) -> Worst:
    at = int(np.argmax(np.abs(detected.scores)))
    row = int(detected.rows[at])
    case = int(part.cases[row])
    assert detected.centre is not None
    return Worst(
        value=float(part.values[row]),
        event=part.event,
        score=float(detected.scores[at]),
        median=detected.centre,
        case=None if case == NO_CASE else list(group.cases)[case],
        trial=int(part.trials[row]) or None,
    )


def _finite(limit: float | None) -> float | None:
    return None if limit is None or not math.isfinite(limit) else limit
