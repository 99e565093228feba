"""Judging expectations: is the claim certain, refuted, or open?

CONFIRMED when the confidence bound on the claim's side clears the threshold, REJECTED when the
other bound misses it, else INCONCLUSIVE with the number of observations that would probably do.
Each side has an error of 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pytest_crucible.metrics.observations import Group
from pytest_crucible.metrics.trials import MISSING
from pytest_crucible.stats import changes
from pytest_crucible.stats.comparison import average_change, change_of
from pytest_crucible.stats.estimates import Estimate, estimate, interval_for_gate, point
from pytest_crucible.stats.expression import Expectation
from pytest_crucible.stats.intervals import (
    Interval,
    NoIntervalError,
    clopper_pearson,
    effective_size,
    smallest_n,
)
from pytest_crucible.stats.samples import QUANTILE, RATE, Sample

CONFIRMED, REJECTED, INCONCLUSIVE = "CONFIRMED", "REJECTED", "INCONCLUSIVE"

ALPHA = 0.05
"""Error of each side. So 299 of 299 confirm ``success_rate > 0.99``, and 298 of 298 do not."""
_MOST = 10_000_000

Numbers = Mapping[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What became of an expectation for one condition.

    Attributes:
        expectation, condition, metric: what was claimed, of what.
        verdict: CONFIRMED, REJECTED or INCONCLUSIVE.
        observed: the metric; None if there is no such number.
        low, high: its one-sided 95 % bounds, where there are any. For a relative expectation,
            those of observed − bound.
        bound: what it was held against; None if that is missing.
        basis: how it was judged.
        reason: why there is no better verdict.
        needs: observations that would probably settle it.
    """

    expectation: str
    condition: str
    metric: str
    verdict: str
    observed: float | None = None
    low: float | None = None
    high: float | None = None
    bound: float | None = None
    basis: str = ""
    reason: str | None = None
    needs: int | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """One condition's observations, and its metrics by path."""

    group: Group
    numbers: Numbers

    def estimate(self, path: str) -> Estimate:
        return estimate(self.group, path, self.numbers)


def judge(expectation: Expectation, subjects: Mapping[str, Subject]) -> list[Judgement]:
    """Judge an expectation for each condition that it applies to.

    Missing data are never a pass: the verdict is REJECTED, and the reason names what is missing.
    """
    relative_to = expectation.bound.condition
    return [
        _judge_one(expectation, condition, subject, subjects)
        for condition, subject in subjects.items()
        if expectation.condition in (None, condition) and condition != relative_to
    ]


def _judge_one(
    expectation: Expectation, condition: str, subject: Subject, subjects: Mapping[str, Subject]
) -> Judgement:
    found = subject.estimate(expectation.metric)
    blank = Judgement(
        expectation=expectation.text,
        condition=condition,
        metric=expectation.metric,
        verdict=REJECTED,
        observed=found.value,
    )
    bound = expectation.bound
    base: Estimate | None = None
    if bound.condition is not None:
        base = (
            subjects[bound.condition].estimate(expectation.metric)
            if (bound.condition in subjects)
            else Estimate(value=None)
        )
    missing = _missing(expectation, subject, found, base)
    if missing:
        return replace(blank, reason=missing)
    assert found.value is not None
    if base is None:
        blank = replace(blank, bound=bound.offset)
        return _against_number(blank, expectation, found, bound.offset)
    assert base.value is not None
    blank = replace(blank, bound=bound.factor * base.value + bound.offset)
    return _against_condition(blank, expectation, found, base)


# --- what is missing --------------------------------------------------------------------------


def _missing(
    expectation: Expectation, subject: Subject, found: Estimate, base: Estimate | None
) -> str | None:
    path = expectation.metric
    never_ran = sum(trial.outcome == MISSING for trial in subject.group.trials)
    if never_ran:
        return f"{never_ran} of {len(subject.group.trials)} trials never ran"
    if found.value is None:
        return f"no {path}: {found.reason}" if found.reason else _unknown(path, subject.numbers)
    without = _trials_without(subject.group, path)
    if without:
        return f"{path.rpartition('.')[0]} is missing in {without}"
    if base is not None and base.value is None:
        return f"{expectation.bound.condition} has no {path} to compare with"
    return None


def _unknown(path: str, numbers: Numbers) -> str:
    if f"{path}.mean" in numbers:
        return f"no metric {path}; did you mean {path}.mean?"
    return f"no metric {path} was recorded"


def _trials_without(group: Group, path: str) -> str | None:
    """Trials that ran but recorded no such number: leaving them out would flatter the mean."""
    series = group.recorded.get(path.rpartition(".")[0])
    if series is None:
        return None
    if series.invalid:
        return f"{series.invalid} values that are no finite numbers"
    judged = [trial for trial in group.trials if trial.outcome not in (MISSING, "skipped")]
    have = len(set(zip(series.cases, series.trials, strict=True)))
    return f"{len(judged) - have} of {len(judged)} trials" if have < len(judged) else None


# --- against a number -------------------------------------------------------------------------


def _against_number(
    blank: Judgement, expectation: Expectation, found: Estimate, bound: float
) -> Judgement:
    assert found.value is not None
    if found.exact or found.sample is None:
        holds = expectation.holds(found.value, bound)
        return replace(
            blank, verdict=CONFIRMED if holds else REJECTED, basis="a fact about this run"
        )
    sample = found.sample
    try:
        low, high = interval_for_gate(sample, 2 * ALPHA)
    except NoIntervalError as error:
        needs = _needed_for_quantile(sample) if sample.kind == QUANTILE else None
        return replace(blank, verdict=INCONCLUSIVE, reason=str(error), needs=needs)
    judged = replace(blank, low=low, high=high, basis=_basis(sample))
    verdict = _verdict(expectation, (low, high), bound)
    needs = _needs(sample, expectation, bound) if verdict == INCONCLUSIVE else None
    return replace(judged, verdict=verdict, needs=needs)


def _verdict(expectation: Expectation, interval: Interval, bound: float) -> str:
    low, high = interval
    good, bad = (low, high) if expectation.wants_more else (high, low)
    if expectation.holds(good, bound):
        return CONFIRMED
    # The bound that favours the claim misses the threshold as well: refuted.
    return INCONCLUSIVE if expectation.holds(bad, bound) else REJECTED


def _basis(sample: Sample) -> str:
    name = {RATE: "Clopper-Pearson", QUANTILE: "order statistics"}.get(sample.kind, "Student's t")
    return f"{name}, trials clustered by case" if sample.clusters() is not None else name


def _needed_for_quantile(sample: Sample) -> int:
    return smallest_n(sample.q, 2 * ALPHA)


def _needs(sample: Sample, expectation: Expectation, bound: float) -> int | None:
    """Observations at which the same value would give a verdict; a rough guide."""
    value = point(sample)
    if sample.kind == RATE:
        return _needs_rate(sample, value, expectation, bound)
    try:
        low, high = interval_for_gate(sample, 2 * ALPHA)
    except NoIntervalError:
        return None
    half = value - low if value > bound else high - value
    distance = abs(value - bound)
    if not distance:
        return None
    needed = math.ceil(sample.n * (half / distance) ** 2)
    return max(needed, sample.n + 1) if needed <= _MOST else None


def _needs_rate(sample: Sample, value: float, expectation: Expectation, bound: float) -> int | None:
    if value == bound:
        return None
    worth = effective_size(sample.values, sample.clusters()) / sample.n

    def settled(n: int) -> bool:
        interval = clopper_pearson(value * n, n, 2 * ALPHA)
        return _verdict(expectation, interval, bound) != INCONCLUSIVE

    low, high = sample.n * worth, float(sample.n)
    while not settled(math.ceil(high)):
        low, high = high, high * 2
        if high > _MOST:
            return None
    smallest, enough = math.floor(low), math.ceil(high)
    while enough - smallest > 1:
        middle = (smallest + enough) // 2
        smallest, enough = (smallest, middle) if settled(middle) else (middle, enough)
    return math.ceil(enough / worth)


# --- against another condition ----------------------------------------------------------------


def _against_condition(
    blank: Judgement, expectation: Expectation, found: Estimate, base: Estimate
) -> Judgement:
    assert found.value is not None
    assert blank.bound is not None
    if found.sample is None or base.sample is None:
        holds = expectation.holds(found.value, blank.bound)
        return replace(
            blank, verdict=CONFIRMED if holds else REJECTED, basis="a fact about this run"
        )
    bound = expectation.bound
    # The claim as one about a change: of a ratio for percentiles, else of a difference, in which
    # the baseline's own uncertainty is part of the interval.
    threshold = bound.offset
    try:
        if found.sample.kind == QUANTILE:
            change = change_of(expectation.metric, base.sample, found.sample)
            threshold = bound.factor
            if bound.offset:
                raise NoIntervalError(
                    "a percentile's bound is a multiple of a condition: no + or -"
                )
        elif found.sample.kind == RATE and bound.factor == 1.0:
            change = change_of(expectation.metric, base.sample, found.sample)
        else:
            change = average_change(base.sample, found.sample, bound.factor)
        low, high = change.interval(2 * ALPHA)
    except NoIntervalError as error:
        return replace(blank, verdict=INCONCLUSIVE, reason=str(error))
    verdict = _verdict(expectation, (low, high), threshold)
    scale = "ratio" if change.scale == changes.RATIO else "difference"
    return replace(
        blank,
        verdict=verdict,
        low=low,
        high=high,
        basis=f"{change.method}, {scale}",
    )
