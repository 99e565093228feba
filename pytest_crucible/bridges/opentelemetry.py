"""OpenTelemetry: the spans of code that knows nothing of us become events.

A `SpanProcessor` is added to the provider that the application uses. ``on_start`` runs in the
caller's thread and settles where the span belongs; ``on_end`` may run anywhere and looks that up.
The SDK guards no processor: whatever goes wrong in here must not reach the application.

The application's provider, sampler and exporters work as without us, in every order of set-up.
While nobody has set a provider, a stand-in takes the place of the proxy that answers then; it
passes for that proxy (applications ask by type) and hands on to the real one as soon as there is
one. The latch of ``set_tracer_provider`` stays free: taking it would make the application's own
call fail, and its exporter get nothing.
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
"""Instrumentations that say only at the end what a span is: it may be a parent until then."""

Fault = Callable[[str], None]


class _Live:
    """A span under way.

    Attributes:
        opened, way: where it belongs, and how that was found.
        anchor: id that its children name as their parent: its own if it becomes an event, else
            that of the nearest span above that does.
        parent: the anchor above it: another span or one of our bus.
        bus: our own span that was open as it started.
        strand: thread and task that started it; a double of a call starts in the same one.
        correlation: id of the context in which it started.
        ids: what its events say of it, once an event has been made.
        handling: id of the exception that was being handled as it started.
        prefix: name of its events, if it could be told as it started.
        ref: the span, to notice one that was thrown away without an end.
    """

    __slots__ = (
        "anchor", "bus", "correlation", "handling", "ids", "opened", "parent", "prefix", "ref",
        "start_ns", "strand", "way",
    )  # fmt: skip

    def __init__(self, opened: OpenScope | None, way: int) -> None:
        self.opened = opened
        self.way = way
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
        fault: told, once, what went wrong in here.
    """

    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._live: dict[int, _Live] = {}
        # Stretches that are over, with their beginnings and ends: litellm makes its spans later,
        # in a thread of its own, and gives them the times of the call.
        self._over: deque[tuple[OpenScope, int, int]] = deque(maxlen=64)
        self._last_end_ns = 0

    def over(self, opened: OpenScope, began_ns: int, ended_ns: int) -> None:
        """Remember a stretch that has ended."""
        self._over.append((opened, began_ns, ended_ns))
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
        """The application shut its provider down; what still runs will not end."""

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is buffered here."""
        return True

    # --- as a span starts ---------------------------------------------------------------------

    def _start(self, span: Any, parent_context: Any) -> None:
        above = None if span.parent is None else self._live.get(span.parent.span_id)
        opened, way = _settle(above, parent_context)
        start_ns = _sane(span.start_time)
        if way != CONTEXT or opened is None:
            opened, way = self._backdated(start_ns, opened, way)
        if opened is None and way == CONTEXT:
            return  # nothing was open here
        live = _Live(opened, way)
        live.bus = current_span.get()
        # A bus span that is open here but was not as the span above started lies between them.
        live.parent = above.anchor if above is not None and above.bus == live.bus else live.bus
        known = operation_of(_attributes(span))
        own = f"{span.context.span_id:016x}"
        scope = span.instrumentation_scope
        nests = known is not None or (scope is not None and scope.name.startswith(_NESTING))
        live.anchor = own if nests else live.parent
        live.strand = _strand()
        live.ref = weakref.ref(span)
        live.start_ns = start_ns
        live.handling = id(sys.exc_info()[1])
        self._live[span.context.span_id] = live
        if known is not None:
            live.prefix = known[1]
            metadata = {"operation": known[0], **_ids(span, live)}
            _say(live, f"{live.prefix}.start", {"system_time": live.start_ns}, metadata, None)
        elif nests and opened is not None and opened.sampler is not None:
            opened.sampler.enter(own, live.parent)  # its parts may be told before it is

    def _backdated(
        self, start_ns: int, opened: OpenScope | None, way: int
    ) -> tuple[OpenScope | None, int]:
        """The same, unless the span says that it began before: then whose stretch that was."""
        if start_ns > self._last_end_ns or way in (OPENTELEMETRY, PARENT):
            return opened, way
        then = [each for each, began, ended in self._over if began <= start_ns <= ended]
        if len({each.scope.experiment for each in then}) == 1:
            return then[-1], SOLE  # recorded as late, which it is
        return None, UNATTRIBUTED if then else CONTEXT

    # --- as it ends ---------------------------------------------------------------------------

    def _end(self, span: ReadableSpan) -> None:
        context = span.context
        live = None if context is None else self._live.pop(context.span_id, None)
        if live is None:
            return
        kind, error, _ = sys.exc_info()
        # What was under way as the span began is none of its own: a call made in a handler.
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
            at = end_ns if end_ns >= live.start_ns else None
            _say(live, reading.name, reading.measurements, metadata, at)
        elif live.opened is not None and live.opened.sampler is not None:
            live.opened.sampler.leave(f"{span.context.span_id:016x}")

    def sweep(self, everything: bool = False) -> None:
        """Tell of calls that will not end: their span was thrown away, as cancelled calls' are.

        Args:
            everything: also those that may still be under way; the session is over.
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
                    _say(live, f"{live.prefix}.exception", {}, metadata, None)
        except Exception as error:
            self._fault(f"sweep: {type(error).__name__}: {error}")


def _sane(time_ns: Any) -> int:
    """The time that a span was given, in ns; now, if it is none that can have been."""
    now = _clock.wall_ns()
    return time_ns if type(time_ns) is int and 0 < time_ns <= now else now


def _attributes(span: Any) -> Any:
    # The SDK's mapping is written in Python, and slow: 1 µs for each look.
    plain = getattr(getattr(span, "_attributes", None), "_dict", None)
    return plain if isinstance(plain, dict) else dict(span.attributes or {})


def _settle(above: _Live | None, parent_context: Any) -> tuple[OpenScope | None, int]:
    opened, way = _recorder.locate()
    if opened is not None and way == CONTEXT:
        return opened, way
    carried = otel_context.get_value(_SCOPE_KEY, parent_context)
    if isinstance(carried, OpenScope):
        return carried, OPENTELEMETRY
    if above is not None and above.opened is not None:
        return above.opened, PARENT
    return opened, way


def _events(span: ReadableSpan) -> list[tuple[str, int, Any]]:
    if not getattr(span, "_events", True):
        return []  # as most have; the SDK makes two tuples to say so
    return [(each.name, each.timestamp, each.attributes or {}) for each in span.events]


def _strand() -> str:
    """Thread and, in a running loop, task."""
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


def _say(
    live: _Live, name: str, measurements: dict[str, Any], metadata: dict[str, Any], at: int | None
) -> None:
    _recorder.record_located(live.opened, live.way, name, measurements, metadata, at, foreign=True)
    _bus.tell_handlers(name, measurements, metadata)


# --- which provider ---------------------------------------------------------------------------


class Bridge:
    """Listens to the application's provider, whichever that is, while a stretch is measured.

    Args:
        problem: told what a user should know, a sentence each.
    """

    def __init__(self, problem: Fault) -> None:
        self._told: set[str] = set()
        self._problem = problem
        self.listener = Listener(self._fault)
        self._began: dict[OpenScope, int] = {}
        self._providers: list[Any] = []
        self._stand_in: StandIn | None = None
        self._latch: tuple[Any, Latch] | None = None
        self.found: Callable[[Any], None] = lambda provider: None

    def _fault(self, text: str) -> None:
        kind = text.partition(":")[0]
        if kind not in self._told:
            self._told.add(kind)
            self._problem(f"a span could not be captured ({text})")

    def enter(self, opened: OpenScope) -> None:
        """A measured stretch begins: listen to the provider that is there now, or will be."""
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
        """It ends: tell of calls that will not end and, after the last, put back what stood in."""
        self.listener.sweep()
        began = self._began.pop(opened, None)
        if began is not None:
            self.listener.over(opened, began, _clock.wall_ns())
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
        """The session is over: leave every provider as it was found."""
        self._began.clear()
        self._put_back()
        self.listener.sweep(everything=True)
        for provider in self._providers:
            active = getattr(provider, "_active_span_processor", None)
            known = getattr(active, "_span_processors", ())
            if active is not None and self.listener in known:
                active._span_processors = tuple(p for p in known if p is not self.listener)
        self._providers.clear()

    def _follow(self) -> None:
        # Called from within the application's ``set_tracer_provider``, too: nothing may get out.
        try:
            provider = unwrapped(trace._TRACER_PROVIDER)
            if provider is None or isinstance(provider, StandIn):
                return
            active = getattr(provider, "_active_span_processor", None)
            if self.listener in getattr(active, "_span_processors", ()):
                return
            if active is None and any(known is provider for known in self._providers):
                return  # it keeps its processors where we cannot look
            if hasattr(provider, "add_span_processor"):
                provider.add_span_processor(self.listener)
                self._providers.append(provider)
            self.found(provider)
        except Exception as error:
            self._fault(f"provider: {type(error).__name__}: {error}")


def carry(opened: OpenScope) -> Any:
    """Put the scope into OpenTelemetry's own context, which its instrumentations carry along."""
    return otel_context.attach(otel_context.set_value(_SCOPE_KEY, opened))


def drop(token: Any) -> None:
    """Take it out again, in the same context; elsewhere it ends with that context."""
    try:
        otel_context._RUNTIME_CONTEXT.detach(token)
    except ValueError:
        pass
