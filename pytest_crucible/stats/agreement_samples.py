"""The observations behind an agreement of raters: jackknife values, as of a formula.

Three things keep the interval honest where one label is rare, which a plain jackknife does not see.
The spread is at least that with one more case per label, on which all agree. Complete agreement
counts by the disagreements that chance would have made. With fewer than `FEWEST` cases beside the
commonest label there is no interval. Simulated for 30 to 300 cases, two or three labels of shares
down to 3 %, and kappa from 0 to .95: 96 % or more of the intervals hold the truth (without the
first, down to 89 %); those of the large-sample error down to 38 %.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from pytest_crucible.metrics import formula
from pytest_crucible.metrics.agreement import Ratings, UnmatchedError, ratings_of
from pytest_crucible.metrics.catalog import Metric, Range
from pytest_crucible.metrics.groups import Group
from pytest_crucible.stats.samples import FORMULA, Sample

FEWEST = 5
"""So many cases must bear another label than the commonest."""
LIMITS: Range = (-1.0, 1.0)

_NOTHING = Sample(np.empty(0), None, (), FORMULA, limits=LIMITS)


def agreement_sample(group: Group, metric: Metric) -> Sample:
    """Return the jackknife values of an agreement, one per case.

    A sample without values says in ``refusal`` why there is no agreement; one with values says
    there why it has no interval.
    """
    assert metric.formula is not None
    found = formula.agreement(metric.formula)
    assert found is not None
    kind, names = found
    unrecorded = [name for name in names if name not in group.recorded]
    if unrecorded:
        why = f"nobody recorded {', '.join(unrecorded)}"
        return replace(_NOTHING, refusal=why, absent=True)
    invalid = sum(group.recorded[name].invalid for name in names)
    try:
        ratings = ratings_of(kind, names, group.recorded)
    except UnmatchedError as error:
        return replace(_NOTHING, refusal=str(error), invalid=invalid)
    sample = replace(sample_of_ratings(ratings), invalid=invalid, limits=metric.range)
    known = tuple(group.cases)
    alone = ratings.numbers >= len(known)
    if not sample.n or alone.all():
        return sample
    # Units outside cases are cases of their own.
    numbers = np.where(alone, len(known) + np.cumsum(alone) - 1, ratings.numbers)
    more = (f"outside trials {number}" for number in range(int(alone.sum())))
    return replace(sample, cases=numbers[: sample.n], names=(*known, *more))


def sample_of_ratings(ratings: Ratings) -> Sample:
    """Return the jackknife values of ratings, one per case, without names of cases."""
    problem = ratings.problem()
    if problem is not None:
        return replace(_NOTHING, refusal=problem)
    n, value = ratings.case_count, ratings.value()
    alike = replace(_NOTHING, values=np.full(n, value), counting=n)
    if n < 2:
        return replace(alike, refusal="one case: it says nothing about other cases")
    without = ratings.without()
    if not np.isfinite(without).all():
        return replace(alike, refusal="too few cases: without one of them it has no value")
    shares = ratings.shares()
    others = n * (1 - float(shares.max()))
    if others < FEWEST - 1e-9:
        label = f"{ratings.labels[int(shares.argmax())]:g}"
        why = f"too few: only about {others:.0f} cases have another label than {label}"
        return replace(alike, refusal=f"{why}, {FEWEST} needed")
    both = ratings.without(ratings.imagined())
    spread, wider = (float(each.std()) * (each.size - 1) for each in (without, both))
    factor = max(1.0, wider / spread) if spread else 1.0
    pseudo = value + factor * (n - 1) * (without.mean() - without)
    counting = max(2, min(n, math.floor(2 * n * ratings.chance())))
    return replace(alike, values=pseudo, counting=counting)
