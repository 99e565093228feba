"""Errors, rate limits, caches, cancelled calls, hedges and ensembles, over every library."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from typing import Any

import anthropic
import logfire
import pytest

from pytest_crucible import telemetry
from tests.bridges.support import capturing
from tests.clients.fake_models import Log
from tests.clients.support import MESSAGES, agrees, async_client, configure_logfire, instrumented

Ask = Callable[..., Coroutine[Any, Any, None]]
"""Asks a model, by how it behaves (``-broken``, …); ``retries`` of the client."""

QUESTION = "hi there"


def pydantic_ai(log: Log, stack: ExitStack) -> Ask:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    Agent.instrument_all()
    stack.callback(Agent.instrument_all, False)

    async def ask(kind: str, retries: int = 0) -> None:
        async with async_client(log, max_retries=retries) as client:
            provider = OpenAIProvider(openai_client=client)
            agent = Agent(OpenAIChatModel(f"m{kind}", provider=provider), name="agent")
            await agent.run(QUESTION)

    return ask


def litellm(log: Log, stack: ExitStack) -> Ask:
    import litellm
    from openinference.instrumentation.litellm import LiteLLMInstrumentor

    LiteLLMInstrumentor().instrument()
    stack.callback(LiteLLMInstrumentor().uninstrument)

    async def ask(kind: str, retries: int = 0) -> None:
        await litellm.acompletion(
            model=f"openai/m{kind}", messages=MESSAGES, api_base=f"{log.url}/v1",
            api_key="local", max_retries=retries,
        )  # fmt: skip

    return ask


def openai(log: Log, stack: ExitStack) -> Ask:
    async def ask(kind: str, retries: int = 0) -> None:
        async with async_client(log, max_retries=retries) as client:
            await client.chat.completions.create(model=f"m{kind}", messages=MESSAGES)

    return ask


def through_logfire(log: Log, stack: ExitStack) -> Ask:
    configure_logfire()
    stack.enter_context(logfire.instrument_openai())
    return openai(log, stack)


def claude(log: Log, stack: ExitStack) -> Ask:
    async def ask(kind: str, retries: int = 0) -> None:
        async with anthropic.AsyncAnthropic(
            base_url=log.url, api_key="local", max_retries=retries
        ) as client:
            await client.messages.create(model=f"c{kind}", max_tokens=10, messages=MESSAGES)

    return ask


def claude_twice(log: Log, stack: ExitStack) -> Ask:
    from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor

    AnthropicInstrumentor().instrument()
    stack.callback(AnthropicInstrumentor().uninstrument)
    return claude(log, stack)


@pytest.fixture(
    params=[
        (pydantic_ai,), (pydantic_ai, "genai"), (litellm,), (litellm, "genai"),
        (through_logfire,), (through_logfire, "genai"), (claude,), (claude_twice,),
        (openai, "genai"), (openai, "openinference"), (openai, "openllmetry"),
    ],
    ids=lambda param: "+".join(str(getattr(each, "__name__", each)) for each in param),
)  # fmt: skip
def ask(request: pytest.FixtureRequest, log: Log) -> Iterator[Ask]:
    """One library, with nothing or an instrumentor below it."""
    make, *below = request.param
    with ExitStack() as stack:
        stack.enter_context(instrumented(*below))
        yield make(log, stack)


async def until_asked(log: Log, requests: int = 1) -> None:
    """Wait until the server has the request, so that the span has begun."""
    for _ in range(1000):
        if log.arrived >= requests:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("no request arrived")


def test_an_error_is_one_failure(ask: Ask, log: Log) -> None:
    """However many spans tell of it, with a name that the client gave it."""

    async def run() -> None:
        with pytest.raises(Exception, match=r"500|broke"):
            await ask("-broken")

    with capturing() as captured:
        asyncio.run(run())
    reliability = captured.metrics.reliability
    assert captured.calls == 1
    assert (reliability.total, reliability.failed, reliability.cancelled) == (1, 1, 0)
    (error,) = captured.group.errors
    assert error.endswith("ServerError")


def test_a_rate_limit_with_retries_is_one_call(ask: Ask, log: Log) -> None:
    """The refused request is no failure, and the tokens are those of the answer."""
    with capturing() as captured:
        asyncio.run(ask("-limited", retries=2))
    assert [answer["status"] for answer in log.answers] == [429, 200]
    agrees(captured, log)
    assert captured.metrics.reliability.total == captured.metrics.latency.count == 1


def test_cached_tokens(ask: Ask, log: Log) -> None:
    """They are told, and are part of the input."""
    with capturing() as captured:
        asyncio.run(ask("-cached"))
    agrees(captured, log)
    told = [end.measurements for end in captured.ends if end.name == "req_llm.request.stop"]
    (cached,) = {each["cache_read_tokens"] for each in told}
    assert 0 < cached < log.answers[0]["input"]


def test_a_cancelled_call(ask: Ask, log: Log) -> None:
    """It is one, and neither a success nor a failure."""

    async def run() -> None:
        slow = asyncio.ensure_future(ask("-slow"))
        await until_asked(log)
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)

    with capturing() as captured:
        asyncio.run(run())
    reliability = captured.metrics.reliability
    assert captured.calls == 1
    assert (reliability.successful, reliability.failed, reliability.cancelled) == (0, 0, 1)


def test_a_hedge(ask: Ask, log: Log) -> None:
    """On our bus the hedge is one operation that went well; below it are two calls."""

    async def run() -> None:
        with telemetry.span("hedging.request"):
            slow = asyncio.ensure_future(ask("-slow"))
            await until_asked(log)
            await ask("")
            slow.cancel()
            await asyncio.gather(slow, return_exceptions=True)

    with capturing() as captured:
        asyncio.run(run())
    reliability = captured.metrics.reliability
    assert captured.calls == 2
    assert captured.tokens == log.tokens()
    assert (reliability.total, reliability.successful, reliability.cancelled) == (1, 1, 0)


def test_an_ensemble(ask: Ask, log: Log) -> None:
    """Three at once below a span of our bus: one operation, three calls, the server's tokens."""

    async def run() -> None:
        with telemetry.span("ensemble.prediction"):
            await asyncio.gather(*(ask("") for _ in range(3)))
        telemetry.execute("ensemble.vote.completed", {"votes": 3})

    with capturing() as captured:
        asyncio.run(run())
    agrees(captured, log)
    assert captured.calls == 3
    assert captured.metrics.reliability.total == 1
