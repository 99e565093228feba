"""Related cases against published values: inspect_ai's, statsmodels' and R's.

`inspect_ai` holds its clustered standard error against statsmodels in ``tests/scorer``; the numbers
of statsmodels here are those of 0.15: ``OLS(y, 1).fit().get_robustcov_results("cluster",
groups=…)``. R's are its documented examples, which clusters of alike cases must give again.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.metrics.catalog import Catalog, Metric
from pytest_crucible.stats.bounds import bounds_of
from pytest_crucible.stats.distributions import student_isf
from pytest_crucible.stats.formula_samples import formula_bounds, formula_change, formula_sample
from pytest_crucible.stats.intervals import (
    Ints,
    NoIntervalError,
    degrees_of_freedom,
    quantile_bounds,
    variance_of_mean,
)
from pytest_crucible.stats.mean_changes import independent_t, paired_t
from pytest_crucible.stats.metric_changes import ROW, Question, change_of
from pytest_crucible.stats.samples import MEAN, QUANTILE, RATE, Sample
from tests.stats.support import SLEEP_1, SLEEP_2, Floats, cases, events, group, sample

DRUG = SLEEP_2 - SLEEP_1
"""R's `sleep`: the difference of two drugs in ten patients."""


def clusters(*sizes: int) -> Ints:
    return np.repeat(np.arange(len(sizes)), sizes)


# --- standard errors --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "sizes", "error"),
    [
        ([1, 2, 3], (1, 1, 1), 0.5773502691896258),
        ([1, 1, 2, 2, 3, 3, 3], (2, 2, 3), 0.6040264729366833),
        ([1, 1, 0, 0, 1, 0], (2, 2, 2), 0.28867513459481303),
        ([9, 4, 11, 6, 13, 8], (2, 2, 2), 1.1547005383792521),
    ],
)
def test_inspect_ais_standard_errors(
    values: list[float], sizes: tuple[int, ...], error: float
) -> None:
    """The four published cases of its `stderr`, which are those of statsmodels."""
    found, _ = variance_of_mean(np.array(values, dtype=np.float64), clusters(*sizes))
    assert found**0.5 == pytest.approx(error, rel=1e-12)


@pytest.mark.parametrize(
    ("sizes", "error", "interval", "p"),
    [
        ((2, 2, 2, 2, 2), 0.4115823125451334, (0.43726430294807583, 2.722735697051924), 0.0184778),
        ((5, 5), 0.34, (-2.7401096102993945, 5.900109610299395), 0.1349364),
    ],
)
def test_statsmodels_intervals_of_means(
    sizes: tuple[int, ...], error: float, interval: tuple[float, float], p: float
) -> None:
    """Two and five clusters of ten patients: the interval is Student's, with one or four df."""
    variance, df = variance_of_mean(DRUG, clusters(*sizes))
    assert variance**0.5 == pytest.approx(error)
    assert df == pytest.approx(len(sizes) - 1)
    half = student_isf(0.025, df) * variance**0.5
    assert (DRUG.mean() - half, DRUG.mean() + half) == pytest.approx(interval)
    many = replace(sample(DRUG, list(range(10))), belongs=clusters(*sizes))
    found = bounds_of(replace(many, values=many.values - 2), 0.025, 0.025)  # below 0: no range
    assert (found.low + 2, found.high + 2) == pytest.approx(interval)
    if len(sizes) > 2:
        change = paired_t(SLEEP_1, SLEEP_2, 0.05, clusters(*sizes))
        assert (change.low, change.high) == pytest.approx(interval)
        assert change.p == pytest.approx(p, abs=5e-8)


def test_unequal_clusters_are_wider_than_statsmodels() -> None:
    """4, 3, 2 and 1 patients: its standard error, but fewer than its 3 degrees of freedom."""
    variance, df = variance_of_mean(DRUG, clusters(4, 3, 2, 1))
    assert variance**0.5 == pytest.approx(0.343084051897879)
    assert 1.5 < df < 3
    assert student_isf(0.025, df) * variance**0.5 > DRUG.mean() - 0.48815342663583094


# --- clusters of alike cases are one case each ------------------------------------------------


@pytest.mark.parametrize("times", [1, 2, 5])
def test_rs_t_tests_come_out_of_alike_cases(times: int) -> None:
    """R's paired t, −2.4598858 … −0.7001142, and Welch's, −3.3654832 … 0.2054832, by clusters."""
    one, two = np.repeat(SLEEP_1, times), np.repeat(SLEEP_2, times)
    own = np.repeat(np.arange(10), times)
    paired = paired_t(two, one, 0.05, own)
    assert (paired.low, paired.high) == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)
    assert paired.p == pytest.approx(0.002833, abs=5e-7)
    welch = independent_t(two, one, 0.05, (own, own))
    half = student_isf(0.025, welch.df) * welch.error
    assert (welch.estimate - half, welch.estimate + half) == pytest.approx(
        (-3.3654832, 0.2054832), abs=5e-8
    )
    assert welch.low == pytest.approx(-3.3654832, abs=5e-8)  # the far end is never nearer than
    assert welch.high >= 0.2054832  # ten patients of a kind that were not tried could take it
    assert welch.df == pytest.approx(17.776, abs=5e-4)
    assert welch.p == pytest.approx(0.07939, abs=5e-6)


def test_rs_binomial_test_comes_out_of_alike_cases() -> None:
    """682 of 925 clusters, all three cases of each alike: .7076683 – .7654066."""
    passed = np.repeat(np.arange(925) < 682, 3).astype(np.float64)
    rate = replace(
        sample(passed, list(range(2775)), kind=RATE), belongs=np.repeat(np.arange(925), 3)
    )
    found = bounds_of(rate, 0.025, 0.025)
    assert (found.low, found.high) == pytest.approx((0.7076683, 0.7654066), abs=5e-5)
    assert found.method.endswith("cases clustered")


def test_rs_mcnemar_comes_out_of_alike_pairs() -> None:
    """150 against 86 discordant pairs, exact p = 3.716e-5, of clusters of two alike cases."""
    pairs = [(1, 0)] * 150 + [(0, 1)] * 86 + [(1, 1)] * 794 + [(0, 0)] * 570
    sides = np.repeat(np.array(pairs, dtype=np.float64), 2, axis=0).T
    own = np.repeat(np.arange(1600), 2)
    before, after = (
        replace(sample(side, list(range(3200)), kind=RATE), belongs=own) for side in sides
    )
    change = change_of(before, after, 0.05)
    assert change.estimate == pytest.approx(-0.04)
    assert change.p == pytest.approx(3.716e-5, rel=0.2)  # Gaffke's bound, far out in its tail
    alone = change_of(sample(sides[0][::2], range(1600), kind=RATE),
                      sample(sides[1][::2], range(1600), kind=RATE), 0.05)  # fmt: skip
    assert (change.low, change.high) == pytest.approx((alone.low, alone.high))


@pytest.mark.parametrize("q", [0.5, 0.9])
def test_percentiles_of_alike_cases(q: float) -> None:
    """Five alike cases of each cluster move the bounds of order statistics by one value at most."""
    values = np.sort(np.random.default_rng(3).lognormal(5, 0.5, 120))
    alone = quantile_bounds(values, None, q, 0.025, 0.025)
    related = quantile_bounds(np.repeat(values, 5), np.repeat(np.arange(120), 5), q, 0.025, 0.025)
    for one, other in zip(alone, related, strict=True):
        assert abs(np.searchsorted(values, one) - np.searchsorted(values, other)) <= 1
    as_if = quantile_bounds(np.repeat(values, 5), None, q, 0.025, 0.025)
    assert as_if[1] - as_if[0] < 0.7 * (related[1] - related[0])


RATIO = Catalog([Metric("per_word", formula="usd / words", range=(0, None))])["per_word"]
SHARE = Catalog([Metric("share", formula="wrong / words", range=(0, 1))])["share"]


def recorded(times: int, metric: Metric, **numbers: Floats) -> Sample:
    """A formula over cases, each of them ``times`` times, in a cluster of its own."""
    given = {name: np.repeat(each, times).tolist() for name, each in numbers.items()}
    n = len(next(iter(given.values())))
    made = group(events(cases(n), given))
    if times > 1:
        made.clusters.update({f"c{i}": f"cluster {i // times}" for i in range(n)})
    found = formula_sample(made, metric)
    own = np.arange(n) // times
    return replace(found, belongs=own) if times > 1 else found


@pytest.mark.parametrize("metric", [RATIO, SHARE], ids=["ratio", "share"])
def test_formulas_of_alike_cases(metric: Metric) -> None:
    """Interval and change of a ratio of sums do not narrow when each case is there four times."""
    rng = np.random.default_rng(4)
    words = rng.integers(5, 20, 40).astype(np.float64)
    numbers: dict[str, Any] = {
        "usd": words * rng.lognormal(0, 0.3, 40), "wrong": rng.binomial(5, 0.2, 40), "words": words,
    }  # fmt: skip
    alone, related = (recorded(times, metric, **numbers) for times in (1, 4))
    assert related.mean() == pytest.approx(alone.mean())
    assert formula_bounds(related, 0.025, 0.025) == pytest.approx(
        formula_bounds(alone, 0.025, 0.025), rel=0.02
    )
    error = np.sqrt(variance_of_mean(related.values, related.clusters())[0])
    # Cochran (1977), 6.4: the variance of a ratio of two sums, linearised.
    top = numbers["usd" if metric is RATIO else "wrong"]
    left = top - alone.mean() * words
    assert error == pytest.approx(np.sqrt(40 / 39 * (left**2).sum()) / words.sum(), rel=0.05)
    later = related.values + rng.normal(0, 0.2, 40).repeat(4)
    pairs = related.values, later, related.clusters()
    found = formula_change(related, replace(related, values=later), 0.05, pairs)
    once = (pairs[0][::4], pairs[1][::4], None)
    single = formula_change(alone, replace(alone, values=once[1]), 0.05, once)
    width, expected = (each.high - each.low for each in (found, single))
    assert width == pytest.approx(expected, rel=0.05)


# --- few clusters -----------------------------------------------------------------------------


@pytest.mark.parametrize(("few", "t"), [(2, 12.7062), (3, 4.302653), (5, 2.776445)])
def test_few_clusters_widen_as_t(few: int, t: float) -> None:
    """Of a table of Student's t: 97.5 % with 1, 2 and 4 degrees of freedom."""
    values = np.random.default_rng(few).normal(0, 1, few * 20)
    own = clusters(*[20] * few)
    variance, df = variance_of_mean(values, own)
    assert df == pytest.approx(few - 1)
    whole = replace(sample(values, list(range(values.size))), belongs=own)
    found = bounds_of(whole, 0.025, 0.025)
    assert (found.high - found.low) / 2 == pytest.approx(t * variance**0.5, rel=1e-5)


@pytest.mark.parametrize("few", [2, 3, 5])
def test_few_clusters_never_make_rates_certain(few: int) -> None:
    """All of 60 cases pass: the bound is that of as few units as there are clusters."""
    own = clusters(*[60 // few] * few)
    rate = replace(sample(np.ones(60), list(range(60)), kind=RATE), belongs=own)
    found = bounds_of(rate, 0.025, 0.025)
    assert (found.low, found.high) == pytest.approx((0.025 ** (1 / few), 1))
    slow = replace(sample(np.ones(60) * 9, list(range(60)), kind=QUANTILE), belongs=own)
    with pytest.raises(NoIntervalError, match="too few for p50"):
        bounds_of(slow, 0.025, 0.025)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=8))
def test_degrees_of_freedom_are_one_less_than_clusters_at_most(sizes: list[int]) -> None:
    """As many if they are equally large, fewer else, and never less than 1."""
    df = degrees_of_freedom(sum(sizes), clusters(*sizes))
    assert 1 - 1e-9 <= df <= len(sizes) - 1 + 1e-9
    if len({*sizes}) == 1:
        assert df == pytest.approx(len(sizes) - 1)


# --- changes of other kinds -------------------------------------------------------------------


def related(values: Floats, times: int, kind: str = MEAN, q: float = 0.5) -> Sample:
    """A value per case, each case ``times`` times, in a cluster of its own."""
    many = np.repeat(values, times)
    found = sample(many, list(range(many.size)), kind=kind, q=q)
    return replace(found, belongs=np.arange(many.size) // times) if times > 1 else found


@pytest.mark.parametrize("question", [ROW, Question(typical=True), Question(difference=True)])
@pytest.mark.parametrize("matched", [True, False])
def test_changes_of_alike_cases(question: Question, matched: bool) -> None:
    """Ratios of means, typical ratios and differences: three alike cases are worth one."""
    rng = np.random.default_rng(9)
    one = rng.lognormal(3, 0.4, 40)
    two = one * rng.lognormal(0.4, 0.2, 40)  # far from "no change", where intervals end
    found = []
    for times in (1, 3):
        before, after = related(one, times), related(two, times)
        if not matched:
            after = replace(after, names=tuple(f"other {name}" for name in after.names))
        found.append(change_of(before, after, 0.05, question))
    width, expected = (np.log(each.high / each.low) if each.low > 0 else each.high - each.low
                       for each in found)  # fmt: skip
    assert width == pytest.approx(expected, rel=0.15)  # ranks alone, t on logarithms in clusters
    assert found[1].estimate == pytest.approx(found[0].estimate, rel=0.1)


@pytest.mark.parametrize("matched", [True, False])
def test_changes_of_percentiles_of_alike_cases(matched: bool) -> None:
    """The same of p90."""
    rng = np.random.default_rng(10)
    one = rng.lognormal(3, 0.4, 150)
    two = one * rng.lognormal(0.1, 0.2, 150)
    widths = []
    for times in (1, 3):
        before, after = (related(each, times, QUANTILE, 0.9) for each in (one, two))
        if not matched:
            after = replace(after, names=tuple(f"other {name}" for name in after.names))
        change = change_of(before, after, 0.05)
        widths.append(np.log(change.high / change.low))
    assert widths[1] == pytest.approx(widths[0], rel=0.3)


@pytest.mark.parametrize("matched", [True, False])
def test_changes_of_scores_of_alike_cases(matched: bool) -> None:
    """The same of means of bounded scores, whose interval needs no spread."""
    rng = np.random.default_rng(11)
    one, two = rng.beta(8, 2, 40), rng.beta(7, 3, 40)
    found = []
    for times in (1, 3):
        sides = [replace(related(each, times), limits=(0.0, 1.0)) for each in (one, two)]
        if not matched:
            sides[1] = replace(sides[1], names=tuple(f"other {name}" for name in sides[1].names))
        found.append(change_of(sides[0], sides[1], 0.05))
    assert (found[1].low, found[1].high) == pytest.approx((found[0].low, found[0].high), abs=0.02)
