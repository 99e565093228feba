"""Intervals, tests and plans against statsmodels, on random data."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.inter_rater import cohens_kappa, to_table
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower, TTestIndPower, TTestPower
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from pytest_crucible import tests
from pytest_crucible.stats.agreement import cohen_kappa
from pytest_crucible.stats.bounds import bounds_of
from pytest_crucible.stats.intervals import variance_of_mean
from pytest_crucible.stats.power import Aim, means_power, rates_n
from pytest_crucible.stats.samples import RATE
from tests.stats.support import sample

SEEDS = range(5)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("groups", [2, 5, 30])
def test_the_error_of_a_mean_of_clusters_is_that_of_a_regression(groups: int, seed: int) -> None:
    """The sandwich with the correction CR1, of clusters of unequal sizes."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 12, groups)
    clusters = np.repeat(np.arange(groups), sizes)
    values = rng.normal(size=groups)[clusters] + rng.normal(size=clusters.size)
    fitted = sm.OLS(values, np.ones(values.size)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": True}
    )
    variance, _ = variance_of_mean(values, clusters)
    assert variance**0.5 == pytest.approx(float(fitted.bse[0]))


@pytest.mark.parametrize("passed", [0, 1, 7, 19, 20])
def test_bounds_of_a_rate_are_clopper_and_pearson_s(passed: int) -> None:
    found = bounds_of(
        sample([1.0] * passed + [0.0] * (20 - passed), range(20), kind=RATE), 0.025, 0.025
    )
    low, high = proportion_confint(passed, 20, alpha=0.05, method="beta")
    assert (found.low, found.high) == pytest.approx((low, high))


@pytest.mark.parametrize("seed", SEEDS)
def test_welch_s_test_and_its_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0.5, 2, 15), rng.normal(0, 1, 40)
    found = tests.t_test(a, b)
    theirs = CompareMeans(DescrStatsW(a), DescrStatsW(b))
    t, p, df = theirs.ttest_ind(usevar="unequal")
    assert (found.statistic[1], found.p, found.df) == pytest.approx((t, p, df))
    assert (found.low, found.high) == pytest.approx(theirs.tconfint_diff(usevar="unequal"))


@pytest.mark.parametrize("exact", [True, False])
def test_mcnemar_s_test(exact: bool) -> None:
    table = [[30, 12], [4, 20]]
    a = [1] * 42 + [0] * 24
    b = [1] * 30 + [0] * 12 + [1] * 4 + [0] * 20
    found = tests.mcnemar(a, b, mid_p=not exact)
    theirs = mcnemar(table, exact=True).pvalue
    assert found.p == pytest.approx(theirs) if exact else found.p < theirs


@pytest.mark.parametrize("seed", SEEDS)
def test_cohen_s_kappa(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 3, 60)
    b = np.where(rng.random(60) < 0.7, a, rng.integers(0, 3, 60))
    table, _ = to_table(np.column_stack([a, b]))
    assert cohen_kappa(a.tolist(), b.tolist()).value == pytest.approx(cohens_kappa(table).kappa)


def test_corrections_for_several_p_values() -> None:
    values = {"a": 0.001, "b": 0.013, "c": 0.04, "d": 0.2}
    for ours, method in ((tests.holm, "holm"), (tests.benjamini_hochberg, "fdr_bh")):
        corrected = multipletests(list(values.values()), method=method)[1]
        assert list(ours(values).values()) == pytest.approx(corrected.tolist())


@pytest.mark.parametrize("effect", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("n", [8, 30, 100])
def test_the_power_of_means(n: int, effect: float) -> None:
    """With margin 0 and one decision: that of a one-sided test at half the level."""
    aim = Aim(0.0)
    pairs = TTestPower().power(effect, n, 0.025, alternative="larger")
    sides = TTestIndPower().power(effect, n, 0.025, alternative="larger")
    assert means_power(n, effect, 1.0, aim) == pytest.approx(pairs)
    assert means_power(n, effect, 1.0, aim, paired=False) == pytest.approx(sides)


def test_the_cases_of_rates() -> None:
    """Near those of the arcsine effect (Cohen 1988), which statsmodels plans with."""
    effect = sm.stats.proportion_effectsize(0.9, 0.8)
    theirs = NormalIndPower().solve_power(effect, alpha=0.05, power=0.8)
    assert rates_n(0.8, 0.9, Aim(0.0)) == pytest.approx(theirs, rel=0.03)
