"""Planning of claims on numbers, held against the bounds that judge them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from pytest_crucible.stats.bounds import FEWEST_ABOVE, bounds_of
from pytest_crucible.stats.gate_power import (
    CONFIRMED,
    REJECTED,
    UNBOUNDED_LEAST,
    Claim,
    cases_for_mean_gate,
    cases_for_rate_gate,
)
from pytest_crucible.stats.power import Aim
from pytest_crucible.stats.samples import RATE
from tests.stats.support import sample


def decided(claim: Claim, passed: int, n: int) -> bool:
    """Whether so many successes bring the outcome, by the bounds of claims."""
    rate = sample([1.0] * passed + [0.0] * (n - passed), kind=RATE)
    bounds = bounds_of(rate, claim.level, claim.level)
    return bounds.low > claim.threshold if claim.above else bounds.high < claim.threshold


# --- rates ------------------------------------------------------------------------------------


def test_the_rule_of_three() -> None:
    """299 of 299 confirm ``> 99 %``, as published, and 298 do not: 0.99²⁹⁸ is above 5 %."""
    plan = cases_for_rate_gate(Claim(0.99, 1.0, wants_more=True, aim=Aim()))
    assert plan is not None
    assert (plan.cases, plan.all_alike, plan.exceptions) == (299, 299, 0)


CLAIMS = [
    Claim(0.9, 0.95, wants_more=True, aim=Aim()),
    Claim(0.9, 0.8, wants_more=True, aim=Aim()),
    Claim(0.9, 0.8, wants_more=True, aim=Aim(decisions=10)),
    Claim(0.1, 0.05, wants_more=False, aim=Aim()),
    Claim(0.1, 0.3, wants_more=False, aim=Aim(power=0.9)),
    Claim(0.5, 0.65, wants_more=True, aim=Aim(alpha=0.01)),
]


@pytest.mark.parametrize("claim", CLAIMS)
def test_from_so_many_cases_on_the_power_stays(claim: Claim) -> None:
    """Counted out, binomially: all larger numbers reach it, one less does not."""
    plan = cases_for_rate_gate(claim)
    assert plan is not None
    threshold, truth = claim.threshold, claim.truth
    if not claim.above:
        threshold, truth = 1 - threshold, 1 - truth
    sizes = np.arange(plan.cases - 1, plan.cases + 150)
    needed = np.asarray(binom.isf(claim.level, sizes, threshold)).astype(int) + 1
    power = np.asarray(binom.sf(needed - 1, sizes, truth))
    assert power[0] < claim.aim.power
    assert (power[1:] >= claim.aim.power).all()
    assert plan.exceptions == plan.cases - needed[1]


@pytest.mark.parametrize("claim", CLAIMS)
def test_so_many_exceptions_are_what_its_bound_allows(claim: Claim) -> None:
    """At just so many the claim is decided as planned, and at one more it is not."""
    plan = cases_for_rate_gate(claim)
    assert plan is not None

    def passed(exceptions: int, n: int) -> int:
        return n - exceptions if claim.above else exceptions

    assert decided(claim, passed(plan.exceptions, plan.cases), plan.cases)
    assert not decided(claim, passed(plan.exceptions + 1, plan.cases), plan.cases)
    assert decided(claim, passed(0, plan.all_alike), plan.all_alike)
    assert not decided(claim, passed(0, plan.all_alike - 1), plan.all_alike - 1)


@pytest.mark.parametrize(
    ("wants_more", "truth", "outcome", "level"),
    [
        (True, 0.95, CONFIRMED, 0.05),
        (True, 0.8, REJECTED, 0.0025),
        (False, 0.8, CONFIRMED, 0.05),
        (False, 0.95, REJECTED, 0.0025),
    ],
)
def test_outcomes_and_their_levels(
    wants_more: bool, truth: float, outcome: str, level: float
) -> None:
    """A confirmation needs no correction, a rejection is one of ten decisions."""
    claim = Claim(0.9, truth, wants_more, Aim(decisions=10))
    assert claim.outcome == outcome
    assert claim.level == pytest.approx(level)


def test_a_rate_close_to_its_threshold() -> None:
    """Millions are worked out near the normal number; more than ten million are none."""
    near = cases_for_rate_gate(Claim(0.9, 0.9005, wants_more=True, aim=Aim()))
    assert near is not None
    z = 1.644854 * 0.3 + 0.841621 * math.sqrt(0.9005 * 0.0995)
    assert near.cases == pytest.approx((z / 0.0005) ** 2, rel=0.02)
    assert cases_for_rate_gate(Claim(0.9, 0.900_001, wants_more=True, aim=Aim())) is None


# --- means ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("threshold", "truth"), [(0.7, 0.8), (0.75, 0.8), (0.9, 0.8), (0.85, 0.8)])
def test_the_cases_for_a_score_decide_it(threshold: float, truth: float) -> None:
    """Beta-distributed scores with a mean of 0.8: 70 % to 98 % of runs, where 80 % are asked."""
    claim = Claim(threshold, truth, wants_more=True, aim=Aim())
    sd = math.sqrt(0.8 * 0.2 / 11)
    n = cases_for_mean_gate(claim, sd, (0.0, 1.0))
    assert n is not None
    rng, found = np.random.default_rng(2), 0
    for _ in range(200):
        scores = replace(sample(rng.beta(8, 2, n)), limits=(0.0, 1.0))
        bounds = bounds_of(scores, claim.level, claim.level)
        found += bounds.low > threshold if claim.above else bounds.high < threshold
    assert 0.68 <= found / 200 <= 0.99


def test_a_mean_without_an_upper_limit() -> None:
    """Below, the lower end helps; above, 60 values are the least that say anything."""
    aim = Aim()
    assert UNBOUNDED_LEAST == FEWEST_ABOVE
    assert cases_for_mean_gate(Claim(9.0, 5.0, wants_more=False, aim=aim), 1.0, (0.0, None)) == 60
    many = cases_for_mean_gate(Claim(5.2, 5.0, wants_more=False, aim=aim), 1.0, (0.0, None))
    assert many == pytest.approx(((1.644854 + 0.841621) / 0.2) ** 2, rel=0.03)
    lower = cases_for_mean_gate(Claim(4.0, 5.0, wants_more=True, aim=aim), 1.0, (0.0, None))
    assert lower is not None
    assert 10 < lower < 60


def test_a_mean_at_the_end_of_its_range() -> None:
    """The end itself as the threshold: nothing lies between, so the deviation alone counts."""
    claim = Claim(0.0, 0.5, wants_more=True, aim=Aim())
    found = cases_for_mean_gate(claim, 0.5, (0.0, 1.0))
    assert found is not None
    assert found < 20
    assert cases_for_mean_gate(Claim(0.5, 0.500_000_1, True, Aim()), 0.5, (0.0, 1.0)) is None


# --- what cannot be planned -------------------------------------------------------------------


@pytest.mark.parametrize("truth", [0.9, math.nan, math.inf])
def test_a_truth_that_decides_nothing(truth: float) -> None:
    """On the threshold, or no number."""
    with pytest.raises(ValueError, match="decides nothing: give one that differs"):
        Claim(0.9, truth, wants_more=True, aim=Aim())


@pytest.mark.parametrize(("threshold", "truth"), [(0.0, 0.5), (1.0, 0.5), (0.5, 1.5), (0.5, -1.0)])
def test_what_is_no_rate(threshold: float, truth: float) -> None:
    """A rate lies between 0 and 1, and its threshold inside."""
    with pytest.raises(ValueError, match="must lie between 0 and 1, and the threshold inside"):
        cases_for_rate_gate(Claim(threshold, truth, wants_more=True, aim=Aim()))


@pytest.mark.parametrize(
    ("sd", "limits", "reason"),
    [
        (0.0, (None, None), "a deviation of 0 plans nothing"),
        (math.inf, (None, None), "a deviation of inf plans nothing"),
        (1.0, (0.0, 0.7), "a mean of 0.8 lies outside its range"),
        (1.0, (0.85, None), "a mean of 0.8 lies outside its range"),
    ],
)
def test_means_that_cannot_be_planned(
    sd: float, limits: tuple[float | None, float | None], reason: str
) -> None:
    """One line that names the value."""
    with pytest.raises(ValueError, match=reason):
        cases_for_mean_gate(Claim(0.9, 0.8, wants_more=True, aim=Aim()), sd, limits)
