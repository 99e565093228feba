"""The sampler: keeps the events of some operations of one condition, and drops the others.

The unit of sampling is the operation: a span with everything inside it, or an event outside any
span. If a span were kept and a span inside it dropped, nobody could tell where money was spent.

A strategy that must know how an operation went decides when it ends. Until then the operation's
encoded events wait here, and a process that dies loses them. All other events are written at once.
"""

from __future__ import annotations

import secrets
import struct
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from pytest_crucible import _clock
from pytest_crucible._forks import in_child
from pytest_crucible._text import text_of
from pytest_crucible.capture.frames import (
    EVENT_TAG,
    EventFrame,
    SamplingFrame,
    decode,
    encodable,
    encode,
    encode_degraded,
)
from pytest_crucible.capture.open_scope import CLOSED, OpenScope
from pytest_crucible.capture.span import current_span_id
from pytest_crucible.capture.strategies import (
    DROPPED,
    NO_SLOT,
    Outcome,
    parse_sampling,
    strategy_of,
)
from pytest_crucible.events.catalog import is_container, is_start
from pytest_crucible.events.enrichment import Enriched, enrich
from pytest_crucible.events.event import RESERVED, Event, hashable_id

MOST_OPEN = 100_000
"""Open spans that a sampler remembers; beyond these it forgets the oldest as parents."""
MOST_WAITING = 8 << 20
"""Bytes of events that may wait for their operations to end; above them the operation is kept."""

_WEIGHT = struct.Struct(">d")  # msgpack's form of a float, the last item of a sampled event's frame
_UNKNOWN = Outcome("")


class _Unit:
    """An operation.

    Attributes:
        root: id of its outermost span; None for a single event.
        number: counts the operations of the sampler, from 1.
        scope: number of the scope in which it began.
        weight: how many operations it stands for; None until the strategy has decided.
        waiting: until then, its encoded events, and for each the function that writes it.
        size: bytes of the waiting events.
        slot: its index in a reservoir, or `NO_SLOT`.
        failed: whether anything inside it has failed.
    """

    __slots__ = ("failed", "number", "root", "scope", "size", "slot", "waiting", "weight")

    def __init__(self, root: object, number: int, scope: int) -> None:
        self.root = root
        self.number = number
        self.scope = scope
        self.weight: float | None = None
        self.slot = NO_SLOT
        self.waiting: list[tuple[Callable[[bytes], None], bytes]] = []
        self.size = 0
        self.failed = False


class NodeSampler:
    """Samples the operations of one experiment under one condition, in one process.

    Args:
        experiment, condition: names of the experiment and the condition.
        sampling: e.g. ``uniform:0.1``.
        write: appends a frame to the store of this process.
        seed: of the sampler's own random numbers; default: a fresh one. The record contains it.
    """

    def __init__(
        self,
        experiment: str,
        condition: str,
        sampling: str,
        write: Callable[[bytes], None],
        seed: int | None = None,
    ) -> None:
        self._experiment = experiment
        self._condition = condition
        self._text = sampling
        self._write = write
        _samplers.add(self)
        self._begin(secrets.randbits(32) if seed is None else seed)

    def _begin(self, seed: int) -> None:
        # Reentrant: a signal handler may interrupt the thread that holds the lock, and emit.
        self._lock = threading.RLock()
        self._seed = seed
        self._strategy = strategy_of(parse_sampling(self._text), seed)
        self._seen = 0
        self._written = -1  # what `flush` last wrote of `_seen`
        self._open: dict[object, _Unit] = {}  # by id of each open span
        self._containers: dict[object, _Unit] = {}  # those of them that contain other events
        self._plain_containers = False
        self._waiting = 0
        self.flush()

    def continue_in_child(self) -> None:
        """Start anew in a forked child: another seed, and none of the parent's operations."""
        self._begin(secrets.randbits(32))

    def frame(self) -> SamplingFrame:
        """Return how the condition is sampled, and how many operations were seen so far."""
        return SamplingFrame(self._experiment, self._condition, self._text, self._seed, self._seen)

    def flush(self) -> None:
        """Write how many operations were seen, if the record does not say so yet."""
        with self._lock:
            if self._written != self._seen:
                self._written = self._seen
                self._write(encode(self.frame()))

    def capture(
        self,
        opened: OpenScope,
        name: str,
        measurements: Mapping[str, Any] | None,
        metadata: Mapping[str, Any] | None,
        attribution: int,
        time_ns: int | None = None,
        foreign: bool = False,
    ) -> None:
        """Record an event, or drop it.

        Args:
            opened: the scope that the event belongs to.
            name, measurements, metadata: the event.
            attribution: how its scope was found.
            time_ns: wall time in ns since the epoch; default: now.
            foreign: whether the event comes from a captured span. Such an event is kept, unless
                it is inside a span of ours.
        """
        now = _clock.wall_ns() if time_ns is None else time_ns
        event = opened.id, name, now, measurements, metadata, attribution
        text = text_of(name)
        if text.startswith(RESERVED):
            self._pass(opened, _encoded(*event))
            return
        with self._lock:
            unit, ends = self._unit_of(opened, text, metadata, foreign)
            if unit is None:
                self._pass(opened, _encoded(*event))
            elif unit.weight != DROPPED:
                weight = 1.0 if unit.weight is None else unit.weight
                data, error = _encoded(*event, (unit.number, unit.slot, weight))
                if unit.weight is None:
                    self._wait(unit, opened, data, is_start(text), ends)
                    if self._waiting > MOST_WAITING:
                        self._keep(unit)
                else:
                    opened.sink.append(data)
                if error is not None:
                    raise error

    def _pass(self, opened: OpenScope, encoded: tuple[bytes, Exception | None]) -> None:
        data, error = encoded
        opened.sink.append(data)
        if error is not None:
            raise error

    # --- which operation ----------------------------------------------------------------------

    def _unit_of(
        self, opened: OpenScope, text: str, metadata: object, foreign: bool
    ) -> tuple[_Unit | None, bool]:
        """Return the event's operation, and whether the event ends it.

        The operation is None if the event must be kept in any case.
        """
        span, parent = _spans_of(metadata)
        unit = None if span is None else self._open.get(span)
        if unit is None and parent is not None:
            unit = self._open.get(parent)
        if span is None:
            unit = unit or self._around()
            return (unit, False) if unit is not None else self._single(opened, text)
        if is_start(text):
            if unit is None:
                if foreign:
                    return None, False
                unit = self._new(opened, span)
            self._enter(span, unit)
            if is_container(text):
                self._containers[span] = unit
            return unit, False
        self._open.pop(span, None)
        self._containers.pop(span, None)
        if unit is None:
            return (None, False) if foreign else (self._new(opened, span), True)
        return unit, unit.root == span

    def _around(self) -> _Unit | None:
        """Return the open operation in which an event without a span happens; None if none is."""
        here = current_span_id()
        unit = None if here is None else self._open.get(here)
        if unit is None and self._containers:
            # Readers count an event inside the container during which it happened.
            unit = self._containers[next(reversed(self._containers))]
        return unit

    def _single(self, opened: OpenScope, name: str) -> tuple[_Unit | None, bool]:
        # A container may be a plain event that comes at its end. Readers count inside it the
        # events that ended during its time, but those were sampled before we knew of it. So, from
        # the first such container on, all plain events are kept.
        self._plain_containers = self._plain_containers or is_container(name)
        if self._plain_containers:
            return None, False
        return self._new(opened, None), True

    def _new(self, opened: OpenScope, root: object) -> _Unit:
        self._seen += 1
        unit = _Unit(root, self._seen, abs(opened.id))
        if not self._strategy.needs_outcome:
            unit.weight, unit.slot = self._strategy.decide(_UNKNOWN)
        elif opened.state == CLOSED:
            unit.weight = (
                1.0  # late: the scope is closed, so nothing would settle it without an end
            )
        return unit

    def _enter(self, span: object, unit: _Unit) -> None:
        self._open[span] = unit
        if len(self._open) > MOST_OPEN:
            oldest = next(iter(self._open))
            self._containers.pop(oldest, None)
            self._keep(self._open.pop(oldest))

    def enter(self, span: str, parent: str | None) -> None:
        """Note that a captured span began: it may be the parent of events, but has none itself yet.

        Args:
            span, parent: ids of the span and of the one above it.
        """
        with self._lock:
            unit = self._open.get(parent)
            if unit is not None:
                self._enter(span, unit)

    def leave(self, span: str) -> None:
        """Note that a captured span ended without becoming an event."""
        with self._lock:
            self._open.pop(span, None)

    # --- operations that wait for their end ---------------------------------------------------

    def _wait(self, unit: _Unit, opened: OpenScope, data: bytes, begins: bool, ends: bool) -> None:
        unit.waiting.append((opened.sink.append, data))
        unit.size += len(data)
        self._waiting += len(data)
        if begins:
            return
        name, enriched = _understood(data)
        unit.failed = unit.failed or enriched.success is False
        if ends:
            outcome = Outcome(name, enriched.latency_ms, enriched.cost_usd, unit.failed)
            self._settle(unit, *self._strategy.decide(outcome))

    def _keep(self, unit: _Unit) -> None:
        """Keep an operation that is still undecided: we no longer wait for its end."""
        if unit.weight is None:
            self._settle(unit, 1.0, NO_SLOT)

    def _settle(self, unit: _Unit, weight: float, slot: int) -> None:
        unit.weight, unit.slot = weight, slot
        waiting, unit.waiting = unit.waiting, []
        self._waiting -= unit.size
        if weight != DROPPED:
            packed = _WEIGHT.pack(weight)
            for write, data in waiting:
                write(data[: -_WEIGHT.size] + packed)

    def close(self, opened: OpenScope) -> None:
        """Close a scope: keep its unfinished operations, and write how many were seen."""
        with self._lock:
            for unit in dict.fromkeys(list(self._open.values())):
                if unit.scope == abs(opened.id):
                    self._keep(unit)
            self.flush()


_samplers: weakref.WeakSet[NodeSampler] = weakref.WeakSet()


def _renew_locks() -> None:
    for sampler in list(_samplers):
        sampler._lock = threading.RLock()


# Another thread of the parent may hold such a lock when a child is forked.
in_child(_renew_locks)


def _spans_of(metadata: object) -> tuple[object, object]:
    """Return the ids of the event's span and of its parent span; None for a missing id."""
    if not isinstance(metadata, Mapping):
        return None, None
    try:
        return hashable_id(metadata.get("span_id")), hashable_id(metadata.get("parent_span_id"))
    except Exception:  # a caller's own mapping type that cannot be read: recorded unchanged
        return None, None


def _encoded(
    scope: int,
    name: object,
    now: int,
    measurements: object,
    metadata: object,
    attribution: int,
    sampled: tuple[int, int, float] | tuple[()] = (),
) -> tuple[bytes, Exception | None]:
    """Encode an event.

    Returns:
        The frame, and the exception of a signal handler that ran meanwhile; None if none did.
    """
    try:
        frame = (EVENT_TAG, scope, name, now, measurements, metadata, attribution, 0, *sampled)
        return encode(frame), None
    except Exception as error:
        data, degraded = encode_degraded(
            scope, name, now, measurements, metadata, attribution, sampled
        )
        ours = degraded or not encodable((name, measurements, metadata))
        return data, None if ours else error


def _understood(data: bytes) -> tuple[str, Enriched]:
    """Decode an event; return its name, and latency, cost and success as readers compute them."""
    frame = decode(data)
    if not isinstance(frame, EventFrame):
        return "", Enriched()
    numbers, context = frame.measurements, frame.metadata
    event = Event(
        name=str(frame.name),
        measurements=numbers if isinstance(numbers, dict) else {},
        metadata=context if isinstance(context, dict) else {},
        time_us=0,
        run="",
        node="",
        sequence=0,
        scope=None,
    )
    return event.name, enrich(event)
