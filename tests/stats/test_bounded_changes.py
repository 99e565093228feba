"""Changes of shares and scores: McNemar, Fisher, guards, and floors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_crucible.stats.bounded_changes import (
    END_WEIGHT,
    paired_bounded,
    paired_bounded_floor,
    unpaired_bounded,
    unpaired_bounded_floor,
)
from pytest_crucible.stats.change import Change, unseen_share
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.melded import Side
from tests.stats.support import Floats

UNIT = (0.0, 1.0)
few = settings(max_examples=25)


def pairs(lost: int, won: int, same: int) -> tuple[Floats, Floats]:
    """Cases that pass before and after, or only once."""
    base = np.array([1.0] * lost + [0.0] * won + [1.0] * same)
    cand = np.array([0.0] * lost + [1.0] * won + [1.0] * same)
    return base, cand


def unpaired(base: Floats, cand: Floats, alpha: float = 0.05, factor: float = 1.0) -> Change:
    sides = [
        Side.of_values(np.asarray(side, dtype=np.float64), None, UNIT) for side in (base, cand)
    ]
    sizes = (len(base), len(cand))
    return unpaired_bounded(sides[0], sides[1], alpha, sizes, min(sizes), factor)


# --- published tests --------------------------------------------------------------------------


@few
@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 100))
def test_pairs_have_mcnemars_p(lost: int, won: int, same: int) -> None:
    """The exact one with an unseen half case: what did not change says nothing of whether any did.

    P(G(won) ≤ G(lost + ½)); with a whole unseen case this is the sign test, P(at most so few).
    """
    found = paired_bounded(*pairs(lost, won, same), 0.05)
    fewer, more = sorted((lost, won))
    half = 2 * stats.beta.cdf(0.5, more, fewer + 0.5) if more else 1.0
    assert found.p == pytest.approx(min(1.0, half), abs=0.02, rel=0.05)
    if lost + won:
        assert found.p <= stats.binomtest(lost, lost + won).pvalue + 0.003
    assert found.estimate == pytest.approx((won - lost) / (lost + won + same))
    assert found.effect == ("pairs that differ", lost + won)


def test_many_discordant_pairs_published() -> None:
    """150 against 86: exact p = 3.716e-5; with half an unseen case it is a little smaller."""
    found = paired_bounded(*pairs(150, 86, 0), 0.05)
    assert found.p == pytest.approx(2 * stats.beta.cdf(0.5, 150, 86.5), rel=0.01)
    assert 2.9e-5 < found.p < 3.716e-5


@few
@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 30), st.integers(1, 30))
def test_sides_have_fishers_mid_p(x: int, n: int, y: int, m: int) -> None:
    """Between the one-sided exact p-value and that of the next more extreme table, twice."""
    x, y = min(x, n), min(y, m)
    found = unpaired(np.array([1.0] * x + [0.0] * (n - x)), np.array([1.0] * y + [0.0] * (m - y)))
    table = np.array([[x, n - x], [y, m - y]])
    ends = stats.hypergeom(n + m, x + y, n)
    least = []
    for next_one, exact in (
        (ends.sf(x), stats.fisher_exact(table, alternative="greater").pvalue),
        (ends.cdf(x - 1), stats.fisher_exact(table, alternative="less").pvalue),
    ):
        least.append((float(next_one), float(exact)))
    lower, upper = (2 * min(each[i] for each in least) for i in (0, 1))
    assert min(1.0, lower) - 2e-3 <= found.p <= min(1.0, upper) + 2e-3
    assert found.low <= found.estimate <= found.high
    assert found.estimate == pytest.approx(y / m - x / n)


# --- what is possible -------------------------------------------------------------------------


@few
@given(st.integers(2, 300), st.sampled_from([0.2, 0.4, 1.0]))
def test_one_small_change_never_says_more_than_none(n: int, step: float) -> None:
    """The interval of cases of which one changed a little is no narrower than if none did."""
    ones, one = np.ones(n), np.ones(n)
    one[0] -= step
    none, changed = paired_bounded(ones, ones, 0.05), paired_bounded(ones, one, 0.05)
    assert none.low == pytest.approx(-none.high)
    assert changed.low <= none.low + 1e-9
    assert changed.high >= 0


def test_scores_that_all_moved_alike() -> None:
    """Every case from 0.6 to 0.8: an improvement of 0.2, not "no discordant pairs"."""
    found = paired_bounded(np.full(30, 0.6), np.full(30, 0.8), 0.05)
    assert 0 < found.low < 0.2 < found.high
    assert found.p < 0.003
    assert found.alike == 30


@pytest.mark.parametrize("n", [6, 10, 20, 72])
def test_cases_alike_are_no_certainty(n: int) -> None:
    """Recipes 5: 10 % of cases that break are never called equivalent for want of a failure."""
    share = unseen_share(n, 0.05)
    for found in (
        paired_bounded(np.ones(n), np.ones(n), 0.05),
        paired_bounded(np.full(n, 0.7), np.full(n, 0.7), 0.05),
        unpaired(np.full(n, 0.7), np.full(n, 0.7)),
        unpaired(np.ones(n), np.ones(n)),
        unpaired(np.zeros(n), np.zeros(n)),
    ):
        assert found.low <= -share + 1e-9
        assert found.high >= share - 1e-9
        assert found.p == pytest.approx(1, abs=0.02)
        assert found.alike == n
    assert (share <= 0.05) is (n == 72)


def test_breaking_one_in_ten_is_never_equivalent_unseen() -> None:
    """Ten cases see nothing of 35 % of such candidates; the interval still reaches −5 points."""
    for n in (6, 10, 20, 50):
        for broken in range(4):
            values = np.ones(n)
            values[:broken] = 0
            assert paired_bounded(np.ones(n), values, 0.05).low < -0.05


@pytest.mark.parametrize("factor", [-0.5, 0.0, 0.5, 2.0])
def test_multiples_of_the_baseline(factor: float) -> None:
    """The difference stays between its ends; without pairs a negative multiple has none."""
    base, cand = np.array([1.0, 1, 1, 1, 0.5]), np.array([0.0, 0, 0, 0.5, 0.1])
    found = paired_bounded(base, cand, 0.05, factor=factor)
    assert found.estimate == pytest.approx(cand.mean() - factor * base.mean())
    assert min(0.0, -factor) - 1e-12 <= found.low <= found.high <= 1 + max(0.0, -factor)
    if factor < 0:
        with pytest.raises(NoIntervalError, match="a multiple of at least 0"):
            unpaired(base, cand, factor=factor)
    else:
        other = unpaired(base, cand, factor=factor)
        assert -factor - 1e-12 <= other.low <= other.estimate <= other.high <= 1


@pytest.mark.parametrize("ends", [(0.0, 100.0), (1.0, 5.0)])
def test_other_ranges(ends: tuple[float, float]) -> None:
    """Grades from 1 to 5 change by up to four points."""
    rng = np.random.default_rng(3)
    base, cand = rng.random((2, 30))
    plain = paired_bounded(base, cand, 0.05)
    width = ends[1] - ends[0]
    found = paired_bounded(ends[0] + width * base, ends[0] + width * cand, 0.05, ends)
    assert (found.low, found.estimate, found.high) == pytest.approx(
        (width * plain.low, width * plain.estimate, width * plain.high)
    )
    assert found.p == pytest.approx(plain.p)


# --- clusters ---------------------------------------------------------------------------------


def test_equal_clusters_are_their_means() -> None:
    """With as many cases in every cluster, the change is that of the cluster means."""
    rng = np.random.default_rng(4)
    base, cand = rng.random((2, 40))
    found = paired_bounded(base, cand, 0.05, clusters=np.arange(40) // 4)
    expected = paired_bounded(
        base.reshape(10, 4).mean(axis=1), cand.reshape(10, 4).mean(axis=1), 0.05
    )
    assert (found.low, found.high, found.p) == pytest.approx(
        (expected.low, expected.high, expected.p)
    )
    assert (found.n, found.method) == ((40,), "paired, Gaffke's bound, clustered")


# --- what the sizes allow ---------------------------------------------------------------------


def pairs_floor(n: int, factor: float = 1.0) -> float:
    return paired_bounded_floor(n, None, (0.0, 1.0), factor)


def sides_floor(n: int, m: int, factor: float = 1.0) -> float:
    return unpaired_bounded_floor((np.ones(n), np.ones(m)), (0.0, 1.0), factor)


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("n", [1, 2, 5, 8, 20])
def test_floor_of_pairs(n: int, factor: float) -> None:
    """All pairs go from one end to the other: no smaller p can be, and this one is."""
    worse, better = (
        paired_bounded(np.full(n, 1 - end), np.full(n, end), 0.05, factor=factor)
        for end in (0.0, 1.0)
    )
    floor = pairs_floor(n, factor)
    assert min(worse.p, better.p) == pytest.approx(2 * floor)
    assert floor < 2.0**-n
    assert pairs_floor(n, 0.0) == 0


@pytest.mark.parametrize("factor", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 2), (3, 8), (8, 3), (10, 10)])
def test_floor_of_sides(n: int, m: int, factor: float) -> None:
    """One side lies at one end and the other at the other; the grid errs by little."""
    worse = unpaired(np.ones(n), np.zeros(m), factor=factor)
    better = unpaired(np.zeros(n), np.ones(m), factor=factor)
    floor = sides_floor(n, m, factor)
    assert min(worse.p, better.p) == pytest.approx(2 * floor, rel=0.03)
    assert sides_floor(n, m, 0.0) == 0
    if factor == 1:
        assert floor < 1 / math.comb(n + m, n)
        assert floor == pytest.approx(sides_floor(m, n), rel=1e-2)


def test_floors_of_many_vanish() -> None:
    """Without warning."""
    for n in (1_000, 10**6):
        assert 0 <= pairs_floor(n) < 1e-100
        assert 0 <= sides_floor(n, 2 * n) < 1e-100


def test_the_unseen_case_weighs_a_half() -> None:
    """The analogue of the mid-p-value, which makes the floor smaller than the exact one."""
    assert END_WEIGHT == 0.5
    assert pairs_floor(1) == pytest.approx(1 - math.sqrt(0.5))
