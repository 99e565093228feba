"""Tests of "nothing changed" against published answers, SciPy and brute force."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pytest_crucible.stats import tests
from tests.stats.support import PERMEABILITY_1, PERMEABILITY_2, SLEEP_1, SLEEP_2, Floats

DEPRESSION_1 = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
DEPRESSION_2 = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
BH_1995 = (
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
    0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0,
)  # fmt: skip


def floats(low: int, high: int) -> st.SearchStrategy[Floats]:
    numbers = st.floats(-1e3, 1e3, allow_subnormal=False)
    return st.integers(low, high).flatmap(lambda n: arrays(np.float64, n, elements=numbers))


def distinct(low: int, high: int) -> st.SearchStrategy[Floats]:
    whole = st.integers(-(10**6), 10**6).filter(bool)
    found = st.lists(whole, min_size=low, max_size=high, unique_by=abs)
    return found.map(lambda each: np.array(each, dtype=np.float64))


small_tied = st.lists(st.integers(-3, 3), min_size=1, max_size=6).map(
    lambda found: np.array(found, dtype=np.float64)
)


# --- published answers ------------------------------------------------------------------------


def test_welch_on_sleep() -> None:
    """Welch's test of R's `sleep`: p = 0.07939 with 17.776 degrees of freedom."""
    assert tests.welch(SLEEP_1, SLEEP_2) == pytest.approx(0.07939, abs=5e-6)
    variances = [float(side.var(ddof=1)) / 10 for side in (SLEEP_1, SLEEP_2)]
    df = tests.welch_df(variances[0], 9, variances[1], 9)
    assert df == pytest.approx(17.776, abs=5e-4)
    t = (SLEEP_1.mean() - SLEEP_2.mean()) / math.sqrt(sum(variances))
    assert t == pytest.approx(-1.8608, abs=5e-5)


def test_paired_t_on_sleep() -> None:
    """The paired t test of R's `sleep`: t = −4.0621, p = 0.002833."""
    p = tests.paired_t(SLEEP_1 - SLEEP_2)
    assert p == pytest.approx(0.002833, abs=5e-7)
    assert -stats.t.isf(0.002833 / 2, 9) == pytest.approx(-4.0621, abs=1e-4)


def test_signed_rank_on_depression_scores() -> None:
    """R's paired Wilcoxon example, greater: p = 0.01953125 exactly."""
    differences = DEPRESSION_1 - DEPRESSION_2
    assert tests.signed_rank_exact(differences, "greater") == 0.01953125
    assert stats.wilcoxon(differences, alternative="greater").statistic == 40


def test_rank_sum_on_permeability() -> None:
    """R's two-sample Wilcoxon example, greater: W = 35, p = 0.1272061."""
    p = tests.rank_sum_exact(PERMEABILITY_1, PERMEABILITY_2, "greater")
    assert p == pytest.approx(0.1272061, abs=5e-8)
    pairs = np.subtract.outer(PERMEABILITY_1, PERMEABILITY_2)
    assert (pairs > 0).sum() == 35


def test_fisher_on_tea_tasting() -> None:
    """Fisher's lady tasting tea: p = 0.4857143."""
    assert tests.fisher(3, 4, 1, 4) == pytest.approx(0.4857143, abs=5e-8)
    greater = stats.fisher_exact(np.array([[3, 1], [1, 3]]), alternative="greater").pvalue
    assert greater == pytest.approx(0.2428571, abs=5e-8)


def test_mcnemar_published() -> None:
    """150 against 86 discordant pairs: exact p = 3.716e-5."""
    assert tests.mcnemar(150, 86) == pytest.approx(3.716e-5, abs=5e-9)


def test_benjamini_hochberg_1995() -> None:
    """Of the paper's fifteen p-values its procedure rejects four, Holm's three."""
    named = {f"h{i:02}": p for i, p in enumerate(BH_1995)}
    corrected = [correct(named).values() for correct in (tests.benjamini_hochberg, tests.holm)]
    rejected = [sum(p is not None and p <= 0.05 for p in each) for each in corrected]
    assert rejected == [4, 3]


# --- SciPy ------------------------------------------------------------------------------------


@given(floats(2, 30), floats(2, 30))
def test_welch_is_scipys(x: Floats, y: Floats) -> None:
    """Where values differ, the p-value is that of `ttest_ind`."""
    assume(np.ptp(x) > 1e-3 and np.ptp(y) > 1e-3)
    expected = stats.ttest_ind(x, y, equal_var=False).pvalue
    assert tests.welch(x, y) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(floats(2, 30))
def test_paired_t_is_scipys(differences: Floats) -> None:
    """Where differences vary, the p-value is that of `ttest_1samp`."""
    assume(np.ptp(differences) > 1e-3)
    expected = stats.ttest_1samp(differences, 0).pvalue
    assert tests.paired_t(differences) == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(distinct(2, 30), st.integers(1, 29))
def test_mann_whitney_without_ties_is_scipys(values: Floats, cut: int) -> None:
    """Without ties and with few values it is SciPy's exact test."""
    cut = 1 + cut % (values.size - 1)  # some on either side, whatever the size
    x, y = values[:cut], values[cut:]
    expected = stats.mannwhitneyu(x, y, method="exact").pvalue
    if max(x.size, y.size) > tests.EXACT_TIES_N:
        expected = stats.mannwhitneyu(x, y, method="asymptotic").pvalue
    assert tests.mann_whitney(x, y) == pytest.approx(expected, rel=1e-9)


@given(distinct(1, 30))
def test_signed_rank_without_ties_is_scipys(differences: Floats) -> None:
    """Without ties and with few pairs it is SciPy's exact test."""
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert tests.signed_rank(differences) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n", [80, 200])
def test_signed_rank_of_many_pairs_is_scipys(n: int) -> None:
    """With many pairs it is the normal approximation, zeros left out."""
    differences = np.round(np.random.default_rng(n).normal(0.3, 1, n), 1)
    expected = stats.wilcoxon(differences[differences != 0], method="approx").pvalue
    assert tests.signed_rank(np.append(differences, [0.0, 0.0])) == expected


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_fisher_is_scipys(a: int, b: int, c: int, d: int) -> None:
    """Fisher's test of two proportions, with zeros in any place."""
    assume(a + b and c + d)
    expected = stats.fisher_exact(np.array([[a, b], [c, d]])).pvalue
    assert tests.fisher(a, a + b, c, c + d) == pytest.approx(expected)


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemar_is_the_sign_test(b: int, c: int) -> None:
    """Discordant pairs are tosses of a fair coin."""
    assume(b + c)
    assert tests.mcnemar(b, c) == stats.binomtest(b, b + c).pvalue


# --- brute force ------------------------------------------------------------------------------


def two_sided(observed: float, possible: list[float]) -> float:
    less = sum(value <= observed + 1e-9 for value in possible) / len(possible)
    more = sum(value >= observed - 1e-9 for value in possible) / len(possible)
    return min(1.0, 2 * min(less, more))


@given(small_tied, small_tied)
def test_rank_sum_counts_all_arrangements(x: Floats, y: Floats) -> None:
    """With ties: the share of all ways to deal the values that are as extreme."""
    ranks = stats.rankdata(np.concatenate([x, y]))
    possible = [float(sum(each)) for each in itertools.combinations(ranks, x.size)]
    expected = two_sided(float(ranks[: x.size].sum()), possible)
    assert tests.rank_sum_exact(x, y) == pytest.approx(expected)


def test_rank_sum_is_scipys_permutation_test() -> None:
    """With ties it is what SciPy's enumeration of all permutations gives."""
    x, y = np.array([1.0, 2, 2, 3, 5]), np.array([2.0, 3, 4, 5, 5, 6])

    def statistic(one: Floats, other: Floats) -> float:
        return float(stats.rankdata(np.concatenate([one, other]))[: one.size].sum())

    found = stats.permutation_test((x, y), statistic, n_resamples=np.inf)  # type: ignore[call-overload]
    assert tests.mann_whitney(x, y) == pytest.approx(float(found.pvalue))


@given(small_tied)
def test_signed_rank_counts_all_signs(values: Floats) -> None:
    """With ties and zeros: the share of all choices of signs that are as extreme."""
    nonzero = values[values != 0]
    assume(nonzero.size)
    ranks = stats.rankdata(np.abs(nonzero))
    choices = itertools.product((False, True), repeat=ranks.size)
    possible = [float(ranks[list(signs)].sum()) for signs in choices]
    expected = two_sided(float(ranks[nonzero > 0].sum()), possible)
    assert tests.signed_rank(values) == pytest.approx(expected)


@given(small_tied, small_tied)
def test_cliffs_delta_counts_all_pairs(x: Floats, y: Floats) -> None:
    """P(y > x) − P(y < x) over all pairs."""
    signs = np.sign(np.subtract.outer(y, x))
    assert tests.cliffs_delta(x, y) == pytest.approx(signs.mean())


# --- bad input --------------------------------------------------------------------------------

NONE = np.empty(0)
ONE = np.array([1.0])


@pytest.mark.parametrize(
    ("test", "sides"),
    [
        (tests.mann_whitney, (NONE, ONE)),
        (tests.mann_whitney, (ONE, NONE)),
        (tests.signed_rank, (NONE,)),
        (tests.paired_t, (NONE,)),
        (tests.paired_t, (ONE,)),
        (tests.welch, (ONE, np.array([1.0, 2.0]))),
        (tests.welch, (np.full(3, 1.0), np.full(3, 2.0))),
        (tests.paired_t, (np.full(3, 1.0),)),
    ],
)
def test_no_test_is_none(test: Callable[..., float | None], sides: tuple[Floats, ...]) -> None:
    """Data that admit no test give None, not NaN and no traceback."""
    assert test(*sides) is None


@pytest.mark.parametrize(
    ("test", "sides"),
    [
        (tests.mann_whitney, (np.full(3, 7.0), np.full(40, 7.0))),
        (tests.signed_rank, (np.zeros(4),)),
        (tests.paired_t, (np.zeros(4),)),
        (tests.welch, (np.full(3, 2.0), np.full(3, 2.0))),
    ],
)
def test_no_difference_at_all_is_p_1(
    test: Callable[..., float | None], sides: tuple[Floats, ...]
) -> None:
    """Where nothing differs there is no evidence of a change."""
    assert test(*sides) == 1.0


def test_empty_sides_of_rates_have_no_test() -> None:
    """No trials on a side: None; no discordant pairs: no evidence."""
    assert tests.fisher(0, 0, 1, 2) is None
    assert tests.mcnemar(0, 0) == 1.0


def test_values_that_hardly_differ_warn_of_nothing() -> None:
    """Rounding noise gives a p-value and not a warning, which users turn into errors."""
    x = 1e9 + np.array([0.0, 1e-7, 0.0, 0.0])
    p = tests.welch(x, x + 1e-7)
    assert p is not None
    assert 0 <= p <= 1


# --- several at once --------------------------------------------------------------------------

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=20).map(
    lambda found: {str(i): p for i, p in enumerate(found)}
)


@given(p_values)
def test_benjamini_hochberg_is_scipys(named: dict[str, float]) -> None:
    """Corrected p-values are those of `false_discovery_control`."""
    expected = stats.false_discovery_control(np.array(list(named.values())))
    found = tests.benjamini_hochberg(named)
    assert [found[name] for name in named] == pytest.approx(list(expected))


@given(p_values)
def test_holm_steps_down(named: dict[str, float]) -> None:
    """The k-th smallest p times the number of those not smaller, never falling, at most 1."""
    found = tests.holm(named)
    ordered = sorted(named, key=lambda name: named[name])
    for position, name in enumerate(ordered):
        reached = [named[ordered[i]] * (len(named) - i) for i in range(position + 1)]
        assert found[name] == pytest.approx(min(1.0, max(reached)))


@pytest.mark.parametrize("correct", [tests.holm, tests.benjamini_hochberg])
def test_missing_p_values_stay_missing(
    correct: Callable[[dict[str, float | None]], dict[str, float | None]],
) -> None:
    """A metric without a test neither gets a p-value nor counts as a test."""
    assert correct({"a": 0.04, "b": None}) == {"a": 0.04, "b": None}
    assert correct({}) == {}
