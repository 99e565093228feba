"""Loops over ``partial_fit``, logged epoch by epoch."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.neural_network import MLPClassifier

import pytest_crucible as crucible
from pytest_crucible.integrations.scikit_learn import log_partial_fit

X = np.linspace(-1, 1, 80)[:, None]
LABELS = (X[:, 0] > 0.1).astype(int)


def test_classifier_logs_loss_and_scores_by_epoch(experiment: crucible.Experiment) -> None:
    """Loss and accuracy on training data, accuracy on validation data, one value per epoch."""
    model = SGDClassifier(loss="log_loss", random_state=0)
    data = (X[::2], LABELS[::2])
    fitted = log_partial_fit(
        experiment, model, X[1::2], LABELS[1::2], validation=data, epochs=5, batch_size=8
    )
    assert fitted is model
    metrics = experiment.metrics()
    assert set(metrics.logged) == {"loss", "score", "val_score"}
    assert experiment.logged("loss").steps == [0, 1, 2, 3, 4]
    assert metrics.logged["loss"].best_is == "min"
    assert experiment.logged("score").values[-1] == model.score(X[1::2], LABELS[1::2])
    assert experiment.logged("val_score").values[-1] == model.score(*data)
    assert metrics.summary.event_types["crucible_train.epoch.stop"] == 5


def test_loss_that_the_model_keeps_is_taken(experiment: crucible.Experiment) -> None:
    """A network knows its own loss."""
    model = MLPClassifier((4,), random_state=0)
    log_partial_fit(experiment, model, X, LABELS, epochs=2, classes=[0, 1, 2])
    assert experiment.logged("loss").values[-1] == model.loss_
    assert list(model.classes_) == [0, 1, 2]


def test_regressor_takes_no_classes(experiment: crucible.Experiment) -> None:
    """A regressor logs R² alone, where it tells no loss."""
    log_partial_fit(experiment, SGDRegressor(random_state=0), X, X[:, 0], epochs=3)
    assert set(experiment.metrics().logged) == {"score"}


def test_rows_come_in_an_order_of_their_own(experiment: crucible.Experiment) -> None:
    """The same seed gives the same curve, and the user's random state stays what it was."""
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    for _ in range(2):
        model = SGDClassifier(loss="log_loss", random_state=0, shuffle=False)
        log_partial_fit(experiment, model, X, LABELS, epochs=2, seed=3)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]
    losses = [
        event.measurements["loss"]
        for event in experiment.events.query(name="crucible_train.epoch.stop")
    ]
    assert losses[:2] == losses[2:]


def test_model_without_partial_fit_is_an_error(experiment: crucible.Experiment) -> None:
    """What cannot train step by step is named."""
    with pytest.raises(TypeError, match="KMeans has no partial_fit"):
        log_partial_fit(experiment, KMeans(), X, LABELS)
