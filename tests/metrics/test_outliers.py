"""Anomalies: each method finds what lies far out, and says why where it cannot judge."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible.metrics.outliers import METHODS, Floats, detect, usual_threshold

each_method = pytest.mark.parametrize("method", METHODS)
PLAIN = np.array([9.0, 10, 11, 10, 9, 11, 10, 9, 11, 10, 10.5, 9.5])


def lognormal(n: int, seed: int, sigma: float = 0.5) -> Floats:
    return np.exp(3 + sigma * np.random.default_rng(seed).standard_normal(n))


@pytest.mark.parametrize("method", ["mad", "zscore", "iqr"])
@pytest.mark.parametrize("far", [100.0, -80.0])
def test_the_one_far_out_is_found(method: str, far: float) -> None:
    """A value far from the others is flagged, on either side, and nothing else is."""
    found = detect(np.append(PLAIN, far), method)
    assert found.rows.tolist() == [12]
    assert math.copysign(1, found.scores[0]) == math.copysign(1, far)
    assert abs(found.scores[0]) > (found.threshold or math.inf)
    assert found.low is not None
    assert found.high is not None
    assert not found.low <= far <= found.high
    assert found.low < PLAIN.min() < PLAIN.max() < found.high


def test_scores_are_those_of_the_books() -> None:
    """The scores are the textbook's: worked out by hand for a small sample."""
    values = np.array([1.0, 2, 3, 4, 100])
    mad = detect(values, "mad", 3.5)
    assert mad.scores.tolist() == pytest.approx([0.6745 * 97 / 1])
    assert (mad.centre, mad.low, mad.high) == pytest.approx((3, 3 - 3.5 / 0.6745, 3 + 3.5 / 0.6745))
    zscore = detect(values, "zscore", 1.5)
    assert zscore.scores.tolist() == pytest.approx([(100 - 22) / values.std(ddof=1)])
    iqr = detect(values, "iqr")
    assert iqr.scores.tolist() == pytest.approx([(100 - 4) / 2])
    assert (iqr.low, iqr.high) == pytest.approx((2 - 3, 4 + 3))


def test_ewma_sees_a_drift_that_no_single_value_shows() -> None:
    """A shift by 1.5 standard deviations stays within all limits but adds up in the average."""
    noise = np.random.default_rng(3).standard_normal(300)
    shifted = np.concatenate([noise, noise[:100] + 1.5])
    found = detect(shifted, "ewma")
    assert np.count_nonzero(found.rows >= 300) > 30
    assert np.count_nonzero(found.rows < 300) < 5
    assert not detect(shifted, "mad").rows.size
    assert (found.low, found.high) == (None, None)


def test_ewma_is_the_handbooks() -> None:
    """λ = 0.2 and limits that widen to 3 · sqrt(λ / (2 − λ)), as in the NIST handbook."""
    values = np.array([0.0, 1, -1, 1, -1, 8])
    median, sigma = 0.5, 1.0 / 0.6745
    average = median
    for value in values:
        average += 0.2 * (value - average)
    width = sigma * math.sqrt(0.2 / 1.8 * (1 - 0.8**12))
    found = detect(values, "ewma", 1.0)
    assert found.rows.tolist() == [5]
    assert found.scores.tolist() == pytest.approx([(average - median) / width])


@each_method
@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([], "needs at least 3 numbers, has 0"),
        ([1.0, 2.0], "needs at least 3 numbers, has 2"),
        ([math.nan, math.inf, -math.inf, 1, 2], "needs at least 3 numbers, has 2"),
        ([0.1] * 7, "all 7 numbers are the same"),
    ],
)
def test_what_cannot_be_judged_says_why(method: str, values: list[float], reason: str) -> None:
    """Too few numbers, or all the same: a reason, no flags and no limits."""
    found = detect(np.array(values), method)
    assert found.reason == reason
    assert found.rows.size == found.scores.size == found.judged == 0
    assert (found.centre, found.low, found.high, found.threshold) == (None,) * 4


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        ("mad", "at least half of the 9 numbers are the same (MAD is 0)"),
        ("ewma", "at least half of the 9 numbers are the same (MAD is 0)"),
        ("iqr", "the middle half of the 9 numbers are the same (IQR is 0)"),
        ("zscore", "none of 9 numbers can lie 3 standard deviations off"),
    ],
)
def test_no_spread_is_a_reason(method: str, reason: str) -> None:
    """Where the spread is 0, or no score can reach the threshold, nothing is flagged."""
    assert detect(np.array([1.0] * 8 + [50]), method).reason == reason


def test_squares_too_small_for_floats_are_a_reason() -> None:
    """Numbers that differ by 1e-279 have no standard deviation."""
    found = detect(np.array([0.0, 0.0, 4.5e-279]), "zscore", 1.0)
    assert found.reason == "the 3 numbers are too close together"


def test_numbers_that_are_none_are_left_out_and_counted() -> None:
    """NaN and infinities keep their places, so that rows are those of the caller's array."""
    values = np.concatenate([[math.nan], PLAIN, [math.inf, 100.0]])
    found = detect(values)
    assert (found.rows.tolist(), found.judged, found.left_out) == ([14], 13, 2)
    assert detect(np.append(PLAIN, [0.0, -1.0]), log=True).left_out == 2


def test_wrong_arguments_are_named() -> None:
    """A method that is not there, and a threshold that is none, are the caller's errors."""
    with pytest.raises(ValueError, match="'madd' is not one of mad, zscore, iqr, ewma"):
        detect(PLAIN, "madd")
    with pytest.raises(ValueError, match=r"\['mad'\] is not one of"):
        detect(PLAIN, ["mad"])  # type: ignore[arg-type]
    for threshold in (0, -1, math.nan, math.inf, "3"):
        with pytest.raises(ValueError, match="not a number above zero"):
            detect(PLAIN, threshold=threshold)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [5, 10, 50, 600])
def test_plain_latencies_do_not_cry_wolf(n: int) -> None:
    """Of 400 experiments with plain lognormal latencies (σ = 0.5), about 5 % have an alarm."""
    alarms = sum(detect(lognormal(n, seed), log=True).rows.size > 0 for seed in range(400))
    assert alarms <= 36  # 9 %: five standard errors above 5 %


@pytest.mark.parametrize("n", [50, 600])
def test_a_stall_is_found_in_plain_latencies(n: int) -> None:
    """What takes a hundred times as long as the median is found in every experiment."""
    for seed in range(50):
        values = lognormal(n, seed)
        values[3] = 100 * np.median(values)
        assert 3 in detect(values, log=True).rows


def test_a_few_percent_are_no_anomaly_by_default() -> None:
    """However steady the others: a latency must be twice the median, or half of it."""
    steady = 100 + 0.1 * np.random.default_rng(5).standard_normal(100)
    values = np.append(steady, [110.0, 190, 210, 49])
    assert detect(values, log=True).rows.tolist() == [102, 103]
    assert detect(values, threshold=3.5, log=True).rows.tolist() == [100, 101, 102, 103]


def test_the_threshold_grows_with_the_number_of_values() -> None:
    """More values reach farther by chance alone; below 3.5 it never goes."""
    thresholds = [usual_threshold(n) for n in (100, 600, 10_000, 1_000_000)]
    assert thresholds == sorted(thresholds)
    assert thresholds == pytest.approx([3.72, 3.97, 4.56, 5.45], abs=0.01)
    assert min(usual_threshold(n) for n in range(5, 2000)) >= 3.5


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from(
    [0.0, 1.0, -1.0, 5e-324, 4e-279, 9e149, -9e149]
)


@each_method
@settings(max_examples=100)
@given(values=st.lists(numbers, max_size=40), log=st.booleans(), threshold=st.none() | st.just(1.0))
def test_never_a_nan(method: str, values: list[float], log: bool, threshold: float | None) -> None:
    """Whatever the numbers: no warning, no NaN, every number accounted for, a reason if none."""
    found = detect(np.array(values, dtype=np.float64), method, threshold, log=log)
    told = [found.centre, found.low, found.high, found.threshold, *found.scores.tolist()]
    assert not any(math.isnan(each) for each in told if each is not None)
    assert (found.reason is None) == (found.judged > 0)
    if found.reason is None:
        assert found.judged + found.left_out == len(values)
    assert np.isfinite(np.array(values)[found.rows]).all()


@settings(max_examples=60)
@given(st.lists(st.floats(0.001, 1000), min_size=5, max_size=30), st.sampled_from([2.0, 0.25, 8.0]))
def test_latencies_are_judged_in_any_unit(values: list[float], factor: float) -> None:
    """On a log scale, seconds and milliseconds give the same anomalies."""
    plain, scaled = (
        detect(np.array(each), "iqr", 3.0, log=True)
        for each in (values, [factor * value for value in values])
    )
    assert (plain.reason is None) == (scaled.reason is None)
    if plain.low is not None and plain.high is not None:
        assert scaled.low == pytest.approx(factor * plain.low)
        assert scaled.high == pytest.approx(factor * plain.high)
