"""The Hugging Face callback, under ``Trainer`` with a model made here (`make training`)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import pytest_crucible as crucible
from pytest_crucible.integrations.transformers import transformers_callback


def test_without_transformers_the_error_says_what_to_install(
    experiment: crucible.Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking for the callback where transformers is missing is one line with the pip install."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(crucible.MissingExtraError, match=r"needs: pip install transformers$"):
        transformers_callback(experiment)


@pytest.mark.filterwarnings("ignore")  # torch's about pinned memory
def test_train_logs_by_global_step(
    experiment: crucible.Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the trainer logs becomes curves by its global step; checkpoints are events."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers = pytest.importorskip("transformers", reason="make training installs transformers")
    pytest.importorskip("accelerate")
    transformers.set_seed(0)
    config = transformers.GPT2Config(
        vocab_size=16, n_positions=8, n_embd=8, n_layer=1, n_head=1, bos_token_id=0, eos_token_id=0
    )
    rows = [{"input_ids": [i % 16] * 8, "labels": [i % 16] * 8} for i in range(32)]
    arguments = transformers.TrainingArguments(
        output_dir=tmp_path, num_train_epochs=3, per_device_train_batch_size=8, logging_steps=2,
        eval_strategy="epoch", save_strategy="epoch", report_to=[], use_cpu=True,
        learning_rate=0.1, disable_tqdm=True,
    )  # fmt: skip
    trainer = transformers.Trainer(
        model=transformers.GPT2LMHeadModel(config), args=arguments, train_dataset=rows,
        eval_dataset=rows, callbacks=[transformers_callback(experiment)],
    )  # fmt: skip
    trainer.train()

    steps, losses = experiment.logged("loss")
    assert steps == [2, 4, 6, 8, 10, 12]
    assert losses[-1] < losses[0]
    assert experiment.logged("eval_loss").steps == [4, 8, 12]
    assert len(experiment.logged("learning_rate").steps) == 6
    assert "epoch" not in experiment.metrics().logged
    counts = experiment.metrics().summary.event_types
    assert counts["crucible_train.epoch.stop"] == 3
    assert counts["crucible_train.training.stop"] == 1
    saved = experiment.events.query(name="crucible_train.checkpoint.saved")
    assert [Path(each.metadata["checkpoint_path"]).is_dir() for each in saved] == [True] * 3
