"""From the observations of one experiment under one condition to its metrics.

Percentiles interpolate linearly (type 7 of Hyndman and Fan 1996, NumPy's default); ``std_dev``
divides by n − 1. If a run was sampled, `weighted` estimates the numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_crucible._clock import iso_from_us
from pytest_crucible.metrics import weighted
from pytest_crucible.metrics.agreement import UnmatchedError, ratings_of
from pytest_crucible.metrics.anomalies import unusual
from pytest_crucible.metrics.catalog import BUILT_IN, CURVE_STATISTICS, PLAIN, STATISTICS, Catalog
from pytest_crucible.metrics.curves import summarise_logged
from pytest_crucible.metrics.distribution import Distribution
from pytest_crucible.metrics.ensembles import (
    summarise_ensembles,
    summarise_hedging,
)
from pytest_crucible.metrics.formula import NoValueError, variables
from pytest_crucible.metrics.formula import value as formula_value
from pytest_crucible.metrics.latencies import latencies
from pytest_crucible.metrics.observations import Group
from pytest_crucible.metrics.trials import BROKEN_OFF, FAILURES, MISSING, SUCCESSES, Trial
from pytest_crucible.metrics.values import (
    Cost,
    EventMetrics,
    Metrics,
    Recording,
    Reliability,
    Tests,
    Tokens,
)

Floats = NDArray[np.float64]


def summarise(group: Group, catalog: Catalog = PLAIN) -> Metrics:
    """Work out all metrics of a group of observations.

    Args:
        group: the observations.
        catalog: says which value of a curve is its best, and has the formulas.
    """
    columns = _Columns(group)
    everything = np.ones(len(columns.name), dtype=bool)
    counted, spent = columns.counted, latencies(group)
    recorded = {
        name: distribution(np.frombuffer(series.values, dtype=np.float64))
        for name, series in sorted(group.recorded.items())
    }
    return Metrics(
        experiment=group.experiment,
        condition=group.condition,
        summary=_recording(group, columns),
        latency=distribution(spent.ms, spent.weights),
        cost=_cost(columns, columns.counted_cost),
        reliability=_reliability(columns, counted, _cancelled(group)),
        tokens=_tokens(columns, columns.counted_tokens),
        tests=summarise_trials(group.trials),
        recorded=recorded,
        custom=formula_numbers(recorded, catalog) | agreement_numbers(group, catalog),
        logged={
            name: summarise_logged(series, name, catalog)
            for name, series in sorted(group.logged.items())
        },
        by_event={
            name: _event_metrics(columns, everything & (columns.name == index))
            for name, index in sorted(group.names.items())
        },
        anomalies=unusual(group),
        ensemble=summarise_ensembles(group, distribution),
        hedging=summarise_hedging(group, distribution),
    )


def formula_numbers(recorded: Mapping[str, Distribution], catalog: Catalog) -> dict[str, float]:
    """Return the values of the formulas over sums of a catalogue, by name; of those that have one.

    Args:
        recorded: the numbers given to ``record``, by name.
        catalog: has the formulas.
    """
    totals = {name: each.total for name, each in recorded.items() if each.total is not None}
    numbers = {}
    agreements = {metric.path for metric, _ in catalog.agreements()}
    for metric in catalog.formulas():
        assert metric.formula is not None
        if metric.path not in agreements and totals.keys() >= set(variables(metric.formula)):
            with suppress(NoValueError):  # `stats.formula_samples` tells why
                numbers[metric.path] = formula_value(metric.formula, totals)
    return numbers


def agreement_numbers(group: Group, catalog: Catalog) -> dict[str, float]:
    """Return the agreements of a catalogue, by name; of those that have a value."""
    numbers = {}
    for metric, found in catalog.agreements():
        if group.recorded.keys() >= set(found[1]):
            with suppress(UnmatchedError):  # `stats.formula_samples` tells why
                ratings = ratings_of(*found, group.recorded)
                value = math.nan if ratings.problem() else ratings.value()
                if math.isfinite(value):
                    numbers[metric.path] = value
    return numbers


class _Columns:
    """The columns of a group as NumPy arrays, shape ``(rows,)``, without copies."""

    def __init__(self, group: Group) -> None:
        self.name = np.frombuffer(group.name, dtype=np.int64)
        self.time_us = np.frombuffer(group.time_us, dtype=np.int64)
        self.latency_ms = np.frombuffer(group.latency_ms, dtype=np.float64)
        self.cost_usd = np.frombuffer(group.cost_usd, dtype=np.float64)
        self.success = np.frombuffer(group.success, dtype=np.float64)
        self.input_tokens = np.frombuffer(group.input_tokens, dtype=np.float64)
        self.output_tokens = np.frombuffer(group.output_tokens, dtype=np.float64)
        self.total_tokens = np.frombuffer(group.total_tokens, dtype=np.float64)
        self.counted = np.frombuffer(group.counted, dtype=bool)
        self.counted_cost = np.frombuffer(group.counted_cost, dtype=bool)
        self.counted_tokens = np.frombuffer(group.counted_tokens, dtype=bool)
        self._weights = weighted.weights_of(group.weight, len(group.name))

    def weights(self, rows: NDArray[np.bool_]) -> Floats | None:
        """Return how many events the selected rows stand for; None if only for themselves."""
        return None if self._weights is None else self._weights[rows]

    def count(self, rows: NDArray[np.bool_]) -> int:
        """Return how many events the selected rows stand for together, rounded."""
        return int(rows.sum()) if self._weights is None else round(self._weights[rows].sum())


def distribution(values: Floats, weights: Floats | None = None) -> Distribution:
    """Describe numbers. NaN means "no number here" and is left out.

    Args:
        values: shape ``(n,)``.
        weights: how many numbers each value stands for, itself included, shape ``(n,)``; None if
            each stands only for itself.
    """
    present = ~np.isnan(values)
    values = values[present]
    count = int(values.size)
    if not count:
        return Distribution()
    if weights is not None:
        return _weighted(values, weights[present])
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite sum becomes None
        points = [_finite(p) for p in np.percentile(values, (50, 90, 95, 99))]
        total, mean = _finite(values.sum()), _finite(values.mean())
        std_dev = _finite(values.std(ddof=1)) if count > 1 else None
    return Distribution(
        count=count,
        total=total,
        mean=mean,
        median=points[0],
        std_dev=std_dev,
        min=_finite(values.min()),
        max=_finite(values.max()),
        p50=points[0],
        p90=points[1],
        p95=points[2],
        p99=points[3],
    )


def _weighted(values: Floats, weights: Floats) -> Distribution:
    with np.errstate(over="ignore", invalid="ignore"):
        points = [_finite(p) for p in weighted.quantiles(values, weights, (0.5, 0.9, 0.95, 0.99))]
        total, mean = _finite((values * weights).sum()), weighted.mean(values, weights)
        std_dev = weighted.std_dev(values, weights)
    return Distribution(
        count=round(weights.sum()),
        total=total,
        mean=_finite(mean),
        median=points[0],
        std_dev=None if std_dev is None else _finite(std_dev),
        min=_finite(values.min()),
        max=_finite(values.max()),
        p50=points[0],
        p90=points[1],
        p95=points[2],
        p99=points[3],
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def summarise_trials(trials: list[Trial]) -> Tests:
    """Count the outcomes of trials; the last attempt of a trial decides."""
    outcomes = [trial.outcome for trial in trials]
    firsts = [trial.first_outcome for trial in trials]
    durations = [
        attempt.duration_ms
        for trial in trials
        for attempt in trial.attempts
        if attempt.duration_ms is not None
    ]
    return Tests(
        trials=len(trials),
        passed=sum(outcome in SUCCESSES for outcome in outcomes),
        failed=sum(outcome in ("failed", "xfailed") for outcome in outcomes),
        errored=outcomes.count("errored"),
        crashed=sum(outcome in BROKEN_OFF for outcome in outcomes),
        skipped=outcomes.count("skipped"),
        missing=outcomes.count(MISSING),
        attempts=sum(len(trial.attempts) for trial in trials),
        pass_rate=_pass_rate(outcomes),
        first_pass_rate=_pass_rate(firsts),
        duration_ms=distribution(np.array(durations, dtype=np.float64)),
    )


def _pass_rate(outcomes: list[str]) -> float | None:
    passed = sum(outcome in SUCCESSES for outcome in outcomes)
    judged = passed + sum(outcome in FAILURES for outcome in outcomes)
    return passed / judged if judged else None


def _recording(group: Group, columns: _Columns) -> Recording:
    names, time = group.names, columns.time_us
    if not time.size:
        return Recording()
    everything = np.ones(time.size, dtype=bool)
    weights = columns.weights(everything)
    counts = np.bincount(columns.name, weights=weights, minlength=len(names))
    start, end = int(time.min()), int(time.max())
    return Recording(
        total_events=columns.count(everything),
        kept_events=int(time.size) if group.sampled else None,
        start=iso_from_us(start),
        end=iso_from_us(end),
        duration_s=(end - start) / 1_000_000,
        event_types={name: round(counts[index]) for name, index in sorted(names.items())},
    )


def _cost(columns: _Columns, rows: NDArray[np.bool_]) -> Cost:
    return cost_of(distribution(columns.cost_usd[rows], columns.weights(rows)))


def cost_of(spent: Distribution) -> Cost:
    """Return the cost metrics, given the distribution of costs in USD."""
    mean = spent.mean
    return Cost(
        count=spent.count,
        total=spent.total,
        mean=mean,
        median=spent.median,
        per_1k=None if mean is None else mean * 1_000,
        per_1m=None if mean is None else mean * 1_000_000,
    )


def _reliability(columns: _Columns, rows: NDArray[np.bool_], cancelled: int = 0) -> Reliability:
    successful = columns.count(rows & (columns.success == 1))
    failed = columns.count(rows & (columns.success == 0))
    return reliability_of(successful, failed, cancelled)


def reliability_of(successful: int, failed: int, cancelled: int) -> Reliability:
    """Return the reliability metrics, given how many operations ended which way."""
    total = successful + failed
    if not total:
        return Reliability(cancelled=cancelled)
    rate = successful / total
    return Reliability(
        total=total,
        successful=successful,
        failed=failed,
        cancelled=cancelled,
        success_rate=rate,
        failure_rate=failed / total,
        sla_99=rate >= 0.99,
        sla_999=rate >= 0.999,
        sla_9999=rate >= 0.9999,
    )


def _cancelled(group: Group) -> int:
    if not group.weight:
        return len(group.cancelled)
    return round(sum(group.weight[row] for row in group.cancelled))


def _tokens(columns: _Columns, rows: NDArray[np.bool_]) -> Tokens:
    return tokens_of(
        *(
            distribution(column[rows], columns.weights(rows))
            for column in (columns.input_tokens, columns.output_tokens, columns.total_tokens)
        )
    )


def tokens_of(prompt: Distribution, completion: Distribution, total: Distribution) -> Tokens:
    """Return the token metrics, given the distributions of tokens per event."""
    return Tokens(
        count=total.count,
        total_prompt=prompt.total,
        total_completion=completion.total,
        total=total.total,
        mean_prompt=prompt.mean,
        mean_completion=completion.mean,
        mean_total=total.mean,
    )


def _event_metrics(columns: _Columns, rows: NDArray[np.bool_]) -> EventMetrics:
    return EventMetrics(
        count=columns.count(rows),
        latency=distribution(columns.latency_ms[rows], columns.weights(rows)),
        cost=_cost(columns, rows),
        reliability=_reliability(columns, rows),
        tokens=_tokens(columns, rows),
    )


def flatten(metrics: Metrics) -> Iterator[tuple[str, float | None]]:
    """Yield every number with the path that expectations use: ``latency.p95``, ``score.mean``, …"""
    for path in BUILT_IN:
        # Outside pytest there are no trials.
        if not path.startswith("tests.") or metrics.tests.trials:
            value = _at(metrics, path.split("."))
            if not isinstance(value, _Absent):
                yield path, value
    for name, recorded in metrics.recorded.items():
        for statistic in STATISTICS:
            yield f"{name}.{statistic}", getattr(recorded, statistic)
    for name, logged in metrics.logged.items():
        for statistic in CURVE_STATISTICS:
            yield f"{name}.{statistic}", getattr(logged, statistic)
    yield from metrics.custom.items()


class _Absent:
    """Marks a path that leads nowhere in these metrics; None marks an unknown number."""


def _at(metrics: Metrics, names: list[str]) -> float | _Absent | None:
    """Return the number at a path, given as the names between its dots."""
    value: Any = metrics
    for depth, name in enumerate(names, 1):
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
        if value is None:
            return None if 1 < depth == len(names) else _Absent()
    return float(value) if isinstance(value, (int, float)) else _Absent()
