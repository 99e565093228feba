"""Whole sessions with the real client, told to instrument it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.capture.fake_models import Log
from tests.session import support

ROOT = Path(__file__).parent.parent.parent

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


@pytest.mark.parametrize("client", ["openai", "auto"])
@pytest.mark.parametrize("mode", ["-n0", "-n2"])
def test_two_hundred_calls(pytester: pytest.Pytester, log: Log, client: str, mode: str) -> None:
    """Calls and tokens of 200 calls, 25 at once, are those of the server's own log."""
    pytester.makepyfile(f"URL = {log.url + '/v1'!r}\n{CONCURRENT}")
    result = pytester.runpytest_subprocess(
        *support.ARGUMENTS, "-p", "no:logfire", mode, f"--crucible-instrument={client}"
    )
    result.assert_outcomes(passed=8)
    assert len(log.good) == len(log.answers) == 200
    spending = support.only(pytester).spending["default"]
    metrics = support.only(pytester).metrics["default"]
    assert spending.calls == 200
    assert (metrics.tokens.total_prompt, metrics.tokens.total_completion) == log.tokens()
    assert {event.attribution for event in support.events(pytester)} == {"context"}


def test_it_is_instrumented_once(pytester: pytest.Pytester, log: Log) -> None:
    """A client that the application instruments itself is left alone, and stays so."""
    pytester.makepyfile(f"""
import openai, pytest
from opentelemetry.instrumentation.openai import OpenAIInstrumentor
OpenAIInstrumentor().instrument()

@pytest.mark.experiment("e")
def test_it():
    with openai.OpenAI(base_url={log.url + "/v1"!r}, api_key="local") as client:
        client.chat.completions.create(model="m", messages=[{{"role": "user", "content": "hi"}}])

def test_after():
    assert OpenAIInstrumentor().is_instrumented_by_opentelemetry
""")
    result = pytester.runpytest_subprocess(
        *support.ARGUMENTS, "-p", "no:logfire", "--crucible-instrument=auto"
    )
    result.assert_outcomes(passed=2)
    told = {event.metadata.get("instrumentation") for event in support.events(pytester)}
    assert told == {None, "opentelemetry.instrumentation.openai.v1"}  # None: the start
    assert support.only(pytester).spending["default"].calls == 1
