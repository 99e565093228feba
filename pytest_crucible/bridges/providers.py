"""Tracer providers: the application's, whichever that is, and what answers while it has none.

Everything that reaches into OpenTelemetry's module state stands here.
"""

from __future__ import annotations

# Not used here. After a fork the SDK's providers use a thread pool in the child, whose lock is only
# free there if this module had come before them; without it a fork within a trial never returned.
import concurrent.futures.thread  # noqa: F401
import copy
import os
from collections.abc import Callable
from typing import Any

from pytest_crucible._errors import MissingExtraError

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace import TracerProvider as SdkProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON
except ImportError as error:
    raise MissingExtraError("capturing spans", "otel") from error

Once: Any = type(trace._TRACER_PROVIDER_SET_ONCE)


class StandIn(trace.ProxyTracerProvider):
    """Answers while no provider is set; to applications it is the proxy that it replaces."""

    def __init__(self, listener: SpanProcessor) -> None:
        self._own = SdkProvider(sampler=ALWAYS_ON, resource=Resource({}), shutdown_on_exit=False)
        self._own.add_span_processor(listener)

    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        return _Following(self, args, kwargs)

    def real(self) -> Any:
        """The provider to use now: the application's if it has set one, else ours or none."""
        current = trace._TRACER_PROVIDER
        if current is not None and current is not self:
            return current
        return self._own if current is self else None


class _Following(trace.Tracer):
    """A tracer that was asked for before the application had set its provider."""

    def __init__(self, provider: StandIn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._provider = provider
        self._arguments = args, kwargs
        self._known: tuple[Any, Any] = (None, trace.NoOpTracer())

    def _tracer(self) -> Any:
        real = self._provider.real()
        if real is not self._known[0]:
            args, kwargs = self._arguments
            self._known = (
                real,
                trace.NoOpTracer() if real is None else real.get_tracer(*args, **kwargs),
            )
        return self._known[1]

    def start_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._tracer().start_span(*args, **kwargs)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._tracer().start_as_current_span(*args, **kwargs)


class Latch(Once):  # type: ignore[misc]
    """The latch of ``set_tracer_provider``, which also tells us when a provider is set."""

    def __init__(self, original: Any, told: Callable[[], None]) -> None:
        super().__init__()
        self._lock, self._done = original._lock, original._done
        self._told = told

    def do_once(self, func: Callable[[], None]) -> bool:
        done = super().do_once(func)
        self._told()  # in any case: logfire sets its own again each time it is configured
        return bool(done)


def named_by_environment() -> bool:
    """Whether the API is going to load a provider of its own accord when it is asked for one."""
    return "OTEL_PYTHON_TRACER_PROVIDER" in os.environ


def unwrapped(provider: Any) -> Any:
    """The SDK's provider inside wrappers such as logfire's, which keep it in ``provider``."""
    for _ in range(8):
        inner = getattr(provider, "provider", None)
        if inner is None or isinstance(provider, SdkProvider):
            break
        provider = inner
    return provider


def canary(provider: Any = None, spans: int = 128) -> tuple[float, str]:
    """Share of spans that the application's sampler lets through, and what that sampler is.

    Tried on a provider of our own: the application's exporters must not see the canary. So is a
    copy of the sampler: one that counts would let fewer of the application's spans through. Without
    a provider it is the sampler that the environment asks for.
    """
    seen: list[int] = []

    class Count(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            seen.append(1)

    sampler = copy.deepcopy(getattr(unwrapped(provider), "sampler", None))
    own = SdkProvider(sampler=sampler, resource=Resource({}), shutdown_on_exit=False)
    own.add_span_processor(Count())
    tracer = own.get_tracer("crucible.canary")
    empty = Context()
    for _ in range(spans):
        # Like a call of a model: samplers may look at names and attributes.
        tracer.start_span(
            "chat canary", context=empty, kind=trace.SpanKind.CLIENT,
            attributes={"gen_ai.operation.name": "chat", "gen_ai.provider.name": "canary"},
        ).end()  # fmt: skip
    return len(seen) / spans, own.sampler.get_description()


def current_provider() -> Any:
    """The provider that the application has set, or None."""
    return trace._TRACER_PROVIDER
