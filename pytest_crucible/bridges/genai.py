"""Dialects: translates the finished spans of instrumentations into our events.

It reads OpenTelemetry's ``gen_ai.*`` conventions in their older and newer spellings, and the
variants of OpenLLMetry, OpenInference (``llm.*``), logfire, pydantic-ai and litellm. It reads only
the attributes named here, and none of them holds the text of a prompt or an answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

INFERENCE, TOOL, PIPELINE = "req_llm.request", "altar.tool", "crucible_framework.pipeline"

CANCELLATIONS = frozenset({"CancelledError", "Cancelled", "KeyboardInterrupt", "GeneratorExit"})
"""Errors that mean "stopped from outside": the losing call of a hedge is cancelled, not failed."""

_CHAT, _EMBEDDINGS = ("chat", INFERENCE), ("embeddings", INFERENCE)
_OPERATIONS = {
    "chat": _CHAT, "embeddings": _EMBEDDINGS, "text_completion": ("text_completion", INFERENCE),
    "generate_content": ("generate_content", INFERENCE), "execute_tool": ("execute_tool", TOOL),
    "invoke_agent": ("invoke_agent", PIPELINE), "invoke_workflow": ("invoke_workflow", PIPELINE),
    # litellm's own callback gives the name of the called function.
    "completion": _CHAT, "acompletion": _CHAT, "responses": _CHAT, "aresponses": _CHAT,
    "anthropic_messages": _CHAT, "atext_completion": ("text_completion", INFERENCE),
    "embedding": _EMBEDDINGS, "aembedding": _EMBEDDINGS,
}  # fmt: skip
_OPENINFERENCE = {
    "LLM": _CHAT, "EMBEDDING": _EMBEDDINGS,
    "TOOL": ("execute_tool", TOOL),
    "AGENT": ("invoke_agent", PIPELINE), "CHAIN": ("invoke_workflow", PIPELINE),
}  # fmt: skip
_TRACELOOP = {
    "tool": ("execute_tool", TOOL),
    "agent": ("invoke_agent", PIPELINE), "workflow": ("invoke_workflow", PIPELINE),
}  # fmt: skip

# Of several names that a span has, the first here wins: the current convention, then older ones,
# then other vendors' names.
_NUMBERS = {
    "input_tokens": (
        "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt",
        "llm.usage.prompt_tokens",
    ),
    "output_tokens": (
        "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens",
        "llm.token_count.completion", "llm.usage.completion_tokens",
    ),
    "cache_read_tokens": (
        "gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.details.cache_read_tokens", "llm.token_count.prompt_details.cache_read",
    ),
    "cache_write_tokens": (
        "gen_ai.usage.cache_write.input_tokens", "gen_ai.usage.cache_creation.input_tokens",
        "gen_ai.usage.cache_creation_input_tokens", "gen_ai.usage.details.cache_write_tokens",
        "llm.token_count.prompt_details.cache_write",
    ),
    "reasoning_tokens": (
        "gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens",
        "gen_ai.usage.details.reasoning_tokens", "llm.token_count.completion_details.reasoning",
    ),
    "cost_usd": (
        "gen_ai.usage.cost", "gen_ai.cost.total_cost", "operation.cost", "llm.cost.total",
    ),
}  # fmt: skip
_AGGREGATES = {
    "aggregated_input_tokens": ("gen_ai.aggregated_usage.input_tokens",),
    "aggregated_output_tokens": ("gen_ai.aggregated_usage.output_tokens",),
}
_TEXTS = {
    "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system"),
    "model": (
        "gen_ai.response.model", "gen_ai.request.model", "llm.model_name", "embedding.model_name",
        "model_name",
    ),
    "request_model": ("gen_ai.request.model",),
    "response_id": ("gen_ai.response.id",),
    "finish_reason": (
        "gen_ai.response.finish_reasons", "llm.finish_reason", "anthropic.message.stop_reason",
    ),
    "tool_name": ("gen_ai.tool.name", "tool.name"),
    "tool_call_id": ("gen_ai.tool.call.id", "tool_call.id"),
    "agent_name": ("gen_ai.agent.name", "agent.name", "agent_name"),
    "session_id": ("gen_ai.conversation.id", "session.id"),
    "server": ("server.address",),
    "status_code": ("http.response.status_code",),
    "resend_count": ("http.request.resend_count",),
}  # fmt: skip
# By name of the attribute: the fields that it may fill, and its rank there (0 wins). A span has ten
# attributes and we know fifty: asking a span for ours took 30 µs, looking up its own takes 3 µs.
_FIELDS: dict[str, list[tuple[str, int]]] = {}
for _table in (_NUMBERS, _AGGREGATES, _TEXTS):
    for _field, _names in _table.items():
        for _rank, _name in enumerate(_names):
            _FIELDS.setdefault(_name, []).append((_field, _rank))
_NUMBERS_OF: Mapping[str, Mapping[str, object]] = {
    INFERENCE: _NUMBERS, PIPELINE: _AGGREGATES, TOOL: {},
}  # fmt: skip
_FIRST_CHUNK_EVENTS = ("First Token Stream Event", "gen_ai.content.completion.chunk")
_VAGUE_ERRORS = frozenset({"error", "_OTHER", "api_error"})
_MAX_NUMBER = 2**53  # too large for tokens or times; floats beyond it are not exact
_MAX_TEXT = 500  # characters; longer texts are not names

Attributes = Mapping[str, Any]


# Tuples, not dataclasses: every span makes one of each, and a frozen dataclass takes 1.5 µs.
class FinishedSpan(NamedTuple):
    """The data of a span that we read, whatever made the span.

    Attributes:
        scope: name of the instrumentation.
        attributes: of the span.
        events: of the span: name, time in ns and attributes.
        failed: whether its status is ERROR.
        start_ns, end_ns: wall time in ns since the epoch.
        raised: type of the exception that was being raised when the span ended, if any.
    """

    scope: str
    attributes: Attributes
    events: Sequence[tuple[str, int, Attributes]] = ()
    failed: bool = False
    start_ns: int = 0
    end_ns: int = 0
    raised: str | None = None


class Reading(NamedTuple):
    """A span as an event: its name, measurements and metadata."""

    name: str
    measurements: dict[str, Any]
    metadata: dict[str, Any]


def operation_of(attributes: Attributes) -> tuple[str, str] | None:
    """Return a span's operation and the event's name without ``.start`` / ``.stop``.

    None for a span that becomes no event: it is no inference, tool or agent.
    """
    operation = attributes.get("gen_ai.operation.name")
    event = _OPERATIONS.get(operation) if isinstance(operation, str) else None
    if event is not None:
        return event
    kind = attributes.get("openinference.span.kind")
    if isinstance(kind, str):
        return _OPENINFERENCE.get(kind.upper())
    kind = attributes.get("traceloop.span.kind")
    if isinstance(kind, str):
        return _TRACELOOP.get(kind)
    if isinstance(operation, str):
        return None  # it names its operation, and it is not one of ours
    kind = attributes.get("llm.request.type")  # OpenLLMetry before 0.50
    if isinstance(kind, str):
        return _EMBEDDINGS if kind == "embedding" else _CHAT
    if "gen_ai.request.model" in attributes and _first(attributes, _TEXTS["provider"]) is not None:
        return _CHAT  # logfire before 4
    return None


def read(span: FinishedSpan) -> Reading | None:
    """Translate a finished span into an event; None if it is no inference, tool or agent."""
    event = operation_of(span.attributes)
    if event is None:
        return None
    operation, prefix = event
    metadata: dict[str, Any] = {"operation": operation, "instrumentation": span.scope}
    measurements: dict[str, Any] = {}
    if span.end_ns >= span.start_ns:  # else the clock was set back: the duration is unknown
        measurements["duration"] = span.end_ns - span.start_ns
    fields = _fields(span.attributes)
    if prefix is PIPELINE:
        # An agent's tokens are the sum over its calls, which are events themselves. They get other
        # names, so that nothing adds them up twice.
        for key in _AGGREGATES:
            fields.setdefault(key, fields.get(key.removeprefix("aggregated_")))
    numbers = _NUMBERS_OF[prefix]
    for key, value in fields.items():
        if key in _TEXTS:
            metadata[key] = _one(value)
        elif key in numbers and (number := _number(value)) is not None:
            measurements[key] = number
    if prefix is INFERENCE:
        _add_usage(measurements, metadata, span)
    outcome = _outcome(metadata, measurements, span)
    return Reading(f"{prefix}.{outcome}", measurements, metadata)


def _add_usage(measurements: dict[str, Any], metadata: dict[str, Any], span: FinishedSpan) -> None:
    attributes = span.attributes
    if "cost_usd" in measurements:
        metadata["cost_source"] = "reported"
    if "model" not in metadata:
        model = _parsed(attributes.get("llm.invocation_parameters")).get("model")
        if isinstance(model, str):
            metadata["model"] = model
    if "gen_ai.usage.raw" in attributes:  # logfire puts the details there
        _add_raw(measurements, _parsed(attributes["gen_ai.usage.raw"]))
    first_chunk_s = _number(attributes.get("gen_ai.response.time_to_first_chunk"))
    if first_chunk_s is not None:
        measurements["time_to_first_chunk"] = int(first_chunk_s * 1e9)
    else:
        for name, time_ns, _ in span.events:
            if name in _FIRST_CHUNK_EVENTS:
                measurements["time_to_first_chunk"] = max(0, time_ns - span.start_ns)
                break
    if attributes.get("logfire.span_type") == "log" and "duration" in attributes:
        # logfire ends the span of a stream at the headers. A second span of length zero follows the
        # data; its attribute ``duration`` says in seconds how long the data took.
        metadata["continues"] = True
        measurements["duration"] = int((_number(attributes["duration"]) or 0.0) * 1e9)


def _fields(attributes: Attributes) -> dict[str, Any]:
    """Return the attributes that we know, by our names; of several spellings the newest wins."""
    fields: dict[str, Any] = {}
    ranks: dict[str, int] = {}
    for name, value in attributes.items():
        for field, rank in _FIELDS.get(name, ()):
            if value is not None and rank < ranks.get(field, 99):
                fields[field], ranks[field] = value, rank
    return fields


def _add_raw(measurements: dict[str, Any], raw: Mapping[str, Any]) -> None:
    prompt = _within(raw, "prompt_tokens_details", "input_tokens_details")
    completion = _within(raw, "completion_tokens_details", "output_tokens_details")
    details: dict[str, Callable[[], Any]] = {
        "cache_read_tokens": lambda: raw.get(
            "cache_read_input_tokens", prompt.get("cached_tokens")
        ),
        "cache_write_tokens": lambda: raw.get("cache_creation_input_tokens"),
        "reasoning_tokens": lambda: completion.get("reasoning_tokens"),
    }
    for key, get in details.items():
        value = _number(get())
        if value is not None:
            measurements.setdefault(key, value)


def _within(raw: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    for key in keys:
        if isinstance(raw.get(key), dict) and raw[key]:
            return raw[key]  # type: ignore[no-any-return]
    return {}


def _outcome(metadata: dict[str, Any], measurements: Mapping[str, Any], span: FinishedSpan) -> str:
    error = _error(span)
    answered = "response_id" in metadata or "output_tokens" in measurements
    # Some instrumentations catch only `Exception`: their span of a cancelled call looks like that
    # of a successful call without an answer. The exception that was being raised when the span
    # ended tells them apart.
    stopped = span.raised in CANCELLATIONS and not answered and not span.failed
    if error in CANCELLATIONS or (stopped and error is None):
        metadata["cancelled"] = True
        metadata["kind"] = error if error in CANCELLATIONS else span.raised
        return "exception"
    if error is not None:
        metadata["error"] = error
        return "exception"
    return "stop"


def _error(span: FinishedSpan) -> str | None:
    named = span.attributes.get("error.type") or None
    if not span.failed and named is None:
        return None
    error = None if named is None else _short(str(named))
    if error is None or error in _VAGUE_ERRORS:
        for name, _, attributes in span.events:
            if name == "exception" and attributes.get("exception.type"):
                error = _short(str(attributes["exception.type"]))
    if (error is None or error in _VAGUE_ERRORS) and span.raised:
        error = span.raised
    return error or "error"


def _short(error: str) -> str:
    """Remove the module: ``openai.RateLimitError`` and ``RateLimitError`` are the same error."""
    return error[-_MAX_TEXT:].rpartition(".")[2] or error[:_MAX_TEXT]


def _first(attributes: Attributes, names: Sequence[str]) -> Any:
    for name in names:
        value = attributes.get(name)
        if value is not None:
            return value
    return None


def _number(value: Any) -> float | int | None:
    """Return a number of tokens, seconds or USD; None if it is negative, too large or no number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value if 0 <= value < _MAX_NUMBER else None
    return None


def _one(value: Any) -> Any:
    """Return a value, or the first item of a list, which logfire and litellm write as JSON."""
    if type(value) is str and len(value) <= _MAX_TEXT and value[:1] != "[":
        return value
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return value[:_MAX_TEXT]
    if isinstance(value, (list, tuple)):
        if not value:
            return None
        value = str(value[0])
    elif isinstance(value, (int, float)):
        return value
    return str(value)[:_MAX_TEXT]


def _parsed(text: Any) -> Mapping[str, Any]:
    try:
        parsed = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
