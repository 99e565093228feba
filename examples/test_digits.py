"""Two classifiers on scikit-learn's digits, compared case by case.

Every held-out image is read by both, one after the other, so each case is its own control.
"""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
from sklearn.tree import DecisionTreeClassifier

from pytest_crucible import Experiment

CASES = 150


@pytest.fixture(scope="session")
def digits() -> Any:
    """Images to learn from, images to read, and what each shows."""
    images, labels = load_digits(return_X_y=True)
    return train_test_split(images, labels, test_size=CASES, stratify=labels, random_state=0)


@pytest.fixture(scope="session")
def models(digits: Any) -> dict[str, Any]:
    """Both classifiers, fitted once and warmed up."""
    train, test, labels, _ = digits
    models = {
        "control": DecisionTreeClassifier(random_state=0),
        "treatment": RandomForestClassifier(n_estimators=50, random_state=0),
    }
    for model in models.values():
        model.fit(train, labels).predict(test[:1])
    return models


@pytest.mark.experiment(
    "digits",
    hypothesis="a forest reads digits better than a single tree",
    conditions=("control", "treatment"),
    trials=2,
    tags=["sklearn"],
    metadata={"control": "DecisionTree", "treatment": "RandomForest(50)"},
    expect=[
        "treatment.correct.mean > control",
        "treatment.correct.mean >= 0.9",
        "latency.p95 < 250",
    ],
)
@pytest.mark.parametrize("case", range(CASES))
def test_digit(case: int, models: dict[str, Any], digits: Any, experiment: Experiment) -> None:
    _, images, _, labels = digits
    model = models[experiment.condition]
    with experiment.span("crucible_deployment.inference", model_name=type(model).__name__):
        predicted = model.predict(images[case : case + 1])[0]
    # A digit read wrong is a low score, not a broken test: the expectations judge the whole.
    experiment.record(correct=predicted == labels[case])
