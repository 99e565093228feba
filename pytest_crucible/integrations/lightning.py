"""PyTorch Lightning: a callback for ``Trainer``."""

from __future__ import annotations

import sys
from typing import Any

from pytest_crucible._errors import MissingExtraError
from pytest_crucible.experiments.handle import Experiment
from pytest_crucible.experiments.training import Training


def lightning_callback(experiment: Experiment, *, batches: bool = False) -> Any:
    """Make a Lightning callback: ``Trainer(callbacks=[lightning_callback(experiment)])``.

    By epoch it logs the numbers that the module logs (``self.log``) and the learning rate, and it
    emits the training events of the catalog, also for checkpoints. Only the process of rank 0 logs.

    Args:
        experiment: the experiment that the training belongs to.
        batches: log the loss of each batch, too, under ``batch_loss``.

    Raises:
        MissingExtraError: Lightning is not installed.
    """

    class CrucibleCallback(_Hooks, _callback_class()):  # type: ignore[misc]  # which is untyped
        pass

    return CrucibleCallback(experiment, batches)


class _Hooks:
    """The hooks that Lightning calls."""

    def __init__(self, experiment: Experiment, batches: bool) -> None:
        super().__init__()
        self._experiment = experiment
        self._batches = batches

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self._training = Training(self._experiment, model_name=type(pl_module).__name__)
        if trainer.is_global_zero:
            self._training.start()

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self._training.epoch_start(trainer.current_epoch)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._batches and trainer.is_global_zero:
            loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
            if loss is not None:
                self._training.batch_stop(batch_idx, loss=loss)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        # Validation ran inside this epoch, so its numbers are there, too.
        numbers = dict(trainer.callback_metrics)
        rates = [
            group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups
        ]
        if rates:
            numbers.setdefault("learning_rate", rates[0])
        self._training.epoch_stop(**numbers)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:
        if trainer.is_global_zero and trainer.checkpoint_callback is not None:
            path = trainer.checkpoint_callback.dirpath or trainer.default_root_dir
            self._training.checkpoint_saved(path)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self._training.stop()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        self._training.stop(exception)


def _callback_class() -> Any:
    # Two packages hold the same code, and a trainer accepts only callbacks of its own package. So
    # use the package that is imported.
    if "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
        from pytorch_lightning import Callback

        return Callback
    try:
        from lightning.pytorch import Callback
    except ImportError:
        try:
            from pytorch_lightning import Callback
        except ImportError as error:
            raise MissingExtraError("lightning_callback", package="lightning") from error
    return Callback
