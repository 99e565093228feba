"""How many cases an open claim on a number needs, if the number that was seen is the true one."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_crucible.stats.comparison import POWER
from pytest_crucible.stats.family import SIDE
from pytest_crucible.stats.gate_power import Claim, cases_for_mean_gate, cases_for_rate_gate
from pytest_crucible.stats.metric_changes import in_unit
from pytest_crucible.stats.power import FARTHEST, Aim
from pytest_crucible.stats.samples import MEAN, RATE, Sample


@dataclass(frozen=True, slots=True)
class ClaimNeeds:
    """The cases that an open claim needs.

    Attributes:
        outcome: the verdict that they bring in 80 % of runs, CONFIRMED or REJECTED, if the metric
            is as it was seen.
        cases: their number; None if it takes so many more that this run does not tell.
    """

    outcome: str
    cases: int | None


def claim_needs(
    sample: Sample, bound: float, level: float, *, wants_more: bool
) -> ClaimNeeds | None:
    """Return the cases that a claim on a rate or a mean of independent values needs.

    Args:
        sample: the observations; with a verdict on them that is open.
        bound: the number that the metric is claimed to lie above, or below.
        level: one-sided error of REJECTED.
        wants_more: whether it is claimed to lie above.

    Returns:
        None if that cannot be said: of percentiles and formulas, of cases that are related, of
        values on the bound.
    """
    sample = in_unit(sample)
    seen = sample.mean() if sample.kind in (RATE, MEAN) and sample.n > 1 else bound
    if seen == bound or sample.weights is not None or sample.clusters() is not None:
        return None
    decisions = max(1, round(SIDE / level))
    claim = Claim(bound, seen, wants_more, Aim(0.0, decisions, POWER))
    try:
        if sample.kind == RATE:
            plan = cases_for_rate_gate(claim)
            cases = None if plan is None else plan.cases
        else:
            cases = cases_for_mean_gate(claim, float(sample.values.std(ddof=1)), sample.ends)
    except ValueError:  # a bound that no value can reach: there is nothing to plan
        return None
    if cases is None or cases > FARTHEST * sample.n:
        return ClaimNeeds(claim.outcome, None)
    return None if cases <= sample.n else ClaimNeeds(claim.outcome, cases)
