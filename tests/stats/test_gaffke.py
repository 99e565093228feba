"""Gaffke's bound: Clopper and Pearson's on shares, its definition by simulation, any order."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pytest_crucible.stats import gaffke
from pytest_crucible.stats.intervals import clopper_pearson
from tests.stats.support import Floats

levels = st.sampled_from([0.002, 0.05, 0.1, 0.5])
unit = arrays(np.int64, st.integers(1, 40), elements=st.integers(0, 64)).map(lambda each: each / 64)
few = settings(max_examples=25)


def shares(passed: int, n: int) -> Floats:
    return np.array([1.0] * passed + [0.0] * (n - passed))


def simulated(values: Floats, sizes: Floats, end: float, weight: float, draws: int) -> Floats:
    """Random means by their definition: weights are gamma variables over their sum."""
    rng = np.random.default_rng(1)
    own = sizes * rng.gamma(1.0, size=(draws, values.size))
    more = float((sizes**2).sum() / sizes.sum()) * rng.gamma(weight, size=draws)
    found: Floats = ((own * values).sum(axis=1) + more * end) / (own.sum(axis=1) + more)
    return found


# --- published answers ------------------------------------------------------------------------


def test_all_of_299_pass() -> None:
    """Recipes: 299 of 299 have the lower bound .99003 at 5 %, which .99 just misses at 298."""
    low, high = gaffke.bounds(shares(299, 299), None, 0.1, 0, 1)
    assert (low, high) == pytest.approx((0.99003, 1), abs=5e-6)
    assert gaffke.bounds(shares(298, 298), None, 0.1, 0, 1)[0] < 0.99


def test_seven_of_eight_pairs_changed_for_the_worse() -> None:
    """McNemar's exact one-sided p is .03516 = 9/256; a saddlepoint gives .03545."""
    pairs = np.array([1.0] * 7 + [-1.0] + [0.0] * 12)
    assert gaffke.p_above(pairs, None, 0.0, -1.0) == pytest.approx(9 / 256)
    assert stats.binomtest(1, 8).pvalue / 2 == pytest.approx(0.03516, abs=5e-6)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), levels)
def test_shares_have_the_bounds_of_clopper_and_pearson(
    count: tuple[int, int], alpha: float
) -> None:
    """On zeros and ones it is the exact interval."""
    found = gaffke.bounds(shares(*count), None, alpha, 0, 1)
    assert found == pytest.approx(clopper_pearson(*count, alpha), abs=1e-9)


@given(st.floats(0, 1), st.integers(1, 500), levels)
def test_equal_values(value: float, n: int, alpha: float) -> None:
    """n times v: the far ends weigh what n values cannot exclude (recipes)."""
    share = 1 - (alpha / 2) ** (1 / n)
    expected = value - value * share, value + (1 - value) * share
    found = gaffke.bounds(np.full(n, value), None, alpha, 0, 1)
    assert found == pytest.approx(expected, abs=1e-9)


# --- the definition ---------------------------------------------------------------------------


@pytest.mark.parametrize("end_weight", [1.0, 0.5])
@pytest.mark.parametrize(
    ("values", "sizes"),
    [
        (np.array([0.9, 0.2, 0.4, 0.7, 1.0, 1.0]), None),
        (np.array([0.0, 0.3, 0.3, 0.9]), None),
        (np.array([0.9, 0.2, 0.4, 0.7, 1.0, 0.95]), np.array([1.0, 5, 2, 2, 9, 1])),
        (np.array([1.0, 0.0, 0.5]), np.array([4.0, 4, 4])),
        (np.array([0.6]), None),
    ],
)
def test_tails_are_those_of_the_random_mean(
    values: Floats, sizes: Floats | None, end_weight: float
) -> None:
    """The saddlepoint errs by less than .004 even with few values."""
    drawn = simulated(
        values, np.ones(values.size) if sizes is None else sizes, 0, end_weight, 10**5
    )
    at = np.quantile(drawn, [0.005, 0.025, 0.2, 0.5, 0.9])
    found = gaffke.tails(values, sizes, at, 0.0, end_weight)
    assert found == pytest.approx([0.005, 0.025, 0.2, 0.5, 0.9], abs=0.006, rel=0.08)


def test_p_and_bound_are_one() -> None:
    """At its bound a mean has the p-value of its level; p falls with the distance."""
    values = np.random.default_rng(2).beta(2, 1, 30)
    low, high = gaffke.bounds(values, None, 0.05, 0, 1)
    assert gaffke.p_above(values, None, low, 0) == pytest.approx(0.025, abs=1e-8)
    assert gaffke.p_below(values, None, high, 1) == pytest.approx(0.025, abs=1e-8)
    ps = [gaffke.p_above(values, None, at, 0) for at in np.linspace(0, 1, 50)]
    assert (np.diff(ps) >= 0).all()
    assert (ps[0], ps[-1]) == (0, 1)


# --- properties -------------------------------------------------------------------------------


@few
@given(unit, st.integers(0, 99), levels, st.sampled_from([1.0, 0.5]))
def test_order_does_not_matter(values: Floats, seed: int, alpha: float, end_weight: float) -> None:
    """Neither that of values, nor that of clusters with their sizes."""
    rng = np.random.default_rng(seed)
    order, sizes = rng.permutation(values.size), rng.integers(1, 6, values.size).astype(np.float64)
    for own in (None, sizes):
        turned = None if own is None else own[order]
        found = gaffke.bounds(values[order], turned, alpha, 0, 1, end_weight)
        assert found == pytest.approx(gaffke.bounds(values, own, alpha, 0, 1, end_weight), abs=1e-9)


@few
@given(unit, levels, st.integers(-100, 100), st.sampled_from([0.5, 4.0, 64.0]))
def test_bounds_move_with_the_scale(
    values: Floats, alpha: float, start: float, width: float
) -> None:
    """Scores from 0 to 100 have the bounds of scores from 0 to 1, times 100; turned, too."""
    low, high = gaffke.bounds(values, None, alpha, 0, 1)
    moved = gaffke.bounds(start + width * values, None, alpha, start, start + width)
    assert moved == pytest.approx((start + width * low, start + width * high), abs=1e-7)
    turned = gaffke.bounds(1 - values, None, alpha, 0, 1)
    assert turned == pytest.approx((1 - high, 1 - low), abs=1e-9)


@few
@given(unit, levels)
def test_bounds_hold_the_mean_within_the_ends(values: Floats, alpha: float) -> None:
    """And a higher confidence, or a heavier end, is wider."""
    low, high = gaffke.bounds(values, None, alpha, 0, 1)
    mean = float(values.mean())
    assert -1e-12 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1 + 1e-12
    wide = gaffke.bounds(values, None, alpha / 2, 0, 1)
    assert wide[0] <= low + 1e-9
    assert wide[1] >= high - 1e-9
    light = gaffke.bounds(values, None, alpha, 0, 1, 0.5)
    assert light[0] >= low - 1e-9
    assert light[1] <= high + 1e-9


@few
@given(unit, st.integers(0, 59), st.floats(0, 1), levels)
def test_a_better_score_never_makes_the_bounds_worse(
    values: Floats, place: int, gain: float, alpha: float
) -> None:
    """Raise one score, and neither bound falls."""
    better = values.copy()
    place %= values.size
    better[place] += gain * (1 - better[place])
    before, after = (gaffke.bounds(each, None, alpha, 0, 1) for each in (values, better))
    assert after[0] >= before[0] - 5e-3  # the saddlepoint hands over to the exact beta
    assert after[1] >= before[1] - 5e-3


def test_graded_scores_are_no_wider_than_shares() -> None:
    """Recipes 3: it is narrower than Clopper and Pearson's where scores lie between."""
    values = np.random.default_rng(4).beta(4, 2, 50)
    low, high = gaffke.bounds(values, None, 0.05, 0, 1)
    exact = clopper_pearson(float(values.sum()), 50, 0.05)
    assert high - low < 0.75 * (exact[1] - exact[0])


def test_equal_sizes_are_as_none() -> None:
    """Three trials of each case: the case means count."""
    values = np.random.default_rng(5).random(20)
    found = gaffke.bounds(values, np.full(20, 3.0), 0.05, 0, 1)
    assert found == gaffke.bounds(values, None, 0.05, 0, 1)


def test_unequal_sizes_are_wider() -> None:
    """Two clusters with half of all cases make the mean less certain."""
    values = np.tile([0.2, 0.8], 10)
    sizes = np.ones(20)
    sizes[:2] = 10
    wide, narrow = (gaffke.bounds(values, own, 0.05, 0, 1) for own in (sizes, None))
    assert wide[1] - wide[0] > 1.5 * (narrow[1] - narrow[0])


@pytest.mark.parametrize(
    "sizes", [[10.0] * 2 + [1.0] * 18, [8.0] * 5 + [1.0] * 15, [2, 1, 1, 3, 30, 1, 4, 2, 9, 5]]
)
def test_unequal_clusters_hold_their_level(sizes: list[float]) -> None:
    """Documents of very different lengths: at most 2.5 % of bounds err on a side."""
    rng, own = np.random.default_rng(9), np.array(sizes)
    wrong = np.zeros(2)
    for values in (rng.random((400, own.size)) < 0.5).astype(np.float64):
        wrong += (
            gaffke.p_above(values, own, 0.5, 0) <= 0.025,
            gaffke.p_below(values, own, 0.5, 1) <= 0.025,
        )
    assert (wrong <= 0.045 * 400).all()


@pytest.mark.parametrize("n", [5_000, 100_000])
def test_many_distinct_values_are_binned(n: int) -> None:
    """About the bounds of the central limit theorem, in a fraction of a second."""
    values = np.random.default_rng(7).beta(2, 3, n)
    found = gaffke.bounds(values, None, 0.05, 0, 1)
    half = 1.96 * values.std() / math.sqrt(n)
    assert found == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03 * half)


def test_unknown_ends_have_no_bounds() -> None:
    """Each bound needs its end only."""
    values = np.array([0.5, 2.0, 1.0])
    low, high = gaffke.bounds(values, None, 0.1, 0, None)
    assert 0 < low < values.mean()
    assert high == math.inf
    assert gaffke.bounds(values, None, 0.1, None, None) == (-math.inf, math.inf)


@pytest.mark.parametrize("values", [[0.5, 1.5], [-0.5, 0.5]])
def test_values_outside_the_ends_are_refused(values: list[float]) -> None:
    """The declared range is wrong, or the values are."""
    with pytest.raises(ValueError, match="a value lies outside the end"):
        gaffke.bounds(np.array(values), None, 0.05, 0, 1)


def test_root_stays_on_the_safe_side() -> None:
    """The largest argument found at which the function is at most 0; the end if it never is."""
    found = gaffke.root(lambda x: x**3 - 0.001, 0.0, 1.0, -0.001)
    assert found == pytest.approx(0.1, abs=1e-9)
    assert found**3 <= 0.001
    assert gaffke.root(lambda x: x - 2, 0.0, 1.0, -2) == 1.0
