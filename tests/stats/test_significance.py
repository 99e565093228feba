"""Tests of numbers by name: R's published answers, SciPy, and what bad input gives."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from pytest_crucible._errors import DefinitionError
from pytest_crucible.stats.significance import mann_whitney, t_test, wilcoxon_signed_rank
from pytest_crucible.stats.tests import ALTERNATIVES, EXACT_PAIRS, EXACT_TIES_N, Alternative
from tests.stats.support import PERMEABILITY_1, PERMEABILITY_2, SLEEP_1, SLEEP_2, Floats

DEPRESSION_1 = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
DEPRESSION_2 = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])

alternatives = st.sampled_from(ALTERNATIVES)


def floats(low: int, high: int) -> st.SearchStrategy[Floats]:
    numbers = st.floats(-1e3, 1e3, allow_subnormal=False)
    return st.integers(low, high).flatmap(lambda n: arrays(np.float64, n, elements=numbers))


def distinct(low: int, high: int) -> st.SearchStrategy[Floats]:
    whole = st.integers(-(10**6), 10**6).filter(bool)
    found = st.lists(whole, min_size=low, max_size=high, unique_by=abs)
    return found.map(lambda each: np.array(each, dtype=np.float64))


# --- published answers ------------------------------------------------------------------------


def test_welch_on_sleep() -> None:
    """R's `sleep`: t = −1.8608, df 17.776, p = 0.07939, interval −3.3654832 … 0.2054832."""
    found: Any = t_test(SLEEP_1, SLEEP_2)
    assert found.statistic == ("t", pytest.approx(-1.8608, abs=5e-5))
    assert found.df == pytest.approx(17.776, abs=5e-4)
    assert found.p == pytest.approx(0.07939, abs=5e-6)
    assert (found.low, found.high) == pytest.approx((-3.3654832, 0.2054832), abs=5e-8)
    assert found.estimate == ("mean difference", pytest.approx(-1.58))


def test_paired_t_on_sleep() -> None:
    """R's `sleep` in pairs: t = −4.0621, df 9, p = 0.002833, interval −2.4598858 … −0.7001142."""
    found: Any = t_test(SLEEP_1, SLEEP_2, paired=True)
    assert found.statistic == ("t", pytest.approx(-4.0621, abs=5e-5))
    assert (found.df, found.n) == (9, (10,))
    assert found.p == pytest.approx(0.002833, abs=5e-7)
    assert (found.low, found.high) == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)


def test_signed_rank_on_depression_scores() -> None:
    """R's paired Wilcoxon example, greater: V = 40, p = 0.01953125; shift .46, from .175."""
    found: Any = wilcoxon_signed_rank(DEPRESSION_1, DEPRESSION_2, alternative="greater")
    assert found.statistic == ("V", 40)
    assert found.p == 0.01953125
    assert found.estimate == ("pseudo-median difference", pytest.approx(0.46))
    assert (found.low, found.high) == (pytest.approx(0.175), math.inf)


def test_rank_sum_on_permeability() -> None:
    """R's two-sample Wilcoxon example, greater: W = 35, p = 0.1272061, shift 0.305."""
    found: Any = mann_whitney(PERMEABILITY_1, PERMEABILITY_2, alternative="greater")
    assert found.statistic == ("U", 35)
    assert found.p == pytest.approx(0.1272061, abs=5e-8)
    assert found.estimate == ("Hodges-Lehmann shift", pytest.approx(0.305))
    assert found.effect == ("Cliff's delta", pytest.approx(0.4))


def test_a_result_is_a_line() -> None:
    """Test, statistic, p, estimate with interval, effect and n; the side if there is one."""
    assert str(t_test(SLEEP_1, SLEEP_2, paired=True)) == (
        "paired t test: t = -4.062, df = 9, p = 0.00283, mean difference -1.58 [-2.46, -0.7001], "
        "Cohen's d_z -1.28, n = 10"
    )
    line = str(mann_whitney(PERMEABILITY_1, PERMEABILITY_2, alternative="greater"))
    assert line.startswith("Mann-Whitney test, exact, greater: U = 35, p = 0.127, ")
    assert line.endswith("n = 10 + 5")
    far = str(t_test(SLEEP_1, SLEEP_1 + 100 + SLEEP_2 / 1e3, paired=True))
    assert "p < 0.0001" in far


# --- SciPy ------------------------------------------------------------------------------------


@given(floats(2, 30), floats(2, 30), alternatives)
def test_welch_is_scipys(a: Floats, b: Floats, alternative: Alternative) -> None:
    """Statistic, df, p and interval are those of `ttest_ind`."""
    assume(np.ptp(a) > 1e-3 and np.ptp(b) > 1e-3)
    expected = stats.ttest_ind(a, b, equal_var=False, alternative=alternative)
    found = t_test(a, b, alternative=alternative, confidence=0.9)
    assert found.statistic[1] == pytest.approx(expected.statistic, rel=1e-6, abs=1e-9)
    assert found.df == pytest.approx(expected.df)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    low, high = expected.confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6, abs=1e-6)


@given(floats(2, 30), alternatives)
def test_paired_t_is_scipys(a: Floats, alternative: Alternative) -> None:
    """In pairs, those of `ttest_rel`."""
    b = a[::-1] * 1.5
    assume(np.ptp(a - b) > 1e-3)
    expected = stats.ttest_rel(a, b, alternative=alternative)
    found = t_test(a, b, paired=True, alternative=alternative)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    low, high = expected.confidence_interval()
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-6, abs=1e-6)


@given(distinct(2, 60), st.integers(1, 59), alternatives)
def test_mann_whitney_is_scipys(values: Floats, cut: int, alternative: Alternative) -> None:
    """Without ties: exact for few values, else the normal approximation."""
    cut = 1 + cut % (values.size - 1)
    a, b = values[:cut], values[cut:]
    exact = max(a.size, b.size) <= EXACT_TIES_N
    method: Any = "exact" if exact else "asymptotic"
    expected = stats.mannwhitneyu(a, b, method=method, alternative=alternative)
    found = mann_whitney(a, b, alternative=alternative)
    assert found.statistic[1] == expected.statistic
    # SciPy doubles the tail beyond the observed half; with U at its mean both exceed 1.
    assert found.p == pytest.approx(min(1.0, float(expected.pvalue)), rel=1e-9)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_many_values_with_ties_are_scipys(alternative: Alternative) -> None:
    """The normal approximations count ties, and correct for continuity."""
    rng = np.random.default_rng(1)
    a, b = np.round(rng.normal(0.3, 1, 80), 1), np.round(rng.normal(0, 1, 80), 1)
    expected = stats.mannwhitneyu(a, b, method="asymptotic", alternative=alternative)
    assert mann_whitney(a, b, alternative=alternative).p == pytest.approx(float(expected.pvalue))
    paired = stats.wilcoxon(a, b, method="approx", correction=True, alternative=alternative)
    found = wilcoxon_signed_rank(a, b, alternative=alternative)
    assert found.p == pytest.approx(float(paired.pvalue))
    assert found.method == "Wilcoxon signed rank test, normal approximation"


@given(distinct(1, 30), alternatives)
def test_signed_rank_is_scipys(differences: Floats, alternative: Alternative) -> None:
    """Without ties and with few pairs it is SciPy's exact test."""
    assert differences.size <= EXACT_PAIRS
    expected = stats.wilcoxon(differences, method="exact", alternative=alternative)
    found = wilcoxon_signed_rank(differences, np.zeros(differences.size), alternative=alternative)
    assert found.p == pytest.approx(float(expected.pvalue), rel=1e-9)


# --- intervals and tests agree ----------------------------------------------------------------


@given(distinct(4, 12), st.integers(2, 8), alternatives)
def test_rank_intervals_are_dual_to_their_tests(
    values: Floats, cut: int, alternative: Alternative
) -> None:
    """Without ties an interval excludes 0 if and only if p is at most its error."""
    cut = 1 + cut % (values.size - 1)
    # Whole differences of distinct powers: no two pairs, and no two averages, are alike.
    spread = np.sign(values) * 2.0 ** np.arange(values.size)
    for found in (
        mann_whitney(spread[:cut], spread[cut:], alternative=alternative, confidence=0.83),
        wilcoxon_signed_rank(
            spread, np.zeros(spread.size), alternative=alternative, confidence=0.83
        ),
    ):
        if found.low is not None and found.high is not None:
            assert (found.low > 0 or found.high < 0) == (found.p < 0.17)


def test_few_values_have_no_interval() -> None:
    """Three pairs cannot exclude anything at 95 %, nor can two values against two."""
    few = wilcoxon_signed_rank(SLEEP_1[:3], SLEEP_2[:3])
    assert (few.low, few.high) == (None, None)
    assert few.estimate is not None
    assert (mann_whitney(SLEEP_1[:2], SLEEP_2[:2]).low) is None


def test_very_many_values_have_no_shift() -> None:
    """The estimates that look at all pairs are left out; statistic and p remain."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(0.2, 1, 3000), rng.normal(0, 1, 3000)
    for found in (mann_whitney(a, b), wilcoxon_signed_rank(a, b)):
        assert (found.estimate, found.low, found.high) == (None, None, None)
        assert found.p < 1e-5


# --- what has no test -------------------------------------------------------------------------


def test_no_difference_is_p_1() -> None:
    """Where nothing differs, ranks give no evidence, however many values there are."""
    for n in (4, 100):
        same = np.full(n, 7.0)
        assert mann_whitney(same, same).p == 1.0
        assert wilcoxon_signed_rank(same, same).p == 1.0


def test_what_has_no_spread_has_no_t_test() -> None:
    """A t of 0 / 0, or of infinity, is an error in a line."""
    for b in (np.ones(4), np.full(4, 2.0)):
        for paired in (True, False):
            with pytest.raises(DefinitionError, match="nothing varies"):
                t_test(np.ones(4), b, paired=paired)


NONE, ONE, TWO = np.empty(0), np.ones(1), np.arange(2.0)


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda: t_test(ONE, TWO), "t_test needs two values a side, not 1 and 2"),
        (lambda: t_test(TWO, np.arange(3.0), paired=True),
         r"t_test\(paired=True\) needs pairs, not 2 and 3 values"),
        (lambda: wilcoxon_signed_rank(NONE, NONE),
         "wilcoxon_signed_rank needs pairs, not 0 and 0 values"),
        (lambda: mann_whitney(NONE, ONE), "mann_whitney: a side has no value"),
        (lambda: t_test(TWO, TWO + 1, alternative="more"),  # type: ignore[arg-type]
         "alternative='more' is not one of two-sided, greater, less"),
        (lambda: mann_whitney(TWO, TWO, confidence=95), "confidence=95 is not between 0 and 1"),
    ],
)  # fmt: skip
def test_bad_input_is_a_line(call: Any, problem: str) -> None:
    """It says which test, what it got, and what would be valid."""
    with pytest.raises(DefinitionError, match=problem):
        call()


def test_values_that_hardly_differ_warn_of_nothing() -> None:
    """Rounding noise gives a p-value and not a warning, which users turn into errors."""
    a = 1e9 + np.array([0.0, 1e-7, 0.0, 0.0])
    assert 0 <= t_test(a, a + 1e-7).p <= 1
