"""The bus: code under test says what happened, listeners hear it.

``execute`` is the one way in. While an experiment is open, every event is recorded first: the plain
case right here, the others by the *tap* (the recorder); any number of *handlers* hear those whose
name matches their pattern. With neither, ``execute`` is two tests of a global: about 40 ns.

The contract is that of Erlang's ``:telemetry``: handlers run in the caller's thread, their ids are
unique, and one that raises is detached from all its events, after which
``telemetry.handler.failure`` is emitted.
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
_MAX_ROUTES = 4096  # names are few; a caller that makes them up on the fly must not fill the memory
_MAX_REASON = 500  # characters of an exception's text that go into an event


class Tap(Protocol):
    """The recorder; ``refused`` is what taking a buffer or encoding the event raised."""

    def __call__(
        self,
        name: str,
        measurements: Measurements | None,
        metadata: Metadata | None,
        refused: Exception | None = None,
    ) -> None: ...


class Handler(Protocol):
    """What `attach` takes: called as ``handler(name, measurements, metadata, config)``."""

    def __call__(
        self, name: str, measurements: Measurements, metadata: Metadata, config: Any, /
    ) -> object: ...


@dataclass(frozen=True, slots=True)
class HandlerInfo:
    """One attached handler, as `list_handlers` tells it."""

    id: str
    patterns: tuple[str, ...]
    function: Handler
    config: Any = None
    _matchers: tuple[re.Pattern[str], ...] = field(default=(), repr=False, compare=False)

    def matches(self, name: str) -> bool:
        return any(matcher.match(name) for matcher in self._matchers)


_tap: Tap | None = None
_encode_into: Callable[[object, bytearray], None]  # there with the tap: msgspec is costly to import
handlers: dict[str, HandlerInfo] = {}
_scope_here: Callable[[], OpenScope | None] = current_scope.get
# Handlers by event name. Thrown away, not cleared: a thread that resolved a name just before a
# change must not put its outdated answer into the new one.
_routes: dict[str, tuple[HandlerInfo, ...]] = {}


def execute(
    name: str, measurements: Measurements | None = None, metadata: Metadata | None = None
) -> None:
    """Say that ``name`` happened.

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
                buffer = scope.take()  # nobody else has it until it is kept
                _encode_into((EVENT_TAG, scope.id, name, wall_ns(), measurements, metadata), buffer)
            except Exception as error:  # no buffer is free, a value does not fit, or a signal came
                tap(name, measurements, metadata, error)
            else:
                scope.keep(buffer)
    if handlers:
        _dispatch(name, measurements, metadata)


def enabled(name: str) -> bool:
    """Whether anybody would hear ``name`` now; lets a caller skip costly measurements."""
    return _tap is not None or bool(handlers and _resolve(name))


def attach(handler_id: str, pattern: str, function: Handler, config: Any = None) -> None:
    """Call ``function`` for every event whose name matches ``pattern``.

    Args:
        handler_id: unique among the attached handlers.
        pattern: an event name, in which ``*`` stands for any characters (``req_llm.*``).
        function: called as ``function(name, measurements, metadata, config)`` in the thread that
            emits. If it raises it is detached.
        config: handed to ``function`` unchanged.

    Raises:
        ValueError: the id is taken, or the pattern is empty.
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
    """The attached handlers; with ``name``, only those that would hear that event."""
    found = list(handlers.values())
    return found if name is None else [each for each in found if each.matches(name)]


def tell_handlers(name: str, measurements: Measurements, metadata: Metadata) -> None:
    """Let the handlers hear what was recorded in another way. For this package's own use."""
    if handlers:
        _dispatch(name, measurements, metadata)


def set_tap(
    tap: Tap | None, encode_into: Callable[[object, bytearray], None] | None = None
) -> None:
    """Install the recorder and its encoder (or, with None, take it away). For our own use."""
    global _tap, _plain_tap, _encode_into
    if encode_into is not None:
        _encode_into = encode_into
    _plain_tap = tap
    _tap = _correlating_tap if correlating and tap is not None else tap


# Only once something was correlated does anything look for an id: it costs plain events 150 ns.
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
    """No scope that ``execute`` could record into by itself."""


def _begin_correlating() -> None:
    global correlating, _tap, _scope_here
    correlating = True
    _scope_here = _nowhere  # so that no event is recorded before it has its id
    if _plain_tap is not None:
        _tap = _correlating_tap


_correlation.on_first_use.append(_begin_correlating)


def matcher(pattern: str) -> re.Pattern[str]:
    """Tells whether an event's name matches ``pattern``, in which ``*`` stands for any text."""
    # Only "*" is special: event names may hold brackets and question marks.
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
            # Not "or {}": what is no mapping (an array) may not say whether it is true.
            handler.function(
                name,
                {} if measurements is None else measurements,
                {} if metadata is None else metadata,
                handler.config,
            )
        except Exception as error:
            # Another thread may have detached it meanwhile; it must be told once, not twice.
            if handlers.pop(handler.id, None) is None:
                continue
            _forget_routes()
            report_failure(handler.id, name, error)


def report_failure(handler_id: str, name: str, error: Exception) -> None:
    """Say that a handler was detached, because it raised. For this package's own use."""
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
