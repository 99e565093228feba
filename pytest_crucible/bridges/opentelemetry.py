"""OpenTelemetry: makes events of the spans of code that does not know us.

We add a `SpanProcessor` to the provider that the application uses. ``on_start`` runs in the
caller's thread and finds the span's scope; ``on_end`` may run in any thread and looks the scope up.
The SDK does not catch the exceptions of processors, so none of ours may leave this module.

The application's provider, sampler and exporters work as they do without us, in whatever order they
are set up. While no provider is set, a stand-in replaces OpenTelemetry's proxy. It has the proxy's
type, because applications test for it, and it forwards to the real provider as soon as there is
one. We do not use up the latch of ``set_tracer_provider``: otherwise the application's own call
would fail, and its exporter would get no spans.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any

from pytest_crucible import _clock
from pytest_crucible._errors import MissingExtraError
from pytest_crucible.bridges.genai import FinishedSpan, operation_of, read
from pytest_crucible.bridges.providers import Latch, StandIn, named_by_environment, unwrapped
from pytest_crucible.capture import bus as _bus
from pytest_crucible.capture import recorder as _recorder
from pytest_crucible.capture.correlation import current_correlation_id
from pytest_crucible.capture.open_scope import OpenScope, current_span
from pytest_crucible.events.event import CONTEXT, OPENTELEMETRY, PARENT, SOLE, UNATTRIBUTED

try:
    from opentelemetry import context as otel_context
    from opentelemetry import trace
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.trace.status import StatusCode
except ImportError as error:
    raise MissingExtraError("capturing spans", "otel") from error

_SCOPE_KEY = otel_context.create_key("crucible-scope")
_NESTING = ("openinference.", "litellm")
"""Instrumentations that name a span's operation only at its end: until then it may be a parent."""

Fault = Callable[[str], None]


class _Live:
    """A span that has started and not ended.

    Attributes:
        opened, attribution: its scope, and how that was found (`_recorder.locate`).
        anchor: the id that its children name as their parent: its own if it becomes an event, else
            the id of the nearest span above it that becomes one.
        parent: anchor of the span above it, or id of our own span around it.
        bus: id of our own span that was open when it started.
        strand: thread and task that started it; two instrumentors' spans of one call share them.
        correlation: correlation id of the context in which it started.
        ids: the ids in the metadata of its events; None before its first event.
        handling: ``id()`` of the exception that was being handled when it started.
        prefix: name of its events without ``.start`` / ``.stop``, if known when it started.
        ref: weak reference to the span: it is dead if the span was dropped without an end.
        start_ns: wall time in ns since the epoch.
    """

    __slots__ = (
        "anchor", "attribution", "bus", "correlation", "handling", "ids", "opened", "parent",
        "prefix", "ref", "start_ns", "strand",
    )  # fmt: skip

    def __init__(self, opened: OpenScope | None, attribution: int) -> None:
        self.opened = opened
        self.attribution = attribution
        self.anchor: str | None = None
        self.parent: str | None = None
        self.bus: str | None = None
        self.strand = ""
        self.correlation = current_correlation_id()
        self.prefix: str | None = None
        self.ref: Callable[[], object] = lambda: None
        self.start_ns = 0
        self.handling = 0
        self.ids: dict[str, Any] | None = None


class Listener(SpanProcessor):
    """Turns spans into events while experiments are open.

    Args:
        fault: called with a text when something goes wrong in here.
    """

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._live: dict[int, _Live] = {}
        # Scopes that were closed, with the wall times of beginning and end: litellm makes its spans
        # later, in a thread of its own, and gives them the times of the call.
        self._closed: deque[tuple[OpenScope, int, int]] = deque(maxlen=64)
        self._last_end_ns = 0

    def scope_closed(self, opened: OpenScope, began_ns: int, ended_ns: int) -> None:
        """Remember a scope that was closed, for spans that are made later.

        Args:
            opened: the scope.
            began_ns, ended_ns: wall time in ns since the epoch.
        """
        self._closed.append((opened, began_ns, ended_ns))
        self._last_end_ns = ended_ns

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        try:
            if _recorder.listening() or _sane(span.start_time) <= self._last_end_ns:
                self._start(span, parent_context)
        except Exception as error:
            self._fault(f"on_start: {type(error).__name__}: {error}")

    def on_end(self, span: ReadableSpan) -> None:
        if not self._live:
            return
        try:
            self._end(span)
        except Exception as error:
            self._fault(f"on_end: {type(error).__name__}: {error}")

    def shutdown(self) -> None:
        """Do nothing: the application shuts its provider down, and running spans will not end."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Do nothing: we buffer nothing."""
        return True

    # --- when a span starts -------------------------------------------------------------------

    def _start(self, span: Any, parent_context: Any) -> None:
        above = None if span.parent is None else self._live.get(span.parent.span_id)
        opened, attribution = _scope_of(above, parent_context)
        start_ns = _sane(span.start_time)
        if attribution != CONTEXT or opened is None:
            opened, attribution = self._backdated(start_ns, opened, attribution)
        if opened is None and attribution == CONTEXT:
            return  # no scope was open
        live = _Live(opened, attribution)
        live.bus = current_span.get()
        # If our own span here is not the one that was open when the span above started, then ours
        # lies between the two.
        live.parent = above.anchor if above is not None and above.bus == live.bus else live.bus
        event = operation_of(_attributes(span))
        own = f"{span.context.span_id:016x}"
        scope = span.instrumentation_scope
        nests = event is not None or (scope is not None and scope.name.startswith(_NESTING))
        live.anchor = own if nests else live.parent
        live.strand = _strand()
        live.ref = weakref.ref(span)
        live.start_ns = start_ns
        live.handling = id(sys.exc_info()[1])
        self._live[span.context.span_id] = live
        if event is not None:
            live.prefix = event[1]
            metadata = {"operation": event[0], **_ids(span, live)}
            _emit(live, f"{live.prefix}.start", {"system_time": live.start_ns}, metadata, None)
        elif nests and opened is not None and opened.sampler is not None:
            opened.sampler.enter(own, live.parent)  # spans inside it may come before its own event

    def _backdated(
        self, start_ns: int, opened: OpenScope | None, attribution: int
    ) -> tuple[OpenScope | None, int]:
        """Find the scope of a span that says it started earlier, among the closed scopes.

        Args:
            start_ns: when the span says it started, wall time in ns since the epoch.
            opened, attribution: what `_scope_of` found.

        Returns:
            The scope that was open at that time, and how it was found; ``opened`` and
            ``attribution`` if the span started after the last scope was closed.
        """
        if start_ns > self._last_end_ns or attribution in (OPENTELEMETRY, PARENT):
            return opened, attribution
        then = [closed for closed, began, ended in self._closed if began <= start_ns <= ended]
        if len({closed.scope.experiment for closed in then}) == 1:
            return then[-1], SOLE  # the recorder marks it as late
        return None, UNATTRIBUTED if then else CONTEXT

    # --- when a span ends ---------------------------------------------------------------------

    def _end(self, span: ReadableSpan) -> None:
        context = span.context
        live = None if context is None else self._live.pop(context.span_id, None)
        if live is None:
            return
        kind, error, _ = sys.exc_info()
        # An exception that was being handled when the span started is not the span's own: the call
        # was made in an ``except`` block.
        raised = None if id(error) == live.handling else kind
        end_ns = _sane(span.end_time)
        scope = span.instrumentation_scope
        reading = read(
            FinishedSpan(
                scope=scope.name if scope is not None else "",
                attributes=_attributes(span),
                events=_events(span),
                failed=span.status.status_code is StatusCode.ERROR,
                start_ns=live.start_ns,
                end_ns=end_ns,
                raised=None if raised is None else raised.__name__,
            )
        )
        if reading is not None:
            metadata = {**reading.metadata, **_ids(span, live)}
            time_ns = end_ns if end_ns >= live.start_ns else None
            _emit(live, reading.name, reading.measurements, metadata, time_ns)
        elif live.opened is not None and live.opened.sampler is not None:
            live.opened.sampler.leave(f"{span.context.span_id:016x}")

    def sweep(self, everything: bool = False) -> None:
        """Emit ``.exception`` events for calls whose span was dropped without an end.

        That happens to the spans of cancelled calls.

        Args:
            everything: also for calls that still run, because the session is over.
        """
        try:
            for number, live in list(self._live.items()):
                if not everything and live.ref() is not None:
                    continue
                if self._live.pop(number, None) is not None and live.prefix is not None:
                    metadata = {
                        "cancelled": True, "kind": "unfinished", "strand": live.strand,
                        "span_id": f"{number:016x}", "parent_span_id": live.parent,
                        "start_ns": live.start_ns,
                    }  # fmt: skip
                    if live.correlation is not None:
                        metadata["correlation_id"] = live.correlation
                    _emit(live, f"{live.prefix}.exception", {}, metadata, None)
        except Exception as error:
            self._fault(f"sweep: {type(error).__name__}: {error}")


def _sane(time_ns: Any) -> int:
    """Return a span's time in ns since the epoch; now, if it is no number or lies in the future."""
    now = _clock.wall_ns()
    return time_ns if type(time_ns) is int and 0 < time_ns <= now else now


def _attributes(span: Any) -> Any:
    # The SDK's mapping is written in Python and slow: a look-up takes 1 µs.
    plain = getattr(getattr(span, "_attributes", None), "_dict", None)
    return plain if isinstance(plain, dict) else dict(span.attributes or {})


def _scope_of(above: _Live | None, parent_context: Any) -> tuple[OpenScope | None, int]:
    """Find the scope of a span that starts here, and how it was found (`_recorder.locate`)."""
    opened, attribution = _recorder.locate()
    if opened is not None and attribution == CONTEXT:
        return opened, attribution
    carried = otel_context.get_value(_SCOPE_KEY, parent_context)
    if isinstance(carried, OpenScope):
        return carried, OPENTELEMETRY
    if above is not None and above.opened is not None:
        return above.opened, PARENT
    return opened, attribution


def _events(span: ReadableSpan) -> list[tuple[str, int, Any]]:
    if not getattr(span, "_events", True):
        return []  # the common case; ``span.events`` would make two tuples
    return [(event.name, event.timestamp, event.attributes or {}) for event in span.events]


def _strand() -> str:
    """Return the ids of the thread and, in a running event loop, of the task."""
    thread = threading.get_ident()
    if asyncio._get_running_loop() is None:
        return f"{thread:x}"
    task = asyncio.current_task()
    return f"{thread:x}.{id(task):x}"


def _ids(span: Any, live: _Live) -> dict[str, Any]:
    if live.ids is not None:
        return live.ids
    context = span.context
    ids = {
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "strand": live.strand,
    }
    if live.correlation is not None:
        ids["correlation_id"] = live.correlation
    if live.parent is not None:
        ids["parent_span_id"] = live.parent
    if span.parent is not None:
        ids["otel_parent_span_id"] = f"{span.parent.span_id:016x}"
    live.ids = ids
    return ids


def _emit(
    live: _Live,
    name: str,
    measurements: dict[str, Any],
    metadata: dict[str, Any],
    time_ns: int | None,
) -> None:
    _recorder.record_located(
        live.opened, live.attribution, name, measurements, metadata, time_ns, foreign=True
    )
    _bus.tell_handlers(name, measurements, metadata)


# --- the application's provider ---------------------------------------------------------------


class Bridge:
    """Listens to the provider that the application uses, while any scope is open.

    Args:
        problem: called with a sentence that the user should see.

    Attributes:
        listener: makes events of the spans.
        on_provider: called with every provider that the bridge begins to listen to.
    """

    def __init__(self, problem: Fault) -> None:
        self._reported: set[str] = set()
        self._problem = problem
        self.listener = Listener(self._fault)
        self._began: dict[OpenScope, int] = {}
        self._providers: list[Any] = []
        self._stand_in: StandIn | None = None
        self._latch: tuple[Any, Latch] | None = None
        self.on_provider: Callable[[Any], None] = lambda provider: None

    def _fault(self, text: str) -> None:
        kind = text.partition(":")[0]
        if kind not in self._reported:
            self._reported.add(kind)
            self._problem(f"a span could not be captured ({text})")

    def enter(self, opened: OpenScope) -> None:
        """Note that a scope was opened; listen to the present provider, or to the next one set."""
        try:
            self._began[opened] = _clock.wall_ns()
            self._follow()
            if self._latch is None or trace._TRACER_PROVIDER_SET_ONCE is not self._latch[1]:
                original = trace._TRACER_PROVIDER_SET_ONCE
                self._latch = original, Latch(original, self._follow)
                trace._TRACER_PROVIDER_SET_ONCE = self._latch[1]
            if trace._TRACER_PROVIDER is None and not named_by_environment():
                self._stand_in = self._stand_in or StandIn(self.listener)
                trace._TRACER_PROVIDER = self._stand_in
        except Exception as error:
            self._fault(f"enter: {type(error).__name__}: {error}")

    def leave(self, opened: OpenScope) -> None:
        """Note that a scope was closed; after the last one, restore OpenTelemetry's own objects.

        Calls whose span was dropped without an end get their end event now.
        """
        self.listener.sweep()
        began = self._began.pop(opened, None)
        if began is not None:
            self.listener.scope_closed(opened, began, _clock.wall_ns())
        if not self._began:
            self._put_back()

    def _put_back(self) -> None:
        if self._stand_in is not None and trace._TRACER_PROVIDER is self._stand_in:
            trace._TRACER_PROVIDER = None
        if self._latch is not None:
            original, ours = self._latch
            if trace._TRACER_PROVIDER_SET_ONCE is ours:
                original._done = ours._done
                trace._TRACER_PROVIDER_SET_ONCE = original
            self._latch = None

    def close(self) -> None:
        """End with the session: remove our listener from every provider."""
        self._began.clear()
        self._put_back()
        self.listener.sweep(everything=True)
        for provider in self._providers:
            active = getattr(provider, "_active_span_processor", None)
            processors = getattr(active, "_span_processors", ())
            if active is not None and self.listener in processors:
                active._span_processors = tuple(p for p in processors if p is not self.listener)
        self._providers.clear()

    def _follow(self) -> None:
        # The application's ``set_tracer_provider`` calls this, too: no exception may leave it.
        try:
            provider = unwrapped(trace._TRACER_PROVIDER)
            if provider is None or isinstance(provider, StandIn):
                return
            active = getattr(provider, "_active_span_processor", None)
            if self.listener in getattr(active, "_span_processors", ()):
                return
            if active is None and any(provider is ours for ours in self._providers):
                return  # we have added our listener, though we cannot see it there
            if hasattr(provider, "add_span_processor"):
                provider.add_span_processor(self.listener)
                self._providers.append(provider)
            self.on_provider(provider)
        except Exception as error:
            self._fault(f"provider: {type(error).__name__}: {error}")


def carry(opened: OpenScope) -> Any:
    """Put the scope into OpenTelemetry's own context, which instrumentations pass to threads.

    Returns:
        A token for `drop`.
    """
    return otel_context.attach(otel_context.set_value(_SCOPE_KEY, opened))


def drop(token: Any) -> None:
    """Take the scope out again, if this is the same context; else it ends with that context."""
    try:
        otel_context._RUNTIME_CONTEXT.detach(token)
    except ValueError:
        pass
