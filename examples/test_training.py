"""Two ways to train the same network, compared by where their curves end.

Each seed is a case: both optimisers start from the same weights and see the same batches.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

from pytest_crucible import Experiment, JSONLMetrics
from pytest_crucible.integrations.scikit_learn import log_partial_fit


@pytest.fixture(scope="session")
def digits() -> Any:
    """Images to train on, images to validate on, and what each shows."""
    images, labels = load_digits(return_X_y=True)
    return train_test_split(
        images / 16, labels, train_size=800, test_size=400, stratify=labels, random_state=0
    )


@pytest.mark.experiment(
    "optimisers",
    hypothesis="within six epochs Adam gets further than plain SGD",
    conditions=("sgd", "adam"),
    tags=["training"],
    # A trial's last value is one observation: the intervals are over seeds. Six seeds say little
    # about a score between 0 and 1: the table tells that 0.85 in place of 0.5 would take about 52.
    expect=["adam.loss.last < sgd", "adam.val_score.last >= 0.5"],
    validate="error",
)
@pytest.mark.parametrize("seed", range(6))
def test_training(seed: int, digits: Any, experiment: Experiment, tmp_path: Path) -> None:
    x, x_val, y, y_val = digits
    sink = JSONLMetrics(tmp_path / "metrics.jsonl")
    experiment.log_to(sink)  # a tracker of your own would stand here
    model = MLPClassifier(
        (24,), solver=experiment.condition, learning_rate_init=0.01, random_state=seed
    )
    log_partial_fit(
        experiment, model, x, y, validation=(x_val, y_val), epochs=6, batch_size=64, seed=seed
    )
    assert experiment.logged("loss").steps == list(range(6))
    assert [e.value for e in sink.read(experiment.id) if e.name == "loss"] == (
        experiment.logged("loss").values
    )
