"""Whole sessions with the real client, told to instrument it."""

from __future__ import annotations

import importlib

import pytest

from tests.clients.fake_models import Log
from tests.clients.support import INSTRUMENTORS, instrumented
from tests.session import support

CONCURRENT = """
import asyncio, pytest, openai

M = [{"role": "user", "content": "hi"}]

@pytest.mark.experiment("e", trials=8)
def test_it():
    async def run():
        async with openai.AsyncOpenAI(base_url=URL, api_key="local") as client:
            def ask(number):
                return client.chat.completions.create(
                    model=f"m{number % 3}", messages=M + [{"role": "user", "content": "x" * number}]
                )
            await asyncio.gather(*(ask(number) for number in range(25)))
    asyncio.run(run())
"""


@pytest.mark.parametrize(
    ("mode", "client"), [("-n0", "openai"), ("-n0", "openai,openai"), ("-n2", "auto")]
)
def test_two_hundred_calls(pytester: pytest.Pytester, log: Log, client: str, mode: str) -> None:
    """Calls and tokens of 200 calls, 25 at once, are those of the server's own log."""
    pytester.makepyfile(f"URL = {log.url + '/v1'!r}\n{CONCURRENT}")
    arguments = [*support.ARGUMENTS, "-p", "no:logfire", mode, f"--crucible-instrument={client}"]
    with instrumented():
        result = pytester.runpytest_inprocess(*arguments)
        assert not importlib.import_module(INSTRUMENTORS["genai"]).OpenAIInstrumentor(
        ).is_instrumented_by_opentelemetry  # fmt: skip
    result.assert_outcomes(passed=8)
    assert len(log.good) == len(log.answers) == 200
    spending = support.only(pytester).spending["default"]
    metrics = support.only(pytester).metrics["default"]
    assert spending.calls == 200
    assert spending.merged == 0
    assert (metrics.tokens.total_prompt, metrics.tokens.total_completion) == log.tokens()
    events = support.events(pytester)
    assert {event.attribution for event in events} == {"context"}
    assert len(events) == 400
    told = {event.metadata.get("instrumentation") for event in events}
    assert told == {None, INSTRUMENTORS["genai"]}  # None: the start


@pytest.mark.parametrize("option", ["auto", "openai"])
def test_it_is_instrumented_once(pytester: pytest.Pytester, log: Log, option: str) -> None:
    """A client that the application instruments itself is left alone, and stays so."""
    pytester.makepyfile(f"""
import openai, pytest
from opentelemetry.instrumentation.openai import OpenAIInstrumentor

@pytest.mark.experiment("e", trials=2)
def test_it():
    with openai.OpenAI(base_url={log.url + "/v1"!r}, api_key="local") as client:
        client.chat.completions.create(model="m", messages=[{{"role": "user", "content": "hi"}}])

def test_after():
    assert OpenAIInstrumentor().is_instrumented_by_opentelemetry
""")
    with instrumented("openllmetry"):
        result = pytester.runpytest_inprocess(
            *support.ARGUMENTS, "-p", "no:logfire", f"--crucible-instrument={option}"
        )
        after = importlib.import_module(INSTRUMENTORS["openllmetry"]).OpenAIInstrumentor()
        assert after.is_instrumented_by_opentelemetry
    result.assert_outcomes(passed=3)
    told = {event.metadata.get("instrumentation") for event in support.events(pytester)}
    assert told == {None, "opentelemetry.instrumentation.openai.v1"}
    assert support.only(pytester).spending["default"].calls == 2
