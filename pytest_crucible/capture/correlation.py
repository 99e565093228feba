"""Correlation: one id for everything that one piece of work emits, through tasks and threads.

Code that never correlates pays nothing: what adds the id to plain events is put in their way by the
first `correlate` of the process, through `on_first_use`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

KEY = "correlation_id"
OPEN_SPAN = "open_span_id"
"""Metadata of a plain event inside `correlate`: the span that was open where it was emitted.

Not ``parent_span_id``: a plain event is no part of that span when costs are added up.
"""

_current: ContextVar[str | None] = ContextVar("crucible_correlation", default=None)
_used = False
on_first_use: list[Callable[[], None]] = []


def current_correlation_id() -> str | None:
    """The correlation id of this context, if any: hand it to what does not inherit contexts."""
    return _current.get()


@contextmanager
def correlate(id: str | None = None) -> Iterator[str]:
    """Give all events of this block the metadata ``correlation_id``, and say which id it is.

    It follows async tasks, ``asyncio.to_thread`` and ``copy_context().run``; in a bare thread or
    another process, enter ``correlate`` again with the same id. An id that an event's own metadata
    name wins. The innermost block counts. ``events.trace(id)`` gives what belongs together.

    Args:
        id: e.g. that of an incoming request; default: 16 random hexadecimal digits.

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
            pass  # left in another context than entered, which ends with it


def _use() -> None:
    global _used
    if not _used:
        for told in on_first_use:
            told()
        _used = True  # only now: another thread that sees it relies on it


def renewed(metadata: dict[str, Any], earlier: str | None) -> str | None:
    """Put the id of this context into a span's metadata, unless they name one of their own.

    Args:
        metadata: changed in place.
        earlier: what this put there before, for a span that is used again.
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
    """An event's metadata, with the id of this context if it has none of its own.

    Args:
        metadata: of the event.
        span: the span that is open here.
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
    except Exception:  # a mapping of somebody else's, which cannot be read; it is recorded as it is
        return metadata
