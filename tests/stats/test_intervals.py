"""Intervals of one sample against published answers, SciPy and direct formulas."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pytest_crucible.stats import intervals
from pytest_crucible.stats.bounds import bounds_of
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.mean_changes import paired_t
from tests.stats.support import Floats, sample

numbers = st.floats(-1e3, 1e3, allow_subnormal=False)
levels = st.sampled_from([0.001, 0.05, 0.1, 0.5])


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 2000))
    return draw(st.integers(0, n)), n


@st.composite
def clustered(draw: st.DrawFn) -> tuple[Floats, np.ndarray[tuple[int], np.dtype[np.int64]]]:
    sizes = draw(st.lists(st.integers(1, 5), min_size=2, max_size=8))
    assume(intervals.worth(np.array(sizes)) >= intervals.FEWEST_CLUSTERS)
    cases = np.repeat(np.arange(len(sizes)), sizes)
    return draw(arrays(np.float64, cases.size, elements=numbers)), cases


# --- rates ------------------------------------------------------------------------------------


def test_clopper_pearson_published() -> None:
    """R's `binom.test(682, 925)`: 0.7076683 to 0.7654066, p = 0.38249 for 3/4."""
    found = intervals.clopper_pearson(682, 925, 0.05)
    assert found == pytest.approx((0.7076683, 0.7654066), abs=5e-8)
    assert stats.binomtest(682, 925, 0.75).pvalue == pytest.approx(0.38249, abs=5e-6)


@given(counts(), levels)
def test_clopper_pearson_is_scipys(count: tuple[int, int], alpha: float) -> None:
    """That of `binomtest`."""
    exact = stats.binomtest(*count).proportion_ci(1 - alpha, method="exact")
    assert intervals.clopper_pearson(*count, alpha) == pytest.approx(tuple(exact), abs=1e-9)


@given(st.floats(0, 1), st.floats(0.5, 1e6), levels)
def test_rate_intervals_hold_the_rate(rate: float, n: float, alpha: float) -> None:
    """Also with sizes that are no whole numbers, within 0 and 1."""
    low, high = intervals.clopper_pearson(rate * n, n, alpha)
    assert 0 <= low <= rate + 1e-9
    assert rate - 1e-9 <= high <= 1


def test_no_trials_are_a_reason() -> None:
    """A rate of nothing has no interval, and says so."""
    with pytest.raises(NoIntervalError, match="no trials"):
        intervals.clopper_pearson(0, 0, 0.05)


# --- means ------------------------------------------------------------------------------------


@given(arrays(np.float64, st.integers(2, 40), elements=numbers))
def test_variance_of_independent_values(values: Floats) -> None:
    """s² / n, with n − 1 degrees of freedom."""
    assume(np.ptp(values) > 1e-3)
    variance, df = intervals.variance_of_mean(values, None)
    assert variance == pytest.approx(float(stats.sem(values)) ** 2)
    assert df == values.size - 1


@given(clustered())
def test_variance_is_cr1(
    data: tuple[Floats, np.ndarray[tuple[int], np.dtype[np.int64]]],
) -> None:
    """Clustered: G/(G−1) times the sum of squared sums of residuals by case, over n²."""
    values, cases = data
    groups = int(cases.max()) + 1
    residuals = values - values.mean()
    sums = [residuals[cases == case].sum() for case in range(groups)]
    expected = groups / (groups - 1) * sum(each**2 for each in sums) / values.size**2
    assume(expected > 1e-6)
    variance, df = intervals.variance_of_mean(values, cases)
    assert variance == pytest.approx(expected)
    sizes = np.bincount(cases)
    assert 1 - 1e-9 <= df <= groups - 1 + 1e-9
    assert (df == pytest.approx(groups - 1)) == (sizes.min() == sizes.max() or groups == 2)


def test_variance_is_that_of_cluster_robust_regression() -> None:
    """A regression on a constant with covariance CR1: the sandwich, multiplied out."""
    rng = np.random.default_rng(2)
    clusters = np.repeat(np.arange(6), [1, 2, 3, 4, 5, 9])
    values = rng.normal(size=6)[clusters] + rng.normal(size=24)
    design, residuals = np.ones((24, 1)), (values - values.mean())[:, None]
    bread = np.linalg.inv(design.T @ design)
    scores = [design[clusters == g].T @ residuals[clusters == g] for g in range(6)]
    meat = sum(score @ score.T for score in scores)
    small = 6 / 5 * 23 / (24 - 1)
    expected = (small * bread @ meat @ bread).item()
    assert intervals.variance_of_mean(values, clusters)[0] == pytest.approx(expected)


@given(st.integers(2, 10), st.integers(2, 6), st.integers(0, 1000))
def test_equal_clusters_are_case_means(g: int, m: int, seed: int) -> None:
    """With as many trials for every case, clustering is averaging per case first."""
    values = np.random.default_rng(seed).normal(size=(g, m))
    found = intervals.variance_of_mean(values.ravel(), np.repeat(np.arange(g), m))
    assert found == pytest.approx(intervals.variance_of_mean(values.mean(axis=1), None))


def test_case_means_that_agree_by_chance_are_no_certainty() -> None:
    """Trials that vary have a variance, even if all cases have the same mean."""
    values, cases = np.array([0.0, 1, 0, 1, 1, 0]), np.array([0, 0, 1, 1, 2, 2])
    variance, df = intervals.variance_of_mean(values, cases)
    assert variance == pytest.approx(values.var(ddof=1) / 6)
    assert df == pytest.approx(2)


def test_nearly_one_cluster_is_refused() -> None:
    """One of nine clusters with 60 of 68 values: the others say too little about clusters."""
    sizes = [60, *[1] * 8]
    clusters = np.repeat(np.arange(9), sizes)
    with pytest.raises(NoIntervalError, match="one cluster has 60 of 68 values"):
        intervals.refuse_nearly_one(clusters)
    assert intervals.worth(np.array(sizes)) == pytest.approx(68**2 / (60**2 + 8))
    values = np.random.default_rng(1).normal(size=68)
    with pytest.raises(NoIntervalError, match="one cluster has 60 of 68 values"):
        bounds_of(sample(values, clusters.tolist()), 0.025, 0.025)
    with pytest.raises(NoIntervalError, match="one cluster has 60 of 68 values"):
        paired_t(values, 2 * values, 0.05, clusters)
    for few in (None, np.zeros(5, dtype=np.int64), np.repeat(np.arange(4), 3)):
        intervals.refuse_nearly_one(few)


@given(clustered(), st.integers(0, 99))
def test_covariance_is_what_sums_have(
    data: tuple[Floats, np.ndarray[tuple[int], np.dtype[np.int64]]], seed: int
) -> None:
    """Var(x + y) = Var(x) + 2 Cov(x, y) + Var(y), with clusters and without."""
    x, cases = data
    y = np.random.default_rng(seed).normal(size=x.size)
    for own in (cases, None):
        one, both, other = (
            intervals.covariance_of_means(a, b, own) for a, b in ((x, x), (x, y), (y, y))
        )
        together = intervals.covariance_of_means(x + y, x + y, own)
        assert together == pytest.approx(one + 2 * both + other, abs=1e-6)


@pytest.mark.parametrize(
    ("values", "cases", "reason"),
    [
        ([], None, "0 values: no spread"),
        ([1.0], None, "1 value: no spread"),
        ([1.0, 2.0], [0, 0], "one case"),
    ],
)
def test_means_without_variance_say_why(
    values: list[float], cases: list[int] | None, reason: str
) -> None:
    """Too few values, or one case: a reason each."""
    index = None if cases is None else np.array(cases)
    with pytest.raises(NoIntervalError, match=reason):
        intervals.variance_of_mean(np.array(values), index)


# --- effective sizes --------------------------------------------------------------------------


def test_effective_size_is_korn_and_graubards() -> None:
    """p(1 − p)/variance, times the squared ratio of Student's quantiles for n − 1 and G − 1."""
    cases = np.repeat(np.arange(10), 4)
    values = (np.arange(40) % 3 > 0).astype(float)
    values[:8] = 0
    p = values.mean()
    variance, _ = intervals.variance_of_mean(values, cases)
    expected = p * (1 - p) / variance * (stats.t.isf(0.025, 39) / stats.t.isf(0.025, 9)) ** 2
    assert 10 < expected < 40
    assert intervals.effective_size(values, cases, 0.05) == pytest.approx(expected)


@pytest.mark.parametrize("size", [intervals.effective_size, intervals.rate_size])
def test_effective_size_without_clusters_is_n(size: Callable[..., float]) -> None:
    """Independent values are worth what they are."""
    assert size(np.array([0.0, 1, 1]), None, 0.05) == 3
    assert size(np.array([0.0, 1, 1]), np.array([0, 1, 2]), 0.05) == 3
    assert size(np.empty(0), None, 0.05) == 0


@given(st.integers(1, 30), st.integers(1, 8), st.integers(0, 1000))
def test_effective_size_lies_between_cases_and_trials(g: int, m: int, seed: int) -> None:
    """At least the number of cases, at most that of trials; the former if trials agree."""
    rng = np.random.default_rng(seed)
    cases = np.repeat(np.arange(g), m)
    values = (rng.random(g * m) < rng.random()).astype(float)
    assert g - 1e-9 <= intervals.rate_size(values, cases, 0.05) <= g * m
    same = (rng.random(g) < 0.5).astype(float)[cases]
    assert intervals.rate_size(same, cases, 0.05) == pytest.approx(g, rel=0.35)


@given(st.integers(3, 150), st.integers(2, 10))
def test_a_failure_is_never_good_news(g: int, m: int) -> None:
    """One failure never makes the lower bound of a rate better than none."""
    cases = np.repeat(np.arange(g), m)
    values = np.ones(g * m)
    bounds = []
    for first in (1, 0):
        values[0] = first
        size = intervals.rate_size(values, cases, 0.1)
        bounds.append(intervals.clopper_pearson(values.mean() * size, size, 0.1)[0])
    assert bounds[1] < bounds[0] + 1e-4


# --- percentiles ------------------------------------------------------------------------------


@pytest.mark.parametrize(("q", "n"), [(0.5, 6), (0.95, 72), (0.99, 368), (0.01, 368)])
def test_fewest_observations(q: float, n: int) -> None:
    """With one less SciPy finds no finite interval either; with as many it does."""
    assert intervals.smallest_n(q, 0.05) == n
    for size, finite in ((n - 1, False), (n, True)):
        test = stats.quantile_test(np.arange(float(size)), q=0, p=q)
        assert bool(np.isfinite(test.confidence_interval(0.95)).all()) is finite


@given(st.integers(1, 400), st.sampled_from([0.5, 0.9, 0.95]), st.integers(0, 1000))
def test_quantile_bounds_are_scipys(n: int, q: float, seed: int) -> None:
    """Each bound is that of `quantile_test` at its level, finite or not."""
    values = np.random.default_rng(seed).normal(size=n)
    found = intervals.quantile_bounds(values, None, q, 0.025, 0.1)
    above = stats.quantile_test(values, q=0, p=q, alternative="greater")
    below = stats.quantile_test(values, q=0, p=q, alternative="less")
    ends = (
        np.ravel(above.confidence_interval(0.975))[0],
        np.ravel(below.confidence_interval(0.9))[1],
    )
    for bound, end in zip(found, ends, strict=True):
        assert bound == end or (not math.isfinite(bound) and not np.isfinite(end))


def test_clustered_quantile_is_wider() -> None:
    """Copies of a value add nothing: the interval stays about that of the cases."""
    values, cases = np.random.default_rng(1).normal(size=100), np.arange(100)

    def width(repeats: int, index: object) -> float:
        own = None if index is None else np.repeat(cases, repeats)
        each = np.repeat(values, repeats)
        low, high = intervals.quantile_bounds(each, own, 0.5, 0.025, 0.025)
        return high - low

    alone = width(1, cases)
    assert width(10, None) < alone / 2
    assert width(10, cases) == pytest.approx(alone, rel=0.2)


def test_too_few_cases_for_a_quantile_say_so() -> None:
    """Many trials of few cases are worth few observations: no upper bound, and a reason."""
    values, cases = np.repeat(np.arange(30.0), 10), np.repeat(np.arange(30), 10)
    low, high = intervals.quantile_bounds(values, cases, 0.95, 0.025, 0.025)
    assert 0 < low < 29
    assert high == math.inf
    with pytest.raises(NoIntervalError, match="needs at least 72 independent observations; 300"):
        intervals.quantile_size(values, cases, 0.95, 0.05)


def test_clusters_cost_what_they_cost() -> None:
    """A direct sum over pairs of trials of the same case gives the same standard error."""
    rng = np.random.default_rng(3)
    cases = rng.integers(0, 12, size=60)
    values = rng.normal(size=60) + cases / 4
    r = values - values.mean()
    pairs = sum(r[i] * r[j] for i in range(60) for j in range(60) if cases[i] == cases[j])
    g = np.unique(cases).size
    variance, _ = intervals.variance_of_mean(values, cases)
    assert math.sqrt(variance) == pytest.approx(math.sqrt(g / (g - 1) * pairs) / 60)


@given(st.lists(st.integers(1, 30), min_size=2, max_size=25))
def test_degrees_of_freedom_of_unequal_clusters(sizes: list[int]) -> None:
    """(tr Q)² / tr Q² of the matrix itself: G − 1 for equal sizes, never more."""
    assume(intervals.worth(np.array(sizes)) >= intervals.FEWEST_CLUSTERS)
    shares = np.array(sizes) / sum(sizes)
    centred = np.eye(len(sizes)) - np.outer(np.ones(len(sizes)), shares)
    form = centred.T @ np.diag(shares**2) @ centred
    expected = np.trace(form) ** 2 / np.trace(form @ form)
    values = np.random.default_rng(1).normal(size=sum(sizes))
    _, df = intervals.variance_of_mean(values, np.repeat(np.arange(len(sizes)), sizes))
    assert df == pytest.approx(expected, rel=1e-6)
    assert 0.99 < df <= len(sizes) - 1 + 1e-6
    if len(set(sizes)) == 1:
        assert df == pytest.approx(len(sizes) - 1)


def test_means_of_clusters() -> None:
    """One per cluster that has values, in their order, with its size."""
    means, sizes = intervals.cluster_means(np.array([1.0, 2, 6, 5]), np.array([3, 0, 3, 3]))
    assert (means.tolist(), sizes.tolist()) == ([2.0, 4.0], [1.0, 3.0])
