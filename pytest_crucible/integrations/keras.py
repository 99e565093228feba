"""Keras: a callback for ``model.fit``."""

from __future__ import annotations

from typing import Any

from pytest_crucible._errors import MissingExtraError
from pytest_crucible.experiments.handle import Experiment
from pytest_crucible.experiments.training import Training


def keras_callback(experiment: Experiment, *, batches: bool = False) -> Any:
    """Make a Keras callback: ``model.fit(…, callbacks=[keras_callback(experiment)])``.

    By epoch it logs the numbers that Keras reports (``loss``, ``val_loss``, metrics) and the
    learning rate, and it emits the training events of the catalog.

    Args:
        experiment: the experiment that the training belongs to.
        batches: log the numbers of each batch, too, under ``batch_NAME``.

    Raises:
        MissingExtraError: Keras is not installed.
    """
    try:
        from keras.callbacks import Callback
    except ImportError as error:
        raise MissingExtraError("keras_callback", package="keras") from error

    class CrucibleCallback(_Hooks, Callback):  # type: ignore[misc]  # untyped, or not installed
        pass

    return CrucibleCallback(experiment, batches)


class _Hooks:
    """The hooks that Keras calls."""

    model: Any  # set by Keras

    def __init__(self, experiment: Experiment, batches: bool) -> None:
        super().__init__()
        self._experiment = experiment
        self._batches = batches

    def on_train_begin(self, logs: Any = None) -> None:
        self._training = Training(self._experiment, model_name=self.model.name)
        self._training.start()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._training.epoch_start(epoch)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._batches:
            self._training.batch_stop(batch, **(logs or {}))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        numbers = dict(logs or {})
        rate = getattr(self.model.optimizer, "learning_rate", None)
        if rate is not None:
            numbers.setdefault("learning_rate", float(rate))
        self._training.epoch_stop(**numbers)

    def on_train_end(self, logs: Any = None) -> None:
        self._training.stop()
