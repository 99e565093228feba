"""The Lightning callback, under Lightning with a linear model (`make training`)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import pytest_crucible as crucible
from pytest_crucible.integrations.lightning import lightning_callback


def test_without_lightning_the_error_says_what_to_install(
    experiment: crucible.Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking for the callback where there is no Lightning is one line with the pip install."""
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.setitem(sys.modules, "pytorch_lightning", None)
    with pytest.raises(crucible.MissingExtraError, match=r"needs: pip install lightning$"):
        lightning_callback(experiment)


def parts(package: str) -> tuple[Any, Any, Any]:
    """Lightning, a linear model, and what it is to learn."""
    lightning = pytest.importorskip(package, reason="make training installs Lightning")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    base: Any = lightning.LightningModule

    class Linear(base):  # type: ignore[misc]  # untyped
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch: Any, index: int) -> Any:
            loss = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
            self.log("train_loss", loss, on_epoch=True, on_step=False)
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            loss = torch.nn.functional.mse_loss(self.layer(batch[0]), batch[1])
            self.log("val_loss", loss)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    x = torch.linspace(-1, 1, 64)[:, None]
    data = torch.utils.data.TensorDataset(x, 2 * x)
    return lightning, Linear(), torch.utils.data.DataLoader(data, batch_size=16)


def trainer(lightning: Any, folder: Path, callback: Any, **more: Any) -> Any:
    return lightning.Trainer(
        max_epochs=3, callbacks=[callback], default_root_dir=folder, accelerator="cpu",
        logger=False, enable_progress_bar=False, enable_model_summary=False, **more,
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and intervals
@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_fit_logs_epochs_and_checkpoints(
    package: str,
    experiment: crucible.Experiment,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the module logs becomes curves by epoch, validation included; checkpoints are events."""
    lightning, model, loader = parts(package)
    if package == "pytorch_lightning":  # as in a process that has only this one
        for name in [each for each in sys.modules if each.partition(".")[0] == "lightning"]:
            monkeypatch.delitem(sys.modules, name)
    callback = lightning_callback(experiment, batches=True)
    trainer(lightning, tmp_path, callback).fit(model, loader, loader)

    for name in ("train_loss", "val_loss"):
        steps, values = experiment.logged(name)
        assert steps == [0, 1, 2]
        assert values[-1] < values[0]
    assert experiment.logged("learning_rate").values == pytest.approx([0.1] * 3)
    assert experiment.logged("batch_loss").steps == list(range(12))
    counts = experiment.metrics().summary.event_types
    assert counts["crucible_train.epoch.stop"] == 3
    assert counts["crucible_train.batch.stop"] == 12
    assert counts["crucible_train.training.stop"] == 1
    assert counts["crucible_train.checkpoint.saved"] == 3


@pytest.mark.filterwarnings("ignore")
def test_training_that_raises_is_a_failed_job(
    experiment: crucible.Experiment, tmp_path: Path
) -> None:
    """An exception in a step ends the job as a failure, with its type."""
    lightning, model, loader = parts("lightning.pytorch")

    def broken(batch: Any, index: int = 0) -> None:
        raise RuntimeError("out of memory")

    model.training_step = broken
    with pytest.raises(RuntimeError):
        trainer(lightning, tmp_path, lightning_callback(experiment)).fit(model, loader)
    (event,) = experiment.events.query(name="crucible_train.training.exception")
    assert event.metadata["error"] == "RuntimeError"
