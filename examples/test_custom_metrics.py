"""Events of one's own: an agent's reasoning, its tools, a hedged request, and numbers.

Anything with a name can be an event. What ``record`` gets becomes a metric of that name.
"""

from __future__ import annotations

import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextvars import copy_context

import pytest
from assistant import ask
from fake_openai import ANSWERS, STALLS_MS
from openai import OpenAI

from pytest_crucible import Experiment, telemetry

PRIMARY, BACKUP = "oak-70b", "cedar-8b"
HEDGE_AFTER_MS = 60
STALLED = [question for _, question in STALLS_MS]
QUESTIONS = ["How many bits are in a byte?", "What is the square root of 144?", *STALLED]


def search(query: str) -> list[str]:
    """A tool: facts that share a long word with the query."""
    words = {word.strip("?'").lower() for word in query.split() if len(word) > 3}
    telemetry.execute("altar.tool.start", {"system_time": time.time_ns()}, {"tool_name": "search"})
    began = time.perf_counter_ns()
    found = [fact for fact in ANSWERS if words & set(fact.lower().strip("?").split())]
    telemetry.execute(
        "altar.tool.stop",
        {"duration": time.perf_counter_ns() - began, "results": len(found)},
        {"tool_name": "search", "cost": 0.0005},
    )
    return found


def hedge(client: OpenAI, question: str) -> str:
    """Ask the primary; if it takes long, ask the backup too and take the first answer."""
    models = {"primary_model": PRIMARY, "backup_model": BACKUP}
    telemetry.execute("hedging.request.start", {"system_time": time.time_ns()}, models)
    began = time.perf_counter_ns()
    with ThreadPoolExecutor() as pool:
        # copy_context() tells the thread which experiment it works for.
        asked = {pool.submit(copy_context().run, ask, client, PRIMARY, question): PRIMARY}
        done, _ = wait(asked, timeout=HEDGE_AFTER_MS / 1000)
        if not done:
            telemetry.execute("hedging.request.duplicated", {"delay_ms": HEDGE_AFTER_MS}, models)
            asked[pool.submit(copy_context().run, ask, client, BACKUP, question)] = BACKUP
            done, _ = wait(asked, return_when=FIRST_COMPLETED)
        first = done.pop()
        telemetry.execute(
            "hedging.request.stop",
            {"duration": time.perf_counter_ns() - began},
            {**models, "winner": asked[first]},
        )
        return first.result()


@pytest.mark.experiment(
    "custom_metrics",
    hypothesis="the agent looks things up, and hedges when its model stalls",
    tags=["agent", "hedging"],
    expect=["tests.failed <= 0", "hedged.total >= 1", "cost.total < 0.01"],
)
@pytest.mark.parametrize("question", QUESTIONS)
def test_agent(question: str, client: OpenAI, experiment: Experiment) -> None:
    facts = search(question)
    telemetry.execute(
        "causal_trace.event.created",
        {"confidence": 0.85 if facts else 0.4},
        {"event_type": "hypothesis_formed", "decision": "ask", "alternatives": ["answer", "ask"]},
    )
    answer = hedge(client, question)

    events = experiment.metrics().by_event
    hedged = "hedging.request.duplicated" in events
    experiment.record(confidence=0.85 if facts else 0.4, hedged=hedged)
    assert answer == ANSWERS[question]
    assert hedged or question not in STALLED
    assert events["altar.tool.stop"].cost.total == 0.0005
