"""How the observations behind a metric are drawn, and the case each belongs to."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pytest_crucible.events.scope import Scope
from pytest_crucible.metrics.catalog import PLAIN
from pytest_crucible.metrics.groups import Group
from pytest_crucible.stats.metric_samples import sample_of
from pytest_crucible.stats.samples import (
    MEAN,
    QUANTILE,
    RATE,
    Sample,
)
from tests.made_events import MS, event, trial_scope
from tests.stats.support import events, group


def drawn(of: Group, path: str) -> Sample | None:
    return sample_of(of, PLAIN[path])


def found_in(of: Group, path: str) -> Sample:
    result = drawn(of, path)
    assert result is not None
    return result


def found(path: str, *args: object, **more: object) -> Sample:
    return found_in(group(events(*args, **more)), path)  # type: ignore[arg-type]


def test_success_rate_is_of_trials() -> None:
    """Crashes stay in the denominator, skipped trials do not."""
    rate = found("success_rate", {"a": "ppf", "b": "cs"})
    assert list(rate.values) == [1, 1, 0, 0]
    assert (rate.kind, rate.n, rate.units) == (RATE, 4, 2)
    assert rate.by_case() == pytest.approx({"a": 2 / 3, "b": 0})


def test_success_rate_without_trials_is_of_operations() -> None:
    """Outside pytest the operations are what succeeds or fails."""
    events = [event(), event("req_llm.request.exception")]
    rate, failures = (
        drawn(group(events), path) for path in ("success_rate", "reliability.failure_rate")
    )
    assert rate is not None
    assert failures is not None
    assert (list(rate.values), list(failures.values)) == ([1, 0], [0, 1])
    assert rate.cases is None


@pytest.mark.parametrize(
    ("path", "kind", "q", "factor"),
    [
        ("latency.mean", MEAN, 0.5, 1),
        ("latency.median", QUANTILE, 0.5, 1),
        ("latency.p95", QUANTILE, 0.95, 1),
        ("cost.per_1k", MEAN, 0.5, 1000),
        ("cost.per_1m", MEAN, 0.5, 1e6),
        ("tokens.mean_prompt", MEAN, 0.5, 1),
        ("tests.duration_ms.p99", QUANTILE, 0.99, 1),
        ("score.mean", MEAN, 0.5, 1),
        ("score.p90", QUANTILE, 0.9, 1),
        ("right.mean", RATE, 0.5, 1),
    ],
)
def test_kinds(path: str, kind: str, q: float, factor: float) -> None:
    """What a path says about its values; numbers that are all 0 or 1 are a rate."""
    numbers = {"score": [0.5, 1], "right": [True, False]}
    each = found(path, {"a": "pp"}, numbers, latency_ms=[1, 2])
    assert (each.kind, each.q if kind == QUANTILE else q, each.factor) == (kind, q, factor)


@pytest.mark.parametrize(
    "path", ["cost.total", "latency.max", "latency.count", "score.std_dev", "nothing.mean", "score"]
)
def test_plain_facts_have_no_sample(path: str) -> None:
    """Totals, counts and extremes are facts about this run; unknown names are nothing."""
    assert drawn(group(events({"a": "p"}, {"score": [0.5]})), path) is None


def test_values_that_are_no_finite_numbers_are_counted() -> None:
    """Text, NaN and infinity are left out, and the sample tells how many there were."""
    values = ["text", math.nan, math.inf, 3.0]
    each = found("score.mean", {"a": "pppp"}, {"score": values})
    assert (list(each.values), each.invalid) == ([3.0], 3)


def test_values_outside_trials_leave_the_others_together() -> None:
    """One event outside every trial does not make the trials of a case independent."""
    scopes = [
        trial_scope("a", 1),
        trial_scope("a", 2),
        trial_scope("b", 1),
        Scope(experiment="exp"),
    ]
    each = drawn(
        group(event(measurements={"cost_usd": 1.0}, scope=scope) for scope in scopes), "cost.mean"
    )
    assert each is not None
    assert each.cases is not None
    assert (each.units, each.cases[0] == each.cases[1], len(each.by_case())) == (3, True, 3)
    assert each.clusters() is not None


def test_per_trial_sums_the_calls_of_a_trial() -> None:
    """Two calls of a trial are one observation, in the order of cases and trials."""
    calls = [("b", 1, 1.0), ("a", 2, 2.0), ("b", 1, 4.0), ("a", 1, 8.0)]
    one = group(
        event(metadata={"cost": cost}, scope=trial_scope(case, number))
        for case, number, cost in calls
    )
    each = found_in(one, "cost")
    assert list(each.values) == [5.0, 8.0, 2.0]
    assert each.by_case() == {"b": 5.0, "a": 5.0}


def test_per_trial_outside_trials_counts_calls() -> None:
    """Without trials every call is an observation; without costs there is none."""
    calls = group([event(metadata={"cost": 1.0}), event(metadata={"cost": 2.0}), event()])
    assert list(found_in(calls, "cost").values) == [1, 2]
    assert found_in(group([event()]), "cost").n == 0


def test_no_values_are_an_empty_sample() -> None:
    """Asking for a latency that nobody measured gives no values, not an error."""
    each = found("latency.p95", {"a": "p"})
    assert each.n == each.units == 0
    assert np.asarray(each.values).size == 0


def test_hedging_and_ensembles_have_their_observations() -> None:
    """A rate of requests, and means of what votes and savings tell, each with its case."""
    observed = []
    for case, duplicated in (("a", True), ("b", False), ("c", True)):
        scope = trial_scope(case)
        observed.append(event("hedging.request.start", scope=scope))
        if duplicated:
            observed.append(event("hedging.request.duplicated", scope=scope))
        told = {"winner": "backup" if case == "a" else "primary", "primary_latency_ms": 90}
        observed.append(event("hedging.request.stop", {"duration": 50 * MS}, told, scope=scope))
        observed.append(event("ensemble.vote.completed", {"agreement": 0.5}, scope=scope))
    made = group(observed)
    rate, backup, saved, agreement = (
        drawn(made, path)
        for path in (
            "hedging.rate", "hedging.backup_share", "hedging.saved_ms.p95",
            "ensemble.agreement.mean",
        )
    )  # fmt: skip
    assert rate is not None
    assert (list(rate.values), rate.kind, rate.by_case()["b"]) == ([1, 0, 1], RATE, 0)
    assert backup is not None
    assert (list(backup.values), backup.kind) == ([1, 0, 0], RATE)
    assert saved is not None
    assert (list(saved.values), saved.kind, saved.q) == ([40, 0], QUANTILE, 0.95)
    assert agreement is not None
    assert (list(agreement.values), agreement.kind) == ([0.5] * 3, MEAN)
    assert drawn(made, "hedging.requests") is None  # a plain fact
    assert found_in(group([event()]), "hedging.rate").n == 0


@pytest.mark.parametrize(
    ("values", "limits", "assumed"),
    [
        ([0.5, 0.25], (0.0, 1.0), True),
        ([0.5, 2.5], (0.0, None), False),
        ([-0.5, 0.5], (None, None), False),
    ],
)
def test_ranges_that_nobody_declared(
    values: list[float], limits: tuple[float | None, float | None], assumed: bool
) -> None:
    """Values between 0 and 1 are taken for scores, which the sample says; others start at 0."""
    each = found("score.mean", {"a": "p", "b": "p"}, {"score": values})
    assert (each.limits, each.assumed) == (limits, assumed)


def test_latencies_below_a_millisecond_are_no_scores() -> None:
    """Built-in metrics have their range, whatever their values."""
    each = found("latency", {"a": "p", "b": "p"}, latency_ms=[0.25, 0.5])
    assert (each.limits, each.assumed) == ((0.0, None), False)
