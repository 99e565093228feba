"""Curves: what was logged step by step, from events to one curve per trial, and their summary."""

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
from pytest_crucible.events.scope import Scope
from pytest_crucible.metrics.catalog import CURVE_STATISTICS, LOWER, MAX, MIN, PLAIN, Catalog

_MOST = 2**63
POINTS = 24
"""How many points of a curve are kept for the summary."""


class Curve(NamedTuple):
    """One number over training steps, in the order of the steps.

    Attributes:
        steps: each once, ascending.
        values: as many; NaN and infinity as they were logged.
    """

    steps: list[int]
    values: list[float]


@dataclass(slots=True)
class LoggedSeries:
    """Everything that was logged under one name, in the order in which it was.

    ``best`` is the direction that was asked for, if it was. ``invalid`` counts what has no step.
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
    """A logged number of one condition. With several trials, means over the trials' own numbers.

    Attributes:
        trials: that logged it.
        points: values in all, each step of each trial once.
        not_finite: how many of them are NaN, infinite or no number; they are never the best.
        steps: of a trial.
        first, last: at the lowest and at the highest step; None if one of them is not finite.
        best, best_step: the extreme, and the first step that has it.
        best_is: which extreme: ``min`` or ``max``.
        curve: up to `POINTS` pairs of step and value, over all trials: each stands for a stretch
            of steps of equal length, by its last step and the mean of its finite values.
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
    """One trial's curve: which case (index) and trial it is of, its steps and values."""

    case: int
    trial: int
    steps: NDArray[np.int64]
    values: NDArray[np.float64]


def add_logged(
    logged: dict[str, LoggedSeries], event: Event, scope: Scope, case: int, attempt: int
) -> None:
    """Add one `LOG` event to the series of its name."""
    name = str(event.metadata.get("name"))
    series = logged.get(name)
    if series is None:
        series = logged[name] = LoggedSeries()
    value, step = event.measurements.get("value"), event.measurements.get("step")
    if type(step) is not int or not -_MOST <= step < _MOST:
        series.invalid += 1
        return
    if type(value) is not float:
        plain = number(value)
        value = math.nan if plain is None else plain  # as JSON wrote it: null
    best = event.metadata.get("best")
    if best in (MIN, MAX):
        series.best = str(best)
    series.values.append(value)
    series.steps.append(step)
    series.cases.append(case)
    series.trials.append(scope.trial or 0)
    series.attempts.append(attempt)


def curve_of(events: Iterable[Event], name: str) -> Curve:
    """The curve that one trial's events hold for ``name``; empty if there is none."""
    logged: dict[str, LoggedSeries] = {}
    for event in events:
        if event.name == LOG and event.scope is not None and event.metadata.get("name") == name:
            add_logged(logged, event, event.scope, 0, 0)
    for each in trial_curves(logged.get(name, LoggedSeries())):
        return Curve(each.steps.tolist(), each.values.tolist())
    return Curve([], [])


def trial_curves(series: LoggedSeries) -> Iterator[TrialCurve]:
    """The curve of every trial, by case and trial; the last value of a step counts."""
    if not series.values:
        return
    values = np.frombuffer(series.values, dtype=np.float64)
    keys = np.stack(
        [np.frombuffer(c, dtype=np.int64) for c in (series.cases, series.trials, series.steps)]
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
    """One of `CURVE_STATISTICS` of one trial's curve; NaN where it has none."""
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
    """Which extreme is the best: as asked for with ``best=``, else as the catalogue says."""
    return series.best or (MIN if catalog[f"{name}.best"].better == LOWER else MAX)


def summarise_logged(series: LoggedSeries, name: str, catalog: Catalog = PLAIN) -> Logged:
    """Work out the summary of everything logged under one name."""
    best_is = direction(series, name, catalog)
    curves = list(trial_curves(series))
    values = np.concatenate([each.values for each in curves]) if curves else np.empty(0)
    means = {
        statistic: _mean([trial_statistic(each, statistic, best_is) for each in curves])
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
    steps = np.concatenate([each.steps for each in curves])
    values = np.concatenate([each.values for each in curves])
    levels = np.unique(steps)
    found = []
    for stretch in np.array_split(levels, min(POINTS, levels.size)):
        inside = (steps >= stretch[0]) & (steps <= stretch[-1])
        found.append((int(stretch[-1]), _mean(_finite(values[inside]).tolist())))
    return tuple(found)


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[np.isfinite(values)]
