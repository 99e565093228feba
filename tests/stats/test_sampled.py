"""Sampled observations: estimates without intervals, and never a verdict on them."""

from __future__ import annotations

import msgspec
import pytest

from pytest_crucible.metrics.observations import Group, observe
from pytest_crucible.metrics.spending import summarise_spending
from pytest_crucible.metrics.summary import flatten, summarise
from pytest_crucible.queries.windows import slide
from pytest_crucible.stats.comparison import INCONCLUSIVE
from pytest_crucible.stats.expression import parse
from pytest_crucible.stats.samples import SAMPLED
from pytest_crucible.stats.subject import Subject
from tests.made_events import MS, event, recorded, trial, trial_scope
from tests.stats.support import compare_groups, judge


def sampled(weight: float | None, condition: str = "default") -> Group:
    """Ten cases with two calls each, which stand for as many as the weight says."""
    events = []
    for number in range(10):
        scope = trial_scope(f"case-{number}", condition=condition)
        events += trial("passed", scope)
        events.append(recorded({"score": 1.0}, scope))
        for call in range(2):
            plain = event(
                measurements={"duration": 10 * MS, "cost_usd": 0.5, "input_tokens": 7},
                metadata={"error": "boom"} if not number and not call else None,
                scope=scope,
                at_us=number,
            )
            events.append(msgspec.structs.replace(plain, weight=weight))
    return observe(events).group("exp", condition)


def subject(group: Group) -> Subject:
    return Subject(group, dict(flatten(summarise(group))))


def test_everything_is_weighed() -> None:
    """Metrics, calls, errors and windows of a sample are those of what it stands for."""
    group = sampled(4.0)
    metrics, spending = summarise(group), summarise_spending(group)
    (window,) = slide([group], 1_000_000, 1_000_000)
    assert (metrics.summary.kept_events, metrics.summary.total_events) == (20, 80)
    assert metrics.summary.event_types == {"req_llm.request.stop": 80}
    assert (metrics.reliability.total, metrics.reliability.failed) == (80, 4)
    assert metrics.cost.total == 40.0
    assert metrics.cost.mean == 0.5
    assert metrics.tokens.total == 560.0
    assert (spending.calls, spending.application_usd) == (80, 40.0)
    assert group.errors == {"boom": 4}
    assert (window.count, window.total_cost_usd, window.failures) == (80, 40.0, 4)
    assert window.mean_latency_ms == 10.0


def test_weights_of_one_change_no_number() -> None:
    """A sample that dropped nothing gives the very numbers of the whole."""
    whole, sample = (dict(flatten(summarise(sampled(weight)))) for weight in (None, 1.0))
    per_trial = {path for path in whole if path.startswith("latency.")}  # not told by a sample
    assert {path: whole[path] for path in whole if path not in per_trial} == {
        path: sample[path] for path in sample if path not in per_trial
    }


@pytest.mark.parametrize("weight", [1.0, 4.0])
@pytest.mark.parametrize(
    "path",
    ["latency.mean", "latency.p95", "cost.mean", "cost.total", "tokens.total",
     "reliability.success_rate", "reliability.failed", "latency.max"],
)  # fmt: skip
def test_estimates_have_no_interval_and_no_verdict(path: str, weight: float) -> None:
    """Even where all that is left stands for itself: others may have been dropped."""
    group = sampled(weight)
    found = subject(group).estimate(path)
    assert found.value is not None
    assert (found.low, found.high, found.exact, found.reason) == (None, None, False, SAMPLED)
    expectation = parse(f"{path} <= 1000000", ("default",))
    (judged,) = judge(expectation, {"default": subject(group)})
    assert (judged.verdict, judged.reason) == (INCONCLUSIVE, SAMPLED)


@pytest.mark.parametrize("path", ["latency.mean", "latency.p95", "cost.total", "cost.mean"])
def test_relative_expectations_stay_open(path: str) -> None:
    """It takes one side that was sampled."""
    subjects = {"a": subject(sampled(None, "a")), "b": subject(sampled(4.0, "b"))}
    for condition, other in (("a", "b"), ("b", "a")):
        (judged,) = judge(parse(f"{condition}.{path} <= 2 * {other}", ("a", "b")), subjects)
        assert (judged.verdict, judged.reason) == (INCONCLUSIVE, SAMPLED)


def test_trials_and_recorded_numbers_are_judged_as_ever() -> None:
    """They are never sampled."""
    found = subject(sampled(4.0))
    for path in ("success_rate", "score.mean"):
        assert found.estimate(path).low is not None
    assert found.estimate("tests.passed").exact
    assert found.estimate("score.count").exact


def test_comparisons_of_a_sample_are_open() -> None:
    """What was sampled on either side is shown, where it can be, without a verdict."""
    found = {each.metric: each for each in compare_groups(sampled(None), sampled(4.0))}
    for metric in ("latency", "latency.p95", "cost", "tokens", "reliability.success_rate"):
        assert (found[metric].verdict, found[metric].reason) == (INCONCLUSIVE, SAMPLED)
        assert found[metric].p is None
    assert found["latency"].candidate == 10.0
    assert found["cost"].candidate is None
    assert found["success_rate"].reason is None
