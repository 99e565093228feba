"""Curves: numbers logged step by step, from events to a curve per trial and a summary."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.events.enrichment import number
from pytest_crucible.events.event import LOG, Event
from pytest_crucible.metrics.catalog import CURVE_STATISTICS, LOWER, MAX, MIN, PLAIN, Catalog

_MAX_STEP = 2**63
POINTS = 24
"""The summary keeps up to this many points of a curve."""


class Curve(NamedTuple):
    """One number over training steps.

    Attributes:
        steps: different steps, ascending.
        values: one per step; NaN and infinity as they were logged.
    """

    steps: list[int]
    values: list[float]


@dataclass(slots=True)
class LoggedSeries:
    """Everything that was logged under one name, in the order in which it was logged.

    Attributes:
        values, steps: the logged numbers and their steps.
        cases, trials, attempts: where each was logged, as in `Series`.
        best: ``min`` or ``max`` as given to ``log``; None if it was not given.
        invalid: number of log events without a valid step.
    """

    values: array[float] = field(default_factory=lambda: array("d"))
    steps: array[int] = field(default_factory=lambda: array("q"))
    cases: array[int] = field(default_factory=lambda: array("q"))
    trials: array[int] = field(default_factory=lambda: array("q"))
    attempts: array[int] = field(default_factory=lambda: array("q"))
    best: str | None = None
    invalid: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """The summary of a number that one condition logged.

    ``steps`` to ``best_step`` are worked out per trial; with several trials they are means over
    the trials, and None if the number of any trial is not finite.

    Attributes:
        trials: how many trials logged the number.
        points: number of values; a step that a trial logged twice counts once.
        not_finite: how many of them are NaN, infinite or no number; they are never the best.
        steps: number of steps of a trial.
        first, last: the values at the lowest and at the highest step.
        best, best_step: the best value, and the first step that has it.
        best_is: whether the best value is the ``min`` or the ``max``.
        curve: up to `POINTS` pairs (step, value) over all trials. The steps are split into
            intervals of equal length; a pair is the last step of an interval and the mean of its
            finite values (None if there are none).
    """

    trials: int = 0
    points: int = 0
    not_finite: int = 0
    steps: float | None = None
    first: float | None = None
    last: float | None = None
    best: float | None = None
    best_step: float | None = None
    best_is: str = MAX
    curve: tuple[tuple[int, float | None], ...] = ()


@dataclass(frozen=True, slots=True)
class TrialCurve:
    """The curve of one trial.

    Attributes:
        case: index into the cases of the group.
        trial: number of the trial.
        steps, values: shape ``(n,)``, ascending by step.
    """

    case: int
    trial: int
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


def add_logged(
    logged: dict[str, LoggedSeries], event: Event, case: int, trial: int, attempt: int
) -> None:
    """Add one `LOG` event to the series of its name.

    Args:
        logged: the series by name.
        event: the event.
        case: index of its case in the group.
        trial: number of its trial; 0 outside trials.
        attempt: number of its attempt.
    """
    name = str(event.metadata.get("name"))
    series = logged.get(name)
    if series is None:
        series = logged[name] = LoggedSeries()
    value, step = event.measurements.get("value"), event.measurements.get("step")
    if type(step) is not int or not -_MAX_STEP <= step < _MAX_STEP:
        series.invalid += 1
        return
    if type(value) is not float:
        finite = number(value)
        value = math.nan if finite is None else finite  # JSON writes NaN as null
    best = event.metadata.get("best")
    if best in (MIN, MAX):
        series.best = str(best)
    series.values.append(value)
    series.steps.append(step)
    series.cases.append(case)
    series.trials.append(trial)
    series.attempts.append(attempt)


def curve_of(events: Iterable[Event], name: str) -> Curve:
    """Return the curve that the events of one trial hold for ``name``; empty if there is none."""
    logged: dict[str, LoggedSeries] = {}
    for event in events:
        if event.name == LOG and event.scope is not None and event.metadata.get("name") == name:
            add_logged(logged, event, 0, 0, 0)
    for curve in trial_curves(logged.get(name, LoggedSeries())):
        return Curve(curve.steps.tolist(), curve.values.tolist())
    return Curve([], [])


def trial_curves(series: LoggedSeries) -> Iterator[TrialCurve]:
    """Yield the curve of every trial, ordered by case and trial; a step's last value counts."""
    if not series.values:
        return
    values = np.frombuffer(series.values, dtype=np.float64)
    keys = np.stack(
        [np.frombuffer(key, dtype=np.int64) for key in (series.cases, series.trials, series.steps)]
    )
    order = np.lexsort(keys[::-1])  # stable: equal steps of a trial stay in order of time
    keys, values = keys[:, order], values[order]
    changes = keys[:, 1:] != keys[:, :-1]
    last = np.append(changes.any(axis=0), True)
    ends = np.flatnonzero(np.append(changes[:2].any(axis=0), True)) + 1
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        kept = last[start:end]
        case, trial = keys[:2, start].tolist()
        yield TrialCurve(case, trial, keys[2, start:end][kept], values[start:end][kept])


def trial_statistic(curve: TrialCurve, statistic: str, best_is: str) -> float:
    """Return one of `CURVE_STATISTICS` of a curve; NaN if it is undefined.

    Args:
        curve: the curve of one trial.
        statistic: which.
        best_is: ``min`` or ``max``.
    """
    if statistic == "steps":
        return float(curve.steps.size)
    if statistic in ("first", "last"):
        return float(curve.values[0 if statistic == "first" else -1])
    finite = np.isfinite(curve.values)
    if not finite.any():
        return math.nan
    steps, values = curve.steps[finite], curve.values[finite]
    at = int(values.argmin() if best_is == MIN else values.argmax())
    return float(values[at] if statistic == "best" else steps[at])


def direction(series: LoggedSeries, name: str, catalog: Catalog = PLAIN) -> str:
    """Return ``min`` or ``max``, whichever is best: as given to ``log``, else by the catalogue."""
    return series.best or (MIN if catalog[f"{name}.best"].better == LOWER else MAX)


def summarise_logged(series: LoggedSeries, name: str, catalog: Catalog = PLAIN) -> Logged:
    """Summarise everything that was logged under one name."""
    best_is = direction(series, name, catalog)
    curves = list(trial_curves(series))
    values = np.concatenate([curve.values for curve in curves]) if curves else np.empty(0)
    means = {
        statistic: _mean([trial_statistic(curve, statistic, best_is) for curve in curves])
        for statistic in CURVE_STATISTICS
    }
    return Logged(
        trials=len(curves),
        points=int(values.size) + series.invalid,
        not_finite=int(np.count_nonzero(~np.isfinite(values))) + series.invalid,
        best_is=best_is,
        curve=_downsampled(curves),
        **means,
    )


def _mean(values: Sequence[float]) -> float | None:
    if not values or not all(map(math.isfinite, values)):
        return None
    mean = math.fsum(value / len(values) for value in values)
    return mean if math.isfinite(mean) else None


def _downsampled(curves: Sequence[TrialCurve]) -> tuple[tuple[int, float | None], ...]:
    if not curves:
        return ()
    steps = np.concatenate([curve.steps for curve in curves])
    values = np.concatenate([curve.values for curve in curves])
    different = np.unique(steps)
    points = []
    for interval in np.array_split(different, min(POINTS, different.size)):
        inside = (steps >= interval[0]) & (steps <= interval[-1])
        points.append((int(interval[-1]), _mean(_finite(values[inside]).tolist())))
    return tuple(points)


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[np.isfinite(values)]
