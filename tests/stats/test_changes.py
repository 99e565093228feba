"""Changes, method by method: published answers, SciPy, brute force, and ends of the scale."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pytest_crucible.stats.changes import Change
from scipy import stats

from pytest_crucible.stats import changes
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.samples import RATE
from tests.stats.support import PERMEABILITY_1, PERMEABILITY_2, SLEEP_1, SLEEP_2, Floats, sample

logs = st.floats(-5, 5, allow_subnormal=False)
Method = Callable[[Floats, Floats], Change]


def lognormal(n: int, seed: int = 1, centre: float = 0.0) -> Floats:
    return np.random.default_rng(seed).normal(centre, 0.5, n)


# --- published answers ------------------------------------------------------------------------


def test_welch_interval_on_sleep() -> None:
    """Welch's interval of R's `sleep`: −3.3654832 to 0.2054832."""
    found = changes.means(SLEEP_2, SLEEP_1)
    assert found.interval(0.05) == pytest.approx((-3.3654832, 0.2054832), abs=5e-8)
    assert found.p == pytest.approx(0.07939, abs=5e-6)


def test_hodges_lehmann_shift_published() -> None:
    """R's two-sample Wilcoxon example: shift 0.305."""
    found = changes.log_shift(PERMEABILITY_2, PERMEABILITY_1)
    assert math.log(found.estimate) == pytest.approx(0.305)


def test_cut_of_the_rank_sum_published() -> None:
    """R's example: 95 % interval of the shift from −0.15 to 0.76 (`conf.int = TRUE`, exact)."""
    low, high = changes.log_shift(PERMEABILITY_2, PERMEABILITY_1).interval(0.05)
    shifts = np.sort(np.subtract.outer(PERMEABILITY_1, PERMEABILITY_2).ravel())
    # qwilcox(0.025, 10, 5) = 9: the ninth shift from either end.
    assert (math.log(low), math.log(high)) == pytest.approx((shifts[8], shifts[-9]))


@given(
    arrays(np.float64, st.integers(6, 40), elements=st.floats(0.01, 100)),
    st.sampled_from([changes.paired_means, changes.paired_log_ratio, changes.paired_rates]),
)
def test_rounding_is_no_change(values: Floats, method: Method) -> None:
    """The sum of a case's trials in another order is the same number, however small the ranks."""
    found = method(values, values * (1 + 4e-16))
    assert found.p == 1.0
    assert found.estimate == (1.0 if method is changes.paired_log_ratio else 0.0)


# --- cuts by brute force ----------------------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 13))
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.5])
def test_signed_rank_cut_counts_all_signs(n: int, alpha: float) -> None:
    """So many rank sums have at most alpha/2 of all choices of signs at or below them."""
    sums = [
        sum(rank for rank, sign in zip(range(1, n + 1), signs, strict=True) if sign)
        for signs in itertools.product((0, 1), repeat=n)
    ]
    below = [sum(each <= w for each in sums) / len(sums) for w in range(n * (n + 1) // 2 + 1)]
    assert changes._signed_rank_cut(n, alpha) == sum(each <= alpha / 2 for each in below)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 5), (2, 3), (4, 4), (5, 3), (6, 5), (3, 8)])
@pytest.mark.parametrize("alpha", [0.01, 0.05, 0.1, 0.5])
def test_mann_whitney_cut_counts_all_arrangements(n: int, m: int, alpha: float) -> None:
    """So many U have at most alpha/2 of all arrangements at or below them."""
    lowest = n * (n + 1) // 2
    found = [sum(c) - lowest for c in itertools.combinations(range(1, n + m + 1), n)]
    below = [sum(each <= u for each in found) / len(found) for u in range(n * m + 1)]
    assert changes._mann_whitney_cut(n, m, alpha) == sum(each <= alpha / 2 for each in below)


@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_cuts_go_over_into_the_normal_ones(alpha: float) -> None:
    """Where the exact distribution ends there is no jump: second differences stay small."""
    pairs = [changes._signed_rank_cut(n, alpha) for n in range(46, 56)]
    sides = [changes._mann_whitney_cut(n, n, alpha) for n in range(21, 31)]
    assert np.abs(np.diff(pairs, 2)).max() <= 4
    assert np.abs(np.diff(sides, 2)).max() <= 4


# --- SciPy ------------------------------------------------------------------------------------


@given(
    arrays(np.float64, st.integers(2, 20), elements=logs),
    arrays(np.float64, st.integers(2, 20), elements=logs),
)
def test_means_are_scipys(x: Floats, y: Floats) -> None:
    """Welch's interval of a difference is that of `ttest_ind`."""
    assume(np.ptp(x) > 1e-3 and np.ptp(y) > 1e-3)
    found = changes.means(x, y)
    expected = stats.ttest_ind(y, x, equal_var=False)
    assert found.interval(0.05) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    assert found.p == pytest.approx(float(expected.pvalue))


@given(arrays(np.float64, st.tuples(st.integers(2, 20), st.just(2)), elements=logs))
def test_paired_means_are_scipys(pairs: Floats) -> None:
    """The paired interval is that of `ttest_rel`."""
    x, y = pairs.T
    assume(np.ptp(y - x) > 1e-3)
    expected = stats.ttest_rel(y, x)
    found = changes.paired_means(x, y)
    assert found.interval(0.1) == pytest.approx(tuple(expected.confidence_interval(0.9)))
    assert found.p == pytest.approx(float(expected.pvalue))


@given(st.integers(4, 60), st.integers(4, 60), st.integers(0, 999))
def test_interval_and_test_of_ranks_agree(n: int, m: int, seed: int) -> None:
    """Without ties and up to 25 a side: 1 lies outside the interval exactly if p ≤ alpha."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=n), rng.normal(0.5, 1, size=m)
    found = [changes.log_shift(x, y)] if max(n, m) <= 25 else []
    if 6 <= n <= 50:
        found.append(changes.paired_log_ratio(x, x + rng.normal(0.4, 1, size=n)))
    for change in found:
        low, high = change.interval(0.05)
        assert low <= change.estimate <= high
        assert change.p is not None
        assert (low > 1 or high < 1) is (change.p <= 0.05)


@pytest.mark.parametrize("method", [changes.log_shift, changes.paired_log_ratio])
@given(st.integers(6, 30), st.floats(-3, 3), st.integers(0, 99))
def test_a_shift_is_found_as_it_is(method: Method, n: int, shift: float, seed: int) -> None:
    """All of the candidate's values times a factor: the interval moves by that factor."""
    x, y = lognormal(n, seed), lognormal(n, seed + 100)
    there = method(x, y).interval(0.05)
    moved = method(x, y + shift)
    assert moved.interval(0.05) == pytest.approx(tuple(math.exp(shift) * end for end in there))
    assert method(x, x + shift).estimate == pytest.approx(math.exp(shift))


@pytest.mark.parametrize(
    "method", [changes.log_shift, changes.paired_log_ratio, changes.means, changes.paired_means]
)
@given(st.integers(6, 40), st.integers(0, 99))
def test_higher_confidence_is_wider(method: Method, n: int, seed: int) -> None:
    """The intervals of one change lie within one another."""
    change = method(lognormal(n, seed), lognormal(n, seed + 1, 0.1))
    ends = [change.interval(alpha) for alpha in (0.5, 0.2, 0.1, 0.05)]
    for (low, high), (lower, higher) in itertools.pairwise(ends):
        assert lower <= low <= high <= higher


@pytest.mark.parametrize("method", [changes.log_shift, changes.paired_log_ratio])
def test_many_values_give_way_to_the_central_limit(method: Method) -> None:
    """Just above the limit the answer is about that just below it."""
    n = changes.MAX_PAIRWISE
    x, y = lognormal(n + 1, 1), lognormal(n + 1, 2, 0.1)
    above, below = method(x, y), method(x[:n], y[:n])
    assert above.interval(0.05) == pytest.approx(below.interval(0.05), rel=0.01)
    assert ("Welch" in above.method or "paired t" in above.method) is True
    assert above.method != below.method


# --- nothing varies ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", [changes.means, changes.paired_means])
def test_constant_values_that_differ(method: Method) -> None:
    """Six equal values against six others are certain; three against three are not."""
    change = method(np.full(6, 0.3), np.full(6, 0.1 + 0.3))
    assert change.interval(0.05) == pytest.approx((0.1, 0.1))
    assert change.p is not None
    assert change.p < 0.05
    few = method(np.full(3, 0.3), np.full(3, 0.4))
    with pytest.raises(NoIntervalError, match="nothing varies in 3"):
        few.interval(0.05)


def test_changes_that_vary_by_rounding_only_do_not_vary() -> None:
    """Two pairs whose differences agree but for rounding are no certainty."""
    change = changes.paired_means(np.array([0.1, 0.7]), np.array([0.3, 0.9]))
    with pytest.raises(NoIntervalError, match="nothing varies in 2"):
        change.interval(0.05)


@pytest.mark.parametrize(
    ("method", "n", "m", "reason"),
    [
        (changes.means, 1, 5, "at least 2 observations per side, has 1 and 5"),
        (changes.paired_means, 1, 1, "1 pair: no spread"),
        (changes.paired_log_ratio, 0, 0, "0 pairs: no spread"),
        (changes.log_shift, 3, 9, "at least 4 observations per side, has 3 and 9"),
    ],
)
def test_too_few_values_say_so(method: Method, n: int, m: int, reason: str) -> None:
    """A stated reason, no traceback and no NaN."""
    with pytest.raises(NoIntervalError, match=reason):
        method(np.arange(float(n)), np.arange(float(m)))


# --- rates ------------------------------------------------------------------------------------


def by_case(*rates: float) -> Floats:
    return np.array(rates, dtype=np.float64)


def test_single_trials_are_mcnemars() -> None:
    """One trial per case: the exact test of the discordant pairs."""
    before, after = by_case(*[1] * 12, *[0] * 3), by_case(*[1] * 4, *[0] * 8, *[0, 0, 1])
    found = changes.paired_rates(before, after)
    assert found.p == stats.binomtest(8, 9).pvalue
    assert found.estimate == pytest.approx(-7 / 15)


def test_repeated_trials_are_a_paired_t_of_case_rates() -> None:
    """Several trials per case: the spread between cases decides."""
    before, after = by_case(1, 0.8, 0.6, 0.4, 0.9), by_case(0.8, 0.2, 0.6, 0.1, 0.2)
    found = changes.paired_rates(before, after)
    expected = stats.ttest_rel(after, before)
    assert found.p == pytest.approx(float(expected.pvalue))
    assert "paired t" in found.method


@given(st.integers(2, 300), st.sampled_from([0.2, 0.4, 1.0]))
def test_one_small_change_never_says_more_than_none(n: int, step: float) -> None:
    """The interval of cases of which one changed a little is no narrower than if none did."""
    none = changes.paired_rates(by_case(*[1] * n), by_case(*[1] * n))
    one = changes.paired_rates(by_case(*[1] * n), by_case(1 - step, *[1] * (n - 1)))
    low, high = none.interval(0.05)
    changed_low, changed_high = one.interval(0.05)
    assert (low, high) == pytest.approx((-high, -low))
    assert changed_low <= low
    assert changed_high - one.estimate >= high - 1e-9


def test_rates_that_all_moved_alike() -> None:
    """Every case from 0.6 to 0.8: an improvement of 0.2, not "no discordant pairs"."""
    found = changes.paired_rates(by_case(*[0.6] * 30), by_case(*[0.8] * 30))
    low, high = found.interval(0.05)
    assert low <= 0.2 <= high
    assert low >= 0
    assert found.p is not None
    assert found.p < 0.001


@given(st.integers(0, 30), st.integers(1, 30), st.integers(0, 30), st.integers(1, 30))
def test_unpaired_rates_hold_their_difference(x: int, n: int, y: int, m: int) -> None:
    """Fisher's p and an interval around the difference, whatever the counts."""
    before, after = (
        sample([1] * min(k, size) + [0] * (size - min(k, size)), kind=RATE)
        for k, size in ((x, n), (y, m))
    )
    found = changes.rates(before, after)
    low, high = found.interval(0.05)
    assert -1 <= low <= found.estimate + 1e-12
    assert found.estimate - 1e-12 <= high <= 1
    table = [[min(x, n), n - min(x, n)], [min(y, m), m - min(y, m)]]
    assert found.p == pytest.approx(float(stats.fisher_exact(np.array(table)).pvalue))


def test_rates_of_repeated_trials_count_less() -> None:
    """Ten trials of ten cases that always agree are worth ten trials."""
    cases = np.repeat(np.arange(10), 10)
    values = (cases < 7).astype(float)
    other = (cases < 2).astype(float)
    repeated = [sample(each, cases.tolist(), kind=RATE) for each in (values, other)]
    single = [sample(each[::10], kind=RATE) for each in (values, other)]
    many, few = (changes.rates(sides[0], sides[1]) for sides in (repeated, single))
    assert many.interval(0.05) == pytest.approx(few.interval(0.05), abs=0.05)
    assert many.n == (10, 10)
