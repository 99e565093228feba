"""Draw the observations behind a metric from the columns of a group."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.metrics import weighted
from pytest_crucible.metrics.catalog import BUILT_IN, CURVE_STATISTICS, LOWER, MAX, MIN, Metric
from pytest_crucible.metrics.curves import LoggedSeries, trial_curves, trial_statistic
from pytest_crucible.metrics.ensembles import SERIES
from pytest_crucible.metrics.formula import agreement, variables
from pytest_crucible.metrics.groups import NO_CASE, NO_PROCESS, Group, MeasuredSeries, Series
from pytest_crucible.metrics.latencies import latencies
from pytest_crucible.metrics.trials import FAILURES, SUCCESSES
from pytest_crucible.stats.agreement_samples import agreement_sample
from pytest_crucible.stats.formula_samples import formula_sample
from pytest_crucible.stats.passing import flips, passes
from pytest_crucible.stats.samples import (
    FORMULA,
    MEAN,
    QUANTILE,
    RATE,
    RECORDED,
    TYPICAL,
    Floats,
    Sample,
    made,
    usable,
)

QUANTILES = {"median": 0.5, "p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_UNITS_OF_SCORES = ("", "%")
"""Numbers with another unit (seconds, dollars) are no scores, however small they are."""
_MEANS = {"mean": 1.0, "per_1k": 1e3, "per_1m": 1e6}

Draw = Callable[[Group, Metric], Sample]


def sample_of(group: Group, metric: Metric) -> Sample | None:
    """Return the observations behind a metric; None if it is a plain fact.

    Totals, counts and extremes are facts about this run: there is nothing to infer. An empty sample
    means that nothing was recorded.
    """
    if metric.drawn is None:
        return None
    if metric.drawn == RECORDED:
        sample = _of_users(group, metric)
    elif metric.drawn == FORMULA:
        agreed = agreement(metric.formula or "") is not None
        sample = agreement_sample(group, metric) if agreed else formula_sample(group, metric)
    else:
        sample = _shaped(_DRAWS[metric.drawn](group, metric), metric.statistic)
    return (
        None if sample is None else _in_order(group, in_clusters(group, _limited(sample, metric)))
    )


def _limited(sample: Sample, metric: Metric) -> Sample:
    """Add the range of the values: the declared one, else what the values themselves suggest."""
    if sample.kind not in (MEAN, QUANTILE) or not sample.n:
        return sample
    if metric.statistic in ("steps", "best_step"):  # of a curve, not values of the number
        return replace(sample, limits=(0.0, None))
    if metric.range != (None, None):
        return replace(sample, limits=metric.range)
    least, most = float(sample.values.min()), float(sample.values.max())
    if least < 0:
        return sample
    score = most <= 1 and metric.unit in _UNITS_OF_SCORES
    return replace(sample, limits=(0.0, 1.0 if score else None), assumed=score)


def in_clusters(group: Group, sample: Sample) -> Sample:
    """Add the clusters of the cases, if any has one; a case without is a cluster of its own."""
    if not group.clusters or sample.cases is None:
        return sample
    numbers: dict[tuple[bool, str], int] = {}
    belongs = [
        numbers.setdefault(
            (True, group.clusters[name]) if name in group.clusters else (False, name), len(numbers)
        )
        for name in sample.names
    ]
    return replace(sample, belongs=np.array(belongs, dtype=np.int64))


def _in_order(group: Group, sample: Sample) -> Sample:
    """Add when each case began, if the metric is judged at any look, and can be."""
    between = sample.kind in (RATE, MEAN) and None not in sample.ends
    if group.began is None or not (between or sample.kind == QUANTILE):
        return sample
    times = [group.began.get(name, math.nan) for name in sample.names]
    return replace(sample, began=np.array(times, dtype=np.float64))


def numbers_behind(metric: Metric) -> tuple[str, ...]:
    """Return the names of the recorded numbers that a metric is made of."""
    if metric.formula is not None and metric.drawn == FORMULA:
        # Of labels some may be missing: only what two raters labelled counts.
        return () if agreement(metric.formula) else variables(metric.formula)
    return (metric.path.rpartition(".")[0],)


def _of_users(group: Group, metric: Metric) -> Sample | None:
    """Return numbers given to ``record`` or ``log``, or worked out by a plugin."""
    name, _, statistic = metric.path.rpartition(".")
    if metric.path in group.declared:
        name, statistic = metric.path, "mean"
    series = group.recorded.get(name) or group.declared.get(name)
    if series is not None and statistic not in CURVE_STATISTICS:
        recorded = _recorded(group, series)
        if statistic == "mean" and _is_share(recorded):
            return replace(recorded, kind=RATE)
        return _shaped(recorded, statistic)
    if name in group.logged and statistic in CURVE_STATISTICS:
        return _logged(group, group.logged[name], metric)
    return None


def _is_share(sample: Sample) -> bool:
    """Whether all values are 0 or 1: then their mean is a share."""
    return set(np.unique(sample.values)) <= {0.0, 1.0}


def _per_trial(column: str, counted: str) -> Draw:
    """Return a draw with one observation per trial: the sum of a column over its events.

    Events outside trials are left out if there are trials. Else, or if the run was sampled, every
    event is an observation.

    Args:
        column: of the group.
        counted: the column that says which rows count.
    """

    def draw(group: Group, _: Metric) -> Sample:
        values = np.frombuffer(getattr(group, column), dtype=np.float64)
        keep = np.frombuffer(getattr(group, counted), dtype=bool) & np.isfinite(values)
        cases = np.frombuffer(group.case, dtype=np.int64)[keep]
        trials = np.frombuffer(group.trial, dtype=np.int64)[keep]
        spent = values[keep]
        inside = cases != NO_CASE
        if group.sampled or not inside.any():
            return made(spent, cases, group.cases, MEAN, _weights(group, keep))
        spent, cases, trials = spent[inside], cases[inside], trials[inside]
        repeats = int(trials.max()) + 1
        keys, index = np.unique(cases * repeats + trials, return_inverse=True)
        sums = np.bincount(index, weights=spent).astype(np.float64)
        return made(sums, keys // repeats, group.cases, MEAN)

    return draw


def _shaped(sample: Sample, statistic: str) -> Sample | None:
    """Return the sample for one statistic of its values; None for a fact about the run."""
    if statistic in QUANTILES:
        return replace(sample, kind=QUANTILE, q=QUANTILES[statistic])
    if statistic in _MEANS:
        return replace(sample, kind=MEAN, factor=_MEANS[statistic])
    return sample if statistic in (RATE, TYPICAL) or sample.kind == RATE else None


def _column(column: str, counted: str) -> Draw:
    """Return a draw with one observation per event that counts: its value in a column."""

    def draw(group: Group, _: Metric) -> Sample:
        values = np.frombuffer(getattr(group, column), dtype=np.float64)
        keep = np.frombuffer(getattr(group, counted), dtype=bool) & np.isfinite(values)
        cases = np.frombuffer(group.case, dtype=np.int64)[keep]
        return made(values[keep], cases, group.cases, MEAN, _weights(group, keep))

    return draw


def _latencies(group: Group, _: Metric) -> Sample:
    spent = latencies(group)
    return made(spent.ms, spent.cases, group.cases, MEAN, spent.weights)


_success = _column("success", "counted")


def _operations(group: Group, metric: Metric) -> Sample:
    return replace(_success(group, metric), kind=RATE)


def _failures(group: Group, metric: Metric) -> Sample:
    operations = _operations(group, metric)
    return replace(operations, values=1 - operations.values)


def _weights(group: Group, rows: NDArray[np.bool_]) -> Floats | None:
    if not group.sampled:
        return None
    return weighted.row_weights(group.weight, len(group.name))[rows]


def _outcomes(group: Group, metric: Metric) -> Sample:
    """Return 1 per trial that passed, 0 per failed one; without trials, the same of operations."""
    if not group.trials:
        return _operations(group, metric)
    return _of_trials(group, [trial.outcome for trial in group.trials])


def _first_outcomes(group: Group, _: Metric) -> Sample:
    return _of_trials(group, [trial.first_outcome for trial in group.trials])


def _of_trials(group: Group, outcomes: Sequence[str]) -> Sample:
    values, cases = [], []
    names: dict[str, int] = {}
    for trial, outcome in zip(group.trials, outcomes, strict=True):
        if outcome in SUCCESSES or outcome in FAILURES:
            values.append(float(outcome in SUCCESSES))
            cases.append(names.setdefault(trial.case, len(names)))
    return Sample(
        np.array(values, dtype=np.float64), np.array(cases, dtype=np.int64), tuple(names), RATE
    )


def _durations(group: Group, _: Metric) -> Sample:
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
    sample = made(values, cases, group.cases, MEAN)
    sample = replace(sample, invalid=series.invalid + sample.invalid)
    if not isinstance(series, MeasuredSeries):
        return sample
    processes = np.frombuffer(series.processes, dtype=np.int64)[usable(values)]
    if (processes == NO_PROCESS).any():
        return replace(sample, refusal="some values were measured, others recorded")
    return replace(sample, processes=processes, process_names=tuple(group.processes))


def _logged(group: Group, series: LoggedSeries, metric: Metric) -> Sample | None:
    """Return one observation per trial; None for a single curve, which is a plain fact."""
    curves = list(trial_curves(series))
    if len(curves) < 2:
        return None
    best_is = series.best or (MIN if metric.better == LOWER else MAX)
    values = np.array([trial_statistic(curve, metric.statistic, best_is) for curve in curves])
    cases = np.array([curve.case for curve in curves], dtype=np.int64)
    return made(values, cases, group.cases, MEAN)


def _of_wholes(group: Group, metric: Metric) -> Sample:
    """Return one observation per ensemble prediction, or per hedged request."""
    assert metric.drawn is not None
    series, weights = SERIES[metric.drawn](group)
    values = np.frombuffer(series.values, dtype=np.float64)
    cases = np.frombuffer(series.cases, dtype=np.int64)
    kind = RATE if metric.statistic == RATE else MEAN
    return made(values, cases, group.cases, kind, weights if group.sampled else None)


PER_TRIAL: Mapping[str, Draw] = {
    "cost of trials": _per_trial("cost_usd", "counted_cost"),
    "tokens of trials": _per_trial("total_tokens", "counted_tokens"),
}

_TOTALS: Mapping[str, Draw] = {
    "latency.total": _latencies,
    "cost.total": PER_TRIAL["cost of trials"],
    "tokens.total": PER_TRIAL["tokens of trials"],
    "tokens.total_prompt": _per_trial("input_tokens", "counted_tokens"),
    "tokens.total_completion": _per_trial("output_tokens", "counted_tokens"),
    "tests.duration_ms.total": _durations,
}
"""What adds up to a total; most draw one observation per trial."""


def totals_of(group: Group, path: str) -> Sample | None:
    """Return observations that add up to the total at ``path``; None if there are none."""
    draw = _TOTALS.get(path)
    if draw is not None:
        return draw(group, BUILT_IN[path])
    name, _, statistic = path.rpartition(".")
    if statistic == "total" and name in group.recorded:
        return _recorded(group, group.recorded[name])
    return None


_DRAWS: Mapping[str, Draw] = {
    "trials": _outcomes,
    "first attempts": _first_outcomes,
    "flips": flips,
    "passes": passes,
    "durations": _durations,
    "operations": _operations,
    "failures": _failures,
    "latency": _latencies,
    "cost": _column("cost_usd", "counted_cost"),
    **PER_TRIAL,
    "input tokens": _column("input_tokens", "counted_tokens"),
    "output tokens": _column("output_tokens", "counted_tokens"),
    "total tokens": _column("total_tokens", "counted_tokens"),
    **dict.fromkeys(SERIES, _of_wholes),
}
"""How to draw the observations of a built-in metric, by its `Metric.drawn`."""
