"""anthropic, pydantic-ai, litellm and logfire, as they are, against the local server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from itertools import product
from typing import Any

import anthropic
import logfire
import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.bridges.support import capturing
from tests.clients.fake_models import Log
from tests.clients.support import (
    MESSAGES,
    agrees,
    async_client,
    client,
    configure_logfire,
    instrumented,
)

CLAUDE: Any = {"max_tokens": 10, "messages": MESSAGES}


# --- anthropic --------------------------------------------------------------------------------


@pytest.fixture(params=["native", "with OpenLLMetry"])
def claude(request: pytest.FixtureRequest, log: Log) -> Iterator[anthropic.Anthropic]:
    """The client with the spans of its own, and with an instrumentor that doubles them."""
    with ExitStack() as stack:
        if request.param != "native":
            from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor

            AnthropicInstrumentor().instrument()
            stack.callback(AnthropicInstrumentor().uninstrument)
        yield anthropic.Anthropic(base_url=log.url, api_key="local")


def test_anthropic_calls(claude: anthropic.Anthropic, log: Log) -> None:
    """Plain, streamed, with tools, with a cache and with retries: the server's own numbers."""
    with capturing() as captured:
        claude.messages.create(model="claude-cached", **CLAUDE)
        for _ in claude.messages.create(model="claude", stream=True, **CLAUDE):
            pass
        with claude.messages.stream(model="claude", **CLAUDE) as stream:
            stream.get_final_message()
        tool: Any = {"name": "look_up", "input_schema": {"type": "object"}}
        claude.messages.create(model="claude-tool", tools=[tool], **CLAUDE)
        claude.messages.create(
            model="claude-limited", max_tokens=10, messages=[{"role": "user", "content": "again"}]
        )
    assert len(log.answers) == len(log.good) + 1 == 6
    agrees(captured, log)
    first = captured.ends[0].measurements
    assert (first["cache_read_tokens"], first["cache_write_tokens"]) == (11, 3)


def test_anthropic_errors(claude: anthropic.Anthropic, log: Log) -> None:
    """A failure has the name of the client's exception."""
    with capturing() as captured, pytest.raises(anthropic.InternalServerError):
        claude.with_options(max_retries=0).messages.create(model="claude-broken", **CLAUDE)
    assert captured.calls == 1
    assert captured.group.errors == {"InternalServerError": 1}


def test_anthropic_at_once_and_cancelled(log: Log) -> None:
    """Twenty calls at once and one that is cancelled."""

    async def run() -> None:
        async with anthropic.AsyncAnthropic(base_url=log.url, api_key="local") as client:
            calls = (client.messages.create(model="claude", **CLAUDE) for _ in range(20))
            await asyncio.gather(*calls)
            slow = asyncio.ensure_future(client.messages.create(model="claude-slow", **CLAUDE))
            await asyncio.sleep(0.1)
            slow.cancel()
            await asyncio.gather(slow, return_exceptions=True)

    with capturing() as captured:
        asyncio.run(run())
    assert captured.calls == 21
    assert captured.tokens == log.tokens()
    assert captured.metrics.reliability.cancelled == 1
    assert captured.metrics.reliability.failed == 0


# --- pydantic-ai ------------------------------------------------------------------------------


@pytest.fixture
def agents() -> Iterator[None]:
    from pydantic_ai import Agent

    Agent.instrument_all()
    yield
    Agent.instrument_all(False)


def test_pydantic_ai_with_its_test_model(agents: None) -> None:
    """Two calls and a tool below one agent; the agent's sums are not added."""
    from pydantic_ai import Agent
    from pydantic_ai.models.test import TestModel

    agent = Agent(TestModel(), name="tester")

    @agent.tool_plain  # type: ignore[untyped-decorator, unused-ignore]
    def look_up(what: str) -> str:
        return "it"

    with capturing() as captured:
        result = agent.run_sync("hello")
    used = result.usage() if callable(result.usage) else result.usage
    assert captured.calls == 2
    assert captured.tokens == (used.input_tokens, used.output_tokens)
    assert [event.name for event in captured.ends] == [
        "req_llm.request.stop", "altar.tool.stop", "req_llm.request.stop",
        "crucible_framework.pipeline.stop",
    ]  # fmt: skip
    assert captured.metrics.reliability.total == 1


@pytest.mark.parametrize("below", [(), ("genai",), ("openllmetry", "openinference")], ids=str)
def test_pydantic_ai_over_openai(agents: None, below: tuple[str, ...], log: Log) -> None:
    """An agent over the real client, instrumented or not, counts each call once."""
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async def run() -> None:
        async with async_client(log) as client:
            model = OpenAIChatModel("m-tool", provider=OpenAIProvider(openai_client=client))
            agent = Agent(model, name="real")

            @agent.tool_plain  # type: ignore[untyped-decorator, unused-ignore]
            def look_up(what: str) -> str:
                return "it"

            await agent.run("hello")

    with instrumented(*below), capturing() as captured:
        asyncio.run(run())
    assert len(log.good) == 2
    assert captured.calls == 2
    assert captured.tokens == log.tokens()


# --- litellm ----------------------------------------------------------------------------------


@pytest.mark.parametrize("below", [(), ("genai",)], ids=str)
def test_litellm_through_openinference(below: tuple[str, ...], log: Log) -> None:
    """litellm's call and the openai client's below it are one."""
    import litellm
    from openinference.instrumentation.litellm import LiteLLMInstrumentor

    options: Any = {"messages": MESSAGES, "api_base": f"{log.url}/v1", "api_key": "local"}
    LiteLLMInstrumentor().instrument()
    try:
        with instrumented(*below), capturing() as captured:
            litellm.completion(model="openai/m-cached", **options)
            stream = litellm.completion(
                model="openai/m", stream=True, stream_options={"include_usage": True}, **options
            )
            list(stream)
    finally:
        LiteLLMInstrumentor().uninstrument()
    agrees(captured, log)


def test_litellms_own_callback(log: Log) -> None:
    """Its spans come later, from a thread without context, with the times of the call."""
    import litellm

    provider = TracerProvider(shutdown_on_exit=False)
    from opentelemetry import trace

    trace.set_tracer_provider(provider)
    options: Any = {"messages": MESSAGES, "api_base": f"{log.url}/v1", "api_key": "local"}

    async def ask(kind: str, asynchronous: bool, told: Callable[[], object]) -> None:
        model = f"openai/m{kind}"
        with suppress(litellm.exceptions.InternalServerError):
            if asynchronous:
                await litellm.acompletion(model=model, max_retries=0, **options)
            else:
                litellm.completion(model=model, max_retries=0, **options)
        for _ in range(200):
            if told():
                break
            await asyncio.sleep(0.05)

    lists = [
        "callbacks", "success_callback", "failure_callback", "_async_success_callback",
        "_async_failure_callback",
    ]  # fmt: skip
    with ExitStack() as stack:
        for name in lists:  # it spreads over all of them, and stays there
            stack.callback(setattr, litellm, name, list(getattr(litellm, name)))
        litellm.callbacks = ["otel"]
        # In one test: it keeps the first provider that it finds.
        for kind, asynchronous in product(("", "-broken"), (False, True)):
            before = len(log.good)
            with capturing() as captured:
                asyncio.run(ask(kind, asynchronous, partial(getattr, captured, "ends")))
            assert captured.calls == 1
            answers = log.good[before:]
            assert captured.tokens == (
                sum(each["input"] for each in answers), sum(each["output"] for each in answers)
            )  # fmt: skip
            assert captured.group.errors == ({"InternalServerError": 1} if kind else {})
            assert {end.metadata["operation"] for end in captured.ends} == {"chat"}


# --- logfire ----------------------------------------------------------------------------------


def test_logfire(log: Log) -> None:
    """Its streams are two spans and one call; its own exporter sees all of them as before."""
    exporter = InMemorySpanExporter()
    configure_logfire(additional_span_processors=[SimpleSpanProcessor(exporter)])
    with logfire.instrument_openai(), capturing() as captured:
        client(log).chat.completions.create(model="m-cached", messages=MESSAGES)
        for _ in range(2):
            stream = client(log).chat.completions.create(
                model="m", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            )
            list(stream)
        with pytest.raises(openai.InternalServerError):
            client(log, max_retries=0).chat.completions.create(model="m-broken", messages=MESSAGES)
    assert captured.calls == len(log.good) + 1
    assert captured.tokens == log.tokens()
    assert captured.group.errors == {"InternalServerError": 1}
    assert captured.ends[0].measurements["cache_read_tokens"] == log.answers[0]["input"] // 2
    assert (captured.metrics.latency.max or 0) > 20  # the data's time too, not the headers' only
    exported = [each.attributes or {} for each in exporter.get_finished_spans()]
    assert sum("gen_ai.system" in each for each in exported) == 6


def test_logfire_with_anthropics_own_spans(log: Log) -> None:
    """Three spans of one stream are one call."""
    configure_logfire()
    with logfire.instrument_anthropic(), capturing() as captured:
        claude = anthropic.Anthropic(base_url=log.url, api_key="local")
        claude.messages.create(model="claude-cached", **CLAUDE)
        for _ in claude.messages.create(model="claude", stream=True, **CLAUDE):
            pass
    agrees(captured, log)
    told = {end.metadata["instrumentation"] for end in captured.ends}
    assert told == {"com.anthropic.sdk.python", "logfire.anthropic"}
