"""Metrics: reference numbers, published answers, and agreement with NumPy and statistics."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.metrics.distribution import Distribution
from pytest_crucible.metrics.observations import Group, observe
from pytest_crucible.metrics.summary import distribution, flatten, summarise
from pytest_crucible.metrics.values import Cost, Metrics, Recording, Reliability, Tokens
from tests.made_events import MS, event, recorded, reference_events, trial, trial_scope

finite = st.floats(-1e6, 1e6)


@pytest.fixture(scope="module")
def reference() -> Metrics:
    return summarise(observe(reference_events()).groups["exp", "default"])


def test_reference_latencies(reference: Metrics) -> None:
    """Ten latencies of 100 to 1,000 ms: the two failures, which have none, are not in them."""
    found = reference.latency
    assert (found.count, found.mean, found.median, found.min, found.max) == (
        10,
        550,
        550,
        100,
        1000,
    )
    assert found.std_dev == pytest.approx(302.7650354)
    assert (found.p50, found.p90, found.p95) == pytest.approx((550, 910, 955))
    assert found.p99 == pytest.approx(991)


def test_reference_costs(reference: Metrics) -> None:
    """Costs of 0.001 to 0.010 dollars."""
    found = reference.cost
    assert found.count == 10
    assert (found.total, found.mean) == pytest.approx((0.055, 0.0055))
    assert (found.median, found.per_1k, found.per_1m) == pytest.approx((0.0055, 5.5, 5500))


def test_reference_reliability(reference: Metrics) -> None:
    """Twelve operations, of which two failed, meet no service level."""
    found = reference.reliability
    assert (found.total, found.successful, found.failed, found.cancelled) == (12, 10, 2, 0)
    assert found.success_rate == pytest.approx(0.8333, abs=1e-4)
    assert found.failure_rate == pytest.approx(0.1667, abs=1e-4)
    assert (found.sla_99, found.sla_999, found.sla_9999) == (False, False, False)


def test_reference_tokens(reference: Metrics) -> None:
    """Prompt, completion and total tokens, summed and averaged over the calls that tell them."""
    found = reference.tokens
    assert (found.total_prompt, found.total_completion, found.total) == (5500, 11000, 16500)
    assert (found.mean_prompt, found.mean_completion, found.mean_total) == (550, 1100, 1650)
    assert found.count == 10


def test_reference_overview_and_events(reference: Metrics) -> None:
    """Events are told by name, and when the first and the last one happened."""
    assert reference.summary.total_events == 12
    assert reference.summary.event_types == {
        "req_llm.request.exception": 2,
        "req_llm.request.stop": 10,
    }
    assert reference.summary.duration_s == 0.01
    assert reference.summary.start == "2025-11-23T12:13:20.000000+00:00"
    assert reference.summary.end == "2025-11-23T12:13:20.010000+00:00"
    failed = reference.by_event["req_llm.request.exception"]
    assert (failed.count, failed.reliability.failed, failed.cost) == (2, 2, Cost())
    assert reference.by_event["req_llm.request.stop"].latency == reference.latency


def test_metrics_of_nothing_are_none() -> None:
    """Without events there is no number, and never a NaN."""
    found = summarise(Group("exp", "control"))
    assert found == Metrics(experiment="exp", condition="control")
    assert (found.latency, found.cost, found.tokens) == (Distribution(), Cost(), Tokens())
    assert (found.reliability, found.summary) == (Reliability(), Recording())


@pytest.mark.parametrize(
    ("failed", "levels"),
    [(0, (True, True, True)), (1, (True, True, False)), (2, (True, False, False)),
     (10, (True, False, False)), (11, (False, False, False))],
)  # fmt: skip
def test_service_levels(failed: int, levels: tuple[bool, bool, bool]) -> None:
    """Of 1,000 operations: 99 %, 99.9 % and 99.99 % are met from exactly there on."""
    events = [event(metadata={"success": i >= failed}) for i in range(1000)]
    found = summarise(observe(events).groups["exp", "default"]).reliability
    assert (found.sla_99, found.sla_999, found.sla_9999) == levels


# --- distributions -----------------------------------------------------------------------------


def test_nist_numacc1() -> None:
    """NIST StRD NumAcc1: the standard deviation of three large neighbours is exactly 1."""
    found = distribution(np.array([10000001.0, 10000003.0, 10000002.0]))
    assert (found.mean, found.std_dev) == (10000002, 1)


def test_nist_numacc3() -> None:
    """NIST StRD NumAcc3: 1,001 values that differ by 0.1 at a million, to nine digits."""
    found = distribution(np.array([1000000.2, *[1000000.1, 1000000.3] * 500]))
    assert found.mean == pytest.approx(1000000.2, rel=1e-15)
    assert found.std_dev == pytest.approx(0.1, rel=1e-9)


def test_one_number_has_no_spread() -> None:
    """With n − 1 = 0 there is no standard deviation."""
    found = distribution(np.array([3.0]))
    assert found == Distribution(
        count=1, total=3, mean=3, median=3, min=3, max=3, p50=3, p90=3, p95=3, p99=3
    )


@given(st.lists(finite | st.just(float("nan")), max_size=50))
def test_distribution_agrees_with_numpy_and_statistics(values: list[float]) -> None:
    """Percentiles are NumPy's default (type 7), the spread divides by n − 1, NaNs are no values."""
    found = distribution(np.array(values, dtype=np.float64))
    kept = [value for value in values if value == value]
    assert found.count == len(kept)
    if not kept:
        assert found == Distribution()
        return
    # Opposite values cancel: what is left is only as exact as the largest of them.
    exact = 1e-12 * max(1.0, *map(abs, kept), 1.0)
    for percent in (50, 90, 95, 99):
        expected = np.percentile(kept, percent, method="linear")
        assert getattr(found, f"p{percent}") == pytest.approx(expected, abs=exact)
    assert found.median == pytest.approx(statistics.median(kept), abs=exact)
    assert found.mean == pytest.approx(statistics.fmean(kept), abs=max(1e-9, exact))
    assert (found.min, found.max) == (min(kept), max(kept))
    if len(kept) > 1:
        assert found.std_dev == pytest.approx(statistics.stdev(kept), rel=1e-6, abs=1e-9)
    else:
        assert found.std_dev is None


# --- paths -------------------------------------------------------------------------------------


def test_flatten_names_every_number() -> None:
    """Expectations find every metric by its path; levels are 0 and 1; custom ones are there."""
    events = [
        *reference_events(),
        recorded({"score": 0.5}, trial_scope()),
        recorded({"score": 0.7}, trial_scope()),
        *trial("passed", trial_scope(), duration_ms=4),
    ]
    group = observe(events).groups["exp", "default"]
    numbers = dict(flatten(replace(summarise(group), custom={"f1": 0.75})))
    assert numbers["latency.p95"] == pytest.approx(955)
    assert numbers["cost.total"] == pytest.approx(0.055)
    assert numbers["tokens.total"] == 16500
    assert numbers["reliability.sla_99"] == 0.0
    assert numbers["tests.pass_rate"] == 1.0
    assert numbers["tests.duration_ms.p50"] == 4.0
    assert numbers["score.mean"] == pytest.approx(0.6)
    assert numbers["f1"] == 0.75
    assert None not in [numbers[path] for path in ("tests.trials", "score.std_dev")]


def test_missing_numbers_have_paths_too() -> None:
    """A number that could not be worked out is None under its path, so a gate can name it."""
    group = observe([event("ensemble.vote.completed")]).groups["exp", "default"]
    numbers = dict(flatten(summarise(group)))
    assert numbers["latency.p95"] is None
    assert numbers["reliability.success_rate"] is None
    assert numbers["cost.count"] == 0


def test_metrics_are_plain_data() -> None:
    """`to_dict` gives what JSON can hold."""
    group = observe([event(measurements={"duration": MS})]).groups["exp", "default"]
    data = json.loads(json.dumps(summarise(group).to_dict(), allow_nan=False))
    assert data["latency"]["p95"] == 1.0
    assert data["by_event"]["req_llm.request.stop"]["count"] == 1
