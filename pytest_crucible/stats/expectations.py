"""Judge expectations: is the claim certain, refuted, or open?

For ``metric > bound``: CONFIRMED if the lower confidence bound of the metric is above the bound,
REJECTED if the upper one is not, else INCONCLUSIVE, with the number of observations that would
probably give a verdict. For ``<`` the other way round. Either side has an error of 5 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_crucible.metrics.trials import MISSING
from pytest_crucible.stats import changes
from pytest_crucible.stats.comparison import aligned, cases_needed
from pytest_crucible.stats.estimates import Estimate, interval_for_gate, point
from pytest_crucible.stats.expression import Expectation
from pytest_crucible.stats.intervals import (
    Interval,
    NoIntervalError,
    clopper_pearson,
    rate_size,
    smallest_n,
)
from pytest_crucible.stats.matching import match
from pytest_crucible.stats.metric_changes import average_change, change_of
from pytest_crucible.stats.metric_samples import in_clusters, numbers_behind, totals_of
from pytest_crucible.stats.ranges import outside_range
from pytest_crucible.stats.samples import (
    FORMULA,
    MEAN,
    QUANTILE,
    RATE,
    Sample,
    refuse_unusable,
    trials_without,
)
from pytest_crucible.stats.subject import Subject

CONFIRMED, REJECTED, INCONCLUSIVE = "CONFIRMED", "REJECTED", "INCONCLUSIVE"
ERRORED, NOT_RUN = "ERRORED", "NOT RUN"
"""Verdicts on whole experiments: too many trials broke, or none ran."""
WORST_FIRST = (ERRORED, REJECTED, INCONCLUSIVE, CONFIRMED, NOT_RUN)
FATAL = frozenset({ERRORED, REJECTED})
"""Verdicts that fail a session and a gate, whatever their settings."""

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
        verdict: CONFIRMED, REJECTED or INCONCLUSIVE; ERRORED if too many trials broke, NOT RUN if
            none ran.
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


BY_CASE = "trials clustered by case"
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
    if missing:
        return replace(draft, reason=missing)
    sides = [subject] if base is None else [subject, subjects[str(bound.condition)]]
    doubt = _doubt(expectation, sides, estimate, base)
    if doubt:
        return replace(draft, verdict=INCONCLUSIVE, reason=doubt)
    assert estimate.value is not None
    if base is None:
        draft = replace(draft, bound=bound.offset)
        return _against_number(draft, expectation, estimate, bound.offset)
    assert base.value is not None
    draft = replace(draft, bound=bound.factor * base.value + bound.offset)
    return _against_condition(draft, expectation, subject, subjects[bound.condition or ""])


# --- what is missing --------------------------------------------------------------------------


def _missing(
    expectation: Expectation, subject: Subject, estimate: Estimate, base: Estimate | None
) -> str | None:
    path = expectation.metric
    never_ran = sum(trial.outcome == MISSING for trial in subject.group.trials)
    if never_ran:
        return f"{never_ran} of {len(subject.group.trials)} trials never ran"
    unjudged = path.startswith("anomalies.") and path in subject.numbers
    if estimate.value is None and not unjudged and not estimate.undefined:
        return (
            f"no {path}: {estimate.reason}" if estimate.reason else f"no metric {path} was recorded"
        )
    names = numbers_behind(subject.catalog[path])
    if estimate.sample is not None and estimate.sample.invalid:
        named = ", ".join(names)
        return f"{named} has values that are not finite numbers ({estimate.sample.invalid})"
    for name in names:
        lacking = trials_without(subject.group, name)
        if lacking:
            return f"{name} is missing in {lacking}"
    if base is not None and base.value is None and not (base.undefined or unjudged):
        return f"{expectation.bound.condition} has no {path} to compare with"
    return None


def _doubt(
    expectation: Expectation, sides: Sequence[Subject], estimate: Estimate, base: Estimate | None
) -> str | None:
    """Return why complete data allow no verdict; None if they do."""
    path = expectation.metric
    for each in (estimate, base):
        if each is not None and each.undefined:
            whose = f" for {expectation.bound.condition}" if each is base else ""
            return f"no {path}{whose}: {each.reason}"
    if estimate.value is None:
        return UNJUDGED
    outside = (outside_range(side.group, side.catalog, path) for side in sides)
    return next((str(each) for each in outside if each is not None), None)


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
    if sample.kind == FORMULA:
        name = "Student's t" if None in sample.limits else "Clopper-Pearson on effective size"
        name = f"{name}, jackknife over cases"
    if sample.clusters() is None:
        return name
    if sample.in_processes:
        return f"{name}, times clustered by process"
    return f"{name}, cases clustered" if sample.belongs is not None else f"{name}, {BY_CASE}"


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
    draft: Verdict, expectation: Expectation, subject: Subject, other: Subject
) -> Verdict:
    estimate, base = (side.estimate(expectation.metric) for side in (subject, other))
    uncertain = [side for side in (estimate, base) if side.sample is None and not side.exact]
    if uncertain:
        return replace(draft, verdict=INCONCLUSIVE, reason=uncertain[0].reason)
    if estimate.sample is None or base.sample is None:
        return _totals_against(draft, expectation, subject, other)
    # As in comparisons, everything is about the cases that both conditions have.
    metric = subject.catalog[expectation.metric]
    old, new = aligned(other, subject, metric, match(other.group, subject.group))
    if not old.n or not new.n:
        reason = "no case has it under both conditions"
        return replace(draft, verdict=INCONCLUSIVE, reason=reason)
    bound = expectation.bound
    draft = replace(draft, observed=point(new), bound=bound.factor * point(old) + bound.offset)
    return _changed(draft, expectation, new, old)


def _totals_against(
    draft: Verdict, expectation: Expectation, subject: Subject, other: Subject
) -> Verdict:
    """Judge a claim on two totals by what the trials of each case spent.

    The totals of the two conditions differ by chance, too: by which trials happened to be dear. The
    claim is about a run like this one, so about the mean per case times its number of cases; an
    offset is meant per run. Where no trial spends anything that adds up to the number (an extreme,
    a count of trials), nothing tells how much it varies.
    """
    new, old = (_per_case(side, expectation.metric) for side in (subject, other))
    if new is None or old is None:
        reason = f"{expectation.metric} is one number per condition: no trials to compare"
        return replace(draft, verdict=INCONCLUSIVE, reason=reason)
    if new.cases is None or old.cases is None:
        reason = f"{expectation.metric} was spent outside trials: no cases to compare"
        return replace(draft, verdict=INCONCLUSIVE, reason=reason)
    if set(new.by_case()) != set(old.by_case()):
        reason = "the conditions did not run the same cases: their totals do not compare"
        return replace(draft, verdict=INCONCLUSIVE, reason=reason)
    return _changed(draft, expectation, new, old)


def _per_case(subject: Subject, path: str) -> Sample | None:
    """Return what each case spent, times the number of cases, so that the mean is the total.

    A trial that ran and spent nothing counts as 0. None if the number is no sum over trials.
    """
    spent = totals_of(subject.group, path)
    if spent is None or spent.weights is not None:
        return None
    if spent.cases is None:
        return spent if spent.n else None
    sums = np.bincount(spent.cases, weights=spent.values, minlength=len(spent.names))
    by_name = dict.fromkeys(
        (trial.case for trial in subject.group.trials if trial.outcome not in (MISSING, "skipped")),
        0.0,
    )
    by_name |= {spent.names[case]: float(sums[case]) for case in np.unique(spent.cases).tolist()}
    values = np.array(list(by_name.values()), dtype=np.float64) * len(by_name)
    sample = Sample(values, np.arange(len(by_name)), tuple(by_name), MEAN)
    return in_clusters(subject.group, sample)


def _changed(draft: Verdict, expectation: Expectation, sample: Sample, base: Sample) -> Verdict:
    try:
        change, threshold = _claimed_change(expectation, sample, base)
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
    refuse_unusable(sample, base)
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
