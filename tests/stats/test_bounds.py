"""Bounds of one metric: published verdicts, ranges, assumptions that are said, and reasons."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_crucible.stats import bounds
from pytest_crucible.stats.bounds import LARGEST, NORMAL, SCORE, Bounds, bounds_of, independent
from pytest_crucible.stats.intervals import NoIntervalError, clopper_pearson
from pytest_crucible.stats.samples import FORMULA, MEAN, QUANTILE, RATE, SAMPLED, Sample
from tests.stats.support import Floats, sample


def rate(passed: int, n: int) -> Sample:
    return sample([1] * passed + [0] * (n - passed), kind=RATE)


def ranged(
    values: object, low: float | None = None, high: float | None = None, **more: object
) -> Sample:
    made = sample(np.asarray(values, dtype=np.float64), **more)  # type: ignore[arg-type]
    return replace(made, limits=(low, high))


def costs(n: int, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).exponential(2.0, n)


# --- rates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("passed", "n", "verdict"),
    [
        (298, 298, "open"), (299, 299, "confirmed"), (990, 1000, "open"), (998, 1000, "confirmed"),
        (980, 1000, "rejected"),
    ],
)  # fmt: skip
def test_gates_at_99_percent_published(passed: int, n: int, verdict: str) -> None:
    """``success_rate > 0.99`` at 5 % on each side; 299 of 299 have the lower bound .99003."""
    found = bounds_of(rate(passed, n), 0.05, 0.05)
    told = "confirmed" if found.low > 0.99 else "rejected" if found.high < 0.99 else "open"
    assert told == verdict
    if passed == n == 299:
        assert found.low == pytest.approx(0.99003, abs=5e-6)


def test_binomial_interval_published() -> None:
    """R's `binom.test(682, 925)`: 0.7076683 to 0.7654066."""
    found = bounds_of(rate(682, 925), 0.025, 0.025)
    assert (found.low, found.high) == pytest.approx((0.7076683, 0.7654066), abs=5e-8)
    assert (found.method, found.note) == ("Gaffke's bound", None)


@settings(max_examples=40)
@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_each_bound_has_its_own_level(count: tuple[int, int]) -> None:
    """5 % below and 1 % above: half of the exact intervals at 10 % and at 2 %."""
    found = bounds_of(rate(*count), 0.05, 0.01)
    assert found.low == pytest.approx(clopper_pearson(*count, 0.1)[0], abs=1e-9)
    assert found.high == pytest.approx(clopper_pearson(*count, 0.02)[1], abs=1e-9)


# --- means ------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(0, 99), st.sampled_from([(0.0, 1.0), (1.0, 5.0)]))
def test_bounds_stay_within_the_declared_range(
    n: int, seed: int, limits: tuple[float, float]
) -> None:
    """Also of one value, of equal values, and of such at an end."""
    low, high = limits
    rng = np.random.default_rng(seed)
    for values in (rng.random(n), np.ones(n), np.zeros(n), np.full(n, rng.random())):
        each = ranged(low + (high - low) * values, low, high)
        found = bounds_of(each, 0.025, 0.025)
        assert low <= found.low <= each.mean() + 1e-9
        assert each.mean() - 1e-9 <= found.high <= high
        assert found.high > found.low
        assert found.note is None


def test_scores_that_nobody_declared_say_what_they_are_taken_for() -> None:
    """All values lie between 0 and 1: a score, unless declared otherwise."""
    each = replace(ranged([0.5, 0.9, 1, 0.2], 0, 1), assumed=True)
    assert bounds_of(each, 0.05, 0.05).note == SCORE
    assert bounds_of(replace(each, assumed=False), 0.05, 0.05).note is None


@pytest.mark.parametrize("n", [10, 59, 60, 200])
def test_means_of_costs(n: int) -> None:
    """Recipes 4: a lower bound from 10 values on; an upper one, with a condition, from 60."""
    found = bounds_of(ranged(costs(n), 0), 0.025, 0.025)
    assert 0 < found.low < costs(n).mean()
    if n < 60:
        assert found.high == math.inf
        assert found.note is None
        assert found.why_no_high == (
            f"too few for a mean that may have large values (60 needed, {n} seen); "
            "ask for the median, or declare range="
        )
    else:
        assert costs(n).mean() < found.high < 2 * costs(n).max()
        assert (found.note, found.why_no_high) == (LARGEST, None)
    assert found.why_no_low is None


def test_too_few_costs_have_no_bound() -> None:
    """Nine values: neither bound, and the reason of the upper one, which needs more."""
    with pytest.raises(NoIntervalError, match="60 needed, 9 seen"):
        bounds_of(ranged(costs(9), 0), 0.025, 0.025)


def test_few_values_that_carry_the_mean_have_no_upper_bound() -> None:
    """Recipes 4: (Σx)² / Σx² must be 5; 99 calls for a cent and one for 1,000 $ are one value."""
    values = np.full(100, 0.01)
    values[0] = 1000
    found = bounds_of(ranged(values, 0), 0.025, 0.025)
    assert (found.high, found.low > 0.009) == (math.inf, True)
    assert found.why_no_high == (
        "very few values carry the mean; ask for the median, or declare range="
    )
    nothing = bounds_of(ranged(np.zeros(100), 0), 0.025, 0.025)
    assert (nothing.low, nothing.high) == (0, math.inf)
    assert (nothing.why_no_high or "").startswith("all values are 0")


def test_equal_costs_are_no_certainty() -> None:
    """A hundred times 2 $: others may be up to 4 $, so the bound leaves room."""
    found = bounds_of(ranged(np.full(100, 2.0), 0), 0.025, 0.025)
    share = 1 - 0.025 ** (1 / 100)
    assert (found.low, found.high) == pytest.approx((2 - 2 * share, 2 + 2 * share))


@pytest.mark.parametrize("start", [3.0, -3.0])
def test_ranges_with_one_end(start: float) -> None:
    """Values from 3 on, or up to 3, are costs that begin there, or end there."""
    values = costs(100)
    plain = bounds_of(ranged(values, 0), 0.05, 0.01)
    moved = bounds_of(ranged(start + values, start), 0.05, 0.01)
    assert (moved.low, moved.high) == pytest.approx((start + plain.low, start + plain.high))
    turned = bounds_of(ranged(start - values, None, start), 0.01, 0.05)
    assert (turned.low, turned.high) == pytest.approx((start - plain.high, start - plain.low))
    assert turned.note == moved.note == LARGEST
    few = bounds_of(ranged(start - values[:20], None, start), 0.05, 0.05)
    assert few.low == -math.inf
    assert "60 needed, 20 seen" in (few.why_no_low or "")
    assert few.why_no_high is None


def test_signed_values_have_students_t() -> None:
    """Nobody knows an end, and the note says what t takes for granted."""
    values = np.random.default_rng(1).normal(0, 1, 30)
    found = bounds_of(sample(values), 0.025, 0.025)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    assert (found.method, found.note) == ("Student's t", NORMAL)


def test_factors_apply_to_bounds() -> None:
    """A cost per thousand calls has the bounds of the mean times a thousand."""
    each = ranged(costs(100), 0)
    plain, thousand = (
        bounds_of(each, 0.05, 0.05),
        bounds_of(replace(each, factor=1000.0), 0.05, 0.05),
    )
    assert (thousand.low, thousand.high) == pytest.approx((1000 * plain.low, 1000 * plain.high))


# --- percentiles and formulas -----------------------------------------------------------------


@settings(max_examples=60)
@given(st.integers(1, 400), st.sampled_from([0.5, 0.9, 0.95]), st.integers(0, 1000))
def test_percentiles_are_scipys(n: int, q: float, seed: int) -> None:
    """Order statistics are those of `quantile_test`; where one is infinite, a reason."""
    values = np.random.default_rng(seed).normal(size=n)
    expected = stats.quantile_test(values, q=0, p=q).confidence_interval(0.95)
    ends = np.ravel(expected).tolist()
    ends = [
        end if math.isfinite(end) else sign * math.inf
        for end, sign in zip(ends, (-1, 1), strict=True)
    ]
    each = sample(values, kind=QUANTILE, q=q)
    if ends == [-math.inf, math.inf]:
        with pytest.raises(NoIntervalError, match=f"too few for p{q * 100:g}: {n} of"):
            bounds_of(each, 0.025, 0.025)
        return
    found = bounds_of(each, 0.025, 0.025)
    assert [found.low, found.high] == ends
    assert (found.why_no_high is None) == math.isfinite(found.high)
    assert (found.why_no_low is None) == math.isfinite(found.low)


def test_too_few_for_a_percentile_say_how_many_it_takes() -> None:
    """For its upper bound at 2.5 %, p95 needs 72 values; the lower one needs few."""
    found = bounds_of(sample(costs(71), kind=QUANTILE, q=0.95), 0.025, 0.025)
    assert (found.high, found.why_no_high) == (math.inf, "too few for p95: 71 of 72")
    assert found.why_no_low is None
    assert bounds_of(sample(costs(72), kind=QUANTILE, q=0.95), 0.025, 0.025).why_no_high is None
    repeated = sample(
        np.repeat(costs(30), 10), np.repeat(np.arange(30), 10).tolist(), kind=QUANTILE, q=0.95
    )
    high = bounds_of(repeated, 0.025, 0.025).why_no_high
    assert high is not None
    assert high.endswith(
        "300 values in 30 cases or clusters count as fewer than the 72 that it takes"
    )


def test_formulas_say_their_method() -> None:
    """With two ends it is exact on the effective size, else Student's t, which assumes."""
    values = np.random.default_rng(1).normal(0.7, 0.1, 30)
    each = replace(sample(values, range(30), kind=FORMULA), counting=30)
    ended = bounds_of(replace(each, limits=(0.0, 1.0)), 0.025, 0.025)
    assert (ended.method, ended.note) == (
        "Clopper-Pearson on effective size, jackknife over cases", None,
    )  # fmt: skip
    openly = bounds_of(replace(each, limits=(0.0, None)), 0.025, 0.025)
    assert (openly.method, openly.note) == ("Student's t, jackknife over cases", NORMAL)


# --- clusters ---------------------------------------------------------------------------------


def of_clusters(values: Floats, kind: str, limits: tuple[float | None, float | None]) -> Sample:
    made = sample(values, range(values.size), kind=kind)
    return replace(made, limits=limits, belongs=np.arange(values.size) // 4)


@pytest.mark.parametrize(
    ("kind", "limits"),
    [(MEAN, (0.0, 1.0)), (RATE, (None, None)), (MEAN, (0.0, None)), (MEAN, (None, None)),
     (QUANTILE, (None, None))],
)  # fmt: skip
def test_clusters_widen_every_bound(kind: str, limits: tuple[float | None, float | None]) -> None:
    """Questions of one document that agree are worth one; 70 documents with four each."""
    rng = np.random.default_rng(3)
    own = rng.random(70) if kind != RATE else (rng.random(70) < 0.6).astype(np.float64)
    if limits == (None, None) and kind == MEAN:
        own -= 0.5
    related = of_clusters(np.repeat(own, 4), kind, limits)
    wide = bounds_of(related, 0.025, 0.025)
    narrow = bounds_of(replace(related, belongs=None), 0.025, 0.025)
    single = bounds_of(replace(sample(own, kind=kind), limits=limits), 0.025, 0.025)
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)
    assert (wide.low, wide.high) == pytest.approx((single.low, single.high), rel=0.05)
    assert wide.method == f"{narrow.method}, cases clustered"


def test_few_clusters_are_few_values() -> None:
    """Two hundred costs of twenty documents have no upper bound; of one, no bound at all."""
    each = replace(ranged(costs(200), 0, cases=range(200)), belongs=np.arange(200) % 20)
    assert "60 needed, 20 seen" in (bounds_of(each, 0.025, 0.025).why_no_high or "")
    one = replace(each, belongs=np.zeros(200, dtype=np.int64))
    with pytest.raises(NoIntervalError, match="60 needed, 1 seen"):
        bounds_of(one, 0.025, 0.025)
    signed = replace(one, values=one.values - 2, limits=(None, None))
    with pytest.raises(NoIntervalError, match="one case: repeated trials of it say nothing"):
        bounds_of(signed, 0.025, 0.025)


def test_independent_units() -> None:
    """The mean of every cluster, and how many values it has; single values need no sizes."""
    means, sizes = independent(sample([1.0, 3, 5], [0, 0, 2], names=["a", "b", "c"]))
    assert (list(means), list(sizes if sizes is not None else [])) == ([2, 5], [2, 1])
    assert independent(sample([1.0, 3]))[1] is None


# --- reasons ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("each", "reason"),
    [
        (replace(rate(3, 4), refusal="too odd"), "^too odd$"),
        (replace(rate(3, 4), weights=np.ones(4)), SAMPLED),
        (ranged([0.5, 1.5], 0, 1), "values outside its range"),
        (ranged([-0.5, -0.5]), "all 2 values are the same: no spread to measure"),
        (ranged([-0.5]), "1 value: no spread"),
        (sample([1.0], kind=QUANTILE, q=0.5), "too few for p50: 1 of 6"),
    ],
)
def test_reasons(each: Sample, reason: str) -> None:
    """Where there is no bound, one line says why."""
    with pytest.raises(NoIntervalError, match=reason):
        bounds_of(each, 0.025, 0.025)


@settings(max_examples=40)
@given(st.sampled_from(["score", "cost", "signed", "p50"]), st.integers(10, 80), st.integers(0, 99))
def test_order_does_not_matter(shape: str, n: int, seed: int) -> None:
    """Workers finish in any order."""
    rng = np.random.default_rng(seed)
    values = rng.exponential(1, n)
    each = {
        "score": ranged(np.minimum(values, 1), 0, 1),
        "cost": ranged(values, 0),
        "signed": sample(values - 1),
        "p50": sample(values, kind=QUANTILE, q=0.5),
    }[shape]
    turned = replace(each, values=each.values[rng.permutation(n)])
    found, again = (bounds_of(side, 0.05, 0.025) for side in (each, turned))
    assert (again.low, again.high) == pytest.approx((found.low, found.high), rel=1e-9)
    assert isinstance(found, Bounds)


# --- simulated --------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [6, 20, 50])
def test_mostly_ones_are_held(n: int) -> None:
    """Recipes 3: scores of .9 in nine of ten cases, else 0: at most 2.5 % of bounds err a side."""
    rng = np.random.default_rng(8)
    wrong = np.zeros(2)
    for _ in range(150):
        values = np.where(rng.random(n) < 0.9, 0.9, 0.0)
        found = bounds_of(ranged(values, 0, 1), 0.025, 0.025)
        wrong += found.low > 0.81, found.high < 0.81
    assert (wrong <= 0.055 * 150).all()


def test_the_constants_of_the_recipes() -> None:
    """Recipes 4: they were simulated as they stand."""
    assert (bounds.FEWEST_BELOW, bounds.FEWEST_ABOVE) == (10, 60)
    assert (bounds.FEWEST_WORTH, bounds.REACH) == (5, 2)
