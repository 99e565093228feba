"""The open scope: what is being recorded into, and the context variable that carries it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Protocol

from pytest_crucible import _clock
from pytest_crucible.events.scope import Scope

OPEN, PAUSED, CLOSED, SAMPLED = 0, 1, 2, 3
"""Of a scope: recording, not recording for a while, over, and recording a sample."""


class Sink(Protocol):
    """Where the frames of a scope go: a store, see `pytest_crucible.record.store.Store`."""

    @property
    def append(self) -> Callable[[bytes], None]: ...
    @property
    def take(self) -> Callable[[], bytearray]: ...
    @property
    def keep(self) -> Callable[[bytearray], None]: ...


class Sampler(Protocol):
    """What a sampled scope hands its events to; see `pytest_crucible.capture.sampler`."""

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
        began_wall_ns, paused_wall_ns, ended_wall_ns: wall time of the beginning, of the pause that
            lasts, and of the end; None where there is none.
        pauses: how often it was paused.
        reason: why it ended; None if it just did.
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
        self.paused_wall_ns, self._paused_since = _clock.wall_ns(), _clock.monotonic_ns()
        self.pauses += 1

    def resume(self) -> None:
        since, self._paused_since, self.paused_wall_ns = self._paused_since, None, None
        if since is not None:
            self._paused_ns += _clock.monotonic_ns() - since

    def end(self, reason: str | None) -> None:
        """The end; the first one counts. A pause that lasts ends with it."""
        if self._ended is None:
            self.resume()
            self.ended_wall_ns, self._ended = _clock.wall_ns(), _clock.monotonic_ns()
            self.reason = reason

    def durations(self) -> tuple[int, int]:
        """From the beginning to the end, or until now; and how much of it was paused."""
        until = _clock.monotonic_ns() if self._ended is None else self._ended
        since = self._paused_since
        return until - self._began, self._paused_ns + (0 if since is None else until - since)


class OpenScope:
    """A scope that events are being recorded into.

    Attributes:
        id: number of the scope in its store, written into every event instead of its names.
        scope: the names.
        sink: the store that the scope belongs to.
        take, keep: the sink's, one look-up nearer to the emit path.
        state: OPEN, PAUSED, CLOSED or SAMPLED. Zero is the common case: one truth test on the emit
            path.
        sampler: decides which events are kept; None where all are.
        timeline: when it was opened, paused and closed.
        judging: the scopes of those who judge inside it now: its state is theirs.
    """

    __slots__ = (
        "id", "judging", "keep", "sampler", "scope", "sink", "state", "take", "timeline",
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
        self.judging: list[OpenScope] = []

    def change(self, state: int) -> None:
        self.state = state
        for each in self.judging:
            each.state = state

    def tell_sampled(self) -> dict[tuple[str, str], Any]:
        """Have the record say how many operations were seen, for whoever is about to read it.

        Returns:
            What it said, by experiment and condition; nothing where all events are kept.
        """
        if self.sampler is None:
            return {}
        self.sampler.flush()
        return {(self.scope.experiment, self.scope.condition): self.sampler.frame()}


current_scope: ContextVar[OpenScope | None] = ContextVar("crucible_scope", default=None)
"""The scope of the running code. Follows tasks, ``to_thread`` and ``copy_context().run``."""

current_span: ContextVar[str | None] = ContextVar("crucible_span", default=None)
"""Id of the innermost open span of the running code."""
