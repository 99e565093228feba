"""Quantiles and tails are SciPy's, without SciPy's second of import."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_crucible.stats import distributions as ours

probabilities = st.floats(1e-9, 1 - 1e-9)


@settings(max_examples=100)
@given(probabilities)
def test_normal(p: float) -> None:
    """The normal's quantiles and tails are SciPy's to 12 digits."""
    assert ours.normal_isf(p) == pytest.approx(stats.norm.isf(p), rel=1e-12, abs=1e-12)
    assert ours.normal_sf(10 * p) == pytest.approx(stats.norm.sf(10 * p), rel=1e-12)


def test_normal_at_the_ends() -> None:
    """No probability is exceeded at infinity only; what is no probability has no quantile."""
    assert [ours.normal_isf(0.0), ours.normal_isf(1.0)] == [math.inf, -math.inf]
    assert math.isnan(ours.normal_isf(1.5))


@settings(max_examples=100)
@given(probabilities, st.floats(0.5, 1e6))
def test_student(p: float, df: float) -> None:
    """Student's quantiles and tails are SciPy's."""
    assert ours.student_isf(p, df) == pytest.approx(stats.t.isf(p, df), rel=1e-9, abs=1e-9)
    assert ours.student_sf(10 * p, df) == pytest.approx(stats.t.sf(10 * p, df), rel=1e-9)


@settings(max_examples=100)
@given(probabilities, st.floats(0.1, 1e4), st.floats(0.1, 1e4))
def test_beta(p: float, a: float, b: float) -> None:
    """The beta's quantiles from either side are SciPy's."""
    assert ours.beta_ppf(p, a, b) == pytest.approx(stats.beta.ppf(p, a, b), rel=1e-9)
    assert ours.beta_isf(p, a, b) == pytest.approx(stats.beta.isf(p, a, b), rel=1e-9)


@settings(max_examples=200)
@given(st.floats(1e-8, 0.4), st.integers(1, 2_000_000), st.floats(0.001, 0.999))
def test_binomial(tail: float, n: int, q: float) -> None:
    """The counts leave that much on either side, and the next ones do not: the definition."""
    low, high = ours.binomial_tails(tail, n, q)
    near = 1 + 1e-9  # where a tail is met exactly, the last digit decides
    assert stats.binom.cdf(low, n, q) * near >= tail >= stats.binom.cdf(low - 1, n, q) / near
    assert stats.binom.sf(high, n, q) / near <= tail <= stats.binom.sf(high - 1, n, q) * near


def test_a_summary_does_not_import_scipy_stats() -> None:
    """It takes a second. Percentiles of single trials need no SciPy, rates only special functions.

    Nor does anything that a session imports need SciPy by itself.
    """
    code = (
        "import sys, numpy as np, pytest_crucible.session.finish\n"
        "from pytest_crucible.stats.bounds import bounds_of\n"
        "from pytest_crucible.stats.samples import QUANTILE, RATE, Sample\n"
        "def loaded(name): print(name in sys.modules)\n"
        "bounds_of(Sample(np.arange(100.0), None, (), QUANTILE), 0.025, 0.025); loaded('scipy')\n"
        "bounds_of(Sample(np.ones(9), None, (), RATE), 0.025, 0.025); loaded('scipy.special')\n"
        "loaded('scipy.stats')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", "False"]
