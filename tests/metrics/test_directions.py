"""Which names tell a direction: those that nobody disputes, and no others."""

from __future__ import annotations

import pytest

from pytest_crucible.metrics.directions import better_by_name


@pytest.mark.parametrize("name", ["loss", "logloss", "mape", "Val_Loss", "train/loss", "log-loss"])
def test_lower(name: str) -> None:
    """Whatever the case, and whichever phase comes first."""
    assert better_by_name(name) == "lower"


@pytest.mark.parametrize("name", ["f1", "F1", "test_accuracy", "throughput", "eval/score"])
def test_higher(name: str) -> None:
    """Scores of all kinds."""
    assert better_by_name(name) == "higher"


@pytest.mark.parametrize(
    "name",
    [
        "token_f1", "tokens_per_second", "steps_completed", "ttft_ms", "retries", "words", "time",
        "violations", "lossless", "my_score", "eval", "val_", "train/", "", "training_steps",
    ],
)  # fmt: skip
def test_unknown(name: str) -> None:
    """A well-known word in a longer name tells nothing."""
    assert better_by_name(name) is None
