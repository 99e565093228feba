"""Expectations that cannot be meant as written are refused; honest names never are."""

from __future__ import annotations

import pytest

from pytest_crucible._errors import ExpectationError
from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.stats.early_checks import parse_checked

OWN = [Metric("faithfulness", range=(0, 1)), Metric("grade", range=(1, 5))]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sucess_rate >= 0.9", "did you mean success_rate?"),
        ("succes_rate >= 0.9", "did you mean success_rate?"),
        ("successRate >= 0.9", "did you mean success_rate?"),
        ("pas_rate >= 0.9", "did you mean pass_rate?"),
        ("latencey.p95 < 5", "did you mean latency.p95?"),
        ("latnecy.p95 < 5", "did you mean latency.p95?"),
        ("token.total < 5", "did you mean tokens.total?"),
        ("costs.total < 5", "did you mean cost.total?"),
        ("faithfullness.mean > 0.5", "did you mean faithfulness.mean?"),
        ("control.sucess_rate >= 0.9", "did you mean success_rate?"),
        ("success_rate >= 90", "a rate is between 0 and 1: 90% at column 17"),
        ("success_rate >= 900", "a rate is between 0 and 1 at"),
        ("success_rate > -0.1", "a rate is between 0 and 1 at"),
        ("pass_at_3 > 95", "a rate is between 0 and 1: 95%"),
        ("latency.p95 > -5", "latency.p95 is never below 0 at column 15"),
        ("tests.failed < -1", "tests.failed is never below 0"),
        ("faithfulness.mean > 80", "faithfulness.mean is between 0 and 1: 80%"),
        ("faithfulness > 80", "faithfulness is between 0 and 1: 80%"),
        ("grade.mean >= 6", "grade.mean is never above 5"),
        ("grade.mean >= 0.5", "grade.mean is never below 1"),
        ("contrl.success_rate > 0.5", "did you mean 'control'?"),
    ],
)
def test_refused(text: str, said: str) -> None:
    with pytest.raises(ExpectationError) as caught:
        parse_checked(text, ("control", "treatment"), OWN)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "success_rate >= 1",
        "success_rate >= 100%",
        "success_rate > 0",
        "tests.failed <= 0",
        "latency.p95 < control * 200",
        "hedging.saved_ms.mean > -5",  # may be negative
        "cost_per_case.mean < 1",
        "latency_ms_first.mean < 1",
        "lost.mean < 5",
        "most.mean < 5",
        "tasks.mean > 3",
        "texts.mean > 3",
        "tokens_per_second.mean > 3",
        "success.mean > 0.5",
        "rate.mean > 5",
        "token_f1.mean > 0.5",
        "clip_rate.mean > 0.5",
        "pass_count.mean > 5",
        "score > 5",
        "faithful.mean > 5",
        "grades.mean > 500",
        "grade.count > 500",
        "grade.std_dev < 0.5",
        "faithfulness.best_step > 12",
    ],
)
def test_accepted(text: str) -> None:
    """Honest names and possible bounds pass, however close to others they are."""
    declared = [*OWN, Metric("grades")]
    assert parse_checked(text, ("control", "treatment"), declared).text == text


def test_a_recorded_or_declared_name_is_never_misspelt() -> None:
    assert parse_checked("costs.mean < 5", (), recorded=("costs",)).metric == "costs.mean"
    assert parse_checked("costs.mean < 5", (), [Metric("costs")]).metric == "costs.mean"


@pytest.mark.parametrize("text", ["acc.mean > 80%", "acc.median >= 5%"])
def test_a_percent_sign_is_not_meant_for_a_metric_that_goes_to_100(text: str) -> None:
    """80% is 0.8, which nearly every value exceeds."""
    with pytest.raises(ExpectationError, match=r"goes up to 100, and .* is 0\.\d+: write "):
        parse_checked(text, (), [Metric("acc", range=(0, 100))])
    parse_checked("acc.mean > 80", (), [Metric("acc", range=(0, 100))])
    parse_checked("score.mean > 80%", (), [Metric("score", range=(0, 1))])
