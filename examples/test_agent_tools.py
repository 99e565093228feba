"""An agent with and without its tools: does the calculator help, and what is it called for?"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

import pytest
from assistant import ask
from openai import OpenAI

from pytest_crucible import Experiment, telemetry

SUMS = [(a, sign, b) for a in (17, 230) for sign in "+-*" for b in (4, 19, 53, 88)]
SIGNS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}


@telemetry.span("altar.tool", tool_name="calculator")
def calculate(a: int, sign: str, b: int) -> str:
    return str(SIGNS[sign](a, b))


def agent(client: OpenAI, question: str, tools: bool) -> str:
    """Ask the model; if it does not know, and there is something to calculate, use the tool."""
    with telemetry.span("agent.answer"):
        answer = ask(client, "cedar-8b", question)
        found = re.search(r"(\d+) ([-+*]) (\d+)", question)
        if tools and found and answer == "I don't know.":
            decision = {"event_type": "tool_chosen", "decision": "calculator"}
            telemetry.execute("causal_trace.event.created", {"confidence": 0.9}, decision)
            answer = calculate(int(found[1]), found[2], int(found[3]))
    return answer


@pytest.mark.experiment(
    "agent_tools",
    hypothesis="the agent answers sums once it has a calculator",
    conditions=("bare", "tools"),
    tags=["agent"],
    expect=["tools.success_rate >= 85%", "tools.success_rate > bare", "tools.calls.total <= 24"],
    validate="error",
)
@pytest.mark.parametrize(("a", "sign", "b"), SUMS)
def test_sum(a: int, sign: str, b: int, client: OpenAI, experiment: Experiment) -> None:
    answer = agent(client, f"What is {a} {sign} {b}?", tools=experiment.condition == "tools")
    calls = experiment.metrics().summary.event_types.get("altar.tool.stop", 0)
    experiment.record(calls=calls)
    assert answer == str(SIGNS[sign](a, b))
