"""Estimates: every number with its interval, or the reason why it has none."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.run import open_run
from pytest_crucible.metrics.catalog import PLAIN
from pytest_crucible.metrics.summary import distribution
from pytest_crucible.report.terminal import render
from pytest_crucible.runs.experiment_definition import define
from pytest_crucible.stats.bounds import LARGEST, SCORE, bounds_of
from pytest_crucible.stats.estimates import BARE, Estimate, estimate
from pytest_crucible.stats.intervals import clopper_pearson, quantile_bounds
from tests.made_events import event, trial_scope, write_run
from tests.stats.support import events, group, subject

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
    """Exact for rates, Gaffke's for means, order statistics for percentiles."""
    outcomes = {f"c{i}": "p" if i else "f" for i in range(80)}
    latency = [float(i + 1) for i in range(80)]
    rate = estimated("success_rate", outcomes)
    assert (rate.low, rate.high) == pytest.approx(clopper_pearson(79, 80, 0.05))
    values = np.array(latency)
    mean, p95 = (estimated(f"latency.{s}", outcomes, latency_ms=latency) for s in ("mean", "p95"))
    assert mean.low is not None
    assert mean.high is not None
    assert 0 < mean.low < 40.5 < mean.high < 160
    assert mean.note == LARGEST
    assert (p95.low, p95.high) == quantile_bounds(values, None, 0.95, 0.025, 0.025)
    assert (p95.n, p95.cases) == (80, 80)
    assert p95.value == pytest.approx(np.quantile(values, 0.95))
    assert rate.reason is mean.reason is p95.reason is None


def test_intervals_are_the_bounds_that_gates_use() -> None:
    """Shown and judged numbers come from one place."""
    outcomes, score = {f"c{i}": "p" for i in range(30)}, [i / 30 for i in range(30)]
    found = estimated("score.mean", outcomes, score=score)
    assert found.sample is not None
    judged = bounds_of(found.sample, 0.025, 0.025)
    assert (found.low, found.high, found.note) == (judged.low, judged.high, judged.note)
    assert found.note == SCORE


def test_factors_apply_to_intervals() -> None:
    """A cost per thousand calls has the interval of the mean times a thousand."""
    usd = [0.5 + (i % 7) / 10 for i in range(80)]
    each = group(
        event(metadata={"cost": cost}, scope=trial_scope(f"c{i}")) for i, cost in enumerate(usd)
    )
    mean, thousand = (estimate(each, PLAIN[path], {}) for path in ("cost.mean", "cost.per_1k"))
    assert mean.low is not None
    assert mean.high is not None
    assert (thousand.low, thousand.high) == pytest.approx((1000 * mean.low, 1000 * mean.high))


@pytest.mark.parametrize(
    ("path", "outcomes", "score", "reason"),
    [
        ("loss.mean", {"a": "p"}, [-0.3], "1 value: no spread"),
        ("loss.mean", {"a": "p", "b": "p"}, [-0.3, -0.3], "all 2 values are the same"),
        ("loss.mean", {"a": "ppp"}, [-0.3, 0.5, 0.4], "one case"),
        ("loss.mean", {"a": "ppp"}, [3, 5, 4], "too few for a mean that may have large values"),
        ("loss.p50", {"a": "p", "b": "p"}, [0.3, 0.4], "too few for p50: 2 of 6"),
        ("latency.p50", {"a": "p"}, [0.3], "nothing was recorded"),
        ("flip_rate", {"a": "p"}, [0.3], "nothing was recorded"),
        ("loss.mean", {"a": "p"}, [math.nan], "none of its 1 values is a finite number"),
    ],
)
def test_no_interval_says_why(
    path: str, outcomes: dict[str, str], score: list[float], reason: str
) -> None:
    """One value, one case, constant data or none at all: a reason, and no interval."""
    found = estimated(path, outcomes, loss=score)
    assert found.low is found.high is None
    assert found.reason is not None
    assert reason in found.reason


def test_one_bound_without_the_other() -> None:
    """Thirty costs have a lower bound, and the reason says why there is no upper one."""
    usd = [2.0 + i for i in range(30)]
    found = estimated("usd.mean", {f"c{i}": "p" for i in range(30)}, usd=usd)
    assert found.low is not None
    assert (found.high, found.note) == (None, None)
    assert "60 needed, 30 seen" in (found.reason or "")


def test_a_percentile_has_both_bounds_or_none() -> None:
    """Of thirty values p95 has a lower bound only, which would be taken for an interval."""
    values = [float(i) for i in range(30)]
    found = estimated("usd.p95", {f"c{i}": "p" for i in range(30)}, usd=values)
    assert (found.low, found.high, found.reason) == (None, None, "too few for p95: 30 of 72")


def test_equal_scores_are_no_certainty() -> None:
    """Six times 1 may be luck: the interval reaches down to .54."""
    found = estimated("score.mean", {f"c{i}": "p" for i in range(6)}, score=[1.0] * 6)
    assert (found.low, found.high) == pytest.approx((0.025 ** (1 / 6), 1))


def test_a_number_of_a_plugin_has_no_error_that_anybody_knows() -> None:
    """Its author may declare how it is worked out."""
    found = estimate(group([]), PLAIN["f1"], {"f1": 0.75})
    assert (found.value, found.exact, found.reason) == (0.75, False, BARE)


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
    assert (together.low, together.high) == pytest.approx(clopper_pearson(10, 20, 0.05))
    assert apart.high is not None
    assert apart.high < 0.66


strange = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True, width=32), st.text(max_size=3), st.none(),
    st.booleans(), st.just([1]), st.just(1e308), st.just(-1e308),
)  # fmt: skip
runs = st.dictionaries(
    st.sampled_from("abcdefgh"), st.text("ppfcs", min_size=1, max_size=3), max_size=8
)


@settings(max_examples=30)
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
