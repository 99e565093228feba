"""What the tests of client libraries share: clients, instrumented ones, and what agrees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

import openai

from tests.bridges.support import Captured
from tests.clients.fake_models import Log

MESSAGES: Any = [{"role": "user", "content": "hi there"}]
INSTRUMENTORS = {
    "genai": "opentelemetry.instrumentation.genai.openai",
    "openinference": "openinference.instrumentation.openai",
    "openllmetry": "opentelemetry.instrumentation.openai",
}
WRAPPED: list[tuple[Any, str]] = [
    (openai.resources.chat.Completions, "create"),
    (openai.resources.chat.AsyncCompletions, "create"),
    (openai.resources.Embeddings, "create"),
    (openai.resources.AsyncEmbeddings, "create"),
    (openai.OpenAI.__mro__[1], "request"),
    (openai.AsyncOpenAI.__mro__[1], "request"),
]


def configure_logfire(**options: Any) -> None:
    """Logfire set up as in a fresh process: it sets its provider globally only the first time."""
    import logfire
    from opentelemetry import trace

    logfire.configure(send_to_logfire=False, console=False, **options)
    if trace._TRACER_PROVIDER is None:
        trace.set_tracer_provider(logfire.DEFAULT_LOGFIRE_INSTANCE.config.get_tracer_provider())


@contextmanager
def instrumented(*names: str) -> Iterator[None]:
    with ExitStack() as stack:
        # OpenLLMetry leaves some of its wrappers behind; the next test would wrap them again.
        for kind, method in WRAPPED:
            stack.callback(setattr, kind, method, kind.__dict__[method])
        for name in names:
            instrumentor = import_module(INSTRUMENTORS[name]).OpenAIInstrumentor()
            instrumentor.instrument()
            stack.callback(instrumentor.uninstrument)
        yield


def client(log: Log, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{log.url}/v1", api_key="local", **options)


def async_client(log: Log, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{log.url}/v1", api_key="local", **options)


def agrees(captured: Captured, log: Log) -> None:
    """Calls and token sums are those of the server's own log."""
    assert captured.calls == len(log.good)
    assert captured.tokens == log.tokens()
    assert captured.metrics.reliability.failed == 0
