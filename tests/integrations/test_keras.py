"""The Keras callback, under Keras with a model of two layers (`make training`)."""

from __future__ import annotations

import sys

import pytest

import pytest_crucible as crucible
from pytest_crucible.integrations.keras import keras_callback


def test_without_keras_the_error_says_what_to_install(
    experiment: crucible.Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking for the callback where there is no Keras is one line with the pip install."""
    monkeypatch.setitem(sys.modules, "keras.callbacks", None)
    with pytest.raises(
        crucible.MissingExtraError, match=r"keras_callback needs: pip install keras$"
    ):
        keras_callback(experiment)


def test_fit_logs_epochs_and_batches(
    experiment: crucible.Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each epoch's numbers become curves, and the catalog's events tell the job."""
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="make training installs Keras")
    np = pytest.importorskip("numpy")
    keras.utils.set_random_seed(0)
    x = np.linspace(-1, 1, 64)[:, None]
    model = keras.Sequential([keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mae"])
    callback = keras_callback(experiment, batches=True)
    model.fit(
        x, 2 * x, epochs=3, batch_size=16, verbose=0, validation_split=0.25, callbacks=[callback]
    )

    for name in ("loss", "mae", "val_loss", "val_mae"):
        steps, values = experiment.logged(name)
        assert steps == [0, 1, 2]
        assert values[-1] < values[0]
    assert experiment.logged("learning_rate").values == pytest.approx([0.1] * 3)
    assert experiment.logged("batch_loss").steps == list(range(9))
    counts = experiment.metrics().summary.event_types
    assert counts == {
        "crucible_train.training.start": 1, "crucible_train.training.stop": 1,
        "crucible_train.epoch.start": 3, "crucible_train.epoch.stop": 3,
        "crucible_train.batch.stop": 9,
    }  # fmt: skip
