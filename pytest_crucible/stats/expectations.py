"""Judging expectations: is the claim certain, refuted, or open?

CONFIRMED when the confidence bound on the claim's side clears the threshold, REJECTED when the
other bound misses it, else INCONCLUSIVE with the number of observations that would probably do.
Each side has an error of 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pytest_crucible.metrics.catalog import Numbers
from pytest_crucible.metrics.trials import MISSING
from pytest_crucible.stats import changes
from pytest_crucible.stats.comparison import average_change, cases_needed, change_of
from pytest_crucible.stats.estimates import Estimate, interval_for_gate, point
from pytest_crucible.stats.expression import Expectation
from pytest_crucible.stats.intervals import (
    Interval,
    NoIntervalError,
    clopper_pearson,
    rate_size,
    smallest_n,
)
from pytest_crucible.stats.samples import (
    MEAN,
    QUANTILE,
    RATE,
    Sample,
    refuse_sampled,
    trials_without,
)
from pytest_crucible.stats.subject import Subject

CONFIRMED, REJECTED, INCONCLUSIVE = "CONFIRMED", "REJECTED", "INCONCLUSIVE"

ALPHA = 0.05
"""Error of each side. So 299 of 299 confirm ``success_rate > 0.99``, and 298 of 298 do not."""
_MOST = 10_000_000
_FEWEST = 6
"""So many equal values stand for a mean without spread, as in comparisons."""


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
        needs: observations that would probably settle it; cases, where trials are clustered.
        unit: of the metric.
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
    unit: str = ""


UNJUDGED = "too few values, or too many alike, to tell anomalies by"


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
        unit=subject.catalog[expectation.metric].unit,
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
    if missing == UNJUDGED:
        return replace(blank, verdict=INCONCLUSIVE, reason=missing)
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
    if found.value is None and path.startswith("anomalies.") and path in subject.numbers:
        return UNJUDGED
    if found.value is None:
        return f"no {path}: {found.reason}" if found.reason else _unknown(path, subject.numbers)
    name = path.rpartition(".")[0]
    if found.sample is not None and found.sample.invalid:
        return f"{name}: values that are no finite numbers, {found.sample.invalid} of them"
    without = trials_without(subject.group, name)
    if without:
        return f"{name} is missing in {without}"
    if base is not None and base.value is None:
        return f"{expectation.bound.condition} has no {path} to compare with"
    return None


def _unknown(path: str, numbers: Numbers) -> str:
    if f"{path}.mean" in numbers:
        return f"no metric {path}; did you mean {path}.mean?"
    return f"no metric {path} was recorded"


# --- against a number -------------------------------------------------------------------------


def _against_number(
    blank: Judgement, expectation: Expectation, found: Estimate, bound: float
) -> Judgement:
    assert found.value is not None
    if found.sample is None and not found.exact:
        return replace(blank, verdict=INCONCLUSIVE, reason=found.reason)
    if found.exact or found.sample is None:
        holds = expectation.holds(found.value, bound)
        return replace(
            blank, verdict=CONFIRMED if holds else REJECTED, basis="a fact about this run"
        )
    sample = found.sample
    if _constant(sample):
        holds = expectation.holds(found.value, bound)
        basis = f"all {sample.n} values are the same"
        return replace(blank, verdict=CONFIRMED if holds else REJECTED, basis=basis)
    try:
        low, high = interval_for_gate(sample, 2 * ALPHA)
    except NoIntervalError as error:
        too_few = sample.kind == QUANTILE and sample.weights is None
        needs = smallest_n(sample.q, 2 * ALPHA) if too_few else None
        return replace(blank, verdict=INCONCLUSIVE, reason=str(error), needs=needs)
    judged = replace(
        blank,
        low=low,
        high=high,
        basis=_basis(sample),
        verdict=_verdict(expectation, (low, high), bound),
    )
    if judged.verdict != INCONCLUSIVE:
        return judged
    if found.value == bound:
        return replace(judged, reason="it lies on the threshold: no number of cases settles that")
    return replace(judged, needs=_needs(sample, (low, high), expectation, bound))


def _constant(sample: Sample) -> bool:
    """Whether so many equal values stand for a mean without spread."""
    return (
        sample.kind == MEAN
        and sample.weights is None
        and sample.units >= _FEWEST
        and float(np.ptp(sample.values)) == 0.0
    )


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


def _needs(
    sample: Sample, interval: Interval, expectation: Expectation, bound: float
) -> int | None:
    """Observations, or cases, at which the same value would give a verdict; a rough guide."""
    value = point(sample)
    per_unit = 1.0 if sample.clusters() is None else sample.n / sample.units
    if sample.kind == RATE:
        needed = _needs_rate(sample, value, expectation, bound)
    else:
        half = value - interval[0] if value > bound else interval[1] - value
        needed = sample.n * (half / (value - bound)) ** 2
    if not needed <= _MOST:
        return None
    return max(math.ceil(needed / per_unit), sample.units + 1)


def _needs_rate(sample: Sample, value: float, expectation: Expectation, bound: float) -> float:
    worth = rate_size(sample.values, sample.clusters(), 2 * ALPHA) / sample.n

    def settled(n: int) -> bool:
        interval = clopper_pearson(value * n, n, 2 * ALPHA)
        return _verdict(expectation, interval, bound) != INCONCLUSIVE

    smallest = enough = math.floor(sample.n * worth)
    while not settled(enough):
        smallest, enough = enough, 2 * enough + 1
        if enough > _MOST:
            return math.inf
    while enough - smallest > 1:
        middle = (smallest + enough) // 2
        smallest, enough = (smallest, middle) if settled(middle) else (middle, enough)
    return enough / worth


# --- against another condition ----------------------------------------------------------------


def _against_condition(
    blank: Judgement, expectation: Expectation, found: Estimate, base: Estimate
) -> Judgement:
    assert found.value is not None
    assert blank.bound is not None
    estimated = [e for e in (found, base) if e.sample is None and not e.exact]
    if estimated:
        return replace(blank, verdict=INCONCLUSIVE, reason=estimated[0].reason)
    if found.sample is None or base.sample is None:
        holds = expectation.holds(found.value, blank.bound)
        return replace(
            blank, verdict=CONFIRMED if holds else REJECTED, basis="a fact about this run"
        )
    try:
        change, threshold = _claimed_change(expectation, found.sample, base.sample)
        low, high = change.interval(2 * ALPHA)
        if not all(map(math.isfinite, (low, high))):
            raise NoIntervalError("too few observations of too different sizes")
        verdict = _verdict(expectation, (low, high), threshold)
        inconclusive = verdict == INCONCLUSIVE
        needs = cases_needed(change, 2 * ALPHA, threshold) if inconclusive else None
    except NoIntervalError as error:
        return replace(blank, verdict=INCONCLUSIVE, reason=str(error))
    scale = "ratio" if change.scale == changes.RATIO else "difference"
    return replace(
        blank,
        verdict=verdict,
        low=low,
        high=high,
        basis=f"{change.method}, {scale}",
        needs=needs,
    )


def _claimed_change(
    expectation: Expectation, found: Sample, base: Sample
) -> tuple[changes.Change, float]:
    """The claim as one about a change, and the threshold of that change.

    A ratio for percentiles, else a difference; the baseline's uncertainty is part of its interval.
    """
    refuse_sampled(found, base)
    bound = expectation.bound
    if found.kind == QUANTILE:
        if bound.offset:
            raise NoIntervalError("a percentile's bound is a multiple of a condition: no + or -")
        return change_of(base, found), bound.factor
    if found.kind == RATE and base.kind == RATE:
        if bound.factor == 1.0:
            return change_of(base, found), bound.offset
        return changes.rates(base, found, bound.factor), bound.offset
    # In the metric's own unit: `cost.per_1k < control + 2` is about thousands.
    old, new = (replace(side, values=side.values * side.factor) for side in (base, found))
    return average_change(old, new, bound.factor), bound.offset
