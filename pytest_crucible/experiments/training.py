"""Training loops: emit the catalog's training events, and log numbers per epoch and batch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import TracebackType
from typing import SupportsFloat

from pytest_crucible import _clock
from pytest_crucible.experiments.handle import Experiment

_TRAINING, _EPOCH = "crucible_train.training", "crucible_train.epoch"
_BATCH, _CHECKPOINT = "crucible_train.batch.stop", "crucible_train.checkpoint.saved"


class Training:
    """One training job of an experiment.

    ::

        with Training(experiment, model_name="mlp") as training:
            for epoch in range(5):
                training.epoch_start(epoch)
                for batch, data in enumerate(loader):
                    training.batch_stop(batch, loss=step(data))
                training.epoch_stop(loss=…, accuracy=…, learning_rate=…)
                training.checkpoint_saved(path)

    Each method emits the event of its name, with its duration in ns. Numbers of epochs are also
    logged (``experiment.log``), with the epoch as step; numbers of batches as ``batch_NAME``, with
    the number of batches so far as step.

    Args:
        experiment: the experiment that records the training.
        metadata: metadata of every event, e.g. ``model_name``.
    """

    def __init__(self, experiment: Experiment, **metadata: object) -> None:
        self._experiment = experiment
        self._metadata = metadata
        self._epoch: int | None = None
        self._epochs = 0
        self._batches = 0
        self._began_ns: dict[str, int] = {}
        self._last_loss: float | None = None

    def __enter__(self) -> Training:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop(error)

    def start(self) -> None:
        """Begin the training: ``crucible_train.training.start``."""
        self._begin(_TRAINING, {})

    def stop(self, error: BaseException | None = None) -> None:
        """End the training: ``crucible_train.training.stop``, or ``.exception`` with ``error``.

        Does nothing if the training has not begun, or has ended already.
        """
        if _TRAINING not in self._began_ns:
            return
        lasted = self._lasted(_TRAINING)
        numbers: dict[str, float] = {"duration": lasted, "total_epochs": self._epochs}
        if self._last_loss is not None:
            numbers["final_loss"] = self._last_loss
        if error is None:
            self._say(f"{_TRAINING}.stop", numbers)
        else:
            # Only the type: the text may quote training data.
            self._say(f"{_TRAINING}.exception", numbers, error=type(error).__name__)

    def epoch_start(self, epoch: int) -> None:
        """Begin an epoch: ``crucible_train.epoch.start``."""
        self._epoch = epoch
        self._begin(_EPOCH, {"epoch": epoch})
        self._began_ns[_BATCH] = _clock.monotonic_ns()

    def epoch_stop(self, **numbers: SupportsFloat) -> None:
        """End the epoch: ``crucible_train.epoch.stop`` with ``loss``, ``accuracy``, …

        Raises:
            TypeError: a value is not a number.
            ValueError: a built-in metric has this name.
        """
        epoch = self._epochs if self._epoch is None else self._epoch
        self._epochs += 1
        plain = self._log("", numbers, epoch)
        self._last_loss = plain.get("loss", self._last_loss)
        lasted = {"duration": self._lasted(_EPOCH)} if _EPOCH in self._began_ns else {}
        self._say(f"{_EPOCH}.stop", {**lasted, **plain, "epoch": epoch}, epoch=epoch)

    def batch_stop(self, batch: int, **numbers: SupportsFloat) -> None:
        """End a batch: ``crucible_train.batch.stop`` with ``loss``, ``gradient_norm``, …

        Its duration is the time since the previous batch ended, or since the epoch began. Raises
        what `epoch_stop` raises.
        """
        plain = self._log("batch_", numbers, self._batches)
        self._batches += 1
        lasted = {"duration": self._lasted(_BATCH)} if _BATCH in self._began_ns else {}
        self._began_ns[_BATCH] = _clock.monotonic_ns()
        where = {} if self._epoch is None else {"epoch": self._epoch}
        self._say(_BATCH, {**lasted, **plain, **where, "batch": batch}, **where, batch=batch)

    def checkpoint_saved(self, path: str | os.PathLike[str], **numbers: SupportsFloat) -> None:
        """Report a written checkpoint: ``crucible_train.checkpoint.saved``."""
        where = {} if self._epoch is None else {"epoch": self._epoch}
        self._say(_CHECKPOINT, {**numbers, **where}, **where, checkpoint_path=os.fspath(path))

    def _begin(self, what: str, numbers: Mapping[str, SupportsFloat]) -> None:
        self._began_ns[what] = _clock.monotonic_ns()
        times = {"monotonic_time": self._began_ns[what], "system_time": _clock.wall_ns()}
        self._say(f"{what}.start", {**numbers, **times}, **numbers)

    def _lasted(self, what: str) -> int:
        return _clock.monotonic_ns() - self._began_ns.pop(what)

    def _log(
        self, prefix: str, numbers: Mapping[str, SupportsFloat], step: int
    ) -> dict[str, float]:
        return {
            name: self._experiment.log(f"{prefix}{name}", value, step)
            for name, value in numbers.items()
        }

    def _say(self, name: str, numbers: Mapping[str, SupportsFloat], **context: object) -> None:
        self._experiment.execute(name, numbers, {**self._metadata, **context})
