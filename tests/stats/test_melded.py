"""Differences of independent shares and scores: Fisher's test, quadrature, mirrors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_crucible.stats import gaffke, melded
from pytest_crucible.stats.melded import Side

UNIT = (0.0, 1.0)


def share(passed: int, n: int) -> Side:
    return Side.of_values(np.array([1.0] * passed + [0.0] * (n - passed)), None, UNIT)


few = settings(max_examples=25)
counts = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


# --- published answers ------------------------------------------------------------------------


def test_tea_tasting() -> None:
    """Fisher's lady: one-sided p .24286; the grid gives it to three digits (recipes: .2438)."""
    assert melded.p_above(share(1, 4), share(3, 4), 0, 1, 1) == pytest.approx(0.2428571, abs=1e-3)


@few
@given(counts, counts)
def test_shares_have_the_p_of_fishers_test(first: tuple[int, int], second: tuple[int, int]) -> None:
    """Fay, Proschan and Brittain (2015): both one-sided p-values of "no difference" are his."""
    table = np.array([[second[0], second[1] - second[0]], [first[0], first[1] - first[0]]])
    base, cand = share(*first), share(*second)
    more = stats.fisher_exact(table, alternative="greater").pvalue
    assert melded.p_above(base, cand, 0, 1, 1) == pytest.approx(more, abs=2e-3)
    less = stats.fisher_exact(table, alternative="less").pvalue
    assert melded.p_below(base, cand, 0, 1, 1) == pytest.approx(less, abs=2e-3)


def quadrature(first: tuple[int, int], second: tuple[int, int], level: float) -> float:
    """The lower bound by the definition: Beta(x₂, n₂ − x₂ + 1) minus Beta(x₁ + 1, n₁ − x₁)."""
    steps = (np.arange(20_000) + 0.5) / 20_000
    upper = np.ones(steps.size)
    if first[0] < first[1]:
        upper = stats.beta.ppf(steps, first[0] + 1, first[1] - first[0])

    def excess(at: float) -> float:
        place = at + upper
        if not second[0]:
            return float((place >= 0).mean()) - level
        return float(stats.beta.cdf(place, second[0], second[1] - second[0] + 1).mean()) - level

    return -1.0 if excess(-1.0) >= 0 else gaffke.root(excess, -1.0, 1.0, excess(-1.0))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((9, 10), (3, 10)), ((56, 70), (48, 80)), ((10, 10), (5, 10)), ((0, 10), (10, 10)),
        ((10, 10), (10, 10)), ((0, 10), (0, 20)), ((5, 5), (5, 5)), ((300, 300), (290, 300)),
        ((0, 20), (10, 10)), ((950, 1000), (900, 1000)), ((1, 1), (0, 1)),
    ],
)  # fmt: skip
def test_intervals_by_quadrature(first: tuple[int, int], second: tuple[int, int]) -> None:
    """Also where one side or both lie at an end, where a random mean is certain."""
    low, high = melded.interval(share(*first), share(*second), 0.05, 1, 1)
    assert low == pytest.approx(quadrature(first, second, 0.025), abs=5e-4)
    turned = (first[1] - first[0], first[1]), (second[1] - second[0], second[1])
    assert high == pytest.approx(-quadrature(*turned, 0.025), abs=5e-4)


def test_two_sides_without_a_success_are_no_evidence() -> None:
    """No pass of ten against none of ten: p = 1, and an interval on both sides of 0."""
    for passed in (0, 10):
        sides = share(passed, 10), share(passed, 10)
        assert melded.p_above(*sides, 0, 1, 0.5) == melded.p_below(*sides, 0, 1, 0.5) == 1
        low, high = melded.interval(*sides, 0.05, 1, 1)
        assert low == pytest.approx(-high)
        assert high == pytest.approx(1 - 0.025 ** (1 / 10))


# --- properties -------------------------------------------------------------------------------

seeds = st.integers(0, 999)


def scores(n: int, seed: int, ends: tuple[float, float] = UNIT) -> Side:
    values = np.random.default_rng(seed).choice([0.0, 0.25, 0.6, 0.9, 1.0], n)
    return Side.of_values(ends[0] + (ends[1] - ends[0]) * values, None, ends)


@few
@given(st.integers(2, 40), st.integers(2, 40), seeds, st.sampled_from([0.0, 0.5, 1.0, 1.5]))
def test_the_interval_holds_the_difference_within_the_ends(
    n: int, m: int, seed: int, factor: float
) -> None:
    """Between all lost and all won; whatever the multiple of the baseline."""
    base, cand = scores(n, seed), scores(m, seed + 1)
    low, high = melded.interval(base, cand, 0.05, factor, 1)
    difference = cand.mean - factor * base.mean
    assert -factor - 1e-9 <= low <= difference + 1e-9
    assert difference - 1e-9 <= high <= 1 + 1e-9


@few
@given(st.integers(2, 40), st.integers(2, 40), seeds)
def test_exchanged_and_mirrored_sides(n: int, m: int, seed: int) -> None:
    """The other way round, or counted as failures, it is the same difference with its sign."""
    base, cand = scores(n, seed), scores(m, seed + 1)
    low, high = melded.interval(base, cand, 0.05, 1, 1)
    assert melded.interval(cand, base, 0.05, 1, 1) == pytest.approx((-high, -low), abs=2e-3)
    mirrored = melded.interval(base.mirrored(), cand.mirrored(), 0.05, 1, 1)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)


@few
@given(st.integers(2, 40), st.integers(2, 40), seeds, st.sampled_from([0.05, 0.01]))
def test_p_and_interval_are_one(n: int, m: int, seed: int, alpha: float) -> None:
    """At its ends the p-value is the level."""
    base, cand = scores(n, seed), scores(m, seed + 1)
    low, high = melded.interval(base, cand, alpha, 1, 0.5)
    if low > -1:
        assert melded.p_above(base, cand, low, 1, 0.5) == pytest.approx(alpha / 2, rel=1e-3)
    if high < 1:
        assert melded.p_below(base, cand, high, 1, 0.5) == pytest.approx(alpha / 2, rel=1e-3)


@pytest.mark.parametrize("ends", [(0.0, 100.0), (1.0, 5.0), (-3.0, 0.0)])
def test_units_do_not_matter(ends: tuple[float, float]) -> None:
    """Scores from 0 to 100 are a hundred times those from 0 to 1."""
    plain = melded.interval(scores(20, 1), scores(30, 2), 0.05, 1, 1)
    scaled = melded.interval(scores(20, 1, ends), scores(30, 2, ends), 0.05, 1, 1)
    width = ends[1] - ends[0]
    assert scaled == pytest.approx((width * plain[0], width * plain[1]), rel=1e-3)


@few
@given(counts, counts)
def test_effective_sizes_are_counts(first: tuple[int, int], second: tuple[int, int]) -> None:
    """A share and its size stand for that many zeros and ones."""
    by_count = melded.interval(share(*first), share(*second), 0.05, 1, 1)
    sides = [Side.of_share(passed / n, n, UNIT) for passed, n in (first, second)]
    assert melded.interval(sides[0], sides[1], 0.05, 1, 1) == pytest.approx(by_count, abs=1e-3)


def test_one_known_side_leaves_the_bound_of_the_other() -> None:
    """Against a baseline of very many that always fail, it is the candidate's own bound."""
    low, high = melded.interval(Side.of_share(0, 1e9, UNIT), share(7, 10), 0.05, 1, 1)
    assert (low, high) == pytest.approx(
        gaffke.bounds(np.array([1.0] * 7 + [0.0] * 3), None, 0.05, 0, 1), abs=1e-3
    )


def test_clusters_weigh_by_their_values() -> None:
    """Two large clusters widen the interval."""
    values = np.tile([0.2, 0.8], 10)
    sizes = np.ones(20)
    sizes[:2] = 10, 20
    other = scores(30, 2)
    wide, narrow = (
        melded.interval(Side.of_values(values, own, UNIT), other, 0.05, 1, 1)
        for own in (sizes, None)
    )
    assert wide[1] - wide[0] > 1.2 * (narrow[1] - narrow[0])
    mean = float(np.average(values, weights=sizes))
    assert Side.of_values(values, sizes, UNIT).mean == pytest.approx(mean)
    assert not math.isclose(mean, float(values.mean()))
