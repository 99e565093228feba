"""Samples: the observations behind a metric, with the case each belongs to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.metrics import weighted
from pytest_crucible.metrics.observations import NO_CASE, Group
from pytest_crucible.metrics.trials import MISSING
from pytest_crucible.stats.intervals import NoIntervalError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RATE, MEAN, QUANTILE = "rate", "mean", "quantile"
TYPICAL, RECORDED = "typical", "recorded"
_LARGEST = 1e150
SAMPLED = "sampled: an estimate of which it is not known how far it may be off"


@dataclass(frozen=True, slots=True)
class Sample:
    """The observations behind one metric.

    Attributes:
        values: finite numbers whose squares are finite too; for rates 0 and 1.
        cases: index of each value's case, or None where values belong to no case.
        names: case ids by index.
        kind: RATE, MEAN or QUANTILE: what the metric says about the values.
        q: which quantile.
        factor: the metric is this times the mean (``cost.per_1k``: 1000).
        invalid: values that were no finite numbers and had to be left out.
        weights: how many each value stands for, where a sample was taken; None where all are kept.
    """

    values: Floats
    cases: Ints | None
    names: tuple[str, ...]
    kind: str
    q: float = 0.5
    factor: float = 1.0
    invalid: int = 0
    weights: Floats | None = None

    @property
    def n(self) -> int:
        return int(self.values.size)

    @property
    def units(self) -> int:
        """Cases; or observations, where they belong to none."""
        return self.n if self.cases is None else int(np.count_nonzero(np.bincount(self.cases)))

    def mean(self) -> float:
        if self.weights is not None:
            return weighted.mean(self.values, self.weights)
        return float(self.values.mean())

    def quantile(self, q: float) -> float:
        if self.weights is not None:
            return weighted.quantiles(self.values, self.weights, [q])[0]
        return float(np.quantile(self.values, q))

    def clusters(self) -> Ints | None:
        """The cases, if any has more than one value; else None: then values are independent."""
        return None if self.units == self.n else self.cases

    def case_means(self, of_logs: bool = False) -> tuple[Ints, Floats]:
        """Which cases have values, by index, and the mean of each, or of its values' logarithms."""
        if self.cases is None:
            return np.empty(0, dtype=np.int64), np.empty(0)
        values = np.log(self.values) if of_logs else self.values
        sizes = np.bincount(self.cases)
        found = np.flatnonzero(sizes)
        return found, np.bincount(self.cases, weights=values)[found] / sizes[found]

    def by_case(self) -> dict[str, float]:
        """The mean of each case by its name."""
        cases, means = self.case_means()
        return {self.names[c]: mean for c, mean in zip(cases.tolist(), means.tolist(), strict=True)}


def refuse_sampled(*samples: Sample) -> None:
    """Raises NoIntervalError where a sample was taken.

    The intervals and tests here are for complete records. What was drawn adds an uncertainty of
    its own that they know nothing of.
    """
    if any(sample.weights is not None for sample in samples):
        raise NoIntervalError(SAMPLED)


def made(
    values: Floats, cases: Ints, names: Iterable[str], kind: str, weights: Floats | None = None
) -> Sample:
    usable = np.abs(values) < _LARGEST
    invalid = int(values.size - np.count_nonzero(usable))
    values, cases = values[usable], cases[usable]
    weights = None if weights is None else weights[usable]
    outside = cases == NO_CASE
    if outside.all():
        return Sample(values, None, (), kind, invalid=invalid, weights=weights)
    names = tuple(names)
    if outside.any():  # each a case of its own: the others stay together
        cases = np.where(outside, len(names) + np.cumsum(outside) - 1, cases)
        names += tuple(f"outside trials {number}" for number in range(int(outside.sum())))
    return Sample(values, cases, names, kind, invalid=invalid, weights=weights)


def trials_without(group: Group, name: str) -> str | None:
    """Trials that ran but recorded no such number: leaving them out would flatter the mean."""
    series = group.recorded.get(name) or group.logged.get(name)
    if series is None:
        return None
    judged = [trial for trial in group.trials if trial.outcome not in (MISSING, "skipped")]
    have = set(zip(series.cases, series.trials, strict=True))
    lack = sum((group.cases.get(trial.case), trial.trial) not in have for trial in judged)
    return f"{lack} of {len(judged)} trials" if lack else None
