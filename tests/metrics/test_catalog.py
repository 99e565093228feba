"""The catalogue of metrics: what it says of each, and that nothing else is said elsewhere."""

from __future__ import annotations

import pytest

from pytest_crucible.metrics.catalog import PLAIN


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        ("success_rate", "%"), ("tests.pass_rate", "%"), ("tests.first_pass_rate", "%"),
        ("reliability.success_rate", "%"), ("flip_rate", "%"), ("pass_at_3", "%"),
        ("pass_hat_3", "%"), ("latency", "ms"), ("latency.p95", "ms"),
        ("latency.count", ""), ("tests.duration_ms.p50", "ms"), ("cost", "$"),
        ("cost.total", "$"), ("cost.count", ""), ("tokens", ""), ("tokens.mean_total", ""),
        ("score.mean", ""), ("my_rate.mean", ""),
        ("hedging.rate", "%"), ("hedging.backup_share", "%"), ("hedging.saved_ms.mean", "ms"),
        ("hedging.duplication_cost_usd", "$"), ("hedging.requests", ""),
        ("ensemble.agreement.mean", ""),
    ],
)  # fmt: skip
def test_units(metric: str, unit: str) -> None:
    """Rates are percent, durations milliseconds, costs dollars, and counts just numbers."""
    assert PLAIN[metric].unit == unit


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
    assert PLAIN[metric].better == ("lower" if lower else "higher")
