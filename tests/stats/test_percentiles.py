"""Changes of percentiles: bootstrap over cases, and order statistics of large samples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pytest_crucible.stats import percentiles
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.percentiles import quantile_ratio
from pytest_crucible.stats.samples import QUANTILE, Sample
from tests.stats.support import sample


def positive(n: int, seed: int, factor: float = 1.0, cases: list[int] | None = None) -> Sample:
    return sample(
        factor * np.exp(np.random.default_rng(seed).normal(0, 0.5, n)), cases, kind=QUANTILE, q=0.95
    )


@pytest.mark.parametrize("paired", [False, True])
def test_percentiles_scale_with_the_values(paired: bool) -> None:
    """Twice the latency is a ratio of two, at the same seed every time."""
    cases = list(range(100)) if paired else None
    change = quantile_ratio(positive(100, 1, cases=cases), positive(100, 1, 2, cases), 0.95, paired)
    again = quantile_ratio(positive(100, 1, cases=cases), positive(100, 1, 2, cases), 0.95, paired)
    assert change.estimate == pytest.approx(2)
    assert change.interval(0.05) == again.interval(0.05)
    low, high = change.interval(0.05)
    assert low <= 2 + 1e-9
    assert high >= 2 - 1e-9
    assert change.p is not None
    assert change.p < 0.05


def test_order_of_cases_does_not_matter_to_pairs() -> None:
    """Cases are matched by name, whatever order the workers finished in."""
    base = positive(100, 1, cases=list(range(100)))
    turned = Sample(base.values[::-1], base.cases, base.names[::-1], QUANTILE, 0.95)
    low, high = quantile_ratio(base, turned, 0.95, paired=True).interval(0.05)
    assert (low, high) == pytest.approx((1, 1))


def test_drawing_ranks_is_drawing_values() -> None:
    """The short cut for independent values has the distribution of drawing them one by one."""
    each = positive(200, 3)
    fast = percentiles._resampled_alone(each, 0.95, np.random.default_rng(1))
    slow = percentiles._resampled(each.values, np.arange(200), 0.95, np.random.default_rng(2))
    assert stats.ks_2samp(fast, slow).pvalue > 0.001


def test_large_samples_use_order_statistics() -> None:
    """Above the limit the answer is about that of the bootstrap."""
    n = percentiles.MOST
    few, many = (
        quantile_ratio(
            positive(k, 1, 1, list(range(k))), positive(k, 2, 1.1, list(range(k))), 0.95, True
        )
        for k in (n, n + 1)
    )
    assert few.method != many.method
    assert many.interval(0.05) == pytest.approx(few.interval(0.05), rel=0.02)
    assert many.p == pytest.approx(few.p, abs=0.05)


@pytest.mark.parametrize("n", [100, 6000])
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_constant_percentiles(n: int, factor: float) -> None:
    """Values that never vary: certain, with a p-value, and no logarithm of nothing."""
    cases = list(range(n))
    change = quantile_ratio(
        sample(np.full(n, 3.0), cases, kind=QUANTILE),
        sample(np.full(n, 3.0 * factor), cases, kind=QUANTILE),
        0.95,
        paired=True,
    )
    assert change.interval(0.05) == pytest.approx((factor, factor))
    assert change.p is not None
    assert (change.p < 0.01) is (factor == 2)


def test_too_few_values_for_a_percentile_say_so() -> None:
    """With too few observations, or too few cases, or at too high a level: a reason each."""
    with pytest.raises(NoIntervalError, match="p95 needs at least 72 observations per side"):
        quantile_ratio(positive(71, 1), positive(500, 2), 0.95, paired=False)
    few = sample(np.repeat(np.arange(1.0, 11), 20), [i // 20 for i in range(200)], kind=QUANTILE)
    with pytest.raises(NoIntervalError, match="200 clustered in cases are worth"):
        quantile_ratio(few, few, 0.95, paired=True)
    with pytest.raises(NoIntervalError, match="resamples are too few"):
        quantile_ratio(positive(100, 1), positive(100, 2), 0.95, paired=False).interval(1e-4)
