"""Latency: the time that a trial spent in operations; outside trials, that of each operation.

Operations that ran at the same time count once. A time that no clock has shown (a simulated or
replayed duration, longer than the trial has run so far) shows no overlap either: then the durations
of the trial are added up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.metrics import weighted
from pytest_crucible.metrics.groups import NO_CASE, Group

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROUNDING_US = 2
"""Stop times are whole µs: operations that touch may seem to overlap by so much."""
_CLOCKS_US = 1_000
"""So much may the clocks of two processes differ."""
_LONGEST_US = 366 * 86_400_000_000


@dataclass(frozen=True, slots=True)
class Latencies:
    """Latencies in ms, and what each belongs to; arrays of shape ``(n,)``.

    Attributes:
        ms: the latencies.
        cases: index into `Group.cases`, or `NO_CASE`.
        ends_us: when the last operation of each ended, in µs since the epoch.
        weights: how many latencies each stands for; None if the run was not sampled.
    """

    ms: Floats
    cases: Ints
    ends_us: Ints
    weights: Floats | None = None


def latencies(group: Group, name: int | None = None) -> Latencies:
    """Return the latencies of a group, without those of judges.

    One per trial, over all its attempts, whose time was really spent. Events outside trials are
    left out if there are trials; else each operation is one latency. In a sampled run, too: some
    operations of a trial may have been dropped.

    Args:
        group: the observations.
        name: only operations with this name (index into `Group.names`), also those that are
            parts of others; None: the outermost operations, whatever their names.
    """
    ms = np.frombuffer(group.latency_ms, dtype=np.float64)
    keep = np.isfinite(ms) & ~np.frombuffer(group.judge, dtype=bool)
    if name is None:
        keep &= np.frombuffer(group.counted, dtype=bool)
    else:
        keep &= np.frombuffer(group.name, dtype=np.int64) == name
    cases = np.frombuffer(group.case, dtype=np.int64)
    ends = np.frombuffer(group.time_us, dtype=np.int64)
    if group.sampled:
        weights = weighted.row_weights(group.weight, len(group.name))[keep]
        return Latencies(ms[keep], cases[keep], ends[keep], weights)
    inside = keep & (cases != NO_CASE)
    if not inside.any():
        return Latencies(ms[keep], cases[keep], ends[keep])
    ms, cases, ends = ms[inside], cases[inside], ends[inside]
    trials = np.frombuffer(group.trial, dtype=np.int64)[inside]
    repeats = int(trials.max()) + 1
    keys, index = np.unique(cases * repeats + trials, return_inverse=True)
    if keys.size < ms.size:
        ms = ms - _overlaps(ms, ends, index, _began(group, keys, repeats))
    spent = np.bincount(index, weights=ms).astype(np.float64)
    last = np.zeros(keys.size, dtype=np.int64)
    np.maximum.at(last, index, ends)
    return Latencies(spent, keys // repeats, last)


def _began(group: Group, keys: Ints, repeats: int) -> Floats:
    """Return when the first attempt of each trial began, in µs; −inf if that is unknown.

    Args:
        group: the observations.
        keys: of the trials, in order: case × ``repeats`` + trial.
        repeats: more than any number of a trial.
    """
    began = {
        group.cases[trial.case] * repeats + trial.trial: trial.attempts[0].began_us
        for trial in group.trials
        if trial.attempts and trial.case in group.cases and trial.trial < repeats
    }
    found = (began.get(key) for key in keys.tolist())
    return np.array([-np.inf if at is None else at for at in found], dtype=np.float64)


def _overlaps(ms: Floats, ends: Ints, trials: Ints, began: Floats) -> Floats:
    """Return for how many ms of each operation an earlier one of its trial was still running.

    Args:
        ms: durations, shape ``(n,)``, like the next two.
        ends: in µs since the epoch.
        trials: number of the trial, from 0.
        began: when each trial began, in µs, shape ``(trials,)``.
    """
    lengths = np.clip(ms * 1000, 0, _LONGEST_US)
    starts = ends - np.rint(lengths).astype(np.int64)
    firsts = np.full(began.size, np.iinfo(np.int64).max)
    np.minimum.at(firsts, trials, starts)
    lasts = np.full(began.size, np.iinfo(np.int64).min)
    np.maximum.at(lasts, trials, ends)
    shown = (firsts >= began - _CLOCKS_US) & (lasts - firsts <= _LONGEST_US)
    overlaps = np.zeros(ms.size)
    rows = np.flatnonzero(shown[trials])
    if not rows.size:
        return overlaps
    rows = rows[np.lexsort((starts[rows], trials[rows]))]
    own = trials[rows]
    # Trials one after another on one time axis, so that a running maximum stays in its trial.
    shift = np.concatenate([[0], np.cumsum(np.where(shown, lasts - firsts + 1, 0))[:-1]]) - firsts
    from_, to = starts[rows] + shift[own], ends[rows] + shift[own]
    before = np.maximum.accumulate(to)
    common = np.zeros(rows.size, dtype=np.int64)
    common[1:] = np.clip(np.minimum(before[:-1], to[1:]) - from_[1:], 0, None)
    common[common <= _ROUNDING_US] = 0
    overlaps[rows] = np.minimum(common / 1000, ms[rows])
    return overlaps


class Busy:
    """The time that one trial spent in operations, one operation at a time, in bounded memory.

    It gives what `latencies` gives, if operations come roughly in the order in which they end.
    """

    MOST = 1024
    """So many intervals are kept; then earlier ones that no other overlaps are added up."""

    def __init__(self) -> None:
        self.began_us = math.inf  # inf: its beginning was not recorded
        self._first_us = math.inf
        self._sum_ms = self._settled_ms = 0.0
        self._count = 0
        self._intervals: list[tuple[int, int, float]] = []  # start and end in µs, ms that count

    def add(self, end_us: int, ms: float) -> None:
        """Add an operation that ended at ``end_us`` and took ``ms``."""
        start = end_us - round(min(max(ms * 1000, 0), _LONGEST_US))
        self._first_us = min(self._first_us, start)
        self._sum_ms += ms
        self._count += 1
        self._intervals.append((start, end_us, ms))
        if len(self._intervals) > self.MOST:
            joined = _joined(self._intervals)
            settled, self._intervals = joined[: -self.MOST // 4], joined[-self.MOST // 4 :]
            self._settled_ms += sum(each for _, _, each in settled)

    def ms(self) -> float | None:
        """Return the time spent so far; None if there was no operation."""
        if not self._count:
            return None
        if self.began_us < math.inf and self._first_us < self.began_us - _CLOCKS_US:
            return self._sum_ms
        joined = _joined(self._intervals)
        if joined and joined[-1][1] - self._first_us > _LONGEST_US:
            return self._sum_ms
        return self._settled_ms + sum(each for _, _, each in joined)

    def merge(self, other: Busy) -> None:
        """Add the operations of another part of the trial."""
        self.merge_dict(other.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold, for `merge_dict`."""
        limits = (None if at == math.inf else at for at in (self.began_us, self._first_us))
        return {
            "us": list(limits),
            "ms": [self._sum_ms, self._settled_ms],
            "count": self._count,
            "intervals": [list(each) for each in self._intervals],
        }

    def merge_dict(self, data: Mapping[str, Any]) -> None:
        """Add what `to_dict` returned elsewhere."""
        began, first = (math.inf if at is None else int(at) for at in data["us"])
        self.began_us = min(self.began_us, began)
        self._first_us = min(self._first_us, first)
        self._sum_ms += float(data["ms"][0])
        self._settled_ms += float(data["ms"][1])
        self._count += int(data["count"])
        self._intervals += [(int(s), int(e), float(ms)) for s, e, ms in data["intervals"]]


def _joined(intervals: list[tuple[int, int, float]]) -> list[tuple[int, int, float]]:
    """Return the union of intervals, in order, each with the ms that it stands for."""
    joined: list[tuple[int, int, float]] = []
    for start, end, ms in sorted(intervals):
        common = min(joined[-1][1], end) - start if joined else 0
        if common <= _ROUNDING_US:
            joined.append((start, end, ms))
        else:
            first, last, spent = joined[-1]
            joined[-1] = first, max(last, end), spent + ms - min(common / 1000, ms)
    return joined
