"""The bus: code under test says what happened, listeners hear it.

``execute`` is the one way in. While an experiment is open, every event is recorded first: the plain
case right here, the others by the *tap* (the recorder); any number of *handlers* hear those whose
name matches their pattern. With neither, ``execute`` is two tests of a global: about 40 ns.

The contract is that of Erlang's ``:telemetry``: handlers run in the caller's thread, their ids are
unique, and one that raises is detached from all its events, after which
``telemetry.handler.failure`` is emitted.
"""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from fnmatch import translate
from itertools import count
from types import TracebackType
from typing import Any, Protocol, TypeVar

from pytest_crucible import _correlation
from pytest_crucible._clock import monotonic_ns, wall_ns  # by name: a look-up less on the emit path
from pytest_crucible._correlation import correlate as correlate
from pytest_crucible._correlation import current_correlation_id as current_correlation_id
from pytest_crucible._layout import EVENT_TAG
from pytest_crucible._scope import OpenScope, current_scope

Measurements = Mapping[str, Any]
Metadata = Mapping[str, Any]
F = TypeVar("F", bound=Callable[..., Any])

HANDLER_FAILURE = "telemetry.handler.failure"
_MAX_ROUTES = 4096  # names are few; a caller that makes them up on the fly must not fill the memory
_MAX_REASON = 500  # characters of an exception's text that go into an event
# Stopped from outside, not failed. By name: asyncio's, trio's and the interpreter's own; pytest's
# outcomes (`pytest.fail`, a timeout) are BaseExceptions too and do mean failure.
_CANCELLATIONS = {"CancelledError", "Cancelled", "KeyboardInterrupt", "GeneratorExit", "SystemExit"}


class Tap(Protocol):
    """The recorder; ``refused`` is what encoding the event raised."""

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
# What encoding may raise, see `_frames.ENCODE_ERRORS`; and that the store has no buffer to give.
_REFUSED = (IndexError, TypeError, ValueError, OverflowError, RecursionError, RuntimeError)
_handlers: dict[str, HandlerInfo] = {}
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
            buffer = None
            try:
                buffer = scope.take()  # nobody else has it until it is kept
                _encode_into((EVENT_TAG, scope.id, name, wall_ns(), measurements, metadata), buffer)
            except _REFUSED as error:
                tap(name, measurements, metadata, None if buffer is None else error)
            else:
                scope.keep(buffer)
    if _handlers:
        _dispatch(name, measurements, metadata)


def enabled(name: str) -> bool:
    """Whether anybody would hear ``name`` now; lets a caller skip costly measurements."""
    return _tap is not None or bool(_handlers and _resolve(name))


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
    if handler_id in _handlers:
        raise ValueError(f"a handler with the id {handler_id!r} is attached already")
    matchers = tuple(matcher(name) for name in names)
    _handlers[handler_id] = HandlerInfo(handler_id, names, function, config, matchers)
    _forget_routes()


def detach(handler_id: str) -> None:
    """Stop calling the handler with this id.

    Raises:
        LookupError: no handler has this id.
    """
    if _handlers.pop(handler_id, None) is None:
        raise LookupError(f"no handler with the id {handler_id!r} is attached")
    _forget_routes()


def list_handlers(name: str | None = None) -> list[HandlerInfo]:
    """The attached handlers; with ``name``, only those that would hear that event."""
    handlers = list(_handlers.values())
    return handlers if name is None else [h for h in handlers if h.matches(name)]


def tell_handlers(name: str, measurements: Measurements, metadata: Metadata) -> None:
    """Let the handlers hear what was recorded in another way. For this package's own use."""
    if _handlers:
        _dispatch(name, measurements, metadata)


def set_tap(
    tap: Tap | None, encode_into: Callable[[object, bytearray], None] | None = None
) -> None:
    """Install the recorder and its encoder (or, with None, take it away). For our own use."""
    global _tap, _plain_tap, _encode_into
    if encode_into is not None:
        _encode_into = encode_into
    _plain_tap = _tap = tap
    if _correlating and tap is not None:
        _tap = _correlating_tap


# Only once something was correlated does anything look for an id: it costs plain events 150 ns.
_correlating = False
_plain_tap: Tap | None = None


def _correlating_tap(
    name: str,
    measurements: Measurements | None,
    metadata: Metadata | None,
    refused: Exception | None = None,
) -> None:
    tap = _plain_tap
    if tap is not None:
        tap(name, measurements, _correlation.correlated(metadata, _current_span.get()))


def _nowhere() -> None:
    """No scope that ``execute`` could record into by itself."""


def _begin_correlating() -> None:
    global _correlating, _tap, _scope_here
    _correlating = True
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
    if _correlating:
        metadata = _correlation.correlated(metadata, _current_span.get())
    for handler in _resolve(str(name)):
        try:
            handler.function(name, measurements or {}, metadata or {}, handler.config)
        except Exception as error:
            # Another thread may have detached it meanwhile; it must be told once, not twice.
            if _handlers.pop(handler.id, None) is None:
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
            "reason": _reason(error),
        },
    )


def _reason(error: Exception) -> str:
    try:
        return str(error)[:_MAX_REASON]
    except Exception as second:
        return f"<its text cannot be had: {type(second).__name__}>"


# --- spans -----------------------------------------------------------------------------------

_current_span: ContextVar[str | None] = ContextVar("crucible_span", default=None)
_span_numbers = count(1)
_span_prefix = os.urandom(4).hex()


def _renew_span_prefix() -> None:
    global _span_prefix
    _span_prefix = os.urandom(4).hex()


# A forked child would go on with its parent's numbers and give two spans one id.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_span_prefix)


def current_span_id() -> str | None:
    """Id of the innermost open span of this context, if any."""
    return _current_span.get()


class Span:
    """A stretch of time with a start and an end; made by `span`.

    Emits ``NAME.start`` with ``monotonic_time`` and ``system_time`` (ns), then ``NAME.stop`` or,
    if the block raised, ``NAME.exception``, both with ``duration`` (ns). Start metadata is merged
    into the end's, and all carry ``span_id`` and ``parent_span_id``;
    inside `correlate` also ``correlation_id``.

    As a decorator it opens a new span for each call. Around a generator it lasts from the first
    item to the last and does not become the parent of spans inside, because a generator shares its
    caller's context.
    """

    # Defaults of the class: a span is made on the emit path, and most need no other.
    id: str | None = None
    _childless = False
    _measured: dict[str, Any] | None = None
    _token: Token[str | None] | None = None
    _began = 0
    _correlated: str | None = None

    def __init__(self, name: str, metadata: dict[str, Any]) -> None:
        self.name = name
        self._metadata = metadata  # ours from here on

    def measure(self, **numbers: Any) -> None:
        """Add measurements to the end event: ``span.measure(input_tokens=12)``."""
        if self._measured is None:
            self._measured = numbers
        else:
            self._measured.update(numbers)

    def annotate(self, **metadata: Any) -> None:
        """Add metadata to the end event: ``span.annotate(finish_reason="stop")``."""
        self._metadata.update(metadata)

    def __enter__(self) -> Span:
        metadata, parent = self._metadata, _current_span.get()
        if self.id is not None:
            for leftover in ("kind", "error", "cancelled"):  # of an earlier use of this object
                metadata.pop(leftover, None)
        self.id = metadata["span_id"] = f"{_span_prefix}{next(_span_numbers)}"
        if _correlating:
            self._correlated = _correlation.renewed(metadata, self._correlated)
        if parent is not None:
            metadata["parent_span_id"] = parent
        self._began = began = monotonic_ns()
        execute(
            self.name + ".start",
            {"monotonic_time": began, "system_time": wall_ns()},
            # A handler may keep it, and the end event adds to ours; recorded events are encoded.
            dict(metadata) if _handlers else metadata,
        )
        if not self._childless:
            self._token = _current_span.set(self.id)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        duration = monotonic_ns() - self._began
        token = self._token
        if token is not None:
            self._token = None
            try:
                _current_span.reset(token)
            except ValueError:
                # Left in another context than entered (an async generator fixture): that
                # context ends here anyway, and there is nothing to put back in this one.
                pass
        measured = self._measured
        if measured is None:
            measured = {"duration": duration}
        else:
            measured["duration"] = duration
        if error is None:
            execute(self.name + ".stop", measured, self._metadata)
            return
        self._metadata["kind"] = type(error).__name__
        if not isinstance(error, Exception) and type(error).__name__ in _CANCELLATIONS:
            self._metadata["cancelled"] = True
        else:
            # The type only: messages of parsers and validators quote the answer they choke on.
            self._metadata["error"] = type(error).__name__
        execute(self.name + ".exception", measured, self._metadata)

    async def __aenter__(self) -> Span:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        wrapper: Callable[..., Any]
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wrapper(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return await function(*args, **kwargs)

        elif inspect.isasyncgenfunction(function):
            wrapper = self._around_async_generator(function)

        elif inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with self._again(childless=True):
                    return (yield from function(*args, **kwargs))

        else:

            @functools.wraps(function)
            def wrapper(*args: Any, **kwargs: Any) -> Any:
                with self._again():
                    return function(*args, **kwargs)

        return wrapper  # type: ignore[return-value]

    def _around_async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self._again(childless=True):
                async with aclosing(function(*args, **kwargs)) as inner:
                    # What the caller sends, throws or closes must reach the function;
                    # "yield from" would see to that, but does not exist here.
                    try:
                        item = await anext(inner)
                        while True:
                            try:
                                sent = yield item
                            except GeneratorExit:
                                raise
                            except BaseException as error:
                                item = await inner.athrow(error)
                            else:
                                item = await inner.asend(sent)
                    except StopAsyncIteration:
                        pass

        return wrapper

    def _again(self, childless: bool = False) -> Span:
        """A new span like this one, for one call of a decorated function."""
        again = self._like()
        again._childless = childless
        return again

    def _like(self) -> Span:
        return Span(self.name, dict(self._metadata))


def span(name: str, metadata: Metadata | None = None, /, **more: Any) -> Span:
    """A span over a block (``with``, ``async with``) or over every call (decorator).

    ::

        with telemetry.span("req_llm.request", model="gpt-4o-mini") as span:
            answer = ask()
            span.measure(input_tokens=answer.usage.input_tokens)

        @telemetry.span("altar.tool", tool_name="search")
        async def search(query): ...

    Args:
        name: event name without ``.start`` / ``.stop``.
        metadata, more: metadata of all the span's events; keywords win.
    """
    return Span(name, {**metadata, **more} if metadata else more)
