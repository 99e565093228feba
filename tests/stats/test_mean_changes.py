"""Changes of means: R's `sleep`, SciPy, Fieller's definition, clusters, and equal values."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pytest_crucible.stats import tests
from pytest_crucible.stats.change import Change, unseen_share
from pytest_crucible.stats.intervals import NoIntervalError, variance_of_mean
from pytest_crucible.stats.mean_changes import (
    UNCERTAIN,
    independent_t,
    mean_ratio,
    paired_mean_ratio,
    paired_t,
)
from tests.stats.support import SLEEP_1, SLEEP_2, Floats

Method = Callable[[Floats, Floats, float], Change]
RATIOS: list[Method] = [mean_ratio, paired_mean_ratio]
DIFFERENCES: list[Method] = [independent_t, paired_t]
logs = st.floats(-5, 5, allow_subnormal=False)


def costs(n: int, seed: int, mean: float = 1.0) -> Floats:
    return np.random.default_rng(seed).gamma(4, mean / 4, n)


# --- published answers ------------------------------------------------------------------------


def test_welch_on_sleep() -> None:
    """R's `sleep`: −3.3654832 to 0.2054832, p = 0.07939, 17.776 degrees of freedom."""
    found = independent_t(SLEEP_2, SLEEP_1, 0.05)
    assert found.low == pytest.approx(-3.3654832, abs=5e-8)
    assert found.p == pytest.approx(0.07939, abs=5e-6)
    assert found.df == pytest.approx(17.776, abs=5e-4)
    assert found.estimate + stats.t.isf(0.025, found.df) * found.error == pytest.approx(
        0.2054832, abs=5e-8
    )
    # Ten persons cannot show that the others change by less than 0.72 hours.
    assert found.high == pytest.approx(unseen_share(10, 0.05) * np.abs(SLEEP_2).mean())


def test_paired_t_on_sleep() -> None:
    """R's `sleep`, in pairs: t = −4.0621, p = 0.002833."""
    found = paired_t(SLEEP_2, SLEEP_1, 0.05)
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert found.estimate / found.error == pytest.approx(-4.0621, abs=5e-5)
    assert found.high == pytest.approx(-0.7001142, abs=5e-8)
    assert found.low == pytest.approx(-2.4598858, abs=5e-8)


# --- SciPy ------------------------------------------------------------------------------------


def unguarded(change: Change, alpha: float) -> tuple[float, float]:
    """The interval of t itself, from what the change says of its error."""
    half = stats.t.isf(alpha / 2, change.df) * change.error
    return change.estimate - half, change.estimate + half


@given(
    arrays(np.float64, st.integers(3, 20), elements=logs),
    arrays(np.float64, st.integers(3, 20), elements=logs),
)
def test_differences_are_scipys(x: Floats, y: Floats) -> None:
    """Welch's interval of a difference is that of `ttest_ind`, but for the guard."""
    assume(np.ptp(x) > 1e-3 and np.ptp(y) > 1e-3)
    found = independent_t(x, y, 0.05)
    expected = stats.ttest_ind(y, x, equal_var=False)
    low, high = expected.confidence_interval(0.95)
    assert unguarded(found, 0.05) == pytest.approx((low, high), abs=1e-9)
    assert found.p == pytest.approx(float(expected.pvalue))
    assert found.low <= low + 1e-9
    assert found.high >= high - 1e-9
    assert found.low == pytest.approx(low) or found.high == pytest.approx(high) or found.p > 0.05


@given(arrays(np.float64, st.tuples(st.integers(4, 20), st.just(2)), elements=logs))
def test_paired_differences_are_scipys(pairs: Floats) -> None:
    """The paired interval is that of `ttest_rel`, but for the guard."""
    x, y = pairs.T
    assume(np.ptp(y - x) > 1e-3)
    expected = stats.ttest_rel(y, x)
    found = paired_t(x, y, 0.1)
    assert unguarded(found, 0.1) == pytest.approx(tuple(expected.confidence_interval(0.9)))
    assert found.p == pytest.approx(float(expected.pvalue))


@pytest.mark.parametrize("method", DIFFERENCES)
def test_logarithms_become_ratios(method: Callable[..., Change]) -> None:
    """The change of logarithms is a ratio of typical values."""
    x, y = np.log(costs(30, 1)), np.log(costs(30, 2, 1.5))
    plain, ratio = method(x, y, 0.05), method(x, y, 0.05, logs=True)
    assert ratio.estimate == pytest.approx(math.exp(plain.estimate))
    assert (ratio.p, ratio.error, ratio.scale) == (plain.p, plain.error, "ratio")
    low, high = unguarded(plain, 0.05)
    assert (ratio.low, ratio.high) == pytest.approx((math.exp(low), math.exp(high)))


# --- Fieller ----------------------------------------------------------------------------------


@given(st.integers(3, 40), st.integers(0, 999), st.sampled_from([0.05, 0.01, 0.2]))
def test_the_interval_holds_ratios_that_t_does_not_reject(n: int, seed: int, alpha: float) -> None:
    """Fieller (1954): at its ends the t test of ``cand − θ · base`` has p = alpha exactly."""
    base, cand = costs(n, seed), costs(n, seed + 1, 2.5)
    try:
        found = paired_mean_ratio(base, cand, alpha)
    except NoIntervalError:
        assert n < 6
        return
    assert found.estimate == pytest.approx(cand.mean() / base.mean())
    assert found.p == pytest.approx(float(stats.ttest_rel(base, cand).pvalue))
    guard = 1 + unseen_share(n, alpha)
    for end in (found.low, found.high):
        if end > 0 and end not in (pytest.approx(guard), pytest.approx(1 / guard)):
            assert float(stats.ttest_rel(end * base, cand).pvalue) == pytest.approx(alpha)


@given(st.integers(4, 40), st.integers(4, 40), st.integers(0, 999))
def test_fieller_of_two_sides(n: int, m: int, seed: int) -> None:
    """At its ends the difference is t standard errors from 0, with Welch's degrees of freedom."""
    base, cand = costs(n, seed), costs(m, seed + 1, 3.0)
    try:
        found = mean_ratio(base, cand, 0.05)
    except NoIntervalError:
        assert 10 * base.std() > base.mean() * math.sqrt(n) / 2  # too uncertain to divide by
        return
    v1, v2 = base.var(ddof=1) / n, cand.var(ddof=1) / m
    assert found.df == pytest.approx(tests.welch_df(found.estimate**2 * v1, n - 1, v2, m - 1))
    guard = 1 + unseen_share(min(n, m), 0.05)
    for end in (found.low, found.high):
        if end > 0 and end not in (pytest.approx(guard), pytest.approx(1 / guard)):
            t = abs(cand.mean() - end * base.mean()) / math.sqrt(v2 + end**2 * v1)
            assert t == pytest.approx(stats.t.isf(0.025, found.df))


@pytest.mark.parametrize("method", RATIOS)
@given(st.integers(6, 40), st.integers(0, 99), st.floats(1e-6, 1e6))
def test_units_do_not_matter_to_ratios(method: Method, n: int, seed: int, unit: float) -> None:
    """Cents or dollars: the same ratio."""
    base, cand = costs(n, seed), costs(n, seed + 1)
    plain, other = method(base, cand, 0.05), method(unit * base, unit * cand, 0.05)
    assert (other.low, other.high, other.p) == pytest.approx((plain.low, plain.high, plain.p))


@pytest.mark.parametrize("method", RATIOS)
def test_an_uncertain_baseline_is_no_divisor(method: Method) -> None:
    """One cost above 0 among many: nobody knows by how much to divide."""
    base = np.zeros(20)
    base[3] = 5.0
    with pytest.raises(NoIntervalError, match=UNCERTAIN):
        method(base, costs(20, 1), 0.05)
    with pytest.raises(NoIntervalError, match=UNCERTAIN):
        method(np.zeros(20), costs(20, 1), 0.05)


@pytest.mark.parametrize("method", RATIOS)
def test_what_costs_nothing_any_more(method: Method) -> None:
    """From something to nothing is a ratio of 0, certain to be a saving."""
    found = method(costs(20, 1), np.zeros(20), 0.05)
    assert (found.estimate, found.low, found.high) == (0, 0, 0)
    assert found.p < 1e-6


# --- rounding and equal values ----------------------------------------------------------------

ALL: list[Method] = [*RATIOS, *DIFFERENCES]


@pytest.mark.parametrize("method", ALL)
@given(arrays(np.float64, st.integers(4, 30), elements=st.floats(0.5, 2)), st.booleans())
def test_rounding_is_no_change(method: Method, values: Floats, constant: bool) -> None:
    """Costs summed in another order are the same costs."""
    if constant:
        values = np.full(values.size, values[0])
    try:
        found = method(values, values * (1 + 4e-16), 0.05)
    except NoIntervalError:  # too few, of too different sizes, to divide by their mean
        reject()
    assert found.p > 0.999
    none = 1.0 if found.scale == "ratio" else 0.0
    assert found.low < none < found.high
    assert found.estimate == pytest.approx(none)


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("n", [4, 20, 71, 72])
def test_equal_values_are_no_certainty(method: Method, n: int) -> None:
    """Recipes 5: n cases alike exclude no less than the share of cases that may still differ."""
    found = method(np.full(n, 7.0), np.full(n, 7.0), 0.05)
    share = unseen_share(n, 0.05)
    reach = (1 / (1 + share), 1 + share) if found.scale == "ratio" else (-7 * share, 7 * share)
    assert (found.low, found.high) == pytest.approx(reach)
    assert (found.p, found.alike) == (1, n)
    assert (share < 0.05) is (n == 72)


@pytest.mark.parametrize("method", ALL)
def test_equal_values_that_changed(method: Method) -> None:
    """Twenty times one number against twenty times another: changed, with an honest p."""
    found = method(np.full(20, 0.3), np.full(20, 0.1 + 0.3), 0.05)
    none = 1.0 if found.scale == "ratio" else 0.0
    assert none < found.low <= found.estimate <= found.high
    assert found.estimate == pytest.approx(4 / 3 if found.scale == "ratio" else 0.1)
    assert 0 < found.p < 1e-6
    assert found.alike == 20


@pytest.mark.parametrize("method", [paired_t, paired_mean_ratio])
def test_four_pairs_that_changed_alike(method: Method) -> None:
    """Tokens that doubled in each of four cases are found, at the floor of four pairs."""
    found = method(np.full(4, 100.0), np.full(4, 200.0), 0.05)
    assert found.p == 2 * 4.0**-4
    with pytest.raises(NoIntervalError, match="too few: 4 pairs"):
        method(np.full(4, 100.0), np.full(4, 200.0), 0.007)


@pytest.mark.parametrize("method", [independent_t, mean_ratio])
def test_few_equal_values_without_pairs(method: Method) -> None:
    """Four against four are one of 70 arrangements; three against three prove nothing."""
    assert method(np.full(4, 1.0), np.full(4, 2.0), 0.05).p == pytest.approx(2 / 70)
    with pytest.raises(NoIntervalError, match="nothing varies in 3 and 3: no spread to measure"):
        method(np.full(3, 1.0), np.full(3, 2.0), 0.05)


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_values_say_so(method: Method, n: int) -> None:
    """A stated reason, no traceback and no NaN."""
    with pytest.raises(NoIntervalError, match=rf"^too few: {n} (pairs?|and {n} values)$"):
        method(np.ones(n), np.ones(n), 0.05)


def test_one_value_against_many_has_no_spread() -> None:
    """The sizes would do, but one value does not vary."""
    for method in (independent_t, mean_ratio):
        with pytest.raises(NoIntervalError, match="1 value: no spread"):
            method(np.ones(1), costs(20, 1), 0.05)


def test_logarithms_beyond_numbers() -> None:
    """A ratio too large for a number is infinite, which the caller refuses; no traceback."""
    base, cand = np.array([-700.0, -650, -600, -690]), np.array([700.0, 650, 640, 690])
    assert paired_t(base, cand, 0.05, logs=True).high == math.inf


# --- clusters ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [paired_t, paired_mean_ratio])
def test_equal_clusters_are_their_means(method: Callable[..., Change]) -> None:
    """With as many cases in every cluster, clustering is averaging per cluster first."""
    base, cand = costs(40, 1), costs(40, 2, 1.6)
    clusters = np.arange(40) // 4
    found = method(base, cand, 0.05, clusters)
    means = [side.reshape(10, 4).mean(axis=1) for side in (base, cand)]
    expected = method(means[0], means[1], 0.05)
    assert (found.low, found.estimate, found.high, found.p) == pytest.approx(
        (expected.low, expected.estimate, expected.high, expected.p)
    )
    assert found.n == (40,)
    assert found.method.endswith("clustered")


@pytest.mark.parametrize("method", [independent_t, mean_ratio])
def test_equal_clusters_of_two_sides_are_their_means(method: Callable[..., Change]) -> None:
    """The same without pairs."""
    base, cand = costs(40, 1), costs(60, 2, 1.6)
    found = method(base, cand, 0.05, (np.arange(40) // 4, np.arange(60) // 5))
    expected = method(base.reshape(10, 4).mean(axis=1), cand.reshape(12, 5).mean(axis=1), 0.05)
    assert (found.low, found.estimate, found.high, found.p) == pytest.approx(
        (expected.low, expected.estimate, expected.high, expected.p)
    )


def test_few_clusters_say_so() -> None:
    """Forty questions of two documents are two."""
    clusters = np.arange(40) % 2
    for method in (paired_t, paired_mean_ratio):
        with pytest.raises(NoIntervalError, match="too few: 40 pairs in 2 clusters"):
            method(costs(40, 1), costs(40, 2), 0.05, clusters)
        with pytest.raises(NoIntervalError, match=r"too few: 40 pairs in 1 cluster$"):
            method(costs(40, 1), costs(40, 2), 0.05, 0 * clusters)
    for other in (independent_t, mean_ratio):
        with pytest.raises(NoIntervalError, match="too few: 2 and 40 values"):
            other(costs(40, 1), costs(40, 2), 1e-6, (clusters, None))


@pytest.mark.parametrize("method", [paired_t, paired_mean_ratio])
def test_clusters_that_changed_alike_by_chance(method: Callable[..., Change]) -> None:
    """Cases that vary keep an interval with a width, even if all clusters changed alike."""
    base, cand = np.tile([1.0, 3.0], 6), np.tile([3.0, 2.0], 6)
    found = method(base, cand, 0.05, np.arange(12) // 2)
    assert found.high - found.low > 0.3
    assert found.p > 0.05
    assert variance_of_mean(cand - base, np.arange(12) // 2)[0] > 0.1
