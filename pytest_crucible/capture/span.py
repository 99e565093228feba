"""Spans: pieces of work with a start and an end, which emit an event at each."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from contextlib import aclosing
from contextvars import ContextVar, Token
from itertools import count
from types import TracebackType
from typing import Any, TypeVar

from pytest_crucible._clock import monotonic_ns, wall_ns  # by name: a look-up less on the emit path
from pytest_crucible._forks import in_child
from pytest_crucible.capture import bus as _bus
from pytest_crucible.capture import correlation as _correlation
from pytest_crucible.capture.bus import Metadata, execute
from pytest_crucible.capture.open_scope import OpenScope, current_scope, current_span

F = TypeVar("F", bound=Callable[..., Any])

# Exceptions that mean "stopped from outside", not "failed": of asyncio, trio and the interpreter.
# By name, because pytest's outcomes (`pytest.fail`, a timeout) are BaseExceptions, too, and do mean
# failure.
_CANCELLATIONS = {"CancelledError", "Cancelled", "KeyboardInterrupt", "GeneratorExit", "SystemExit"}

_numbers = count(1)
_prefix = os.urandom(4).hex()


def _renew_prefix() -> None:
    global _prefix
    _prefix = os.urandom(4).hex()


# A forked child goes on with its parent's numbers: with the same prefix, two spans would share an
# id.
in_child(_renew_prefix)


def current_span_id() -> str | None:
    """Id of the innermost open span of this context, if any."""
    return current_span.get()


def _reset(variable: ContextVar[Any], token: Token[Any]) -> None:
    try:
        variable.reset(token)
    except ValueError:
        # The span was left in another context than it was entered in (an async generator fixture).
        # The old context has ended, and this one has nothing to restore.
        pass


class Span:
    """A piece of work with a start and an end; made by `span`.

    It emits ``NAME.start`` with ``monotonic_time`` and ``system_time`` (ns), then ``NAME.stop`` or,
    if the block raised, ``NAME.exception``, both with ``duration`` (ns). The end event has the
    metadata of the start event, too. Both have ``span_id`` and, inside another span,
    ``parent_span_id``; inside `correlate` also ``correlation_id``.

    As a decorator it opens a new span for each call. Around a generator it lasts from the first
    item to the last, and is not the parent of spans inside, because a generator shares its caller's
    context. One object can be used in ``with`` several times, one after the other: not inside
    itself, and not by two tasks at once.
    """

    # Defaults on the class: the emit path makes a span, and most spans need no other values.
    id: str | None = None
    _childless = False
    _parented = False
    _measured: dict[str, Any] | None = None
    _token: Token[str | None] | None = None
    _began = 0
    _correlated: str | None = None
    _scope_token: Token[OpenScope | None] | None = None

    def __init__(
        self, name: str, metadata: dict[str, Any], opened: OpenScope | None = None
    ) -> None:
        self.name = name
        self._metadata = metadata  # not copied: the span may change it
        self._opened = opened  # the scope of its events; None: the scope of the context

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
        opened = self._opened
        if opened is not None and current_scope.get() is not opened:  # rare in a test
            self._scope_token = current_scope.set(opened)
        try:
            metadata, parent = self._metadata, current_span.get()
            if self.id is not None:
                self._forget_earlier_use()
            self.id = metadata["span_id"] = f"{_prefix}{next(_numbers)}"
            if _bus.correlating:
                self._correlated = _correlation.renewed(metadata, self._correlated)
            if parent is not None:
                metadata["parent_span_id"] = parent
                self._parented = True
            self._began = began = monotonic_ns()
            execute(
                self.name + ".start",
                {"monotonic_time": began, "system_time": wall_ns()},
                # A handler may keep the dict, and the end event adds to ours. The recorder needs
                # no copy: it encodes at once.
                dict(metadata) if _bus.handlers else metadata,
            )
            if not self._childless:
                self._token = current_span.set(self.id)
            elif self._scope_token is not None:  # a generator must not change its caller's context
                self._leave()
        except BaseException:  # e.g. a handler's KeyboardInterrupt: ``__exit__`` will not be called
            self._leave()
            raise
        return self

    def _forget_earlier_use(self) -> None:
        for leftover in ("kind", "error", "cancelled"):
            self._metadata.pop(leftover, None)
        if self._parented:  # a parent that the caller passed stays
            self._parented = False
            self._metadata.pop("parent_span_id", None)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        duration = monotonic_ns() - self._began
        opened, here = self._opened, None
        try:
            if opened is not None and current_scope.get() is not opened:
                here = current_scope.set(opened)  # around a generator, or left in another context
            token = self._token
            if token is not None:  # before the end event, which happens in the span around ours
                self._token = None
                _reset(current_span, token)
            measured = self._measured
            if measured is None:
                measured = {"duration": duration}
            else:
                measured["duration"] = duration
                self._measured = None
            end = ".stop"
            if error is not None:
                end = ".exception"
                self._blame(error)
            execute(self.name + end, measured, self._metadata)
        finally:
            if here is not None:
                current_scope.reset(here)
            if self._scope_token is not None:
                self._leave()

    def _blame(self, error: BaseException) -> None:
        self._metadata["kind"] = type(error).__name__
        if not isinstance(error, Exception) and type(error).__name__ in _CANCELLATIONS:
            self._metadata["cancelled"] = True
        else:
            # Only the type: messages of parsers and validators quote the model's answer.
            self._metadata["error"] = type(error).__name__

    def _leave(self) -> None:
        """Restore the span and the scope that this context had before `__enter__`."""
        token, self._token = self._token, None
        if token is not None:
            _reset(current_span, token)
        scope, self._scope_token = self._scope_token, None
        if scope is not None:
            _reset(current_scope, scope)

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
                    # The caller's send, throw and close must reach the function. "yield from"
                    # would do that, but async generators do not have it.
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
        """Make a span like this one, for one call of a decorated function."""
        again = Span(self.name, dict(self._metadata), self._opened)
        again._childless = childless
        return again


def span(name: str, metadata: Metadata | None = None, /, **more: Any) -> Span:
    """Make a span around a block (``with``, ``async with``) or around every call (decorator).

    ::

        with telemetry.span("req_llm.request", model="gpt-4o-mini") as span:
            answer = ask()
            span.measure(input_tokens=answer.usage.input_tokens)

        @telemetry.span("altar.tool", tool_name="search")
        async def search(query): ...

    Args:
        name: event name without ``.start`` / ``.stop``.
        metadata, more: metadata of all events of the span; keywords win.
    """
    return Span(name, {**metadata, **more} if metadata else more)
