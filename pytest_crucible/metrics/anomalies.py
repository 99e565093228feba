"""Anomalies of a group: unusual values of latency, cost and recorded numbers.

Latencies and costs are compared with those of the same event name, on a log scale, because they
have a long tail that is no anomaly. Operations and their parts are treated alike.
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
        score: distance from the median in units of the method's spread; negative below it.
        median: median of the values that it was compared with.
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
        count: number of anomalies.
        judged: number of values that could be compared.
        share: ``count / judged``; None if no value could be compared.
        left_out: number of values that could not be compared, such as zeros on a log scale.
        method: the method that found them.
        worst: the anomaly that lies farthest out; None if there is no anomaly.
        limits: by event name, the lowest and the highest value that is no anomaly; only for events
            that have anomalies.
        reasons: by event name, why its values could not be compared.
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
class _Sample:
    """Values that are compared with each other, and their cases and trials; shape ``(values,)``."""

    event: str
    values: Floats
    cases: NDArray[np.int64]
    trials: NDArray[np.int64]


def unusual(group: Group) -> dict[str, Unusual]:
    """Return the anomalies of a group's latency, cost and recorded numbers, by metric."""
    anomalies = {}
    for metric, column in BY_METRIC.items():
        values = np.frombuffer(group.numbers[column], dtype=np.float64)
        if not np.isnan(values).all():
            anomalies[metric] = _search(group, _by_event(group, values), log=True)
    for name, series in sorted(group.recorded.items()):
        sample = _Sample(
            RECORD,
            np.frombuffer(series.values, dtype=np.float64),
            np.frombuffer(series.cases, dtype=np.int64),
            np.frombuffer(series.trials, dtype=np.int64),
        )
        if sample.values.size:
            anomalies[name] = _search(group, iter((sample,)), log=False)
    return anomalies


def _by_event(group: Group, values: Floats) -> Iterator[_Sample]:
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
        yield _Sample(texts[index], values[own], cases[own], trials[own])


def _search(group: Group, samples: Iterator[_Sample], *, log: bool) -> Unusual:
    count = judged = left_out = 0
    worst: Worst | None = None
    limits, reasons = {}, {}
    for sample in samples:
        detected = detect(sample.values, log=log)
        judged += detected.judged
        left_out += detected.left_out
        count += int(detected.rows.size)
        if detected.reason is not None:
            reasons[sample.event] = detected.reason
        elif detected.rows.size:
            limits[sample.event] = _finite(detected.low), _finite(detected.high)
            farthest = _worst(group, sample, detected)
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


def _worst(group: Group, sample: _Sample, detected: Detection) -> Worst:
    at = int(np.argmax(np.abs(detected.scores)))
    row = int(detected.rows[at])
    case = int(sample.cases[row])
    assert detected.centre is not None
    return Worst(
        value=float(sample.values[row]),
        event=sample.event,
        score=float(detected.scores[at]),
        median=detected.centre,
        case=None if case == NO_CASE else list(group.cases)[case],
        trial=int(sample.trials[row]) or None,
    )


def _finite(limit: float | None) -> float | None:
    return None if limit is None or not math.isfinite(limit) else limit
