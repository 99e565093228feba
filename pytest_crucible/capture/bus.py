"""The bus: code under test emits events, the recorder and the handlers receive them.

Every event comes in through ``execute``. While an experiment is open, the event is recorded first:
the plain case by ``execute`` itself, every other case by the *tap* (the recorder). Then ``execute``
calls the *handlers* whose pattern matches the event's name. With neither tap nor handlers,
``execute`` tests two globals and returns: about 40 ns.

The contract is that of Erlang's ``:telemetry``: handlers run in the caller's thread, their ids are
unique, and a handler that raises is detached from all its events; then the bus emits
``telemetry.handler.failure``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Any, Protocol

from pytest_crucible._clock import monotonic_ns, wall_ns  # by name: a look-up less on the emit path
from pytest_crucible._layout import EVENT_TAG
from pytest_crucible._text import text_of
from pytest_crucible.capture import correlation as _correlation
from pytest_crucible.capture.open_scope import OpenScope, current_scope, current_span

Measurements = Mapping[str, Any]
Metadata = Mapping[str, Any]

HANDLER_FAILURE = "telemetry.handler.failure"
_MAX_ROUTES = 4096  # names are few; a caller that generates names must not fill the memory
_MAX_REASON = 500  # characters of an exception's text that go into an event


class Tap(Protocol):
    """The recorder.

    ``refused`` is the exception that ``execute`` caught when it took a buffer or encoded the event.
    """

    def __call__(
        self,
        name: str,
        measurements: Measurements | None,
        metadata: Metadata | None,
        refused: Exception | None = None,
    ) -> None: ...


class Handler(Protocol):
    """A function for `attach`; the bus calls ``handler(name, measurements, metadata, config)``."""

    def __call__(
        self, name: str, measurements: Measurements, metadata: Metadata, config: Any, /
    ) -> object: ...


@dataclass(frozen=True, slots=True)
class HandlerInfo:
    """One attached handler, as `list_handlers` returns it."""

    id: str
    patterns: tuple[str, ...]
    function: Handler
    config: Any = None
    _matchers: tuple[re.Pattern[str], ...] = field(default=(), repr=False, compare=False)

    def matches(self, name: str) -> bool:
        """Whether one of the patterns matches the event name."""
        return any(matcher.match(name) for matcher in self._matchers)


_tap: Tap | None = None
_encode_into: Callable[[object, bytearray], None]  # set with the tap: importing msgspec is slow
handlers: dict[str, HandlerInfo] = {}
_scope_here: Callable[[], OpenScope | None] = current_scope.get
# Handlers by event name. A change replaces the dict and does not clear it: a thread that resolved
# a name just before the change must not put its outdated answer into the new dict.
_routes: dict[str, tuple[HandlerInfo, ...]] = {}


def execute(
    name: str, measurements: Measurements | None = None, metadata: Metadata | None = None
) -> None:
    """Emit the event ``name``: record it and call the handlers.

    Args:
        name: dotted event name, e.g. ``req_llm.request.stop``.
        measurements: numbers; ``duration`` is in ns.
        metadata: context, e.g. model and provider. Both are copied before this returns.

    Never raises because of a value or a handler.
    """
    if (tap := _tap) is not None:
        scope = _scope_here()
        if scope is None or scope.state:
            tap(name, measurements, metadata)
        else:
            try:
                buffer = scope.take()  # no other code uses the buffer until it is kept
                _encode_into((EVENT_TAG, scope.id, name, wall_ns(), measurements, metadata), buffer)
            except Exception as error:  # no free buffer, a value that does not fit, or a signal
                tap(name, measurements, metadata, error)
            else:
                scope.keep(buffer)
    if handlers:
        _dispatch(name, measurements, metadata)


def enabled(name: str) -> bool:
    """Whether ``name`` would be recorded or handled now; lets callers skip costly measurements."""
    return _tap is not None or bool(handlers and _resolve(name))


def attach(handler_id: str, pattern: str, function: Handler, config: Any = None) -> None:
    """Call ``function`` for every event whose name matches ``pattern``.

    Args:
        handler_id: unique among the attached handlers.
        pattern: an event name, in which ``*`` stands for any characters (``req_llm.*``).
        function: called as ``function(name, measurements, metadata, config)`` in the thread that
            emits. If it raises, it is detached.
        config: passed to ``function`` unchanged.

    Raises:
        ValueError: a handler has this id already, or the pattern is empty.
    """
    attach_many(handler_id, [pattern], function, config)


def attach_many(
    handler_id: str, patterns: Iterable[str], function: Handler, config: Any = None
) -> None:
    """Like `attach`, for several patterns under one id."""
    names = tuple(patterns)
    if not names or not all(names):
        raise ValueError(f"handler {handler_id!r} needs at least one pattern, none of them empty")
    if handler_id in handlers:
        raise ValueError(f"a handler with the id {handler_id!r} is attached already")
    matchers = tuple(matcher(name) for name in names)
    handlers[handler_id] = HandlerInfo(handler_id, names, function, config, matchers)
    _forget_routes()


def detach(handler_id: str) -> None:
    """Stop calling the handler with this id.

    Raises:
        LookupError: no handler has this id.
    """
    if handlers.pop(handler_id, None) is None:
        raise LookupError(f"no handler with the id {handler_id!r} is attached")
    _forget_routes()


def list_handlers(name: str | None = None) -> list[HandlerInfo]:
    """The attached handlers; with ``name``, only those that the bus calls for that event."""
    attached = list(handlers.values())
    return attached if name is None else [handler for handler in attached if handler.matches(name)]


def tell_handlers(name: str, measurements: Measurements, metadata: Metadata) -> None:
    """Call the handlers for an event that was recorded without `execute`. For our own use."""
    if handlers:
        _dispatch(name, measurements, metadata)


def set_tap(
    tap: Tap | None, encode_into: Callable[[object, bytearray], None] | None = None
) -> None:
    """Install the recorder and its encoder; with None, remove the recorder. For our own use."""
    global _tap, _plain_tap, _encode_into
    if encode_into is not None:
        _encode_into = encode_into
    _plain_tap = tap
    _tap = _correlating_tap if correlating and tap is not None else tap


# False until the first `correlate`: looking for a correlation id costs each plain event 150 ns.
correlating = False
_plain_tap: Tap | None = None


def _correlating_tap(
    name: str,
    measurements: Measurements | None,
    metadata: Metadata | None,
    refused: Exception | None = None,
) -> None:
    tap = _plain_tap
    if tap is not None:
        tap(name, measurements, _correlation.correlated(metadata, current_span.get()))


def _nowhere() -> None:
    """Stands in for `current_scope.get`, so that ``execute`` passes every event to the tap."""


def _begin_correlating() -> None:
    global correlating, _tap, _scope_here
    correlating = True
    _scope_here = _nowhere  # the tap adds the id before it records
    if _plain_tap is not None:
        _tap = _correlating_tap


_correlation.on_first_use.append(_begin_correlating)


def matcher(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of event names, in which ``*`` stands for any text."""
    # Only "*" is special: event names may contain brackets and question marks.
    return re.compile(translate(re.sub(r"([\[?])", r"[\1]", pattern)))


def _forget_routes() -> None:
    global _routes
    _routes = {}


def _resolve(name: str) -> tuple[HandlerInfo, ...]:
    routes = _routes
    route = routes.get(name)
    if route is None:
        route = tuple(list_handlers(name))
        if len(routes) >= _MAX_ROUTES:
            routes.clear()
        routes[name] = route
    return route


def _dispatch(name: str, measurements: Measurements | None, metadata: Metadata | None) -> None:
    if correlating:
        metadata = _correlation.correlated(metadata, current_span.get())
    for handler in _resolve(text_of(name)):
        try:
            # Not "or {}": a caller may pass an array, whose truth value raises.
            handler.function(
                name,
                {} if measurements is None else measurements,
                {} if metadata is None else metadata,
                handler.config,
            )
        except Exception as error:
            # Another thread may have detached it meanwhile: report the failure only once.
            if handlers.pop(handler.id, None) is None:
                continue
            _forget_routes()
            report_failure(handler.id, name, error)


def report_failure(handler_id: str, name: str, error: Exception) -> None:
    """Emit the event that a handler raised and was detached. For this package's own use."""
    execute(
        HANDLER_FAILURE,
        {"monotonic_time": monotonic_ns(), "system_time": wall_ns()},
        {
            "handler_id": handler_id,
            "event_name": name,
            "kind": type(error).__name__,
            "reason": text_of(error)[:_MAX_REASON],
        },
    )
