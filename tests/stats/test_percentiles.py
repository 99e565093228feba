"""Changes of percentiles: bootstrap over cases, and order statistics of large samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pytest_crucible.stats import percentiles
from pytest_crucible.stats.change import unseen_share
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.percentiles import quantile_ratio
from pytest_crucible.stats.samples import QUANTILE, Sample
from tests.stats.support import sample


def positive(n: int, seed: int, factor: float = 1.0, cases: list[int] | None = None) -> Sample:
    return sample(
        factor * np.exp(np.random.default_rng(seed).normal(0, 0.5, n)), cases, kind=QUANTILE, q=0.95
    )


def numbered(n: int) -> list[int]:
    return list(range(n))


@pytest.mark.parametrize("paired", [False, True])
def test_percentiles_scale_with_the_values(paired: bool) -> None:
    """Twice the latency is a ratio of two, at the same seed every time."""
    cases = numbered(100) if paired else None
    sides = positive(100, 1, cases=cases), positive(100, 1, 2, cases)
    change, again = (quantile_ratio(*sides, 0.95, 0.05, paired=paired) for _ in range(2))
    assert change == again
    assert change.estimate == pytest.approx(2)
    assert change.low <= 2 + 1e-9
    assert change.high >= 2 - 1e-9
    assert change.p < 0.05
    assert change.n == ((100,) if paired else (100, 100))


@pytest.mark.parametrize("decisions", [1, 5])
@pytest.mark.parametrize("paired", [False, True])
def test_interval_and_p_are_one(paired: bool, decisions: int) -> None:
    """The interval excludes no change if and only if p is at most the level."""
    alpha, excluded = 0.05 / decisions, 0
    for seed in range(20):
        n = 160
        cases = numbered(n) if paired else None
        base, cand = positive(n, seed, 1, cases), positive(n, seed + 50, 1.25, cases)
        change = quantile_ratio(base, cand, 0.9, alpha, paired=paired)
        assert (change.low > 1 or change.high < 1) == (change.p <= alpha)
        assert change.low <= change.estimate <= change.high
        excluded += change.p <= alpha
    assert 0 < excluded < 20


def test_order_of_cases_does_not_matter_to_pairs() -> None:
    """Cases are matched by name, whatever order the workers finished in."""
    base = positive(100, 1, cases=numbered(100))
    turned = Sample(base.values[::-1], base.cases, base.names[::-1], QUANTILE, 0.95)
    change = quantile_ratio(base, turned, 0.95, 0.05, paired=True)
    share = unseen_share(100, 0.05)
    assert (change.low, change.high) == pytest.approx((1 / (1 + share), 1 + share))
    assert (change.estimate, change.p) == (1, 1)


def test_drawing_ranks_is_drawing_values() -> None:
    """The short cut for independent values has the distribution of drawing them one by one."""
    each = positive(200, 3)
    first, second = (np.random.default_rng(seed) for seed in (1, 2))
    fast = percentiles._resampled_alone(each, 0.95, first, 2_000)
    slow = percentiles._resampled(each.values, np.arange(200), 0.95, second, 2_000)
    assert stats.ks_2samp(fast, slow).pvalue > 0.001


@pytest.mark.parametrize("alpha", [0.05, 0.02, 0.01])
def test_more_decisions_take_more_resamples(alpha: float) -> None:
    """Each tail of the interval is told by twenty resamples at least."""
    change = quantile_ratio(positive(200, 1), positive(200, 2), 0.9, alpha, paired=False)
    resamples = 2_000 if alpha >= 0.02 else 10_000
    assert f"{resamples:,} resamples, seed" in change.method
    assert alpha / 2 * resamples >= 20


def test_large_samples_use_order_statistics() -> None:
    """Above the limit the answer is about that of the bootstrap."""
    n = percentiles.MOST
    few, many = (
        quantile_ratio(
            positive(k, 1, 1, numbered(k)), positive(k, 2, 1.1, numbered(k)), 0.95, 0.05,
            paired=True,
        )
        for k in (n, n + 1)
    )  # fmt: skip
    assert few.method != many.method
    assert (many.low, many.high) == pytest.approx((few.low, few.high), rel=0.02)
    assert many.p == pytest.approx(few.p, abs=0.05)


@pytest.mark.parametrize("n", [100, 6000])
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_constant_percentiles(n: int, factor: float) -> None:
    """Values that never vary: changed or not, with a p-value, and no further than n can tell."""
    cases = numbered(n)
    change = quantile_ratio(
        sample(np.full(n, 3.0), cases, kind=QUANTILE),
        sample(np.full(n, 3.0 * factor), cases, kind=QUANTILE),
        0.95,
        0.05,
        paired=True,
    )
    share = unseen_share(n, 0.05)
    expected = (2 ** (1 - share), 2) if factor == 2 else (1 / (1 + share), 1 + share)
    assert (change.low, change.high) == pytest.approx(expected)
    assert change.estimate == pytest.approx(factor)
    assert change.alike == n
    assert (change.p <= 0.05) is (factor == 2)


@pytest.mark.parametrize("paired", [False, True])
def test_rounding_is_no_change(paired: bool) -> None:
    """0.1 + 0.2 against 0.3, a hundred times: the same latency."""
    cases = numbered(100)
    change = quantile_ratio(
        sample(np.full(100, 0.3), cases, kind=QUANTILE),
        sample(np.full(100, 0.1 + 0.2), cases, kind=QUANTILE),
        0.5,
        0.05,
        paired=paired,
    )
    assert change.p == 1
    assert change.low < 1 < change.high


def test_clusters_widen_the_interval() -> None:
    """Ten copies of each value, as trials of a case or as cases of a document, add nothing."""
    n, cases = 120, np.repeat(np.arange(120), 10)
    ends = []
    for index, belongs in (
        (np.arange(10 * n), None),
        (np.arange(10 * n), cases),
        (cases, None),
    ):
        names = tuple(f"c{i}" for i in range(int(index.max()) + 1))
        sides = [
            Sample(np.repeat(positive(n, seed).values, 10), index, names, QUANTILE, 0.9,
                   belongs=belongs)
            for seed in (1, 2)
        ]  # fmt: skip
        for paired in (True, False):
            change = quantile_ratio(sides[0], sides[1], 0.9, 0.05, paired=paired)
            ends.append(np.log(change.high / change.low))
    apart, clustered, repeated = ends[:2], ends[2:4], ends[4:]
    assert np.all(np.array(clustered) > 1.8 * np.array(apart))
    assert clustered == pytest.approx(repeated, rel=0.15)


def test_cases_of_one_side_only_are_clusters_of_their_own() -> None:
    """The pairs are drawn together, the others alone."""
    base, cand = (
        Sample(positive(200, seed).values, np.arange(200), names, QUANTILE, 0.9,
               belongs=np.arange(200) // 2)
        for seed, names in (
            (1, tuple(f"c{i}" for i in range(200))),
            (2, tuple(f"c{i + 50}" for i in range(200))),
        )
    )  # fmt: skip
    change = quantile_ratio(base, cand, 0.9, 0.05, paired=True)
    assert change.low < change.estimate < change.high


def test_too_few_values_for_a_percentile_say_so() -> None:
    """With too few observations, or too few cases, or at too high a level: a reason each."""
    with pytest.raises(NoIntervalError, match=r"^too few for p95: 71 and 500 of 72$"):
        quantile_ratio(positive(71, 1), positive(500, 2), 0.95, 0.05, paired=False)
    with pytest.raises(NoIntervalError, match=r"^too few for p95: 71 of 72$"):
        quantile_ratio(positive(71, 1), positive(71, 2), 0.95, 0.05, paired=False)
    few = sample(np.repeat(np.arange(1.0, 11), 20), [i // 20 for i in range(200)], kind=QUANTILE)
    with pytest.raises(NoIntervalError, match="200 clustered in cases are worth"):
        quantile_ratio(few, few, 0.95, 0.05, paired=True)
    with pytest.raises(NoIntervalError, match="p95: too many decisions for 10,000 resamples"):
        quantile_ratio(positive(300, 1), positive(300, 2), 0.95, 0.003, paired=False)
