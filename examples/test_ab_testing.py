"""One model against three that vote: what does the reliability cost?"""

from __future__ import annotations

from collections import Counter

import pytest
from assistant import ask
from fake_openai import ANSWERS
from openai import APIError, OpenAI

from pytest_crucible import Experiment, telemetry

SINGLE = "alder-8b"
ENSEMBLE = ("alder-8b", "birch-8b", "cedar-8b")


def vote(client: OpenAI, question: str) -> str:
    """The answer that most models give; models that fail have no vote."""
    with telemetry.span("ensemble.prediction", models=ENSEMBLE, strategy="majority") as span:
        votes: Counter[str] = Counter()
        for model in ENSEMBLE:
            try:
                votes[ask(client, model, question)] += 1
            except APIError:
                continue
        agreement = votes.most_common(1)[0][1] / votes.total()
        telemetry.execute("ensemble.vote.completed", {"agreement": agreement})
        span.measure(models_succeeded=votes.total(), models_failed=len(ENSEMBLE) - votes.total())
        return votes.most_common(1)[0][0]


@pytest.mark.experiment(
    "single_vs_ensemble",
    hypothesis="three models that vote are more reliable than one",
    conditions=("control", "treatment"),
    trials=2,
    tags=["ab_test"],
    max_errors="20%",  # more than the usual 5 %: models that give no answer are what is measured
    expect=[
        "treatment.success_rate >= 95%",  # 12 questions cannot confirm this, however well it goes
        "treatment.success_rate > control",
        "treatment.cost.total <= 4 * control",
    ],
)
@pytest.mark.parametrize("question", ANSWERS)
def test_answer(question: str, client: OpenAI, experiment: Experiment) -> None:
    if experiment.condition == "control":
        answer = ask(client, SINGLE, question)
    else:
        answer = vote(client, question)
    assert answer == ANSWERS[question]
