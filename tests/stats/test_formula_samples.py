"""Formulas over recorded numbers: value, interval and change, from the sums of the cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.metrics.catalog import Catalog, Metric
from pytest_crucible.metrics.groups import Group
from pytest_crucible.stats.formula_samples import formula_change, formula_interval, formula_sample
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
        low, high = formula_interval(sample, 0.05)
        assert 0 <= low <= expected + 1e-9
        assert expected - 1e-9 <= high <= 1


def test_a_share_of_single_cases_is_a_rate() -> None:
    """One word per case: the interval is nearly that of the rate, with few cases a bit wider."""
    wrong = [1] * 6 + [0] * 54
    low, high = formula_interval(formula_sample(recorded(wrong=wrong, words=[1] * 60), RATE), 0.05)
    assert (low, high) == pytest.approx(clopper_pearson(6, 60, 0.05), abs=0.01)


def test_cases_that_say_nothing_are_no_evidence() -> None:
    """True negatives leave F1 as it is: a thousand of them make nothing more certain."""
    few, many = (formula_interval(f1(5, 0, 0, tn), 0.05) for tn in (0, 1000))
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
    with pytest.raises(NoIntervalError, match="without one of them it has no value"):
        formula_interval(single, 0.05)
    with pytest.raises(NoIntervalError, match="no case changes it"):
        formula_interval(formula_sample(recorded(usd=[1, 2], words=[2, 4]), COST), 0.05)


def test_a_half_open_range_cuts_the_interval() -> None:
    """A cost is never negative."""
    sample = formula_sample(recorded(usd=[0, 0, 0, 9], words=[5, 5, 5, 5]), COST)
    low, high = formula_interval(sample, 0.05)
    assert low == 0
    assert high > sample.mean()


def test_a_value_outside_its_range_has_no_interval() -> None:
    """The range is wrong, or the numbers are."""
    sample = formula_sample(recorded(wrong=[3, 4], words=[1, 2]), RATE)
    with pytest.raises(NoIntervalError, match="not in its range, 0 to 1"):
        formula_interval(sample, 0.05)


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
        low, high = formula_interval(formula_sample(_classified(rng, n, 0.85), F1), 0.05)
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
        low, high = formula_change(before, after, pairs).interval(0.05)
        wrong += low > 0 or high < 0
    assert wrong <= 0.07 * 150
