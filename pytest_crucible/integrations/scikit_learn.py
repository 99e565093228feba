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
    """Train a model with ``partial_fit``, epoch by epoch, and log its scores.

    By epoch it logs ``score`` (``model.score``: accuracy of classifiers, R² of regressors) on the
    training data, ``val_score`` on the validation data, and ``loss``: the model's own (``loss_``)
    or, for models with probabilities, the log loss. It emits the training events of the catalog for
    the job and its epochs.

    Args:
        experiment: the experiment that the training belongs to.
        model: an estimator with ``partial_fit`` and ``score``.
        x: training data, shape ``(n, features)``.
        y: labels or target values, shape ``(n,)``.
        validation: data and labels to score on after each epoch.
        epochs: passes over the data.
        batch_size: rows per ``partial_fit``.
        seed: of the order of the rows, which changes from epoch to epoch.
        classes: labels of a classifier, shape ``(k,)``; default: the labels in ``y``.

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
    scores: dict[str, float] = {"score": model.score(x, y)}
    if validation is not None:
        scores["val_score"] = model.score(*validation)
    loss = _loss(model, x, y)
    return scores if loss is None else {"loss": loss, **scores}


def _loss(model: Any, x: Any, y: Any) -> float | None:
    if isinstance(getattr(model, "loss_", None), float):
        return float(model.loss_)
    if hasattr(model, "predict_proba"):
        from sklearn.metrics import log_loss

        return float(log_loss(y, model.predict_proba(x), labels=model.classes_))
    return None
