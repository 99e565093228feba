"""Formulas over recorded numbers: value, interval and change, from the sums of the cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.metrics.catalog import Catalog, Metric
from pytest_crucible.metrics.groups import Group
from pytest_crucible.stats.change import Change, unseen_share
from pytest_crucible.stats.formula_samples import (
    counting,
    effective_share,
    formula_bounds,
    formula_change,
    formula_sample,
)
from pytest_crucible.stats.intervals import NoIntervalError, clopper_pearson
from pytest_crucible.stats.samples import Sample
from tests.stats.support import cases, events, group

F1 = Catalog([Metric("f1", formula="2*tp / (2*tp + fp + fn)", range=(0, 1))])["f1"]
RATE = Catalog([Metric("rate", formula="wrong / words", range=(0, 1))])["rate"]
COST = Catalog([Metric("cost_per", formula="usd / words", range=(0, None))])["cost_per"]


def recorded(**numbers: Sequence[Any]) -> Group:
    return group(events(cases(len(next(iter(numbers.values())))), numbers))


def f1(tp: int, fp: int, fn: int, tn: int) -> Sample:
    """A classifier with so many right and wrong answers, one case each."""
    rows = [(1, 0, 0)] * tp + [(0, 1, 0)] * fp + [(0, 0, 1)] * fn + [(0, 0, 0)] * tn
    columns = zip(*rows, strict=True)
    return formula_sample(recorded(**dict(zip(("tp", "fp", "fn"), columns, strict=True))), F1)


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9))
def test_the_pseudo_values_have_the_value_as_mean(tp: int, fp: int, fn: int, tn: int) -> None:
    """And the interval holds it, within the range."""
    sample = f1(tp, fp, fn, tn)
    expected = 2 * tp / (2 * tp + fp + fn)
    assert sample.mean() == pytest.approx(expected)
    if sample.refusal is None and sample.counting > 1:
        low, high = formula_bounds(sample, 0.025, 0.025)
        assert 0 <= low <= expected + 1e-9
        assert expected - 1e-9 <= high <= 1


def test_a_share_of_single_cases_is_a_rate() -> None:
    """One word per case: the interval is nearly that of the rate, with few cases a bit wider."""
    wrong = [1] * 6 + [0] * 54
    low, high = formula_bounds(
        formula_sample(recorded(wrong=wrong, words=[1] * 60), RATE), 0.025, 0.025
    )
    assert (low, high) == pytest.approx(clopper_pearson(6, 60, 0.05), abs=0.01)


def test_small_errors_are_no_proof_that_there_are_no_large_ones() -> None:
    """One more sentence that is all wrong could be there: fifty are worth about fifty."""
    sums = recorded(wrong=[1] * 5 + [0] * 45, words=[20] * 50)
    high = formula_bounds(formula_sample(sums, RATE), 0.025, 0.025)[1]
    assert clopper_pearson(0, 50, 0.05)[1] * 0.9 < high < 2 * clopper_pearson(0, 50, 0.05)[1]
    low = formula_bounds(
        formula_sample(recorded(wrong=[19] * 49 + [18], words=[20] * 50), RATE), 0.025, 0.025
    )
    assert low[0] < 0.92  # the value is 0.949


def test_cases_that_say_nothing_are_no_evidence() -> None:
    """True negatives leave F1 as it is: a thousand of them make nothing more certain."""
    few, many = (formula_bounds(f1(5, 0, 0, tn), 0.025, 0.025) for tn in (0, 1000))
    assert few == many == pytest.approx(clopper_pearson(5, 5, 0.05))


def test_why_there_is_no_value_or_no_interval() -> None:
    """In words."""
    nobody = formula_sample(recorded(tp=[1, 0]), F1)
    assert (nobody.n, nobody.refusal, nobody.absent) == (0, "nobody recorded fp, fn", True)
    zero = f1(0, 0, 0, 3)
    assert (zero.n, zero.absent) == (0, False)
    assert zero.refusal == "it divides by zero: 2 * tp + fp + fn is 0"
    single = f1(1, 0, 0, 5)
    assert single.mean() == 1
    assert single.refusal == "too few cases: without one of them it has no value"
    with pytest.raises(NoIntervalError, match="one case: it says nothing about other cases"):
        formula_bounds(single, 0.025, 0.025)
    with pytest.raises(NoIntervalError, match="no case changes it"):
        formula_bounds(formula_sample(recorded(usd=[1, 2], words=[2, 4]), COST), 0.025, 0.025)


def test_a_half_open_range_cuts_the_interval() -> None:
    """A cost is never negative."""
    sample = formula_sample(recorded(usd=[0, 0, 0, 9], words=[5, 5, 5, 5]), COST)
    low, high = formula_bounds(sample, 0.025, 0.025)
    assert low == 0
    assert high > sample.mean()


def test_a_value_outside_its_range_has_no_interval() -> None:
    """The range is wrong, or the numbers are."""
    sample = formula_sample(recorded(wrong=[3, 4], words=[1, 2]), RATE)
    with pytest.raises(NoIntervalError, match="not in its range, 0 to 1"):
        formula_bounds(sample, 0.025, 0.025)


def test_each_bound_has_its_own_level() -> None:
    """1 % below and 5 % above: half of the intervals at 2 % and at 10 %."""
    for each in (f1(20, 4, 3, 9), formula_sample(recorded(usd=range(1, 9), words=[3] * 8), COST)):
        low, high = formula_bounds(each, 0.01, 0.05)
        assert low == formula_bounds(each, 0.01, 0.01)[0]
        assert high == formula_bounds(each, 0.05, 0.05)[1]
        assert low < each.mean() < high


def test_effective_sizes() -> None:
    """A share of single cases has its own size; at an end, cases that count are one each."""
    wrong = [1] * 30 + [0] * 30
    share, size = effective_share(formula_sample(recorded(wrong=wrong, words=[1] * 60), RATE), 0.05)
    assert (share, size) == pytest.approx((0.5, 60), rel=0.1)
    assert effective_share(f1(5, 0, 0, 90), 0.05) == (1, 5)
    assert counting(f1(5, 0, 0, 90)) == 5
    long = formula_sample(recorded(wrong=[30] + [1] * 30, words=[60] + [2] * 30), RATE)
    assert effective_share(long, 0.05)[1] == 31  # all documents alike: nothing varies
    varied = formula_sample(recorded(wrong=[50] + [0, 1] * 15, words=[60] + [1] * 30), RATE)
    assert effective_share(varied, 0.05)[1] < 5  # one document has two thirds of the words


# --- changes ----------------------------------------------------------------------------------


def paired(side: Sample, other: Sample) -> Change:
    return formula_change(side, other, 0.05, (side.values, other.values, None))


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9), st.floats(0, 2))
def test_changes_stay_within_what_is_possible(tp: int, fp: int, fn: int, factor: float) -> None:
    """Candidate − factor × baseline: between −factor and 1, in pairs and without."""
    before, after = f1(tp, fp, fn, 4), f1(max(1, tp - 1), fn, fp + 1, 4)
    for pairs in ((before.values, before.values[::-1], None), None):
        other = before if pairs else after
        try:
            change = formula_change(before, other, 0.05, pairs, factor)
        except NoIntervalError:
            assert min(before.counting, other.counting) < 5
            continue
        assert -factor - 1e-9 <= change.low <= change.high <= 1 + 1e-9


def test_all_right_twice_is_no_certainty() -> None:
    """Recipes 5: of 12 cases that count, as many may be wrong as 12 cannot exclude."""
    perfect = f1(12, 0, 0, 500)
    share = unseen_share(12, 0.05)
    for pairs in ((perfect.values, perfect.values, None), None):
        change = formula_change(perfect, perfect, 0.05, pairs)
        assert change.low <= -share + 1e-9
        assert change.high >= share - 1e-9
        assert change.p == pytest.approx(1)


def test_which_method() -> None:
    """t in pairs; melded with two ends, Welch without, where cases differ."""
    rng = np.random.default_rng(1)
    before, after = (formula_sample(_classified(rng, 40, 0.8), F1) for _ in range(2))
    assert paired(before, after).method == "paired t on jackknife values"
    assert formula_change(before, after, 0.05, None).method == "melded, on effective sizes"
    costs = [
        formula_sample(recorded(usd=rng.random(20).tolist(), words=[3] * 20), COST)
        for _ in range(2)
    ]
    assert formula_change(costs[0], costs[1], 0.05, None).method == "Welch"


def test_few_cases_that_count_are_few() -> None:
    """Two positives among a thousand negatives: a reason, in pairs and without."""
    few = f1(2, 0, 0, 1000)
    with pytest.raises(NoIntervalError, match="too few: 2 cases that count"):
        paired(few, few)
    openly = replace(few, limits=(0.0, None))
    for pairs in ((few.values, few.values, None), None):
        with pytest.raises(NoIntervalError, match="too few: 2 cases that count"):
            formula_change(openly, openly, 0.05, pairs)


def test_clusters_of_cases_widen_both() -> None:
    """Questions of one document that agree are one."""
    rng = np.random.default_rng(2)
    right = np.repeat(rng.random(30) < 0.7, 4)
    each = formula_sample(recorded(wrong=(~right).astype(int).tolist(), words=[1] * 120), RATE)
    related = replace(each, belongs=np.arange(120) // 4)
    alone, together = (formula_bounds(side, 0.025, 0.025) for side in (each, related))
    assert together[1] - together[0] > 1.6 * (alone[1] - alone[0])
    assert together == pytest.approx(clopper_pearson(30 * each.mean(), 30, 0.05), abs=0.03)
    narrow, wide = (formula_change(side, side, 0.05, None) for side in (each, related))
    assert wide.high - wide.low > 1.6 * (narrow.high - narrow.low)
    assert wide.n == (30, 30)


# --- simulated --------------------------------------------------------------------------------


def _classified(rng: np.random.Generator, n: int, skill: float) -> Group:
    truth = rng.random(n) < 0.4
    said = np.where(rng.random(n) < skill, truth, ~truth)
    return recorded(
        tp=(said & truth).tolist(), fp=(said & ~truth).tolist(), fn=(~said & truth).tolist()
    )


@pytest.mark.parametrize("n", [20, 60])
def test_intervals_hold_the_truth(n: int) -> None:
    """F1 of a classifier that is right in 85 %: at least 93 % of intervals hold it."""
    rng = np.random.default_rng(5)
    tp, fp, fn = 0.4 * 0.85, 0.6 * 0.15, 0.4 * 0.15
    truth = 2 * tp / (2 * tp + fp + fn)
    held = 0
    for _ in range(150):
        low, high = formula_bounds(formula_sample(_classified(rng, n, 0.85), F1), 0.025, 0.025)
        held += low <= truth <= high
    assert held >= 0.93 * 150


@pytest.mark.parametrize("paired", [True, False])
def test_an_unchanged_arm_is_rarely_called_changed(paired: bool) -> None:
    """In at most 7 % of runs by the interval, in pairs and without."""
    rng = np.random.default_rng(6)
    wrong = 0
    for _ in range(150):
        before, after = (formula_sample(_classified(rng, 40, 0.8), F1) for _ in range(2))
        pairs = (before.values, after.values, None) if paired else None
        change = formula_change(before, after, 0.05, pairs)
        assert (change.low > 0 or change.high < 0) == (change.p <= 0.05)
        wrong += change.p <= 0.05
    assert wrong <= 0.07 * 150
