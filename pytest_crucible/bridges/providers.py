"""Tracer providers: finds the application's provider, and stands in while it has none.

All code that needs OpenTelemetry's private module state is here, and in `opentelemetry.Bridge`.
"""

from __future__ import annotations

# Not used here. After a fork the SDK's providers use a thread pool in the child, and its lock is
# free there only if this module was imported before them. Without it a fork in a trial never
# returned.
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
    """The provider while the application has set none; it has the type of the proxy it replaces."""

    def __init__(self, listener: SpanProcessor) -> None:
        self._own = SdkProvider(sampler=ALWAYS_ON, resource=Resource({}), shutdown_on_exit=False)
        self._own.add_span_processor(listener)

    def get_tracer(self, *args: Any, **kwargs: Any) -> Any:
        return _LateTracer(self, args, kwargs)

    def real(self) -> Any:
        """Return the provider to use now.

        That is the application's, if it has set one; else our own, while we stand in; else None.
        """
        current = trace._TRACER_PROVIDER
        if current is not None and current is not self:
            return current
        return self._own if current is self else None


class _LateTracer(trace.Tracer):
    """A tracer made before the application set its provider; it uses that provider once set."""

    def __init__(self, provider: StandIn, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._provider = provider
        self._arguments = args, kwargs
        self._latest: tuple[Any, Any] = (None, trace.NoOpTracer())  # provider, and its tracer

    def _tracer(self) -> Any:
        real = self._provider.real()
        if real is not self._latest[0]:
            args, kwargs = self._arguments
            self._latest = (
                real,
                trace.NoOpTracer() if real is None else real.get_tracer(*args, **kwargs),
            )
        return self._latest[1]

    def start_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._tracer().start_span(*args, **kwargs)

    def start_as_current_span(self, *args: Any, **kwargs: Any) -> Any:
        return self._tracer().start_as_current_span(*args, **kwargs)


class Latch(Once):  # type: ignore[misc]
    """The latch of ``set_tracer_provider``; it also calls us when a provider is set.

    Args:
        original: OpenTelemetry's own latch, whose lock and state this one uses.
        callback: called after every attempt to set a provider.
    """

    def __init__(self, original: Any, callback: Callable[[], None]) -> None:
        super().__init__()
        self._lock, self._done = original._lock, original._done
        self._callback = callback

    def do_once(self, func: Callable[[], None]) -> bool:
        done = super().do_once(func)
        self._callback()  # in any case: logfire sets its provider whenever it is configured
        return bool(done)


def named_by_environment() -> bool:
    """Whether the environment names a provider, which the API loads when it first needs one."""
    return "OTEL_PYTHON_TRACER_PROVIDER" in os.environ


def unwrapped(provider: Any) -> Any:
    """Return the SDK's provider inside wrappers like logfire's, which hold it in ``provider``."""
    for _ in range(8):
        inner = getattr(provider, "provider", None)
        if inner is None or isinstance(provider, SdkProvider):
            break
        provider = inner
    return provider


def canary(provider: Any = None, spans: int = 128) -> tuple[float, str]:
    """Measure which share of spans the application's sampler lets through.

    The spans are made on a provider of our own, because the application's exporters must not see
    them, and with a copy of the sampler, because a sampler that counts spans would then let fewer
    of the application's through.

    Args:
        provider: the application's; None: the sampler that the environment names is tried.
        spans: how many spans to make.

    Returns:
        The share, from 0 to 1, and the sampler's description.
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
    """Return the provider that the application has set, or None."""
    return trace._TRACER_PROVIDER
