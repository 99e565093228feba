"""Correlation: one id for everything that one piece of work emits, through tasks and threads.

Code that never correlates pays nothing: only the first `correlate` of the process installs, through
`on_first_use`, what adds the id to plain events.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

KEY = "correlation_id"
OPEN_SPAN = "open_span_id"
"""Metadata of a plain event inside `correlate`: id of the span that was open when it was emitted.

Not ``parent_span_id``: the event's cost must not count as a part of that span's cost.
"""

_current: ContextVar[str | None] = ContextVar("crucible_correlation", default=None)
_used = False
on_first_use: list[Callable[[], None]] = []


def current_correlation_id() -> str | None:
    """The correlation id of this context, if any: pass it to code that inherits no context."""
    return _current.get()


@contextmanager
def correlate(id: str | None = None) -> Iterator[str]:
    """Add the metadata ``correlation_id`` to all events of this block, and yield the id.

    The id follows async tasks, ``asyncio.to_thread`` and ``copy_context().run``; in a bare thread
    or another process, enter ``correlate`` again with the same id. If an event's own metadata name
    an id, that one counts; of nested blocks the innermost counts. ``events.trace(id)`` returns all
    events with this id.

    Args:
        id: e.g. the id of an incoming request; default: 16 random hexadecimal digits.

    Raises:
        ValueError: the id is empty.
    """
    if id is not None and not id:
        raise ValueError("a correlation id must not be empty")
    chosen = os.urandom(8).hex() if id is None else id
    _use()
    token = _current.set(chosen)
    try:
        yield chosen
    finally:
        try:
            _current.reset(token)
        except ValueError:
            pass  # left in another context than it was entered in; the id ends with that context


def _use() -> None:
    global _used
    if not _used:
        for callback in on_first_use:
            callback()
        _used = True  # last: another thread that reads True expects the callbacks to have run


def renewed(metadata: dict[str, Any], earlier: str | None) -> str | None:
    """Put the id of this context into a span's metadata, unless they contain another id.

    Args:
        metadata: of the span; changed in place.
        earlier: the id that this function put there when the span was used before.

    Returns:
        The id of this context; None if there is none, or if the metadata have their own.
    """
    own = metadata.get(KEY)
    if own is not None and own != earlier:
        return None
    metadata.pop(KEY, None)
    here = _current.get()
    if here is not None:
        metadata[KEY] = here
    return here


def correlated(metadata: Mapping[str, Any] | None, span: str | None) -> Mapping[str, Any] | None:
    """Return an event's metadata with the id of this context, unless they contain an id already.

    Args:
        metadata: of the event.
        span: id of the span that is open in this context.
    """
    here = _current.get()
    if here is None:
        return metadata
    if metadata is None:
        return {KEY: here} if span is None else {KEY: here, OPEN_SPAN: span}
    if not isinstance(metadata, (dict, Mapping)):
        return metadata
    try:
        if span is None or "span_id" in metadata or "parent_span_id" in metadata:
            return {KEY: here, **metadata}
        return {KEY: here, OPEN_SPAN: span, **metadata}
    except Exception:  # a caller's own mapping type that cannot be read: recorded unchanged
        return metadata
