"""Tests of `pytest_crucible.stats.metric_changes`."""

from __future__ import annotations

import numpy as np
import pytest
from pytest_crucible.stats.changes import DIFFERENCE, RATIO

from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.metric_changes import average_change, change_of
from pytest_crucible.stats.samples import MEAN, QUANTILE, RATE, Sample

NAMES = tuple(f"c{i}" for i in range(40))


def sample(values: object, names: tuple[str, ...] = NAMES, kind: str = MEAN) -> Sample:
    array = np.asarray(values, dtype=np.float64)
    return Sample(array, np.arange(array.size), names[: array.size], kind)


DRAWN = np.random.default_rng(3).lognormal(0, 0.3, 40)


@pytest.mark.parametrize(
    ("kind", "typical", "scale", "method"),
    [
        (MEAN, True, RATIO, "Wilcoxon signed rank on log ratios"),
        (MEAN, False, DIFFERENCE, "paired t"),
        (RATE, False, DIFFERENCE, "exact McNemar"),
    ],
)
def test_the_method_fits_the_metric(kind: str, typical: bool, scale: str, method: str) -> None:
    """Ratios for typical latencies, differences for means, McNemar's test for rates."""
    base = DRAWN if kind == MEAN else (DRAWN > 1).astype(float)
    cand = base[::-1].copy()
    change = change_of(sample(base, kind=kind), sample(cand, kind=kind), typical=typical)
    assert (change.scale, change.method, change.n) == (scale, method, (40,))


def test_cases_of_other_names_are_no_pairs() -> None:
    """They are compared as independent values, with the sizes of both sides."""
    other = tuple(f"d{i}" for i in range(40))
    assert change_of(sample(DRAWN), sample(DRAWN, other)).n == (40, 40)


def test_clusters_widen_the_interval_of_pairs() -> None:
    """Ten documents with four questions each are ten observations that count, not forty."""
    shift = np.repeat(np.random.default_rng(5).normal(0.2, 0.3, 10), 4)
    alone = change_of(sample(DRAWN), sample(DRAWN + shift))
    belongs = np.repeat(np.arange(10), 4)
    base, cand = (
        Sample(values, np.arange(40), NAMES, MEAN, belongs=belongs)
        for values in (DRAWN, DRAWN + shift)
    )
    clustered = change_of(base, cand)
    (low, high), (wide_low, wide_high) = alone.interval(0.05), clustered.interval(0.05)
    assert clustered.estimate == pytest.approx(alone.estimate)
    assert wide_high - wide_low > 1.5 * (high - low)
    assert clustered.method == "paired t, clustered"
    assert (alone.p or 0) < (clustered.p or 0)


def test_a_factor_of_the_baseline() -> None:
    """``candidate < 0.5 * baseline`` looks at the candidate minus half of the baseline."""
    change = average_change(sample(DRAWN), sample(DRAWN * 0.5 + 0.01 * DRAWN), 0.5)
    assert change.estimate == pytest.approx(0.01 * DRAWN.mean())


def test_a_percentile_of_values_below_zero_has_no_ratio() -> None:
    """One line says why."""
    with pytest.raises(NoIntervalError, match="needs values above 0"):
        change_of(sample(DRAWN - 5, kind=QUANTILE), sample(DRAWN, kind=QUANTILE))
