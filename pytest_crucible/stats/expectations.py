"""Judge expectations: is the claim certain, refuted, or open?

For ``metric > bound``: CONFIRMED if the lower confidence bound of the metric is above the bound,
REJECTED if the upper one is not, else INCONCLUSIVE, with the number of observations that would
probably give a verdict. For ``<`` the other way round. Either side has an error of 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

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
"""Error of one side. So 299 of 299 confirm ``success_rate > 0.99``, and 298 of 298 do not."""
_MOST = 10_000_000
_FEWEST = 6
"""With this many equal values, the mean is taken as certain, as in comparisons."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The verdict on an expectation for one condition.

    Attributes:
        expectation: text of the expectation.
        condition: the condition that was judged.
        metric: path of the metric.
        verdict: CONFIRMED, REJECTED or INCONCLUSIVE.
        observed: the metric, in its unit; None if there is no such number.
        low, high: its one-sided 95 % bounds; None if there are none. For a relative expectation,
            the bounds of the change against the other condition: a difference or, for
            percentiles, a ratio.
        bound: the number that it was compared with; None if it is unknown.
        basis: the method that gave the verdict.
        reason: why the verdict is not a better one.
        needs: number of observations that would probably give a verdict; of cases, if trials are
            clustered.
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


UNJUDGED = "too few values, or too many alike, to find anomalies"


def judge(expectation: Expectation, subjects: Mapping[str, Subject]) -> list[Verdict]:
    """Judge an expectation for every condition that it applies to.

    If data are missing, the verdict is REJECTED and the reason names them: missing data never pass.

    Args:
        expectation: the parsed expectation.
        subjects: all conditions of the experiment, by name.
    """
    expectation = _with_statistic(expectation, subjects)
    relative_to = expectation.bound.condition
    return [
        _judge_one(expectation, condition, subject, subjects)
        for condition, subject in subjects.items()
        if expectation.condition in (None, condition) and condition != relative_to
    ]


def _with_statistic(expectation: Expectation, subjects: Mapping[str, Subject]) -> Expectation:
    """Take ``score`` as ``score.mean``, if a recorded number has that name and no metric has."""
    path = expectation.metric
    numbers = [subject.numbers for subject in subjects.values()]
    if any(path in found for found in numbers) or f"{path}.mean" not in set().union(*numbers):
        return expectation
    return replace(expectation, metric=f"{path}.mean")


def _judge_one(
    expectation: Expectation, condition: str, subject: Subject, subjects: Mapping[str, Subject]
) -> Verdict:
    estimate = subject.estimate(expectation.metric)
    draft = Verdict(
        expectation=expectation.text,
        condition=condition,
        metric=expectation.metric,
        unit=subject.catalog[expectation.metric].unit,
        verdict=REJECTED,
        observed=estimate.value,
    )
    bound = expectation.bound
    base: Estimate | None = None
    if bound.condition is not None:
        base = (
            subjects[bound.condition].estimate(expectation.metric)
            if bound.condition in subjects
            else Estimate(value=None)
        )
    missing = _missing(expectation, subject, estimate, base)
    if missing == UNJUDGED:
        return replace(draft, verdict=INCONCLUSIVE, reason=missing)
    if missing:
        return replace(draft, reason=missing)
    assert estimate.value is not None
    if base is None:
        draft = replace(draft, bound=bound.offset)
        return _against_number(draft, expectation, estimate, bound.offset)
    assert base.value is not None
    draft = replace(draft, bound=bound.factor * base.value + bound.offset)
    return _against_condition(draft, expectation, estimate, base)


# --- what is missing --------------------------------------------------------------------------


def _missing(
    expectation: Expectation, subject: Subject, estimate: Estimate, base: Estimate | None
) -> str | None:
    path = expectation.metric
    never_ran = sum(trial.outcome == MISSING for trial in subject.group.trials)
    if never_ran:
        return f"{never_ran} of {len(subject.group.trials)} trials never ran"
    if estimate.value is None and path.startswith("anomalies.") and path in subject.numbers:
        return UNJUDGED
    if estimate.value is None:
        return (
            f"no {path}: {estimate.reason}" if estimate.reason else f"no metric {path} was recorded"
        )
    name = path.rpartition(".")[0]
    if estimate.sample is not None and estimate.sample.invalid:
        return f"{name} has values that are not finite numbers ({estimate.sample.invalid})"
    lacking = trials_without(subject.group, name)
    if lacking:
        return f"{name} is missing in {lacking}"
    if base is not None and base.value is None:
        return f"{expectation.bound.condition} has no {path} to compare with"
    return None


# --- against a number -------------------------------------------------------------------------


def _against_number(
    draft: Verdict, expectation: Expectation, estimate: Estimate, bound: float
) -> Verdict:
    assert estimate.value is not None
    if estimate.sample is None and not estimate.exact:
        return replace(draft, verdict=INCONCLUSIVE, reason=estimate.reason)
    if estimate.exact or estimate.sample is None:
        holds = expectation.holds(estimate.value, bound)
        return replace(
            draft, verdict=CONFIRMED if holds else REJECTED, basis="a fact about this run"
        )
    sample = estimate.sample
    if _constant(sample):
        holds = expectation.holds(estimate.value, bound)
        basis = f"all {sample.n} values are the same"
        return replace(draft, verdict=CONFIRMED if holds else REJECTED, basis=basis)
    try:
        low, high = interval_for_gate(sample, 2 * ALPHA)
    except NoIntervalError as error:
        too_few = sample.kind == QUANTILE and sample.weights is None
        needs = smallest_n(sample.q, 2 * ALPHA) if too_few else None
        return replace(draft, verdict=INCONCLUSIVE, reason=str(error), needs=needs)
    judged = replace(
        draft,
        low=low,
        high=high,
        basis=_basis(sample),
        verdict=_verdict(expectation, (low, high), bound),
    )
    if judged.verdict != INCONCLUSIVE:
        return judged
    if estimate.value == bound:
        return replace(judged, reason="it lies on the threshold: no number of cases settles that")
    return replace(judged, needs=_needs(sample, (low, high), expectation, bound))


def _constant(sample: Sample) -> bool:
    """Whether all values are equal, and enough to take their mean as certain."""
    return (
        sample.kind == MEAN
        and sample.weights is None
        and sample.units >= _FEWEST
        and float(np.ptp(sample.values)) == 0.0
    )


def _verdict(expectation: Expectation, interval: Interval, bound: float) -> str:
    low, high = interval
    least_favourable, most_favourable = (low, high) if expectation.wants_more else (high, low)
    if expectation.holds(least_favourable, bound):
        return CONFIRMED
    return INCONCLUSIVE if expectation.holds(most_favourable, bound) else REJECTED


def _basis(sample: Sample) -> str:
    name = {RATE: "Clopper-Pearson", QUANTILE: "order statistics"}.get(sample.kind, "Student's t")
    return f"{name}, trials clustered by case" if sample.clusters() is not None else name


def _needs(
    sample: Sample, interval: Interval, expectation: Expectation, bound: float
) -> int | None:
    """Estimate how many observations, or cases, give a verdict if the value stays the same."""
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
    """Search the smallest number of observations at which the interval gives a verdict."""
    effective_share = rate_size(sample.values, sample.clusters(), 2 * ALPHA) / sample.n

    def settled(n: int) -> bool:
        interval = clopper_pearson(value * n, n, 2 * ALPHA)
        return _verdict(expectation, interval, bound) != INCONCLUSIVE

    too_few = enough = math.floor(sample.n * effective_share)
    while not settled(enough):
        too_few, enough = enough, 2 * enough + 1
        if enough > _MOST:
            return math.inf
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if settled(middle) else (middle, enough)
    return enough / effective_share


# --- against another condition ----------------------------------------------------------------


def _against_condition(
    draft: Verdict, expectation: Expectation, estimate: Estimate, base: Estimate
) -> Verdict:
    assert estimate.value is not None
    assert draft.bound is not None
    uncertain = [side for side in (estimate, base) if side.sample is None and not side.exact]
    if uncertain:
        return replace(draft, verdict=INCONCLUSIVE, reason=uncertain[0].reason)
    if estimate.sample is None or base.sample is None:
        holds = expectation.holds(estimate.value, draft.bound)
        return replace(
            draft, verdict=CONFIRMED if holds else REJECTED, basis="a fact about this run"
        )
    try:
        change, threshold = _claimed_change(expectation, estimate.sample, base.sample)
        low, high = change.interval(2 * ALPHA)
        if not all(map(math.isfinite, (low, high))):
            raise NoIntervalError("too few observations of too different sizes")
        verdict = _verdict(expectation, (low, high), threshold)
        inconclusive = verdict == INCONCLUSIVE
        needs = cases_needed(change, 2 * ALPHA, threshold) if inconclusive else None
    except NoIntervalError as error:
        return replace(draft, verdict=INCONCLUSIVE, reason=str(error))
    scale = "ratio" if change.scale == changes.RATIO else "difference"
    return replace(
        draft,
        verdict=verdict,
        low=low,
        high=high,
        basis=f"{change.method}, {scale}",
        needs=needs,
    )


def _claimed_change(
    expectation: Expectation, sample: Sample, base: Sample
) -> tuple[changes.Change, float]:
    """Turn the claim into one about a change; return the change and its threshold.

    The change is a ratio for percentiles, else a difference. Its interval includes the uncertainty
    of the other condition.
    """
    refuse_sampled(sample, base)
    bound = expectation.bound
    if sample.kind == QUANTILE:
        if bound.offset:
            raise NoIntervalError("a percentile's bound is a multiple of a condition: no + or -")
        return change_of(base, sample), bound.factor
    if sample.kind == RATE and base.kind == RATE:
        if bound.factor == 1.0:
            return change_of(base, sample), bound.offset
        return changes.rates(base, sample, bound.factor), bound.offset
    # In the unit of the metric: the 2 in `cost.per_1k < control + 2` is USD per 1,000.
    old, new = (replace(side, values=side.values * side.factor) for side in (base, sample))
    return average_change(old, new, bound.factor), bound.offset
