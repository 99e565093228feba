"""Hugging Face: a callback for ``Trainer``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_crucible._errors import MissingExtraError
from pytest_crucible.experiments.handle import Experiment
from pytest_crucible.experiments.training import Training

_NO_CURVES = ("epoch", "total_flos", "step")


def transformers_callback(experiment: Experiment) -> Any:
    """Make a callback: ``Trainer(…, callbacks=[transformers_callback(experiment)])``.

    Every ``logging_steps`` it logs the numbers that the trainer logs (``loss``, ``grad_norm``,
    ``learning_rate``, ``eval_loss``, …), by global step. It emits the training events of the
    catalog, also for epochs and checkpoints. Only the world's process zero logs.

    Args:
        experiment: the experiment that the training belongs to.

    Raises:
        MissingExtraError: transformers is not installed.
    """
    try:
        from transformers import TrainerCallback
    except ImportError as error:
        raise MissingExtraError("transformers_callback", package="transformers") from error

    class CrucibleCallback(_Hooks, TrainerCallback):  # type: ignore[misc]  # which is untyped
        pass

    return CrucibleCallback(experiment)


class _Hooks:
    """The hooks that the trainer calls."""

    def __init__(self, experiment: Experiment) -> None:
        super().__init__()
        self._experiment = experiment

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        name = type(more.get("model")).__name__
        self._training = Training(self._experiment, model_name=name)
        if state.is_world_process_zero:
            self._training.start()

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.is_world_process_zero:
            self._training.epoch_start(round(state.epoch or 0))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
        if state.is_world_process_zero:
            for name, value in (logs or {}).items():
                if isinstance(value, (int, float)) and name not in _NO_CURVES:
                    self._experiment.log(name, value, state.global_step)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.is_world_process_zero:
            self._training.epoch_stop()

    def on_save(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        if state.is_world_process_zero:
            path = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            self._training.checkpoint_saved(path)

    def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self._training.stop()
