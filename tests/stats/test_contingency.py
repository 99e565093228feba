"""Tests of counts by name: published answers and SciPy."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from pytest_crucible._errors import DefinitionError
from pytest_crucible.stats.contingency import Counts, chi_square, fisher_exact, mcnemar
from pytest_crucible.stats.tests import ALTERNATIVES, Alternative

TEA = np.array([[3, 1], [1, 3]])
GENDER_PARTY = np.array([[762, 327, 468], [484, 239, 477]])
"""Agresti, An Introduction to Categorical Data Analysis (2007), p. 39; R's `?chisq.test`."""
PRESIDENT = np.array([[794, 150], [86, 570]])
"""Agresti, Categorical Data Analysis (1990), p. 350; R's `?mcnemar.test`."""
AIRWAYS = np.array([[1, 1], [7, 12]])
"""Fagerland, Lydersen and Laake (2013), table 1: 21 children before and after a transplant."""

counts = st.integers(0, 60)


def test_chi_square_on_party_and_gender() -> None:
    """χ² = 30.0701 with 2 degrees of freedom, p = 2.954e-07."""
    found: Any = chi_square(GENDER_PARTY)
    assert found.statistic == ("χ²", pytest.approx(30.0701, abs=5e-5))
    assert found.df == 2
    assert found.p == pytest.approx(2.954e-07, abs=5e-11)
    assert found.n == (1557, 1200)
    assert found.effect == ("Cramér's V", pytest.approx(math.sqrt(30.0701 / 2757), abs=1e-6))


def test_fisher_on_tea_tasting() -> None:
    """p = 0.4857143, greater 0.2428571 with the odds ratio 6.408309, from 0.3135693."""
    assert fisher_exact(TEA).p == pytest.approx(0.4857143, abs=5e-8)
    found: Any = fisher_exact(TEA, alternative="greater")
    assert found.p == pytest.approx(0.2428571, abs=5e-8)
    assert found.estimate == ("odds ratio", pytest.approx(6.408309, abs=5e-5))
    assert (found.low, found.high) == (pytest.approx(0.3135693, abs=5e-5), math.inf)


def test_mcnemar_published() -> None:
    """150 against 86 discordant pairs: exact p = 3.716e-5."""
    found: Any = mcnemar(PRESIDENT)
    assert found.p == pytest.approx(3.716e-5, abs=5e-9)
    assert found.statistic == ("only a", 150)
    assert found.estimate == ("odds ratio", pytest.approx(150 / 86))
    assert found.effect == ("difference of shares", pytest.approx(0.04))


def test_mcnemar_with_mid_p_published() -> None:
    """Airway hyper-responsiveness, 1 against 7: exact p = .070, mid-p = .039."""
    assert mcnemar(AIRWAYS).p == pytest.approx(0.0703, abs=5e-5)
    found: Any = mcnemar(AIRWAYS, mid_p=True)
    assert found.p == pytest.approx(0.0391, abs=5e-5)
    assert found.method == "McNemar's test, mid-p"


@given(st.lists(st.lists(counts, min_size=2, max_size=4), min_size=2, max_size=4), st.booleans())
def test_chi_square_is_scipys(rows: list[list[int]], correction: bool) -> None:
    """Statistic, df and p are those of `chi2_contingency`, with Yates's correction, too."""
    width = min(map(len, rows))
    table = np.array([row[:width] for row in rows])
    assume(table.sum(axis=0).all() and table.sum(axis=1).all())
    expected = stats.chi2_contingency(table, correction=correction)
    found = chi_square(table, correction=correction)
    assert (found.statistic[1], found.df, found.p) == pytest.approx(
        (expected.statistic, expected.dof, expected.pvalue), rel=1e-9, abs=1e-12
    )
    assert ("below 5" in found.method) == bool((expected.expected_freq < 5).any())


@given(counts, counts, counts, counts, st.sampled_from(ALTERNATIVES))
def test_fisher_is_scipys(a: int, b: int, c: int, d: int, alternative: Alternative) -> None:
    """Fisher's test of two shares, with zeros in any place; the interval excludes 1 as p says."""
    assume(a + b and c + d)
    table = np.array([[a, b], [c, d]])
    found = fisher_exact(table, alternative=alternative)
    assert found.p == pytest.approx(stats.fisher_exact(table, alternative=alternative).pvalue)
    if alternative != "two-sided" and found.low is not None and found.high is not None:
        assert (found.low > 1 or found.high < 1) == (found.p < 0.05)


@given(counts, counts, st.sampled_from(ALTERNATIVES))
def test_mcnemar_is_the_sign_test(b: int, c: int, alternative: Alternative) -> None:
    """Discordant pairs are tosses of a fair coin; the interval of their odds says the same."""
    assume(b + c)
    found = mcnemar(np.array([[3, b], [c, 4]]), alternative=alternative)
    assert found.p == pytest.approx(stats.binomtest(b, b + c, alternative=alternative).pvalue)
    assert found.low is not None
    assert found.high is not None
    assert (found.low > 1 or found.high < 1) == (found.p <= 0.05)
    mid = mcnemar(np.array([[3, b], [c, 4]]), alternative=alternative, mid_p=True)
    assert mid.p <= found.p


def test_concordant_pairs_say_nothing() -> None:
    """No discordant pair: p is 1, and there are no odds."""
    found = mcnemar(np.array([[5, 0], [0, 5]]), mid_p=True)
    assert (found.p, found.estimate, found.low, found.high) == (1.0, None, None, None)
    assert mcnemar(np.zeros((2, 2), dtype=np.int64)).effect is None


@pytest.mark.parametrize(
    ("test", "table", "problem"),
    [
        (chi_square, [[1, 2]], "at least two samples and two outcomes"),
        (chi_square, [[1, 0], [2, 0]], "an outcome never occurs"),
        (chi_square, [[1, 2], [0, 0]], "a sample is empty"),
        (fisher_exact, [[1, 2, 3], [1, 2, 3]], "a table of 2 × 2 counts, not 2 × 3"),
        (fisher_exact, [[0, 0], [1, 2]], "fisher_exact: a sample is empty"),
        (mcnemar, [[1, 2]], "mcnemar needs a table of 2 × 2 counts, not 1 × 2"),
    ],
)  # fmt: skip
def test_bad_tables_are_a_line(test: object, table: list[list[int]], problem: str) -> None:
    """What has no test is an error that says why, never NaN."""
    assert callable(test)
    given_table: Counts = np.array(table)
    with pytest.raises(DefinitionError, match=problem):
        test(given_table)
