"""Dialects: hand-made attributes of every instrumentation, one reading."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_crucible.bridges.genai import FinishedSpan, Reading, read


def reading(attributes: dict[str, Any], **span: Any) -> Reading:
    found = read(FinishedSpan("scope", attributes, start_ns=1_000, end_ns=5_000, **span))
    assert found is not None
    return found


GEN_AI = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt",
    "gen_ai.response.model": "gpt-1",
    "gen_ai.response.id": "r1",
    "gen_ai.response.finish_reasons": ("stop",),
    "gen_ai.usage.input_tokens": 10,
    "gen_ai.usage.output_tokens": 4,
    "gen_ai.usage.cache_read.input_tokens": 3,
    "gen_ai.usage.cache_write.input_tokens": 2,
    "gen_ai.usage.reasoning.output_tokens": 1,
    "gen_ai.response.time_to_first_chunk": 0.5,
}
OPENLLMETRY = {
    "gen_ai.operation.name": "chat",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt",
    "gen_ai.response.model": "gpt-1",
    "gen_ai.response.id": "r1",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 10,
    "gen_ai.usage.output_tokens": 4,
    "gen_ai.usage.cache_read.input_tokens": 3,
    "gen_ai.usage.cache_creation.input_tokens": 2,
    "gen_ai.usage.reasoning_tokens": 1,
}
OPENINFERENCE = {
    "openinference.span.kind": "LLM",
    "llm.system": "openai",
    "llm.model_name": "gpt-1",
    "llm.finish_reason": "stop",
    "llm.token_count.prompt": 10,
    "llm.token_count.completion": 4,
    "llm.token_count.total": 14,
    "llm.token_count.prompt_details.cache_read": 3,
    "llm.token_count.prompt_details.cache_write": 2,
    "llm.token_count.completion_details.reasoning": 1,
}
LOGFIRE = {
    **OPENLLMETRY,
    "gen_ai.provider.name": "openai",
    "gen_ai.response.finish_reasons": '["stop"]',
    "gen_ai.usage.raw": '{"prompt_tokens_details": {"cached_tokens": 3}, '
    '"completion_tokens_details": {"reasoning_tokens": 1}}',
}


@pytest.mark.parametrize(
    "attributes", [GEN_AI, OPENLLMETRY, OPENINFERENCE, LOGFIRE],
    ids=["gen_ai", "openllmetry", "openinference", "logfire"],
)  # fmt: skip
def test_every_dialect_is_one_record(attributes: dict[str, Any]) -> None:
    """Model, provider, finish reason and all kinds of tokens have one name each."""
    found = reading(attributes)
    assert found.name == "req_llm.request.stop"
    assert {
        key: found.measurements[key]
        for key in (
            "duration", "input_tokens", "output_tokens", "cache_read_tokens",
            "cache_write_tokens", "reasoning_tokens",
        )
    } == {
        "duration": 4_000, "input_tokens": 10, "output_tokens": 4, "cache_read_tokens": 3,
        "cache_write_tokens": 2, "reasoning_tokens": 1,
    }  # fmt: skip
    metadata = found.metadata
    assert (metadata["model"], metadata["provider"]) == ("gpt-1", "openai")
    assert (metadata["operation"], metadata["finish_reason"]) == ("chat", "stop")


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "t"}, "altar.tool.stop"),
        ({"openinference.span.kind": "TOOL", "tool.name": "t"}, "altar.tool.stop"),
        ({"traceloop.span.kind": "tool"}, "altar.tool.stop"),
        ({"gen_ai.operation.name": "invoke_agent"}, "crucible_framework.pipeline.stop"),
        ({"gen_ai.operation.name": "invoke_workflow"}, "crucible_framework.pipeline.stop"),
        ({"openinference.span.kind": "CHAIN"}, "crucible_framework.pipeline.stop"),
        ({"gen_ai.operation.name": "embeddings"}, "req_llm.request.stop"),
        ({"openinference.span.kind": "EMBEDDING"}, "req_llm.request.stop"),
        ({"llm.request.type": "chat"}, "req_llm.request.stop"),
        ({"gen_ai.system": "openai", "gen_ai.request.model": "m"}, "req_llm.request.stop"),
        ({"gen_ai.operation.name": "acompletion"}, "req_llm.request.stop"),
        (
            {"gen_ai.operation.name": "unheard of", "openinference.span.kind": "LLM"},
            "req_llm.request.stop",
        ),
    ],
)
def test_every_operation_has_its_event(attributes: dict[str, Any], name: str) -> None:
    """Inference, tools and agents are told apart in each dialect."""
    assert reading(attributes).name == name


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"http.method": "GET"},
        {"gen_ai.operation.name": "create_agent"},
        {"gen_ai.operation.name": "x", "gen_ai.system": "p", "gen_ai.request.model": "m"},
        {"gen_ai.operation.name": "x", "llm.request.type": "chat"},
        {"openinference.span.kind": "RERANKER"},
        {"gen_ai.request.model": "m"},
    ],
)
def test_other_spans_are_none_of_our_business(attributes: dict[str, Any]) -> None:
    """A span that is no inference, tool or agent is no event."""
    assert read(FinishedSpan("scope", attributes)) is None


@pytest.mark.parametrize(
    ("told", "operation"),
    [
        ("completion", "chat"), ("acompletion", "chat"), ("aresponses", "chat"),
        ("embedding", "embeddings"), ("aembedding", "embeddings"),
        ("atext_completion", "text_completion"), ("generate_content", "generate_content"),
    ],
)  # fmt: skip
def test_operations_have_one_name(told: str, operation: str) -> None:
    """litellm names its own functions; the record has the convention's names."""
    assert reading({"gen_ai.operation.name": told}).metadata["operation"] == operation


def test_aggregates_have_names_of_their_own() -> None:
    """An agent's sums, under old and new names, are never added to those of its calls."""
    for prefix in ("gen_ai.aggregated_usage", "gen_ai.usage"):
        found = reading({"gen_ai.operation.name": "invoke_agent", f"{prefix}.input_tokens": 100})
        assert "input_tokens" not in found.measurements
        assert found.measurements["aggregated_input_tokens"] == 100


@pytest.mark.parametrize(
    ("attributes", "events", "raised", "error"),
    [
        ({"error.type": "openai.RateLimitError"}, [], None, "RateLimitError"),
        ({}, [("exception", 1, {"exception.type": "a.b.Wrong"})], None, "Wrong"),
        ({"error.type": "error"}, [], "OverloadedError", "OverloadedError"),
        ({}, [], None, "error"),
    ],
)
def test_errors_have_the_clients_names(
    attributes: dict[str, Any], events: Any, raised: str | None, error: str
) -> None:
    """The error type comes from the attribute, the exception event, or what is being raised."""
    found = reading({**GEN_AI, **attributes}, failed=True, events=events, raised=raised)
    assert (found.name, found.metadata["error"]) == ("req_llm.request.exception", error)


@pytest.mark.parametrize(
    ("span", "attributes"),
    [
        ({"failed": True}, {"error.type": "asyncio.exceptions.CancelledError"}),
        ({"raised": "CancelledError"}, {}),
    ],
)
def test_cancelled_is_not_failed(span: Any, attributes: dict[str, Any]) -> None:
    """Whether the instrumentation calls it an error or knows nothing, a cancelled call is none."""
    found = reading({"gen_ai.operation.name": "chat", **attributes}, **span)
    assert found.name == "req_llm.request.exception"
    assert found.metadata["cancelled"] is True
    assert "error" not in found.metadata


def test_a_call_made_while_cancelled_is_a_call() -> None:
    """A call that brought an answer went well, whatever else is being raised."""
    assert reading(GEN_AI, raised="CancelledError").name == "req_llm.request.stop"


def test_texts_are_left_out() -> None:
    """No prompt, answer, argument or result gets into the record."""
    secret = {
        "gen_ai.input.messages": "SECRET", "gen_ai.output.messages": "SECRET",
        "input.value": "SECRET", "llm.input_messages.0.message.content": "SECRET",
        "gen_ai.tool.call.arguments": "SECRET", "gen_ai.tool.call.result": "SECRET",
        "gen_ai.system_instructions": "SECRET",
    }  # fmt: skip
    assert "SECRET" not in repr(reading({**GEN_AI, **secret}))


def test_a_stream_of_logfire_continues_another_span() -> None:
    """Its data comes in a span without length, which tells its duration in seconds."""
    found = reading({**LOGFIRE, "logfire.span_type": "log", "duration": 0.25})
    assert found.metadata["continues"] is True
    assert found.measurements["duration"] == 250_000_000


@pytest.mark.parametrize("value", ["text", None, True, [1], {"a": 1}])
def test_nonsense_is_no_number(value: Any) -> None:
    """An attribute of another type than expected is left out, and nothing raises."""
    found = reading({**GEN_AI, "gen_ai.usage.input_tokens": value})
    assert "input_tokens" not in found.measurements


def test_a_reported_cost_is_labelled() -> None:
    """A cost that the span itself tells is kept, with where it comes from."""
    found = reading({**GEN_AI, "operation.cost": 0.25})
    assert (found.measurements["cost_usd"], found.metadata["cost_source"]) == (0.25, "reported")


def test_the_model_of_a_failed_openinference_call() -> None:
    """Where only the parameters name the model, they are asked."""
    attributes = {"openinference.span.kind": "LLM", "llm.invocation_parameters": '{"model": "m"}'}
    assert reading(attributes, failed=True).metadata["model"] == "m"
