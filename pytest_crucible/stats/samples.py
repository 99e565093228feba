"""Samples: the observations behind a metric's path, with the case each belongs to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.metrics import weighted
from pytest_crucible.metrics.curves import STATISTICS, LoggedSeries, trial_curves, trial_statistic
from pytest_crucible.metrics.direction import lower_is_better as lower_is_better
from pytest_crucible.metrics.ensembles import SERIES
from pytest_crucible.metrics.observations import NO_CASE, Group, Series
from pytest_crucible.metrics.trials import FAILURES, MISSING, SUCCESSES
from pytest_crucible.stats.intervals import NoIntervalError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RATE, MEAN, QUANTILE = "rate", "mean", "quantile"
_LARGEST = 1e150
SAMPLED = "sampled: an estimate of which it is not known how far it may be off"

QUANTILES = {"median": 0.5, "p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_MEANS = {"mean": 1.0, "per_1k": 1e3, "per_1m": 1e6}
_RATES = {
    "success_rate": "trials",
    "pass_rate": "trials",
    "tests.pass_rate": "trials",
    "tests.first_pass_rate": "first attempts",
    "reliability.success_rate": "operations",
    "reliability.failure_rate": "failures",
}


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


def sample_of(group: Group, path: str) -> Sample | None:
    """The observations behind ``path``; None where the metric is no estimate but a plain fact.

    Totals, counts and extremes are facts about this run: nothing to infer. An empty sample means
    that nothing was recorded.
    """
    if path in _RATES:
        source = _RATES[path]
        if path in ("success_rate", "pass_rate") and not group.trials:
            source = "operations"
        return _rate(group, source)
    head, _, statistic = path.rpartition(".")
    if head == "tokens" and statistic in ("mean_prompt", "mean_completion", "mean_total"):
        column = {"mean_prompt": "input", "mean_completion": "output", "mean_total": "total"}
        return _column(group, f"{column[statistic]}_tokens", "counted_tokens", MEAN)
    if head == "cost" and statistic in (*_MEANS, "median"):
        return _shaped(_column(group, "cost_usd", "counted_cost", MEAN), statistic)
    if head == "latency":
        return _shaped(_column(group, "latency_ms", "counted", MEAN), statistic)
    if head == "tests.duration_ms":
        return _shaped(_durations(group), statistic)
    if group.wholes is not None and (path in SERIES or head in SERIES):
        return _of_wholes(group, path, head, statistic)
    return _given(group, head, statistic)


def _of_wholes(group: Group, path: str, head: str, statistic: str) -> Sample | None:
    series, weights = SERIES[path if path in SERIES else head](group)
    values = np.frombuffer(series.values, dtype=np.float64)
    cases = np.frombuffer(series.cases, dtype=np.int64)
    found = _made(values, cases, group, MEAN, weights if group.sampled else None)
    return replace(found, kind=RATE) if path in SERIES else _shaped(found, statistic)


def _given(group: Group, head: str, statistic: str) -> Sample | None:
    """What was given to ``record`` or ``log``."""
    if head in group.recorded:
        recorded = _recorded(group, group.recorded[head])
        if statistic == "mean" and set(np.unique(recorded.values)) <= {0.0, 1.0}:
            return replace(recorded, kind=RATE)  # right or wrong: a share, not a measurement
        shaped = _shaped(recorded, statistic)
        if shaped is not None:
            return shaped
    if head in group.logged and statistic in STATISTICS:
        return _logged(group, group.logged[head], head, statistic)
    return None


def refuse_sampled(*samples: Sample) -> None:
    """Raises NoIntervalError where a sample was taken.

    The intervals and tests here are for complete records. What was drawn adds an uncertainty of
    its own that they know nothing of.
    """
    if any(sample.weights is not None for sample in samples):
        raise NoIntervalError(SAMPLED)


def per_trial(group: Group, column: str, counted: str) -> Sample:
    """What each trial spent in all: the sum of a column over the trial's events.

    Calls of a trial are parts of one observation. Events outside trials count one by one.
    """
    values = np.frombuffer(getattr(group, column), dtype=np.float64)
    keep = np.frombuffer(getattr(group, counted), dtype=bool) & np.isfinite(values)
    cases = np.frombuffer(group.case, dtype=np.int64)[keep]
    trials = np.frombuffer(group.trial, dtype=np.int64)[keep]
    spent = values[keep]
    if not spent.size or group.sampled or (cases == NO_CASE).any():
        return _made(spent, cases, group, MEAN, _weights(group, keep))
    repeats = int(trials.max()) + 1
    keys, index = np.unique(cases * repeats + trials, return_inverse=True)
    sums = np.bincount(index, weights=spent).astype(np.float64)
    return _made(sums, keys // repeats, group, MEAN)


def _shaped(sample: Sample, statistic: str) -> Sample | None:
    if statistic in QUANTILES:
        return replace(sample, kind=QUANTILE, q=QUANTILES[statistic])
    if statistic in _MEANS:
        return replace(sample, kind=MEAN, factor=_MEANS[statistic])
    return None


def _column(group: Group, column: str, counted: str, kind: str) -> Sample:
    values = np.frombuffer(getattr(group, column), dtype=np.float64)
    keep = np.frombuffer(getattr(group, counted), dtype=bool) & np.isfinite(values)
    cases = np.frombuffer(group.case, dtype=np.int64)[keep]
    return _made(values[keep], cases, group, kind, _weights(group, keep))


def _weights(group: Group, rows: NDArray[np.bool_]) -> Floats | None:
    if not group.sampled:
        return None
    return weighted.row_weights(group.weight, len(group.name))[rows]


def _rate(group: Group, source: str) -> Sample:
    if source in ("operations", "failures"):
        sample = _column(group, "success", "counted", RATE)
        return replace(sample, values=1 - sample.values) if source == "failures" else sample
    values, cases = [], []
    names: dict[str, int] = {}
    for trial in group.trials:
        outcome = trial.outcome if source == "trials" else trial.first_outcome
        if outcome in SUCCESSES or outcome in FAILURES:
            values.append(float(outcome in SUCCESSES))
            cases.append(names.setdefault(trial.case, len(names)))
    return Sample(
        np.array(values, dtype=np.float64), np.array(cases, dtype=np.int64), tuple(names), RATE
    )


def _durations(group: Group) -> Sample:
    values, cases = [], []
    names: dict[str, int] = {}
    for trial in group.trials:
        for attempt in trial.attempts:
            if attempt.duration_ms is not None:
                values.append(attempt.duration_ms)
                cases.append(names.setdefault(trial.case, len(names)))
    return Sample(
        np.array(values, dtype=np.float64), np.array(cases, dtype=np.int64), tuple(names), MEAN
    )


def _recorded(group: Group, series: Series) -> Sample:
    values = np.frombuffer(series.values, dtype=np.float64)
    cases = np.frombuffer(series.cases, dtype=np.int64)
    found = _made(values, cases, group, MEAN)
    return replace(found, invalid=series.invalid + found.invalid)


def _logged(group: Group, series: LoggedSeries, name: str, statistic: str) -> Sample | None:
    """One observation per trial; None with a single curve: where that ended is a plain fact."""
    curves = list(trial_curves(series))
    if len(curves) < 2:
        return None
    values = np.array([trial_statistic(series, each, name, statistic) for each in curves])
    return _made(values, np.array([each.case for each in curves], dtype=np.int64), group, MEAN)


def _made(
    values: Floats, cases: Ints, group: Group, kind: str, weights: Floats | None = None
) -> Sample:
    usable = np.abs(values) < _LARGEST
    invalid = int(values.size - np.count_nonzero(usable))
    values, cases = values[usable], cases[usable]
    weights = None if weights is None else weights[usable]
    outside = cases == NO_CASE
    if outside.all():
        return Sample(values, None, (), kind, invalid=invalid, weights=weights)
    names = tuple(group.cases)
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
