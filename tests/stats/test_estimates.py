"""Estimates: every number with its interval, or the reason why it has none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.run import open_run
from pytest_crucible.metrics.catalog import PLAIN
from pytest_crucible.metrics.summary import distribution
from pytest_crucible.report.terminal import render
from pytest_crucible.runs.experiment_definition import define
from pytest_crucible.stats.estimates import Estimate, estimate, interval_for_gate
from pytest_crucible.stats.intervals import clopper_pearson, mean_t, quantile, wilson
from tests.made_events import write_run
from tests.stats.support import events, group, sample, subject

NUM_ACC_1 = np.array([10000001.0, 10000003, 10000002])
NUM_ACC_3 = np.array([1000000.2] + [1000000.1, 1000000.3] * 500)


def estimated(path: str, outcomes: dict[str, str], **numbers: list[float]) -> Estimate:
    latency = numbers.pop("latency_ms", None)
    return subject(group(events(outcomes, numbers, latency_ms=latency))).estimate(path)


@pytest.mark.parametrize(
    ("values", "mean", "sd", "digits"),
    [(NUM_ACC_1, 10000002, 1, 15), (NUM_ACC_3, 1000000.2, 0.1, 9)],
)
def test_nist_reference_data(
    values: np.ndarray[tuple[int], np.dtype[np.float64]], mean: float, sd: float, digits: int
) -> None:
    """NIST StRD NumAcc1 and NumAcc3: mean, and standard deviation with n − 1, to their digits."""
    found = distribution(values)
    assert found.mean == pytest.approx(mean, rel=1e-14)
    assert found.std_dev == pytest.approx(sd, rel=10.0**-digits)


def test_each_kind_has_its_interval() -> None:
    """Wilson for rates, Student for means, order statistics for percentiles; Clopper for gates."""
    outcomes = {f"c{i}": "p" if i else "f" for i in range(80)}
    latency = [float(i + 1) for i in range(80)]
    rate = estimated("success_rate", outcomes)
    assert (rate.low, rate.high) == wilson(79, 80, 0.05)
    assert rate.sample is not None
    assert interval_for_gate(rate.sample, 0.1) == clopper_pearson(79, 80, 0.1)
    values = np.array(latency)
    mean, p95 = (estimated(f"latency.{s}", outcomes, latency_ms=latency) for s in ("mean", "p95"))
    assert (mean.low, mean.high) == pytest.approx(mean_t(values, None, 0.05))
    assert (p95.low, p95.high) == pytest.approx(quantile(values, None, 0.95, 0.05))
    assert (p95.n, p95.cases) == (80, 80)
    assert p95.value == pytest.approx(np.quantile(values, 0.95))


def test_factors_apply_to_intervals() -> None:
    """A cost per thousand calls has the interval of the mean times a thousand."""
    mean = sample([1.0, 2.0, 4.0])
    low, high = interval_for_gate(mean, 0.05)
    thousand = type(mean)(mean.values, None, (), mean.kind, factor=1000)
    assert interval_for_gate(thousand, 0.05) == pytest.approx((1000 * low, 1000 * high))


@pytest.mark.parametrize(
    ("path", "outcomes", "score", "reason"),
    [
        ("score.mean", {"a": "p"}, [0.3], "1 value: no spread"),
        ("score.mean", {"a": "p", "b": "p"}, [0.3, 0.3], "all 2 values are the same"),
        ("score.mean", {"a": "ppp"}, [0.3, 0.5, 0.4], "one case"),
        ("score.p50", {"a": "p", "b": "p"}, [0.3, 0.4], "needs at least 6 observations, has 2"),
        ("latency.p50", {"a": "p"}, [0.3], "nothing was recorded"),
        ("flip_rate", {"a": "p"}, [0.3], "nothing was recorded"),
    ],
)
def test_no_interval_says_why(
    path: str, outcomes: dict[str, str], score: list[float], reason: str
) -> None:
    """One value, one case, constant data or none at all: a reason, and no interval."""
    found = estimated(path, outcomes, score=score)
    assert found.low is found.high is None
    assert found.reason is not None
    assert reason in found.reason


def test_facts_are_exact() -> None:
    """A total is what it is; what nobody recorded is nothing."""
    found = estimated("latency.total", {"a": "p", "b": "p"}, latency_ms=[1, 2])
    assert (found.value, found.exact, found.reason) == (3, True, None)
    assert estimate(group([]), PLAIN["nothing"], {}) == Estimate(value=None)


def test_clustered_trials_widen_the_interval() -> None:
    """Four trials of each case that always agree are worth one each."""
    agreeing = {f"c{i}": "pppp" if i % 2 else "ffff" for i in range(20)}
    mixed = {f"c{i}": "pfpf" for i in range(20)}
    together, apart = (estimated("success_rate", each) for each in (agreeing, mixed))
    assert together.value == apart.value == 0.5
    assert together.high is not None
    assert apart.high is not None
    assert together.high - 0.5 > 1.5 * (apart.high - 0.5)


strange = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=32), st.text(max_size=3), st.none(),
    st.booleans(), st.just([1]), st.just(1e308), st.just(-1e308),
)  # fmt: skip
runs = st.dictionaries(
    st.sampled_from("abcdefgh"), st.text("ppfcs", min_size=1, max_size=3), max_size=8
)


@given(runs, runs, st.lists(strange, max_size=24))
def test_whatever_is_recorded_is_rendered(
    tmp_path_factory: pytest.TempPathFactory,
    control: dict[str, str],
    treatment: dict[str, str],
    values: list[object],
) -> None:
    """Any outcomes and any values, in one arm or two: a summary without traceback or NaN."""
    folder: Path = tmp_path_factory.mktemp("runs") / "run-1"
    expect = ["success_rate > 0.5", "score.mean > 0", "score.p95 < 3", "flip_rate < 0.5"]
    if control and treatment:
        expect += ["score.mean > 0.9 * control + 1", "success_rate >= 0.5 * control"]
    definition = define("exp", conditions=["control", "treatment"], trials=3, expect=expect)
    numbers = {"score": values}
    found = [
        *events(control, numbers, condition="control"),
        *events(treatment, numbers, condition="treatment", latency_ms=[0.0, 5.0, 1e-3, 1e9] * 3),
    ]
    results = analyse(open_run(write_run(folder, found, definitions=[definition])))
    text = "\n".join(line.text for line in render(results)).lower()
    assert "nan" not in text
    assert " inf" not in text
    assert "-inf" not in text
    finite = [
        each
        for experiment in results.experiments
        for every in experiment.comparisons.values()
        for one in every
        for each in (one.low, one.high, one.change, one.p)
        if each is not None
    ]
    assert all(map(math.isfinite, finite))
