"""Changes by ranks: published answers, all signs and all arrangements, SciPy, and ties."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pytest_crucible.stats import rank_changes, tests
from pytest_crucible.stats.change import Change, unseen_share
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.mean_changes import independent_t, paired_t
from pytest_crucible.stats.rank_changes import log_shift, paired_log_ratio
from tests.stats.support import PERMEABILITY_1, PERMEABILITY_2, Floats

Method = Callable[[Floats, Floats, float], Change]
METHODS: list[Method] = [log_shift, paired_log_ratio]
DEPRESSION_1 = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
DEPRESSION_2 = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])


def normal(n: int, seed: int = 1, centre: float = 0.0) -> Floats:
    return np.random.default_rng(seed).normal(centre, 0.5, n)


# --- published answers ------------------------------------------------------------------------


def test_signed_ranks_published() -> None:
    """R's paired Wilcoxon example: V = 40, one-sided p = 0.01953125, so twice that on two sides."""
    found = paired_log_ratio(DEPRESSION_2, DEPRESSION_1, 0.05)
    assert found.p == 2 * 0.01953125
    assert found.low > 1
    assert found.method == "Wilcoxon signed rank on log ratios"
    difference = DEPRESSION_1 - DEPRESSION_2
    walsh = [(x + y) / 2 for x, y in itertools.combinations_with_replacement(difference, 2)]
    assert sum(each > 0 for each in walsh) == 40
    assert math.log(found.estimate) == pytest.approx(np.median(walsh))


def test_shift_published() -> None:
    """R's two-sample Wilcoxon example: shift 0.305, one-sided p = 0.1272061."""
    found = log_shift(PERMEABILITY_2, PERMEABILITY_1, 0.05)
    assert math.log(found.estimate) == pytest.approx(0.305)
    assert found.p == pytest.approx(2 * 0.1272061, abs=1e-7)
    shifts = np.sort(np.subtract.outer(PERMEABILITY_1, PERMEABILITY_2).ravel())
    # qwilcox(0.025, 10, 5) = 9: the ninth shift from either end, −0.15 and 0.76.
    assert math.log(found.high) == pytest.approx(shifts[-9]) == pytest.approx(0.76)
    assert found.low == 1 / (1 + unseen_share(5, 0.05)) < math.exp(shifts[8])  # guarded


# --- the distributions by brute force ---------------------------------------------------------


@pytest.mark.parametrize("n", range(1, 13))
def test_signed_ranks_count_all_signs(n: int) -> None:
    """The Walsh averages below 0 are as many as the rank sum; all choices of signs are alike."""
    sums = [
        sum(rank for rank, sign in zip(range(1, n + 1), signs, strict=True) if sign)
        for signs in itertools.product((0, 1), repeat=n)
    ]
    null = rank_changes.signed_ranks(n)
    below = [sum(each <= w for each in sums) / len(sums) for w in range(n * (n + 1) // 2 + 1)]
    assert [null.p(w) for w in range(len(below))] == pytest.approx(below)
    for level in (0.005, 0.025, 0.25):
        assert null.cut(level) == sum(each <= level for each in below)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 5), (2, 3), (4, 4), (5, 3), (6, 5), (3, 8)])
def test_rank_sums_count_all_arrangements(n: int, m: int) -> None:
    """The shifts below 0 are U; all ways to deal the ranks are alike."""
    lowest = n * (n + 1) // 2
    found = [sum(c) - lowest for c in itertools.combinations(range(1, n + m + 1), n)]
    null = rank_changes.rank_sums(n, m)
    below = [sum(each <= u for each in found) / len(found) for u in range(n * m + 1)]
    assert [null.p(u) for u in range(len(below))] == pytest.approx(below)
    for level in (0.005, 0.025, 0.25):
        assert null.cut(level) == sum(each <= level for each in below)


@pytest.mark.parametrize("alpha", [0.01, 0.05])
def test_cuts_go_over_into_the_normal_ones(alpha: float) -> None:
    """Where the exact distribution ends there is no jump: second differences stay small."""
    pairs = [rank_changes.signed_ranks(n).cut(alpha / 2) for n in range(46, 56)]
    sides = [rank_changes.rank_sums(n, n).cut(alpha / 2) for n in range(22, 36)]
    assert rank_changes.rank_sums(35, 35).cumulative is None
    assert np.abs(np.diff(pairs, 2)).max() <= 4
    assert np.abs(np.diff(sides, 2)).max() <= 4


# --- SciPy ------------------------------------------------------------------------------------


@given(st.integers(8, 40), st.integers(0, 999))
def test_pairs_without_ties_are_scipys(n: int, seed: int) -> None:
    """The p-value is that of `wilcoxon`, the effect a difference of shares of ranks."""
    base, cand = normal(n, seed), normal(n, seed + 1, 0.2)
    found = paired_log_ratio(base, cand, 0.05)
    expected = stats.wilcoxon(cand - base, method="exact")
    assert found.p == pytest.approx(float(expected.pvalue))
    name, effect = found.effect or ("", 0.0)
    smaller = 1 - 2 * expected.statistic / (n * (n + 1) / 2)
    assert name == "rank-biserial r"
    assert abs(effect) == pytest.approx(float(smaller))


@given(st.integers(5, 25), st.integers(5, 25), st.integers(0, 999))
def test_sides_without_ties_are_scipys(n: int, m: int, seed: int) -> None:
    """The p-value is that of `mannwhitneyu`, the effect Cliff's delta."""
    base, cand = normal(n, seed), normal(m, seed + 1, 0.2)
    found = log_shift(base, cand, 0.05)
    expected = stats.mannwhitneyu(cand, base, method="exact")
    assert found.p == pytest.approx(float(expected.pvalue))
    delta = 2 * float(expected.statistic) / (n * m) - 1
    name, effect = found.effect or ("", 0.0)
    assert name == "Cliff's delta"
    assert effect == pytest.approx(delta)


# --- ties, rounding and shifts ----------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@given(st.integers(8, 40), st.integers(2, 5), st.integers(0, 999), st.sampled_from([0.05, 0.01]))
def test_ties_do_not_part_interval_and_p(
    method: Method, n: int, levels: int, seed: int, alpha: float
) -> None:
    """Times in whole milliseconds: both count the same averages, so they cannot disagree."""
    rng = np.random.default_rng(seed)
    base, cand = np.log(rng.integers(1, levels + 1, (2, n)))
    try:
        found = method(base, cand, alpha)
    except NoIntervalError:
        assert 4.0**-n > alpha / 2 or math.comb(2 * n, n) ** -2 > alpha / 2
        return
    assert (found.low > 1 or found.high < 1) == (found.p <= alpha)


@pytest.mark.parametrize("method", METHODS)
@given(arrays(np.float64, st.integers(4, 30), elements=st.floats(0.5, 2)), st.booleans())
def test_rounding_is_no_change(method: Method, values: Floats, constant: bool) -> None:
    """Times summed in another order are the same, however sure ranks are of their order."""
    if constant:
        values = np.full(values.size, values[0])
    found = method(np.log(values), np.log(values * (1 + 4e-16)), 0.05)
    assert found.p > 0.5
    assert found.low < 1 < found.high
    assert found.estimate == pytest.approx(1)


@pytest.mark.parametrize("method", METHODS)
@given(st.integers(8, 30), st.floats(-1, 1), st.integers(0, 99))
def test_a_shift_is_found_as_it_is(method: Method, n: int, shift: float, seed: int) -> None:
    """All of the candidate's values times a factor: the change moves by that factor."""
    base, cand = normal(n, seed), normal(n, seed + 100, 5.0)  # far from 1, where the guard is
    there, moved = method(base, cand, 0.05), method(base, cand + shift, 0.05)
    factor = math.exp(shift)
    assert (moved.low, moved.estimate, moved.high) == pytest.approx(
        (factor * there.low, factor * there.estimate, factor * there.high)
    )
    assert method(base, base + shift, 0.05).estimate == pytest.approx(factor)


@pytest.mark.parametrize("method", METHODS)
@given(st.integers(8, 30), st.integers(0, 99))
def test_exchanged_sides_turn_the_ratio_over(method: Method, n: int, seed: int) -> None:
    """Twice as slow one way is twice as fast the other way."""
    base, cand = normal(n, seed), normal(n, seed + 1, 0.2)
    there, back = method(base, cand, 0.05), method(cand, base, 0.05)
    assert [1 / back.high, 1 / back.estimate, 1 / back.low, back.p] == pytest.approx(
        [there.low, there.estimate, there.high, there.p]
    )


# --- when ranks are used ----------------------------------------------------------------------


@pytest.mark.parametrize(("decisions", "fewest"), [(1, 8), (5, 10), (50, 13), (500, 17)])
def test_ranks_where_they_can_reach_the_level(decisions: int, fewest: int) -> None:
    """Recipes 1: from log₂(160 · decisions) pairs on; t on logarithms below."""
    for n, method in ((fewest, "Wilcoxon"), (fewest - 1, "paired t on log ratios")):
        found = paired_log_ratio(normal(n, 1), normal(n, 2), 0.05 / decisions)
        assert found.method.startswith(method)


@pytest.mark.parametrize(("n", "m", "ranks"), [(4, 4, False), (5, 5, True), (3, 9, True)])
def test_ranks_of_two_sides(n: int, m: int, ranks: bool) -> None:
    """With 1 / C(n + m, n) at most a quarter of the level; Welch on logarithms below."""
    found = log_shift(normal(n, 1), normal(m, 2), 0.05)
    assert found.method.startswith("Mann-Whitney" if ranks else "Welch on logs")
    assert (math.comb(n + m, n) >= 160) is ranks
    assert found.effect == ("Cliff's delta", tests.cliffs_delta(normal(n, 1), normal(m, 2)))


@pytest.mark.parametrize("method", METHODS)
def test_many_values_give_way_to_the_central_limit(method: Method) -> None:
    """Just above the limit the answer is about that just below it."""
    n = rank_changes.MAX_PAIRWISE
    base, cand = normal(n + 1, 1), normal(n + 1, 2, 0.1)
    above, below = method(base, cand, 0.05), method(base[:n], cand[:n], 0.05)
    assert (above.low, above.high) == pytest.approx((below.low, below.high), rel=0.01)
    assert above.method != below.method


def test_clusters_have_no_ranks() -> None:
    """Related cases are judged by t, clustered."""
    clusters = np.arange(40) // 4
    base, cand = normal(40, 1), normal(40, 2, 0.1)
    assert paired_log_ratio(base, cand, 0.05, clusters) == paired_t(
        base, cand, 0.05, clusters, logs=True
    )
    both, expected = (
        method(base, cand, 0.05, (clusters, clusters), **more)
        for method, more in ((log_shift, {}), (independent_t, {"logs": True}))
    )
    assert (both.low, both.high, both.p) == (expected.low, expected.high, expected.p)
    assert both.method == "Welch on logs, clustered"


@pytest.mark.parametrize(("n", "reason"), [(0, "0 pairs"), (1, "1 pair"), (2, "2 pairs")])
def test_too_few_pairs_say_so(n: int, reason: str) -> None:
    """A stated reason, no traceback and no NaN."""
    with pytest.raises(NoIntervalError, match=f"^too few: {reason}$"):
        paired_log_ratio(np.arange(float(n)), np.arange(float(n)), 0.05)


@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 5), (1, 4), (2, 2)])
def test_too_few_values_say_so(n: int, m: int) -> None:
    """The sizes of both sides."""
    with pytest.raises(NoIntervalError, match=f"^too few: {n} and {m} values$"):
        log_shift(np.arange(float(n)), np.arange(float(m)), 0.05)


# --- nothing varies ---------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [5, 20, 72])
def test_equal_times_are_no_certainty(method: Method, n: int) -> None:
    """Recipes 5: the interval is never nearer to no change than what n cases can exclude."""
    found = method(np.zeros(n), np.zeros(n), 0.05)
    share = unseen_share(n, 0.05)
    assert (found.low, found.high) == pytest.approx((1 / (1 + share), 1 + share))
    assert (found.p, found.estimate, found.alike) == (1, 1, n)
    assert (found.high < 1.05) is (n == 72)


@pytest.mark.parametrize("n", [4, 6, 20])
def test_ten_times_slower_in_each_of_few_pairs(n: int) -> None:
    """Found, even if each pair is exactly ten times slower; some cases could still be as fast."""
    found = paired_log_ratio(np.zeros(n), np.full(n, math.log(10)), 0.05 / 5)
    assert found.low == pytest.approx(10 ** (1 - unseen_share(n, 0.05 / 5)))
    assert found.low > 1.5
    assert (found.p <= 0.01, found.alike) == (True, n)
