"""Claims between two arms, judged by the change that the row of their comparison shows.

``treatment.success_rate > control`` and the row about the success rate have one test, one interval
and one level, so that they cannot contradict each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pytest_crucible.metrics.groups import Group
from pytest_crucible.metrics.trials import MISSING
from pytest_crucible.stats.change import DIFFERENCE, RATIO, Change
from pytest_crucible.stats.comparison_options import row_of
from pytest_crucible.stats.estimates import Estimate, point
from pytest_crucible.stats.expression import Expectation
from pytest_crucible.stats.family import OTHER, SUCCESS, Decision
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.judged_rows import RowLevels
from pytest_crucible.stats.matching import match
from pytest_crucible.stats.metric_changes import (
    Question,
    at_any_look,
    change_of,
    floor_of,
    in_unit,
    ratio_scale,
)
from pytest_crucible.stats.metric_samples import in_clusters, totals_of
from pytest_crucible.stats.row_drafts import aligned
from pytest_crucible.stats.samples import MEAN, QUANTILE, TYPICAL, Sample
from pytest_crucible.stats.sequential import UNFIT_ARMS
from pytest_crucible.stats.subject import Subject
from pytest_crucible.stats.verdict import INCONCLUSIVE, Verdict, verdict_of


@dataclass(frozen=True, slots=True)
class ArmPair:
    """The observations behind a claim between two arms.

    Attributes:
        first, second: the samples, in the order of the arms, as the row of their comparison has
            them.
        flipped: whether the claim is about the first arm.
        question: what the claim asks about the change.
        threshold: of the claim, on the scale of the change.
        row: the row that asks the same, if there is one: its metric and both conditions.
        decision: what the claim adds to its family, if there is no such row.
    """

    first: Sample
    second: Sample
    flipped: bool
    question: Question
    threshold: float
    row: tuple[str, str, str]
    decision: Decision

    @property
    def own(self) -> Sample:
        """The sample of the arm that the claim is about."""
        return self.first if self.flipped else self.second

    @property
    def other(self) -> Sample:
        """The sample of the arm that it is compared with."""
        return self.second if self.flipped else self.first

    def value(self, side: Sample) -> float:
        """Return the metric of one arm."""
        return side.quantile(0.5) if self.question.typical else point(side)


def pair_of(
    expectation: Expectation,
    condition: str,
    subjects: Mapping[str, Subject],
    estimates: tuple[Estimate, Estimate],
) -> ArmPair | str:
    """Return the observations behind a claim; or why there are none.

    Args:
        expectation: the claim; its bound has a condition.
        condition: the arm that it is about.
        subjects: all arms, by name; the first is the baseline.
        estimates: the metric of the other arm and of this one.
    """
    bound = expectation.bound
    against = str(bound.condition)
    uncertain = [side for side in estimates if side.sample is None and not side.exact]
    if uncertain:
        return uncertain[0].reason or "no observations"
    arms = list(subjects)
    flipped = arms.index(condition) < arms.index(against)
    names = (condition, against) if flipped else (against, condition)
    before, after = (subjects[name] for name in names)
    matching = match(before.group, after.group)
    metric, row = after.catalog[expectation.metric], after.catalog[row_of(expectation.metric)]
    # As in comparisons, everything is about the cases that both conditions have.
    if any(side.sample is None for side in estimates):
        totals = _totals(before, after, expectation.metric)
        if isinstance(totals, str):
            return totals
        first, second = totals
        same = row.statistic == MEAN and _proportional(
            totals, aligned(before, after, row, matching)
        )
    else:
        first, second = aligned(before, after, metric, matching)
        same = metric.path == row.path
    if not first.n or not second.n:
        return "no case has it under both conditions"
    first, second = in_unit(first), in_unit(second)
    typical = row.statistic == TYPICAL and first.kind == QUANTILE and first.q == 0.5
    if typical:  # the row has a test for medians that is better than one for percentiles
        first, second = replace(first, kind=MEAN), replace(second, kind=MEAN)
    asked = _question(expectation, first, second, typical=typical)
    if isinstance(asked, str):
        return asked
    question, threshold = asked
    if (before.group.sequential or after.group.sequential) and not at_any_look(first, second):
        return UNFIT_ARMS
    same = (same or typical) and question.factor == 1.0 and not question.difference
    asks = row.path if same else expectation.metric
    kind = SUCCESS if row.path == "success_rate" else OTHER
    decision = Decision(kind, floor_of(first, second, question, threshold))
    return ArmPair(first, second, flipped, question, threshold, (asks, *names), decision)


def _proportional(totals: tuple[Sample, Sample], means: tuple[Sample, Sample]) -> bool:
    """Whether totals per case are those of the means per trial times one number.

    Then the ratio of both arms is the same, and so is its interval: each case had equally many
    trials.
    """
    pairs = [(sums.by_case(), each.by_case()) for sums, each in zip(totals, means, strict=True)]
    if any(sums.keys() != each.keys() for sums, each in pairs):
        return False
    sums, each = (
        np.array([side[kind][case] for side in pairs for case in side[0]]) for kind in (0, 1)
    )
    return bool(each.any() and np.allclose(sums * each.sum(), each * sums.sum(), rtol=1e-9, atol=0))


def _question(
    expectation: Expectation, first: Sample, second: Sample, *, typical: bool
) -> tuple[Question, float] | str:
    """Turn the claim into one about a change, and its threshold; or say why that is impossible."""
    bound = expectation.bound
    question = Question(typical=typical)
    if not ratio_scale(first, second, question):
        return Question(typical=typical, factor=bound.factor), bound.offset
    if not bound.offset:
        return question, bound.factor
    if first.kind == QUANTILE or typical:
        return "its bound is a multiple of a condition: no + or -"
    return Question(factor=bound.factor, difference=True), bound.offset


def judge_arm_claim(
    draft: Verdict, expectation: Expectation, pair: ArmPair, levels: RowLevels
) -> Verdict:
    """Judge a claim between two arms by the change of their comparison, at its level."""
    bound = expectation.bound
    draft = replace(
        draft,
        observed=pair.value(pair.own),
        against=pair.value(pair.other),
        bound=bound.factor * pair.value(pair.other) + bound.offset,
        level=levels.primary.of(pair.decision.kind),
        decisions=levels.primary.count(pair.decision.kind),
    )
    try:
        change = _change(pair, 2 * draft.level)
    except NoIntervalError as error:
        return replace(draft, verdict=INCONCLUSIVE, reason=str(error))
    return replace(
        draft,
        verdict=verdict_of(expectation, (change.low, change.high), pair.threshold),
        change=change.estimate,
        low=change.low,
        high=change.high,
        basis=change.method,
        scale=change.scale,
    )


def _change(pair: ArmPair, alpha: float) -> Change:
    """Return the change towards the arm of the claim; the same as the row's, turned if need be."""
    plain = pair.question.factor == 1.0 or ratio_scale(pair.first, pair.second, pair.question)
    if not pair.flipped:
        return change_of(pair.first, pair.second, alpha, pair.question)
    if not plain:
        return change_of(pair.second, pair.first, alpha, pair.question)
    change = change_of(pair.first, pair.second, alpha, pair.question)
    if change.scale == DIFFERENCE:
        turned = (-change.estimate, -change.high, -change.low)
    elif change.scale == RATIO and min(change.low, change.estimate) > 0:
        turned = (1 / change.estimate, 1 / change.high, 1 / change.low)
    else:
        raise NoIntervalError("the ratio has no upper bound")
    return replace(change, estimate=turned[0], low=turned[1], high=turned[2])


# --- totals -----------------------------------------------------------------------------------


def _totals(before: Subject, after: Subject, path: str) -> tuple[Sample, Sample] | str:
    """Return what the cases of both arms spent; or why their totals cannot be compared.

    The totals of two arms differ by chance, too: by which trials happened to be dear. The claim is
    about a run like this one, so about the mean per case times its number of cases; an offset is
    meant per run. Where no trial spends anything that adds up to the number (an extreme, a count of
    trials), nothing tells how much it varies.
    """
    old, new = (_per_case(side.group, path) for side in (before, after))
    if old is None or new is None:
        return f"{path} is one number per condition: no trials to compare"
    if old.cases is None or new.cases is None:
        return f"{path} was spent outside trials: no cases to compare"
    if set(old.by_case()) != set(new.by_case()):
        return "the conditions did not run the same cases: their totals do not compare"
    return old, new


def _per_case(group: Group, path: str) -> Sample | None:
    """Return what each case spent, times the number of cases, so that the mean is the total.

    A trial that ran and spent nothing counts as 0. None if the number is no sum over trials.
    """
    spent = totals_of(group, path)
    if spent is None or spent.weights is not None:
        return None
    if spent.cases is None:
        return spent if spent.n else None
    sums = np.bincount(spent.cases, weights=spent.values, minlength=len(spent.names))
    by_name = dict.fromkeys(
        (trial.case for trial in group.trials if trial.outcome not in (MISSING, "skipped")), 0.0
    )
    by_name |= {spent.names[case]: float(sums[case]) for case in np.unique(spent.cases).tolist()}
    values = np.array(list(by_name.values()), dtype=np.float64) * len(by_name)
    sample = Sample(values, np.arange(len(by_name)), tuple(by_name), MEAN)
    return in_clusters(group, sample)
