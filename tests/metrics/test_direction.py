"""Which direction of a metric is better: by its name, unless the user says."""

from __future__ import annotations

import pytest

from pytest_crucible.stats.samples import (
    lower_is_better,
)


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        ("latency.p95", True), ("cost", True), ("tokens.mean_total", True), ("val_loss.mean", True),
        ("response_time.mean", True), ("hallucination_rate.mean", True), ("error_rate.mean", True),
        ("success_rate", False), ("score.mean", False), ("accuracy.mean", False),
        ("lossless.mean", False), ("mirror.mean", False), ("rouge_l.mean", False),
    ],
)  # fmt: skip
def test_direction_is_told_by_the_name(metric: str, lower: bool) -> None:
    """Times, costs and errors should fall; everything else should rise."""
    assert lower_is_better(metric) is lower


def test_direction_is_told_by_the_user_first() -> None:
    """What the user says holds for the metric and its statistics, and for no other."""
    told = {"score": True, "latency": False}
    assert lower_is_better("score.mean", told)
    assert not lower_is_better("latency", told)
    assert not lower_is_better("score2.mean", told)
