"""Latency: the time that a trial spent in operations; outside trials, that of each operation.

Operations that ran at the same time count once. A time that no clock has shown (a simulated or
replayed duration, longer than the trial has run so far) shows no overlap either: then the durations
of the trial are added up.
"""

from __future__ import annotations

from dataclasses import dataclass

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
        weights: how many latencies each stands for; None if the run was not sampled.
    """

    ms: Floats
    cases: Ints
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
    if group.sampled:
        weights = weighted.row_weights(group.weight, len(group.name))[keep]
        return Latencies(ms[keep], cases[keep], weights)
    inside = keep & (cases != NO_CASE)
    if not inside.any():
        return Latencies(ms[keep], cases[keep])
    ms, cases = ms[inside], cases[inside]
    trials = np.frombuffer(group.trial, dtype=np.int64)[inside]
    repeats = int(trials.max()) + 1
    keys, index = np.unique(cases * repeats + trials, return_inverse=True)
    if keys.size < ms.size:
        ends = np.frombuffer(group.time_us, dtype=np.int64)[inside]
        ms = ms - _overlaps(ms, ends, index, _began(group, keys, repeats))
    spent = np.bincount(index, weights=ms).astype(np.float64)
    return Latencies(spent, keys // repeats)


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
