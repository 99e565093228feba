"""The open scope: where events are recorded now, and the context variable that carries it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from pytest_crucible import _clock
from pytest_crucible.events.scope import Scope

OPEN, PAUSED, CLOSED, SAMPLED = 0, 1, 2, 3
"""States of a scope: recording all events, not recording for now, ended, recording a sample."""


class Sink(Protocol):
    """The store that keeps a scope's frames, see `pytest_crucible.record.store.Store`."""

    @property
    def append(self) -> Callable[[bytes], None]: ...
    @property
    def take(self) -> Callable[[], bytearray]: ...
    @property
    def keep(self) -> Callable[[bytearray], None]: ...


class Sampler(Protocol):
    """Receives the events of a sampled scope, see `pytest_crucible.capture.sampler`."""

    def capture(
        self,
        opened: OpenScope,
        name: str,
        measurements: Mapping[str, Any] | None,
        metadata: Mapping[str, Any] | None,
        attribution: int,
        time_ns: int | None = None,
        foreign: bool = False,
    ) -> None: ...
    def enter(self, span: str, parent: str | None) -> None: ...
    def leave(self, span: str) -> None: ...
    def close(self, opened: OpenScope) -> None: ...
    def flush(self) -> None: ...
    def frame(self) -> Any: ...


class Timeline:
    """When a scope was opened, paused and closed; durations by the monotonic clock, in ns.

    Attributes:
        began_wall_ns: wall time when the scope was opened, in ns.
        paused_wall_ns: wall time when the present pause began, in ns; None if it is not paused.
        ended_wall_ns: wall time when the scope was closed, in ns; None if it is open.
        pauses: how often the scope was paused.
        reason: why the scope was closed early; None if it ended normally.
    """

    __slots__ = (
        "_began", "_ended", "_paused_ns", "_paused_since", "began_wall_ns", "ended_wall_ns",
        "paused_wall_ns", "pauses", "reason",
    )  # fmt: skip

    def __init__(self) -> None:
        self.began_wall_ns, self._began = _clock.wall_ns(), _clock.monotonic_ns()
        self.paused_wall_ns: int | None = None
        self.ended_wall_ns: int | None = None
        self._paused_since: int | None = None
        self._ended: int | None = None
        self._paused_ns = 0
        self.pauses = 0
        self.reason: str | None = None

    def pause(self) -> None:
        """Note that a pause begins now."""
        self.paused_wall_ns, self._paused_since = _clock.wall_ns(), _clock.monotonic_ns()
        self.pauses += 1

    def resume(self) -> None:
        """Note that the pause ends now; without a pause, do nothing."""
        since, self._paused_since, self.paused_wall_ns = self._paused_since, None, None
        if since is not None:
            self._paused_ns += _clock.monotonic_ns() - since

    def end(self, reason: str | None) -> None:
        """Note that the scope ends now, and so does a pause; only the first call counts."""
        if self._ended is None:
            self.resume()
            self.ended_wall_ns, self._ended = _clock.wall_ns(), _clock.monotonic_ns()
            self.reason = reason

    def durations(self) -> tuple[int, int]:
        """Return the time from the beginning to the end (or now), and the paused time, in ns."""
        until = _clock.monotonic_ns() if self._ended is None else self._ended
        since = self._paused_since
        return until - self._began, self._paused_ns + (0 if since is None else until - since)


class OpenScope:
    """A scope that events are recorded into.

    Attributes:
        id: number of the scope in its store; every event holds it instead of the names.
        scope: the names: experiment, condition, test, …
        sink: the store that keeps the events.
        take, keep: methods of the sink, stored here to save the emit path a look-up.
        state: OPEN, PAUSED, CLOSED or SAMPLED. OPEN is zero because it is the common case: the emit
            path makes one truth test.
        sampler: decides which events are kept; None if all are.
        timeline: when the scope was opened, paused and closed.
        inside: scopes of the judges and cases that run inside this one; they share its state.
        parent: the scope inside which this one runs; None for that of an experiment or a test.
        around: of a case or judge the scope of the code around it, maybe of another experiment.
        handle: returns the handle of this scope; None if it has none.
        unattributed: number of events that nobody knows to be of this scope or of another open one.
    """

    __slots__ = (
        "around", "handle", "id", "inside", "keep", "parent", "sampler", "scope", "sink", "state",
        "take", "timeline", "unattributed",
    )  # fmt: skip

    def __init__(
        self,
        id: int,
        scope: Scope,
        sink: Sink,
        sampler: Sampler | None = None,
    ) -> None:
        self.id = id
        self.scope = scope
        self.sink = sink
        self.take, self.keep = sink.take, sink.keep
        self.sampler = sampler
        self.state = OPEN if sampler is None else SAMPLED
        self.timeline = Timeline()
        self.inside: list[OpenScope] = []
        self.parent: OpenScope | None = None
        self.around: OpenScope | None = None
        self.handle: Callable[[], Any] | None = None
        self.unattributed = 0

    def change(self, state: int) -> None:
        """Set the state of this scope and of those inside it."""
        self.state = state
        for inner in list(self.inside):
            inner.change(state)

    def enclose(self, inner: OpenScope) -> None:
        """Note that another scope runs inside this one."""
        inner.parent = self
        inner.state = self.state
        self.inside.append(inner)

    def release(self, inner: OpenScope) -> None:
        """Note that a scope inside this one has ended."""
        if inner in self.inside:  # a forked child does not have those of its parent's threads
            self.inside.remove(inner)

    @property
    def of_code_under_test(self) -> OpenScope:
        """This scope, or for that of a judge the one around it."""
        judge = self.scope.role is not None and self.parent is not None
        return self.parent if judge and self.parent is not None else self

    def tell_sampled(self) -> dict[tuple[str, str], Any]:
        """Write to the record how many operations were seen, before somebody reads the record.

        Returns:
            The sampling frame by experiment and condition; empty if all events are kept.
        """
        if self.sampler is None:
            return {}
        self.sampler.flush()
        return {(self.scope.experiment, self.scope.condition): self.sampler.frame()}


current_scope: ContextVar[OpenScope | None] = ContextVar("crucible_scope", default=None)
"""The scope of the running code. Follows tasks, ``to_thread`` and ``copy_context().run``."""

current_span: ContextVar[str | None] = ContextVar("crucible_span", default=None)
"""Id of the innermost open span of the running code."""
