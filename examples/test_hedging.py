"""Hedging: if the model stalls, ask another one too, and take whichever answers first."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextvars import copy_context

import pytest
from assistant import ask
from fake_openai import ANSWERS, STALLS_MS
from openai import OpenAI

from pytest_crucible import Experiment, telemetry

PRIMARY, BACKUP = "oak-70b", "cedar-8b"
HEDGE_AFTER_MS = 80
LONGEST_STALL_MS = max(STALLS_MS.values())


def hedge(client: OpenAI, question: str) -> str:
    """The answer of the primary, or of the backup if the primary has none in time."""
    models = {"primary_model": PRIMARY, "backup_model": BACKUP}
    with ThreadPoolExecutor() as pool:
        # The span ends with the first answer. Leaving the pool waits for the other one as well:
        # it has to be paid, so its cost belongs to this trial.
        with telemetry.span("hedging.request", models) as span:
            # copy_context() tells the thread which experiment and which span it works for.
            asked = {pool.submit(copy_context().run, ask, client, PRIMARY, question): "primary"}
            done, _ = wait(asked, timeout=HEDGE_AFTER_MS / 1000)
            if not done:
                telemetry.execute(
                    "hedging.request.duplicated", {"delay_ms": HEDGE_AFTER_MS}, models
                )
                asked[pool.submit(copy_context().run, ask, client, BACKUP, question)] = "backup"
                done, _ = wait(asked, return_when=FIRST_COMPLETED)
            first = done.pop()
            span.annotate(winner=asked[first])
        return first.result()


@pytest.mark.experiment(
    "hedging",
    hypothesis="hedging takes the stalls away, and is paid for only when it is needed",
    conditions=("single", "hedged"),
    tags=["hedging"],
    # Extremes and totals are facts about this run. What hedging does to the p95 of one stall in
    # twelve would need far more questions.
    expect=[
        f"single.waited_ms.max >= {LONGEST_STALL_MS:g}",
        f"hedged.waited_ms.max < {LONGEST_STALL_MS:g}",
        "hedged.duplicated.total <= 6",
        "hedged.cost.total <= 1.5 * single",
    ],
    validate="error",
)
@pytest.mark.parametrize("question", ANSWERS)
def test_answer(question: str, client: OpenAI, experiment: Experiment) -> None:
    if experiment.condition == "single":
        answer, waited_for = ask(client, PRIMARY, question), "req_llm.request.stop"
    else:
        answer, waited_for = hedge(client, question), "hedging.request.stop"
    events = experiment.metrics().by_event
    waited_ms = events[waited_for].latency.max
    assert waited_ms is not None
    experiment.record(waited_ms=waited_ms, duplicated="hedging.request.duplicated" in events)
    assert answer == ANSWERS[question]
