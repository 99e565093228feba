"""The fixture as a test uses it."""

from __future__ import annotations

from typing import assert_type

import pytest

import pytest_crucible as crucible
from pytest_crucible import Experiment, JSONLMetrics


@pytest.mark.experiment("prompt", conditions=("short", "long"), trials=3, budget_usd=1.0)
def test_it(experiment: Experiment, tmp_path: object) -> None:
    assert_type(experiment.name, str)
    assert_type(experiment.case_id, str | None)
    assert_type(experiment.trial, int | None)
    assert_type(experiment.duration_s, float)
    assert_type(experiment.child_env(), dict[str, str])
    experiment.execute("llm.stop", {"duration": 5})
    experiment.log_to(JSONLMetrics("metrics.jsonl"))
    with crucible.paused(experiment):
        assert experiment.status == "paused"
    with crucible.Training(experiment, model_name="small") as training:
        training.epoch_start(1)
        training.epoch_stop(loss=0.5)
