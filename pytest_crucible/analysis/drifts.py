"""Drift of latency within a run or between two: where it is looked for, and in which words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_crucible.analysis.arm_pairs import arm_name
from pytest_crucible.analysis.results import ExperimentResult
from pytest_crucible.metrics.groups import NO_CASE, Group
from pytest_crucible.metrics.latencies import latencies
from pytest_crucible.stats.drift import Drift, Floats, Ints, drift_of, spread_out
from pytest_crucible.stats.matching import Matching, match

_TURNS = 0.15
"""Arms take turns if a latency of one comes after one of the other in 35 to 65 % of all pairs."""


@dataclass(frozen=True, slots=True)
class Look:
    """One look for drift.

    Attributes:
        of: whose latency: an experiment and its condition; a side.
        drift: what was found.
        against: what each latency was held against; empty: nothing, so that it may be the cases
            that differ.
    """

    of: str
    drift: Drift
    against: str = ""


@dataclass(frozen=True, slots=True)
class _Timed:
    """Latencies of an arm: their logarithms, the case of each, and when each ended, in µs."""

    logs: Floats
    cases: Ints
    times: Ints

    @classmethod
    def of(cls, group: Group) -> _Timed:
        """Of trials. None of a sampled run, which lacks operations of its trials."""
        found = latencies(group)
        keep = (found.cases != NO_CASE) & (found.ms > 0) & (found.weights is None)
        return cls(np.log(found.ms[keep]), found.cases[keep], found.ends_us[keep])

    def by_case(self) -> _Timed:
        """Return the mean of every case."""
        cases, index, sizes = np.unique(self.cases, return_inverse=True, return_counts=True)
        begin = self.times.min() if self.times.size else 0
        logs, times = (
            np.bincount(index, weights=each, minlength=sizes.size) / sizes
            for each in (self.logs, self.times - begin)
        )
        return _Timed(logs, cases, times.astype(np.int64))

    def takes_turns_with(self, other: _Timed) -> bool:
        """Whether the latencies of both were measured by turns."""
        if not self.times.size or not other.times.size:
            return False
        earlier = np.searchsorted(np.sort(other.times), self.times).mean() / other.times.size
        return bool(abs(earlier - 0.5) <= _TURNS)


def drifts_of(experiments: Sequence[ExperimentResult]) -> tuple[str, ...]:
    """Return a sentence for every arm of a run whose latency clearly drifted."""
    return sentences([look for experiment in experiments for look in _looks(experiment)])


def _looks(experiment: ExperimentResult) -> Iterator[Look]:
    """Look for drift in the arms; what their cases differ by is left out where that is possible.

    Repeats of a case are held against each other if they lie apart; else an arm against the
    baseline if they took turns: what hits both alike does no harm. Else against nothing.
    """
    arms = {condition: _Timed.of(experiment.groups[condition]) for condition in experiment.arms}
    base, baseline = arms[experiment.baseline], experiment.groups[experiment.baseline]
    others = [arm for arm in arms.values() if arm is not base]
    any_turns = any(arm.takes_turns_with(base) for arm in others)
    for condition, arm in arms.items():
        name = arm_name((experiment.definition.name, condition))
        if spread_out(arm.times, arm.cases):
            yield from _look(name, drift_of(arm.times, arm.logs, arm.cases), "case for case")
        elif arm is not base and arm.takes_turns_with(base):
            group = experiment.groups[condition]
            matching = match(baseline, group)
            yield from _changes(name, baseline, group, matching, experiment.baseline)
        elif not any_turns or arm is not base:
            means = arm.by_case()
            yield from _look(name, drift_of(means.times, means.logs))


def looks_between(name: str, before: Group, after: Group, matching: Matching) -> Iterator[Look]:
    """Look for drift in an arm of two runs.

    Args:
        name: of the arm.
        before, after: the observations of both sides.
        matching: their cases.
    """
    sides = {"baseline": _Timed.of(before), "candidate": _Timed.of(after)}
    repeated = {side: arm for side, arm in sides.items() if spread_out(arm.times, arm.cases)}
    for side, arm in repeated.items():
        drift = drift_of(arm.times, arm.logs, arm.cases)
        yield from _look(f"{name}, {side}", drift, "case for case")
    if not repeated and matching.names:
        yield from _changes(name, before, after, matching, "the baseline")
    elif not repeated:
        for side, arm in sides.items():
            means = arm.by_case()
            yield from _look(f"{name}, {side}", drift_of(means.times, means.logs))


def _look(of: str, drift: Drift | None, against: str = "") -> Iterator[Look]:
    if drift is not None:
        yield Look(of, drift, against)


def _changes(
    of: str, before: Group, after: Group, matching: Matching, baseline: str
) -> Iterator[Look]:
    """Look for drift in the changes of cases, in the order of the one side and of the other."""
    old, new = _Timed.of(before).by_case(), _Timed.of(after).by_case()
    rows = (
        {case: row for row, case in enumerate(old.cases.tolist())},
        {case: row for row, case in enumerate(new.cases.tolist())},
    )
    places = [
        (
            rows[0].get(before.cases.get(first, NO_CASE)),
            rows[1].get(after.cases.get(second, NO_CASE)),
        )
        for first, second in matching.names.items()
    ]
    both = [(first, second) for first, second in places if first is not None and second is not None]
    first, second = np.array(both, dtype=np.int64).reshape(-1, 2).T
    changes = new.logs[second] - old.logs[first]
    found = [drift_of(times, changes) for times in (new.times[second], old.times[first])]
    for drift in dict.fromkeys(found):
        yield from _look(of, drift, f"against {baseline}")


def sentences(looks: Sequence[Look]) -> tuple[str, ...]:
    """Return a sentence for every arm that clearly drifts; the more looks, the clearer it must."""
    told: dict[str, str] = {}
    for look in looks:
        text = _sentence(look, len(looks))
        if text is not None:
            told.setdefault(look.of, f"{look.of}: {text}")
    return tuple(told.values())


def _sentence(look: Look, looks: int) -> str | None:
    drift, against = look.drift, f" {look.against}" if look.against else ""
    cause = "the machine or the service changed its speed"
    if not look.against:
        cause += ", or later cases take another time"
    if drift.trends(looks):
        return (
            f"latency{against} drifted {drift.change:+.0%} from the first to the last third of the "
            f"run: {cause}; `crucible ab` interleaves"
        ).replace("%", " %", 1)
    if look.against and drift.alike(looks):
        return (
            f"latency{against}: trials that ran one after the other are alike (correlation "
            f"{drift.lag_1:.2f}): the speed of the machine or the service wanders, and the "
            "intervals are too narrow; `crucible ab` interleaves"
        )
    return None
