"""scikit-learn: loops over ``partial_fit``."""

from __future__ import annotations

from typing import Any

import numpy as np

from pytest_crucible.experiments.handle import Experiment
from pytest_crucible.experiments.training import Training


def log_partial_fit(
    experiment: Experiment,
    model: Any,
    x: Any,
    y: Any,
    *,
    validation: tuple[Any, Any] | None = None,
    epochs: int = 10,
    batch_size: int = 32,
    seed: int = 0,
    classes: Any = None,
) -> Any:
    """Train a model with ``partial_fit``, epoch by epoch, and log how it gets on.

    Logged by epoch: ``score`` (``model.score``: accuracy of classifiers, R² of regressors) on the
    training data, ``val_score`` on the validation data, and ``loss`` of models that keep theirs
    (``loss_``) or give probabilities (the log loss). The training events of the catalog tell
    epochs and the job.

    Args:
        experiment: what it belongs to.
        model: anything with ``partial_fit`` and ``score``.
        x, y: arrays to train on.
        validation: arrays to score on after each epoch.
        epochs: passes over the data.
        batch_size: rows per ``partial_fit``.
        seed: of the order of the rows, which is another one in each epoch.
        classes: labels; default: those in ``y``. Regressors take none.

    Returns:
        The model.

    Raises:
        TypeError: the model has no ``partial_fit``.
    """
    if not hasattr(model, "partial_fit"):
        raise TypeError(f"{type(model).__name__} has no partial_fit: it cannot train step by step")
    from sklearn.base import is_classifier

    x, y = np.asarray(x), np.asarray(y)
    more = {"classes": np.unique(y) if classes is None else classes} if is_classifier(model) else {}
    order = np.random.default_rng(seed)
    with Training(experiment, model_name=type(model).__name__) as training:
        for epoch in range(epochs):
            training.epoch_start(epoch)
            rows = order.permutation(len(x))
            for start in range(0, len(x), batch_size):
                batch = rows[start : start + batch_size]
                model.partial_fit(x[batch], y[batch], **more)
            training.epoch_stop(**_numbers(model, x, y, validation))
    return model


def _numbers(model: Any, x: Any, y: Any, validation: tuple[Any, Any] | None) -> dict[str, float]:
    found: dict[str, float] = {"score": model.score(x, y)}
    if validation is not None:
        found["val_score"] = model.score(*validation)
    loss = _loss(model, x, y)
    return found if loss is None else {"loss": loss, **found}


def _loss(model: Any, x: Any, y: Any) -> float | None:
    if isinstance(getattr(model, "loss_", None), float):
        return float(model.loss_)
    if hasattr(model, "predict_proba"):
        from sklearn.metrics import log_loss

        return float(log_loss(y, model.predict_proba(x), labels=model.classes_))
    return None
