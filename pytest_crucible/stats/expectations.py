"""Judge expectations: is the claim certain, refuted, or open?

For ``metric > bound``: CONFIRMED if the lower confidence bound of the metric is above the bound,
REJECTED if the upper one is not, else INCONCLUSIVE. For ``<`` the other way round. A wrong
CONFIRMED has a chance of 5 %, and needs no correction: green means that all claims are confirmed,
so one false claim that is not keeps the session from being green (intersection-union test, Berger
1982). A wrong REJECTED has the level that its family leaves it (`family`). Claims between arms are
judged by the very change that the row of their comparison shows (`arm_claims`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pytest_crucible.metrics.trials import MISSING
from pytest_crucible.stats import gaffke
from pytest_crucible.stats.arm_claims import ArmPair, judge_arm_claim, pair_of
from pytest_crucible.stats.bounds import FEWEST_ABOVE, FEWEST_BELOW, bounds_of, independent
from pytest_crucible.stats.claim_needs import claim_needs
from pytest_crucible.stats.estimates import Estimate
from pytest_crucible.stats.expression import Expectation
from pytest_crucible.stats.family import CLAIM, Decision
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.judged_rows import RowLevels
from pytest_crucible.stats.metric_samples import numbers_behind
from pytest_crucible.stats.ranges import outside_range
from pytest_crucible.stats.samples import FORMULA, QUANTILE, Sample, trials_without
from pytest_crucible.stats.sequential import OPEN, UNFIT
from pytest_crucible.stats.subject import Subject
from pytest_crucible.stats.verdict import (
    ALPHA,
    CONFIRMED,
    INCONCLUSIVE,
    REJECTED,
    Verdict,
    verdict_of,
)

_UNDECIDED = Decision(CLAIM, 1.0)


@dataclass(frozen=True, slots=True)
class Claim:
    """An expectation for one condition, before it is known at which level it is judged.

    Attributes:
        expectation: the expectation.
        verdict: what is known already.
        sample: the observations of a claim on a number.
        decision: what the claim adds to its family.
        arms: both arms of a claim between arms.
    """

    expectation: Expectation
    verdict: Verdict
    sample: Sample | None = None
    decision: Decision = _UNDECIDED
    arms: ArmPair | None = None

    def aside(self) -> Claim:
        """Return the claim as one that is shown, but decides nothing."""
        verdict = replace(self.verdict, primary=False)
        return replace(self, verdict=verdict, decision=Decision(self.decision.kind, 1.0))

    @property
    def judged(self) -> bool:
        """Whether the verdict stands, whatever the level."""
        return self.sample is None and self.arms is None


UNJUDGED = "too few values, or too many alike, to find anomalies"


def claims_of(expectation: Expectation, subjects: Mapping[str, Subject]) -> list[Claim]:
    """Return an expectation as one claim for every condition that it applies to.

    Args:
        expectation: the parsed expectation.
        subjects: all conditions of the experiment, by name; the first is the baseline.
    """
    expectation = _with_statistic(expectation, subjects)
    return [
        _claim(expectation, condition, subjects)
        for condition in subjects
        if expectation.concerns(condition)
    ]


def judge_claims(claims: Sequence[Claim]) -> list[Verdict]:
    """Judge claims, if nothing else is decided with them."""
    levels = RowLevels.of((), [claim.decision for claim in claims])
    return [judge_claim(claim, levels) for claim in claims]


def judge_claim(claim: Claim, levels: RowLevels) -> Verdict:
    """Judge a claim at the level that its family leaves it.

    If data are missing, the verdict is REJECTED and the reason names them: missing data never pass.
    """
    if claim.judged:
        return claim.verdict
    if claim.arms is not None:
        return judge_arm_claim(claim.verdict, claim.expectation, claim.arms, levels)
    kind = claim.decision.kind
    level = levels.primary.of(kind)
    draft = replace(claim.verdict, level=level, decisions=levels.primary.count(kind))
    assert claim.sample is not None
    assert draft.bound is not None
    return _against_number(draft, claim.expectation, claim.sample, level)


def _with_statistic(expectation: Expectation, subjects: Mapping[str, Subject]) -> Expectation:
    """Take ``score`` as ``score.mean``, if a recorded number has that name and no metric has."""
    path = expectation.metric
    numbers = [subject.numbers for subject in subjects.values()]
    if any(path in found for found in numbers) or f"{path}.mean" not in set().union(*numbers):
        return expectation
    return replace(expectation, metric=f"{path}.mean")


def _claim(expectation: Expectation, condition: str, subjects: Mapping[str, Subject]) -> Claim:
    subject = subjects[condition]
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
        return Claim(expectation, replace(draft, reason=missing))
    sides = [subject] if base is None else [subject, subjects[str(bound.condition)]]
    doubt = _doubt(expectation, sides, estimate, base)
    if doubt:
        return Claim(expectation, replace(draft, verdict=INCONCLUSIVE, reason=doubt))
    assert estimate.value is not None
    if base is None:
        draft = replace(draft, bound=bound.offset)
        sequential = subject.group.sequential
        return _claim_on_number(expectation, draft, estimate, sequential=sequential)
    assert base.value is not None
    draft = replace(draft, bound=bound.factor * base.value + bound.offset)
    arms = pair_of(expectation, condition, subjects, (base, estimate))
    if isinstance(arms, str):
        return Claim(expectation, replace(draft, verdict=INCONCLUSIVE, reason=arms))
    return Claim(expectation, draft, decision=arms.decision, arms=arms)


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


def _claim_on_number(
    expectation: Expectation, draft: Verdict, estimate: Estimate, *, sequential: bool
) -> Claim:
    assert estimate.value is not None
    assert draft.bound is not None
    if estimate.sample is None and not estimate.exact:
        return Claim(expectation, replace(draft, verdict=INCONCLUSIVE, reason=estimate.reason))
    if estimate.exact or estimate.sample is None:
        holds = expectation.holds(estimate.value, draft.bound)
        verdict = CONFIRMED if holds else REJECTED
        return Claim(expectation, replace(draft, verdict=verdict, basis="a fact about this run"))
    if sequential and estimate.sample.began is None:
        return Claim(expectation, replace(draft, verdict=INCONCLUSIVE, reason=UNFIT))
    floor = _floor(estimate.sample, expectation, draft.bound)
    return Claim(expectation, draft, estimate.sample, Decision(CLAIM, floor))


def _floor(sample: Sample, expectation: Expectation, bound: float) -> float:
    """Return the smallest p with which so many observations can reject the claim.

    That is the p of values that all lie as far on the wrong side as values can. 0 where nothing
    limits how far that is; 1 where there is no bound that could reject.
    """
    if sample.began is not None:
        return 0.0  # more may come: it takes its part from the beginning
    wrong, right = sample.ends if expectation.wants_more else reversed(sample.ends)
    if sample.kind == QUANTILE:
        beyond = sample.q if expectation.wants_more else 1 - sample.q
        return float(beyond**sample.n)
    if sample.kind == FORMULA:
        return 1.0 if sample.counting < 2 else 0.0
    if wrong is None and right is None:
        return 1.0 if sample.n < 2 else 0.0
    values, sizes = independent(sample)
    if wrong is None or right is None:
        fewest = FEWEST_ABOVE if right is None else FEWEST_BELOW
        return 1.0 if values.size < fewest else 0.0
    far = np.full(values.size, wrong)
    tail = gaffke.p_below if expectation.wants_more else gaffke.p_above
    return tail(far, sizes, bound / sample.factor, right)


def _against_number(
    draft: Verdict, expectation: Expectation, sample: Sample, level: float
) -> Verdict:
    below, above = (ALPHA, level) if expectation.wants_more else (level, ALPHA)
    try:
        bounds = bounds_of(sample, below, above)
    except NoIntervalError as error:
        return replace(draft, verdict=INCONCLUSIVE, reason=str(error))
    assert draft.bound is not None
    verdict = verdict_of(expectation, (bounds.low, bounds.high), draft.bound)
    low, high = bounds.shown
    judged = replace(
        draft,
        low=low,
        high=high,
        basis=bounds.method,
        note=bounds.note,
        verdict=verdict,
    )
    if verdict != INCONCLUSIVE:
        return judged
    if draft.observed == draft.bound:
        return replace(judged, reason="it lies on the threshold: no number of cases settles that")
    why = bounds.why_no_low if expectation.wants_more else bounds.why_no_high
    if why:
        return replace(judged, reason=why)
    if sample.began is not None:
        return replace(judged, reason=OPEN)
    more = expectation.wants_more
    return replace(judged, needs=claim_needs(sample, draft.bound, level, wants_more=more))
