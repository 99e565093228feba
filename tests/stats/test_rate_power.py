"""The exact power of success rates, held against the verdicts themselves, count by count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, multinomial

from pytest_crucible.stats.comparison import REGRESSED, Comparison, with_verdict
from pytest_crucible.stats.metric_changes import change_of
from pytest_crucible.stats.rate_power import (
    exact_power,
    paired_fall,
    paired_p,
    unpaired_fall,
    unpaired_p,
)
from pytest_crucible.stats.samples import RATE, Sample
from tests.stats.support import sample

MARGIN, LEVEL = 0.05, 0.025


def outcomes(passed: int, n: int) -> Sample:
    return sample([1.0] * passed + [0.0] * (n - passed), kind=RATE)


def pairs(worse: int, better: int, n: int) -> tuple[Sample, Sample]:
    before = [1.0] * (n - better) + [0.0] * better
    after = [0.0] * worse + [1.0] * (n - worse)
    return sample(before, range(n), kind=RATE), sample(after, range(n), kind=RATE)


def regressed(before: Sample, after: Sample, level: float = LEVEL) -> bool:
    row = Comparison(
        metric="success_rate", baseline=1.0, candidate=0.0, verdict="", better="higher",
        scale="difference", absolute=True, margin=MARGIN,
    )  # fmt: skip
    change = change_of(before, after, 2 * level)
    return with_verdict(row, change, 2 * level).verdict == REGRESSED


# --- p ----------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(4, 40), st.integers(4, 40), st.data())
def test_the_p_of_unpaired_rates_is_that_of_comparisons(
    n: int, m: int, data: st.DataObject
) -> None:
    """At no margin, on both sides of no change."""
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    down = float(unpaired_p(np.array([a]), n, np.array([b]), m, 0.0)[0])
    up = float(unpaired_p(np.array([n - a]), n, np.array([m - b]), m, 0.0)[0])
    change = change_of(outcomes(a, n), outcomes(b, m), 0.05)
    assert min(1.0, 2 * min(down, up)) == pytest.approx(change.p, abs=0.02)


@settings(max_examples=40)
@given(st.integers(2, 40), st.data())
def test_the_p_of_pairs_is_that_of_comparisons(n: int, data: st.DataObject) -> None:
    """As before, by the pairs that got worse and better."""
    worse = data.draw(st.integers(0, n))
    better = data.draw(st.integers(0, n - worse))
    down = float(paired_p(np.array([worse]), np.array([better]), n, 0.0)[0])
    up = float(paired_p(np.array([better]), np.array([worse]), n, 0.0)[0])
    change = change_of(*pairs(worse, better, n), 0.05)
    assert min(1.0, 2 * min(down, up)) == pytest.approx(change.p, abs=0.015)


@given(st.integers(1, 60), st.floats(0, 0.5))
def test_p_falls_with_each_failure_and_rises_with_the_margin(n: int, margin: float) -> None:
    """Of pairs and without; it is a probability."""
    counts = np.arange(n + 1)
    none = np.zeros_like(counts)
    for p, wide in (
        (paired_p(counts, none, n, margin), paired_p(counts, none, n, margin + 0.1)),
        (
            unpaired_p(np.full(n + 1, n), n, n - counts, n, margin),
            unpaired_p(np.full(n + 1, n), n, n - counts, n, margin + 0.1),
        ),
    ):
        assert ((p >= 0) & (p <= 1 + 1e-9)).all()
        assert (np.diff(p) <= 1e-6).all()
        assert (wide >= p - 1e-6).all()


# --- power ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(1.0, 0.7), (0.9, 0.6), (0.7, 0.4)])
@pytest.mark.parametrize("n", [12, 25])
def test_the_power_of_unpaired_rates(before: float, after: float, n: int) -> None:
    """The sum over all counts of both sides that are REGRESSED."""
    expected = sum(
        binom.pmf(a, n, before) * binom.pmf(b, n, after)
        for a in range(n + 1)
        for b in range(a)
        if binom.pmf(a, n, before) * binom.pmf(b, n, after) > 1e-6
        and regressed(outcomes(a, n), outcomes(b, n))
    )
    found = exact_power(n, before, after, MARGIN, LEVEL)
    assert found == pytest.approx(expected, abs=0.02)
    turned = exact_power(n, 1 - before, 1 - after, MARGIN, LEVEL)
    assert turned == pytest.approx(found, abs=1e-9)


@pytest.mark.parametrize("discordant", [0.3, 0.4, 0.6])
@pytest.mark.parametrize("n", [10, 20])
def test_the_power_of_pairs(discordant: float, n: int) -> None:
    """The same over the numbers of pairs that got worse and better: a fall by 30 pp."""
    worse_share, better_share = (discordant + 0.3) / 2, (discordant - 0.3) / 2
    shares = [worse_share, better_share, 1 - discordant]
    expected = 0.0
    for worse in range(n + 1):
        for better in range(min(worse, n - worse) + 1):
            chance = multinomial.pmf([worse, better, n - worse - better], n, shares)
            if chance > 1e-6 and regressed(*pairs(worse, better, n)):
                expected += float(chance)
    found = exact_power(n, 0.8, 0.5, MARGIN, LEVEL, discordant=discordant)
    assert found == pytest.approx(expected, abs=0.02)


def test_many_counts_are_thinned_out() -> None:
    """With hundreds of cases every second or third count stands for its neighbours."""
    rng = np.random.default_rng(1)
    n = 800
    a, b = rng.binomial(n, 0.8, 2_000), rng.binomial(n, 0.9, 2_000)
    found = unpaired_p(n - a, n, n - b, n, MARGIN) <= LEVEL
    assert exact_power(n, 0.8, 0.9, MARGIN, LEVEL) == pytest.approx(found.mean(), abs=0.035)


# --- which fall is found ----------------------------------------------------------------------


@pytest.mark.parametrize(("n", "better"), [(8, 0), (20, 0), (20, 2), (60, 2)])
def test_the_fall_that_a_row_of_pairs_finds(n: int, better: int) -> None:
    """So many pairs that got worse are REGRESSED, one less is not; its true fall has the power."""
    fall = paired_fall(n, MARGIN, LEVEL, better=better)
    assert fall is not None
    assert regressed(*pairs(fall.count, better, n))
    assert not regressed(*pairs(fall.count - 1, better, n))
    assert fall.seen == pytest.approx((fall.count - better) / n)
    share = (fall.true * n + better) / (n - better)
    assert binom.sf(fall.count - 1, n - better, share) == pytest.approx(0.8, abs=1e-6)


def test_twenty_of_twenty_regress_below_seventy_five_percent() -> None:
    """A small suite is told which fall it finds: 14 of 20, not 15."""
    fall = paired_fall(20, MARGIN, LEVEL)
    assert fall is not None
    assert (fall.count, fall.seen) == (6, 0.3)
    assert paired_fall(3, MARGIN, LEVEL) is None


@pytest.mark.parametrize(("n", "m"), [(20, 20), (60, 30)])
def test_the_fall_that_an_unpaired_row_finds(n: int, m: int) -> None:
    """So many successes after all of all are REGRESSED, one more is not."""
    fall = unpaired_fall(n, n, m, MARGIN, LEVEL)
    assert fall is not None
    assert regressed(outcomes(n, n), outcomes(fall.count, m))
    assert not regressed(outcomes(n, n), outcomes(fall.count + 1, m))
    assert fall.seen == pytest.approx(1 - fall.count / m)
    assert binom.cdf(fall.count, m, 1 - fall.true) == pytest.approx(0.8, abs=1e-6)


def test_two_unpaired_cases_find_nothing() -> None:
    """Not even none of two after two of two."""
    assert unpaired_fall(2, 2, 2, MARGIN, LEVEL) is None


def test_the_fall_that_is_found_has_its_power_although_the_baseline_varies() -> None:
    """At a true rate of 90 %, each side of 100 cases."""
    found = unpaired_fall(90, 100, 100, 0.05, 0.025)
    assert found is not None
    power = exact_power(100, 0.9, 0.9 - found.true, 0.05, 0.025)
    assert power == pytest.approx(0.8, abs=0.04)
