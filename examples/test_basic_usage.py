"""The smallest experiment: a few requests, and what can be asked about them afterwards."""

from __future__ import annotations

import pytest
from assistant import ask
from fake_openai import ANSWERS
from openai import OpenAI

from pytest_crucible import Experiment


@pytest.mark.experiment(
    "basic_usage",
    hypothesis="five questions are answered for less than a cent",
    tags=["tutorial"],
    # Totals and counts are facts about this run. A rate would be an inference, and five requests
    # are far too few for one: `reliability.success_rate >= 99%` would stay INCONCLUSIVE.
    expect=["reliability.failed <= 0", "cost.total < 0.01", "tokens.total < 500"],
)
def test_requests_are_measured(client: OpenAI, experiment: Experiment) -> None:
    questions = list(ANSWERS)[:5]
    answers = [ask(client, "cedar-8b", question) for question in questions]
    assert answers == [ANSWERS[question] for question in questions]

    metrics = experiment.metrics()
    assert metrics.summary.total_events == 10  # each request starts and stops
    assert metrics.summary.event_types == {"req_llm.request.start": 5, "req_llm.request.stop": 5}
    assert metrics.reliability.successful == metrics.cost.count == 5
    assert metrics.latency.count == 1  # of the trial; those of the requests are told by event
    assert metrics.by_event["req_llm.request.stop"].latency.count == 5
    assert metrics.tokens.total == sum(
        event.measurements["input_tokens"] + event.measurements["output_tokens"]
        for event in experiment.events
        if event.name == "req_llm.request.stop"
    )
