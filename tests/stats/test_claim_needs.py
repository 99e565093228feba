"""How many cases decide an open claim, held against the verdicts on so many."""

import numpy as np
import pytest

from pytest_crucible.stats.bounds import bounds_of
from pytest_crucible.stats.claim_needs import ClaimNeeds, claim_needs
from pytest_crucible.stats.gate_power import CONFIRMED, REJECTED
from pytest_crucible.stats.samples import FORMULA, RATE, Sample
from tests.stats.support import sample

LEVEL = 0.025


def rate(passed: int, n: int) -> Sample:
    return sample([1.0] * passed + [0.0] * (n - passed), range(n), kind=RATE)


def test_a_rate_that_looks_right_is_confirmed_by_so_many() -> None:
    found = claim_needs(rate(38, 40), 0.9, LEVEL, wants_more=True)
    assert found == ClaimNeeds(CONFIRMED, 203)
    assert bounds_of(rate(193, 203), 0.05, LEVEL).low > 0.9
    assert bounds_of(rate(95, 100), 0.05, LEVEL).low < 0.9


def test_one_that_looks_wrong_is_rejected_by_so_many() -> None:
    found = claim_needs(rate(34, 40), 0.9, LEVEL, wants_more=True)
    assert found is not None
    assert found.outcome == REJECTED
    assert found.cases is not None
    n = found.cases
    assert bounds_of(rate(round(0.85 * n), n), 0.05, LEVEL).high < 0.9


def test_claims_on_less() -> None:
    found = claim_needs(rate(2, 40), 0.1, LEVEL, wants_more=False)
    assert found == ClaimNeeds(CONFIRMED, 203)


def test_more_decisions_make_a_rejection_dearer_not_a_confirmation() -> None:
    right, wrong = rate(38, 40), rate(34, 40)
    few, many = (claim_needs(wrong, 0.9, level, wants_more=True) for level in (0.025, 0.0025))
    assert few is not None
    assert many is not None
    assert few.cases is not None
    assert many.cases is not None
    assert few.cases < many.cases
    assert claim_needs(right, 0.9, 0.0025, wants_more=True) == ClaimNeeds(CONFIRMED, 203)


def test_too_close_is_said() -> None:
    assert claim_needs(rate(38, 40), 0.94, LEVEL, wants_more=True) == ClaimNeeds(CONFIRMED, None)


def test_scores_by_their_deviation() -> None:
    rng = np.random.default_rng(1)
    scores = sample(rng.beta(8, 2, 30), range(30))
    found = claim_needs(scores, float(scores.mean()) - 0.04, LEVEL, wants_more=True)
    assert found is not None
    assert found.outcome == CONFIRMED
    assert found.cases is not None
    assert 30 < found.cases < 300


@pytest.mark.parametrize(
    "each",
    [
        sample([0.4, 0.6, 0.5, 0.7], [0, 0, 1, 1]),  # trials of a case
        sample([0.4, 0.6], range(2), kind="quantile"),
        sample([0.4, 0.6], range(2), kind=FORMULA),
        sample([0.5], [0]),
    ],
    ids=["clustered", "percentile", "formula", "one"],
)
def test_nothing_is_said_of(each: Sample) -> None:
    assert claim_needs(each, 0.1, LEVEL, wants_more=True) is None


def test_nothing_is_said_of_a_value_on_the_threshold_nor_of_one_without_spread() -> None:
    assert claim_needs(rate(36, 40), 0.9, LEVEL, wants_more=True) is None
    same = sample([0.5] * 10, range(10))
    assert claim_needs(same, 0.4, LEVEL, wants_more=True) is None
    assert claim_needs(rate(38, 40), 1.5, LEVEL, wants_more=True) is None
