"""The recorder: opens scopes, and records the events that ``telemetry.execute`` does not record.

``execute`` itself records the plain case: an event whose context has an open scope. Both encode the
event at once, because the caller may change its dicts afterwards, and so that no Python object
stays for the garbage collector to walk: a list of tuples took 918 bytes an event and caused pauses
of 0.4 s at a million events; encoded bytes take 126 and cause none.
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
    INSERTED_NOTE,
    NoteFrame,
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
from pytest_crucible.events.event import CONTEXT, INSERTED, LATE, SOLE, UNATTRIBUTED
from pytest_crucible.events.scope import Scope

NO_SCOPE = 0
"""Scope number of events that belong to no scope."""

_open: dict[OpenScope, None] = {}  # all open scopes of this process, the innermost last
_lock = threading.RLock()  # reentrant: a signal handler may open a scope
_current = current_scope.get


def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


# Another thread of the parent may hold the lock when a child is forked; in the child nobody would
# ever release it.
in_child(_renew_lock)


def capture(
    name: str,
    measurements: Mapping[str, Any] | None,
    metadata: Mapping[str, Any] | None,
    refused: Exception | None = None,
) -> None:
    """Record an event that is not the plain case of ``execute``.

    Either its context has no scope, or the scope is sampled, paused or closed; or a value does not
    fit; or the store has to make room first.

    Args:
        name, measurements, metadata: the event.
        refused: the exception that ``execute`` caught when it took a buffer or encoded the event;
            None if it did not try.
    """
    record_located(*locate(), name, measurements, metadata)
    if refused is not None and not _no_buffer(refused):
        _raise_unless_at_fault(refused, name, measurements, metadata)


def _no_buffer(error: Exception) -> bool:
    return isinstance(error, IndexError) and not came_between(error)


def _raise_unless_at_fault(error: Exception, *event: object) -> None:
    """Raise the exception of encoding again, unless a value of the event caused it.

    If no value did, a signal handler raised while we encoded, and we must not swallow that.
    """
    if encodable(event):
        raise error


def listening() -> bool:
    """Whether any scope is open in this process."""
    return bool(_open)


def locate() -> tuple[OpenScope | None, int]:
    """Find the scope of an event that happens here and now.

    Returns:
        The scope and how it was found, an index into `pytest_crucible.events.event.ATTRIBUTIONS`.
        The scope is None with `UNATTRIBUTED` if several experiments are open, and None with
        `CONTEXT` if none is.
    """
    scope = _current()
    if scope is not None:
        return scope, CONTEXT
    # A copy, not the lock: we may be in a signal handler that interrupted the lock's holder.
    candidates = [opened for opened in list(_open) if opened.state != CLOSED]
    owners = {(opened.sink, opened.scope.experiment) for opened in candidates}
    if len(owners) == 1:
        return _innermost(candidates), SOLE
    return None, UNATTRIBUTED if owners else CONTEXT


def _innermost(candidates: list[OpenScope]) -> OpenScope:
    """Return the innermost of the open scopes of one experiment.

    If several cases run at the same time, nobody knows which of them: then it is the scope that
    encloses them.
    """
    blocks = [opened for opened in candidates if opened.parent is not None]
    if len(blocks) == 1:
        return blocks[0]
    outer = [opened for opened in candidates if opened.parent is None]
    return outer[-1] if outer else candidates[-1]


def open_beside() -> OpenScope | None:
    """Return an open scope, if the running code has none of its own.

    If a second one opened now, events of the running code would belong to neither.
    """
    if _current() is not None:
        return None
    return next((opened for opened in list(_open) if opened.state != CLOSED), None)


def record_located(
    opened: OpenScope | None,
    attribution: int,
    name: str,
    measurements: Mapping[str, Any] | None,
    metadata: Mapping[str, Any] | None,
    time_ns: int | None = None,
    foreign: bool = False,
) -> None:
    """Record an event into the scope that `locate` found; if `UNATTRIBUTED`, into all open stores.

    Args:
        opened, attribution: the result of `locate`.
        name, measurements, metadata: the event.
        time_ns: wall time in ns since the epoch; default: now.
        foreign: whether the event comes from a captured span, see `NodeSampler.capture`.
    """
    if opened is None:
        if attribution == UNATTRIBUTED:
            candidates = [candidate for candidate in list(_open) if candidate.state != PAUSED]
            for candidate in candidates:
                candidate.unattributed += 1  # no call in between: one step to other threads
            for sink in {candidate.sink for candidate in candidates}:
                _emit(NO_SCOPE, sink, name, measurements, metadata, UNATTRIBUTED, time_ns)
    elif opened.state != PAUSED:
        if opened.state == CLOSED:
            attribution = LATE
        if opened.sampler is not None:
            opened.sampler.capture(
                opened, name, measurements, metadata, attribution, time_ns, foreign
            )
        else:
            _emit(opened.id, opened.sink, name, measurements, metadata, attribution, time_ns)


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
    """Record one event into a given scope, even a paused one; no handler is called."""
    _emit(opened.id, opened.sink, name, measurements, metadata, CONTEXT)


def insert_into(
    opened: OpenScope,
    name: str,
    measurements: Mapping[str, Any] | None,
    metadata: Mapping[str, Any] | None,
    time_ns: int,
) -> None:
    """Record an event that happened at another time; no handler is called.

    Args:
        opened: the scope; a paused one records nothing.
        name, measurements, metadata: the event.
        time_ns: wall time in ns since the epoch.
    """
    if opened.state != PAUSED:
        opened.sink.append(encode(NoteFrame(INSERTED_NOTE)))
        record_located(opened, INSERTED, name, measurements, metadata, time_ns)


def record_aside(sink: Sink, name: str, metadata: Mapping[str, Any]) -> None:
    """Record an event of the plugin itself that belongs to no experiment."""
    _emit(NO_SCOPE, sink, name, {}, metadata, CONTEXT)


def open_scope(scope: Scope, sink: Sink, number: int, sampler: Sampler | None = None) -> OpenScope:
    """Open a scope: write its names and number to the store, and start to listen.

    Args:
        scope: the names.
        sink: the store.
        number: of the scope; above zero, and no other scope of the store has it.
        sampler: decides which events are kept; None if all are.
    """
    opened = OpenScope(number, scope, sink, sampler)
    sink.append(scope_frame(opened))
    with _lock:
        _open[opened] = None
        _bus.set_tap(capture, encode_into)
    return opened


def scope_frame(opened: OpenScope) -> bytes:
    """Encode the frame that says which scope has this number."""
    scope = opened.scope
    return encode(
        ScopeFrame(
            opened.id, scope.experiment, scope.condition, scope.test, scope.case, scope.trial,
            scope.attempt,
        )
    )  # fmt: skip


def close_scope(opened: OpenScope, reason: str | None = None) -> None:
    """Close a scope. Events that still find it through their context are recorded as late."""
    opened.change(CLOSED)
    opened.timeline.end(reason)
    if opened.sampler is not None:
        opened.sampler.close(opened)
    with _lock:
        _open.pop(opened, None)
    for inner in list(opened.inside):  # of code that still runs, or was given up
        close_scope(inner, reason)


def pause_scope(opened: OpenScope) -> None:
    """Stop recording into a scope until `resume_scope`."""
    opened.change(PAUSED)
    opened.timeline.pause()


def resume_scope(opened: OpenScope) -> None:
    """Record into a paused scope again."""
    opened.timeline.resume()
    opened.change(OPEN if opened.sampler is None else SAMPLED)


def stop_listening() -> None:
    """Remove the tap if no scope is open; then ``execute`` costs next to nothing again."""
    with _lock:
        if not _open:
            _bus.set_tap(None)
