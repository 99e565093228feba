"""The recorder: opens scopes, and records what is not a plain case of ``telemetry.execute``.

The plain case, an event whose context has an open scope, is recorded by ``execute`` itself. All
encode at once: a caller may change its dicts afterwards, and no Python object survives for the
garbage collector to walk (a list of tuples cost 918 bytes an event and pauses of 0.4 s at a
million; encoded bytes 126 and none).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from pytest_crucible import _clock
from pytest_crucible._errors import came_between
from pytest_crucible._forks import in_child
from pytest_crucible.capture import bus as _bus
from pytest_crucible.capture.frames import (
    EVENT_TAG,
    ScopeFrame,
    encodable,
    encode,
    encode_degraded,
    encode_into,
)
from pytest_crucible.capture.open_scope import (
    CLOSED,
    OPEN,
    PAUSED,
    SAMPLED,
    OpenScope,
    Sampler,
    Sink,
    current_scope,
)
from pytest_crucible.events.event import CONTEXT, LATE, SOLE, UNATTRIBUTED
from pytest_crucible.events.scope import Scope

NO_SCOPE = 0
"""Scope number of events that could not be attributed."""

_open: dict[OpenScope, None] = {}  # every open scope of this process, innermost last
_lock = threading.RLock()  # reentrant: a signal handler may open a scope
_current = current_scope.get


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


# Another thread of the parent may hold it as a child is forked, and would never let go of it there.
in_child(_renew_lock)


def capture(
    name: str,
    measurements: Mapping[str, Any] | None,
    metadata: Mapping[str, Any] | None,
    refused: Exception | None = None,
) -> None:
    """Record what ``execute`` could not simply encode into the open scope of its context.

    That context has no scope, or one that is sampled, paused or over; or a value does not fit, or
    the store has to make room first.

    Args:
        name, measurements, metadata: the event.
        refused: what taking a buffer or encoding raised, if it was tried.
    """
    record_located(*locate(), name, measurements, metadata)
    if refused is not None and not _no_buffer(refused):
        _raise_unless_at_fault(refused, name, measurements, metadata)


def _no_buffer(error: Exception) -> bool:
    return isinstance(error, IndexError) and not came_between(error)


def _raise_unless_at_fault(error: Exception, *event: object) -> None:
    """Raise what encoding the event raised, if nothing in the event was at fault.

    Then it came from elsewhere: a signal handler that ran while we encoded. It is not ours to
    swallow.
    """
    if encodable(event):
        raise error


def listening() -> bool:
    """Whether any scope is open in this process."""
    return bool(_open)


def locate() -> tuple[OpenScope | None, int]:
    """Where something that happens here and now belongs, and how that was found.

    None with `UNATTRIBUTED` if several experiments are open, None with `CONTEXT` if none is.
    """
    scope = _current()
    if scope is not None:
        return scope, CONTEXT
    # A copy, not the lock: we may be in a signal handler that interrupted its holder.
    candidates = [each for each in list(_open) if each.state != CLOSED]
    owners = {(each.sink, each.scope.experiment) for each in candidates}
    if len(owners) == 1:
        return candidates[-1], SOLE
    return None, UNATTRIBUTED if owners else CONTEXT


def record_located(
    opened: OpenScope | None,
    attribution: int,
    name: str,
    measurements: Mapping[str, Any] | None,
    metadata: Mapping[str, Any] | None,
    time_ns: int | None = None,
    foreign: bool = False,
) -> None:
    """Record what `locate` found a place for; with `UNATTRIBUTED`, into every open store.

    Args:
        opened, attribution: what `locate` said.
        name, measurements, metadata: the event.
        time_ns: when; default: now.
        foreign: it is a captured span's; see `Sampler.capture`.
    """
    if opened is None:
        if attribution == UNATTRIBUTED:
            for sink in {each.sink for each in list(_open)}:
                _emit(NO_SCOPE, sink, name, measurements, metadata, UNATTRIBUTED, time_ns)
    elif opened.state != PAUSED:
        way = LATE if opened.state == CLOSED else attribution
        if opened.sampler is not None:
            opened.sampler.capture(opened, name, measurements, metadata, way, time_ns, foreign)
        else:
            _emit(opened.id, opened.sink, name, measurements, metadata, way, time_ns)


def _emit(
    scope_id: int,
    sink: Sink,
    name: str,
    measurements: Mapping[str, Any] | None,
    metadata: Mapping[str, Any] | None,
    attribution: int,
    time_ns: int | None = None,
) -> None:
    now = _clock.wall_ns() if time_ns is None else time_ns
    try:
        data = encode((EVENT_TAG, scope_id, name, now, measurements, metadata, attribution))
    except Exception as error:
        data, degraded = encode_degraded(scope_id, name, now, measurements, metadata, attribution)
        sink.append(data)
        if not degraded:
            _raise_unless_at_fault(error, name, measurements, metadata)
    else:
        sink.append(data)


def record_into(
    opened: OpenScope, name: str, measurements: Mapping[str, Any], metadata: Mapping[str, Any]
) -> None:
    """Record one event into a given scope, paused or not, heard by no handler."""
    _emit(opened.id, opened.sink, name, measurements, metadata, CONTEXT)


def record_aside(sink: Sink, name: str, metadata: Mapping[str, Any]) -> None:
    """Record an event of the plugin that belongs to no experiment."""
    _emit(NO_SCOPE, sink, name, {}, metadata, CONTEXT)


def open_scope(scope: Scope, sink: Sink, number: int, sampler: Sampler | None = None) -> OpenScope:
    """Open a scope: tell its store what the number means, and start listening.

    Args:
        scope: the names.
        sink: the store.
        number: of the scope, unique in that store, above zero.
        sampler: decides which events are kept; None where all are.
    """
    opened = OpenScope(number, scope, sink, sampler)
    sink.append(scope_frame(opened))
    with _lock:
        _open[opened] = None
        _bus.set_tap(capture, encode_into)
    return opened


def scope_frame(opened: OpenScope) -> bytes:
    """The frame that tells a store what the number of this scope means."""
    scope = opened.scope
    return encode(
        ScopeFrame(
            opened.id, scope.experiment, scope.condition, scope.test, scope.case, scope.trial,
            scope.attempt,
        )
    )  # fmt: skip


def close_scope(opened: OpenScope, reason: str | None = None) -> None:
    """End a scope. What still arrives for it by context is recorded as late."""
    opened.change(CLOSED)
    opened.timeline.end(reason)
    if opened.sampler is not None:
        opened.sampler.close(opened)
    with _lock:
        _open.pop(opened, None)


def pause_scope(opened: OpenScope) -> None:
    """Stop recording into a scope until `resume_scope`."""
    opened.change(PAUSED)
    opened.timeline.pause()


def resume_scope(opened: OpenScope) -> None:
    """Record into a paused scope again."""
    opened.timeline.resume()
    opened.change(OPEN if opened.sampler is None else SAMPLED)


def stop_listening() -> None:
    """Take the tap away if no scope is open; then ``execute`` costs next to nothing again."""
    with _lock:
        if not _open:
            _bus.set_tap(None)
