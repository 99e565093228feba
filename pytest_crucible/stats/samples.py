"""Samples: the observations behind a metric, with the case of every observation."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.metrics import weighted
from pytest_crucible.metrics.catalog import Range
from pytest_crucible.metrics.observations import NO_CASE, Group
from pytest_crucible.metrics.trials import MISSING, SKIPPED
from pytest_crucible.stats.intervals import NoIntervalError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RATE, MEAN, QUANTILE, FORMULA = "rate", "mean", "quantile", "formula"
TYPICAL, RECORDED = "typical", "recorded"
_LARGEST = 1e150
ONE_PROCESS = "measured in one process, and another may differ: measure(…, processes=5)"
SAMPLED = "sampled: an estimate whose error is unknown"


@dataclass(frozen=True, slots=True)
class Sample:
    """The observations behind one metric.

    Attributes:
        values: shape ``(n,)``: finite numbers whose squares are finite, too; of rates 0 to 1.
        cases: shape ``(n,)``: for every value the index of its case; None if there are no cases.
        names: case ids by index.
        kind: RATE, MEAN or QUANTILE: the statistic of the values that the metric is; or FORMULA:
            the mean of pseudo-values, one per case.
        q: which quantile, between 0 and 1.
        factor: the metric is the mean times this (``cost.per_1k``: 1000).
        invalid: number of values that were left out because they are not finite.
        weights: shape ``(n,)``: how many values each value stands for; None if the run was not
            sampled.
        belongs: for every case the index of its cluster; None: each is a cluster of its own.
        limits: the range of the values; of a FORMULA, of the metric. None: no end is known.
        assumed: whether nobody declared ``limits``: all values lie between them.
        counting: of a FORMULA, the number of cases whose numbers are not all 0.
        refusal: why there is no interval; without values: why there is no metric.
        absent: whether that is because nobody recorded it.
        processes: of a number that was measured, shape ``(n,)``: for every value the index of the
            process that it was measured in.
        process_names: names of the processes by index; no two runs share one.
        began: for every case when it began (`trials.begun`), NaN if nobody knows; without cases
            empty. None, unless it is judged at any look (`sequential`).
    """

    values: Floats
    cases: Ints | None
    names: tuple[str, ...]
    kind: str
    q: float = 0.5
    factor: float = 1.0
    invalid: int = 0
    weights: Floats | None = None
    belongs: Ints | None = None
    limits: Range = (None, None)
    assumed: bool = False
    counting: int = 0
    refusal: str | None = None
    absent: bool = False
    processes: Ints | None = None
    process_names: tuple[str, ...] = ()
    began: Floats | None = None

    @property
    def n(self) -> int:
        """Number of values."""
        return int(self.values.size)

    @property
    def ends(self) -> Range:
        """Smallest and largest possible value; None where nobody knows."""
        return (0.0, 1.0) if self.kind == RATE else self.limits

    @property
    def units(self) -> int:
        """Number of independent units: clusters, else cases, else values."""
        independent = self._independent()
        return self.n if independent is None else int(np.count_nonzero(np.bincount(independent)))

    @property
    def case_count(self) -> int | None:
        """Number of cases; None if there are none."""
        return None if self.cases is None else int(np.count_nonzero(np.bincount(self.cases)))

    def mean(self) -> float:
        """Return the mean, weighted if the run was sampled (Hájek 1971)."""
        if self.weights is not None:
            return weighted.mean(self.values, self.weights)
        return float(self.values.mean())

    def quantile(self, q: float) -> float:
        """Return the ``q`` quantile, weighted if the run was sampled."""
        if self.weights is not None:
            return weighted.quantiles(self.values, self.weights, [q])[0]
        return float(np.quantile(self.values, q))

    def _independent(self) -> Ints | None:
        """Return the cluster of every value; the case, where cases have no cluster."""
        if self.cases is None or self.belongs is None:
            return self.cases
        return self.belongs[self.cases]

    def clusters(self) -> Ints | None:
        """Return the cluster of every value; None if no two values have the same."""
        return None if self.units == self.n else self._independent()

    def clusters_of(self, cases: Ints) -> Ints | None:
        """Return the cluster of every one of these cases; None if no two have the same."""
        if self.belongs is None:
            return None
        clusters = self.belongs[cases]
        return None if np.unique(clusters).size == clusters.size else clusters

    def only(self, names: Mapping[str, str]) -> Sample:
        """Return the values of some cases, under other names.

        Args:
            names: the new names of the cases to keep, by their present ones.
        """
        if self.cases is None:
            return self
        wanted = np.array([name in names for name in self.names], dtype=bool)
        numbers = np.cumsum(wanted) - 1
        keep = wanted[self.cases]
        return replace(
            self,
            values=self.values[keep],
            cases=numbers[self.cases[keep]],
            names=tuple(names[name] for name in self.names if name in names),
            weights=None if self.weights is None else self.weights[keep],
            belongs=None if self.belongs is None else self.belongs[wanted],
            processes=None if self.processes is None else self.processes[keep],
            began=None if self.began is None else self.began[wanted],
        )

    def without(self, names: Iterable[str]) -> Sample:
        """Return the values of all cases but these."""
        gone = set(names)
        return self.only({name: name for name in self.names if name not in gone})

    @property
    def in_processes(self) -> bool:
        """Whether the processes that measured have taken the place of the cases."""
        return self.processes is not None and self.cases is self.processes

    def by_process(self) -> Sample:
        """Return the sample with the processes that measured as its cases, if it has but one case.

        Times of one process are alike: they share its memory layout and hash seed, which the next
        process draws anew. So a single process says nothing about another one.
        """
        if self.processes is None or self.in_processes or (self.case_count or 0) > 1:
            return self
        few = np.unique(self.processes).size < 2
        return replace(
            self,
            cases=self.processes,
            names=self.process_names,
            belongs=None,
            began=None,
            refusal=ONE_PROCESS if few and self.refusal is None else self.refusal,
        )

    def present(self) -> set[str]:
        """Return the names of the cases that have values."""
        if self.cases is None:
            return set()
        return {self.names[case] for case in np.unique(self.cases).tolist()}

    def case_means(self, of_logs: bool = False) -> tuple[Ints, Floats]:
        """Return the indices of the cases that have values, and the mean of each case.

        Args:
            of_logs: return means of the logarithms of the values.

        Returns:
            Two arrays of shape ``(cases,)``; both are empty if there are no cases.
        """
        if self.cases is None:
            return np.empty(0, dtype=np.int64), np.empty(0)
        values = np.log(self.values) if of_logs else self.values
        sizes = np.bincount(self.cases)
        present = np.flatnonzero(sizes)
        return present, np.bincount(self.cases, weights=values)[present] / sizes[present]

    def by_case(self) -> dict[str, float]:
        """Return the mean of the values of every case, by its name."""
        cases, means = self.case_means()
        return {self.names[c]: mean for c, mean in zip(cases.tolist(), means.tolist(), strict=True)}


def refuse_unusable(*samples: Sample) -> None:
    """Refuse samples that say themselves why they have no interval, and those of sampled runs.

    The intervals and tests in this package are for complete records: they do not account for the
    uncertainty that the sampling of events adds.

    Raises:
        NoIntervalError: a sample has weights, or a refusal.
    """
    for sample in samples:
        if sample.refusal is not None:
            raise NoIntervalError(sample.refusal)
    if any(sample.weights is not None for sample in samples):
        raise NoIntervalError(SAMPLED)


def usable(values: Floats) -> NDArray[np.bool_]:
    """Return which values are finite, and their squares, too."""
    return np.abs(values) < _LARGEST


def made(
    values: Floats, cases: Ints, names: Iterable[str], kind: str, weights: Floats | None = None
) -> Sample:
    """Make a sample; leave out values that are not finite, or too large to square.

    A value outside trials becomes a case of its own, unless all values are outside trials.

    Args:
        values: shape ``(n,)``.
        cases: shape ``(n,)``: index of the case of every value, or `NO_CASE`.
        names: case ids by index.
        kind: RATE, MEAN or QUANTILE.
        weights: shape ``(n,)``; None if the run was not sampled.
    """
    keep = usable(values)
    invalid = int(values.size - np.count_nonzero(keep))
    values, cases = values[keep], cases[keep]
    weights = None if weights is None else weights[keep]
    outside = cases == NO_CASE
    if outside.all():
        return Sample(values, None, (), kind, invalid=invalid, weights=weights)
    names = tuple(names)
    if outside.any():
        cases = np.where(outside, len(names) + np.cumsum(outside) - 1, cases)
        names += tuple(f"outside trials {number}" for number in range(int(outside.sum())))
    return Sample(values, cases, names, kind, invalid=invalid, weights=weights)


def coverage(
    group: Group, name: str, cases: Collection[str] | None = None
) -> tuple[int, int] | None:
    """Return how many trials recorded the number ``name``, and how many ran.

    None if all that ran did, or if it is no recorded number.

    Args:
        group: the observations.
        name: of the number.
        cases: look only at the trials of these cases; None: at all.
    """
    series = group.recorded.get(name) or group.logged.get(name)
    if series is None or all(case == NO_CASE for case in series.cases):
        return None  # of a number outside trials, too
    ran = [
        trial
        for trial in group.trials
        if trial.outcome not in (MISSING, SKIPPED) and (cases is None or trial.case in cases)
    ]
    keys = set(zip(series.cases, series.trials, strict=True))
    recorded = sum((group.cases.get(trial.case), trial.trial) in keys for trial in ran)
    return None if recorded == len(ran) else (recorded, len(ran))


def trials_without(group: Group, name: str, cases: Collection[str] | None = None) -> str | None:
    """Say how many trials ran without recording the number ``name``; None if there are none.

    A mean that leaves them out would look better than it is. Arguments as for `coverage`.
    """
    covered = coverage(group, name, cases)
    return None if covered is None else f"{covered[1] - covered[0]} of {covered[1]} trials"
