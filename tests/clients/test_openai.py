"""The real openai client, under each of its instrumentations and under all of them at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import openai
import pytest

from tests.bridges.support import capturing
from tests.clients.fake_models import Log
from tests.clients.support import (
    MESSAGES,
    agrees,
    async_client,
    client,
    instrumented,
)

TOOLS: Any = [
    {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
]


@pytest.fixture(
    params=[
        ("genai",), ("openinference",), ("openllmetry",),
        ("genai", "openllmetry"), ("openllmetry", "openinference"),
        ("genai", "openinference", "openllmetry"),
    ],
    ids="+".join,
)  # fmt: skip
def source(request: pytest.FixtureRequest) -> Iterator[tuple[str, ...]]:
    """What tells of the calls; the outermost last."""
    with instrumented(*request.param):
        yield request.param


def test_plain_calls(source: tuple[str, ...], log: Log) -> None:
    """A call is one call with the server's tokens, model, provider and finish reason."""
    with capturing() as captured:
        client(log).chat.completions.create(model="m-cached", messages=MESSAGES)
    agrees(captured, log)
    for end in captured.ends:
        assert end.name == "req_llm.request.stop"
        assert (end.metadata["model"], end.metadata["provider"]) == ("m-cached", "openai")
        assert end.metadata["finish_reason"] == "stop"
        assert end.measurements["cache_read_tokens"] == log.answers[0]["input"] // 2
        assert end.measurements["reasoning_tokens"] == 2
        assert "hi there" not in repr(end)
        assert "answer" not in repr(end)


def test_streams(source: tuple[str, ...], log: Log) -> None:
    """A stream that tells its usage is counted whole, with the time to its first chunk."""
    with capturing() as captured:
        for _ in range(3):
            stream = client(log).chat.completions.create(
                model="m", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            )
            assert sum(1 for _ in stream) == 4
    agrees(captured, log)
    assert all(end.measurements["time_to_first_chunk"] > 0 for end in captured.ends)


def test_a_stream_without_usage_is_counted_but_unpriced(source: tuple[str, ...], log: Log) -> None:
    """Without include_usage nobody knows the tokens, and nobody makes them up."""
    with capturing() as captured:
        stream = client(log).chat.completions.create(model="m", messages=MESSAGES, stream=True)
        list(stream)
    assert captured.calls == 1
    assert captured.tokens == (0, 0)
    assert captured.group.calls.unpriced == {"no tokens reported": 1}


def test_tools(source: tuple[str, ...], log: Log) -> None:
    """Asking for a tool is a call like any other."""
    with capturing() as captured:
        client(log).chat.completions.create(model="m-tool", messages=MESSAGES, tools=TOOLS)
    agrees(captured, log)
    assert captured.ends[0].metadata["finish_reason"].startswith("tool_call")


def test_retries_are_one_call(source: tuple[str, ...], log: Log) -> None:
    """A call that the client repeats after a 429 is one call, and its waiting is its latency."""
    with capturing() as captured:
        client(log).chat.completions.create(model="m-limited", messages=MESSAGES)
    assert [answer["status"] for answer in log.answers] == [429, 200]
    agrees(captured, log)


def test_errors(source: tuple[str, ...], log: Log) -> None:
    """A failed call is one failure, named by the client's exception."""
    with capturing() as captured, pytest.raises(openai.InternalServerError):
        client(log, max_retries=0).chat.completions.create(model="m-broken", messages=MESSAGES)
    assert captured.calls == 1
    assert captured.metrics.reliability.failed == 1
    assert captured.group.errors == {"InternalServerError": 1}
    assert {end.metadata["error"] for end in captured.ends} == {"InternalServerError"}


def test_embeddings(source: tuple[str, ...], log: Log) -> None:
    """Embeddings count, with input tokens only."""
    with capturing() as captured:
        client(log).embeddings.create(model="e", input="hello")
    assert captured.calls == 1
    assert captured.tokens == (log.answers[0]["input"], 0)
    assert {end.metadata["operation"] for end in captured.ends} == {"embeddings"}


def test_async_calls_at_once(source: tuple[str, ...], log: Log) -> None:
    """Fifty calls at once, half of them streams, are fifty calls."""

    async def one(client: openai.AsyncOpenAI, number: int) -> None:
        if number % 2:
            await client.chat.completions.create(model="m", messages=MESSAGES)
        else:
            stream = await client.chat.completions.create(
                model="m", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
            )
            async for _ in stream:
                pass

    async def all_of_them() -> None:
        async with async_client(log) as client:
            await asyncio.gather(*(one(client, number) for number in range(50)))

    with capturing() as captured:
        asyncio.run(all_of_them())
    agrees(captured, log)


def test_the_loser_of_a_hedge_is_cancelled(source: tuple[str, ...], log: Log) -> None:
    """The slower of two calls is cancelled: neither a failure nor lost, one call each."""

    async def hedge() -> None:
        async with async_client(log, max_retries=0) as client:
            calls = [
                asyncio.ensure_future(
                    client.chat.completions.create(model=model, messages=MESSAGES)
                )
                for model in ("m-slow", "m")
            ]
            _, losers = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            for loser in losers:
                loser.cancel()
            await asyncio.gather(*losers, return_exceptions=True)

    with capturing() as captured:
        asyncio.run(hedge())
    reliability = captured.metrics.reliability
    assert captured.calls == 2
    assert (reliability.successful, reliability.failed, reliability.cancelled) == (1, 0, 1)


def test_threads(source: tuple[str, ...], log: Log) -> None:
    """Threads with context are exact; bare ones go to the only experiment that is open."""
    shared = client(log)

    def ask() -> None:
        shared.chat.completions.create(model="m", messages=MESSAGES)

    with capturing() as captured, ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(copy_context().run, ask) for _ in range(4)]:
            future.result()
        for future in [pool.submit(ask) for _ in range(4)]:
            future.result()
    agrees(captured, log)
    ways = [event.attribution for event in captured.events]
    assert ways.count("context") == len(ways) // 2
    # Of several instrumentations, only the outermost span has none above it to tell.
    assert set(ways) - {"parent"} == {"context", "sole"}


def test_an_ensemble_on_our_bus(source: tuple[str, ...], log: Log) -> None:
    """A span of the bus around three calls is one operation; what they spent is theirs."""
    from pytest_crucible import telemetry

    with capturing() as captured, telemetry.span("ensemble.prediction"):
        for _ in range(3):
            client(log).chat.completions.create(model="m", messages=MESSAGES)
    assert captured.calls == 3
    assert captured.tokens == log.tokens()
    assert captured.metrics.reliability.total == 1
