"""The sampler: from the events of one condition to those of the operations that are kept.

What is drawn is an operation: a span with everything inside it, or an event that is in no span.
Were a whole kept and its part dropped, nesting could not tell where money was spent.

A strategy that has to know how an operation went decides at its end. Until then its events wait
here, encoded; a process that dies loses what was waiting. All else is written at once.
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
"""Spans that may be under way; of more than these the oldest are no longer known as parents."""
MOST_WAITING = 8 << 20
"""Bytes of events that may wait for the end of their operation; beyond them it is kept as it is."""

_WEIGHT = struct.Struct(">d")  # how msgpack ends a frame whose last item is a float
_UNKNOWN = Outcome("")


class _Unit:
    """An operation.

    Attributes:
        root: id of its outermost span; None for a single event.
        number: the how-manieth it is.
        scope: number of the scope that it began in.
        weight: how many it stands for; None until that is decided.
        waiting: its events so far, if it is not decided, and how to write each.
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
        experiment, condition: whose.
        sampling: e.g. ``uniform:0.1``.
        write: appends a frame to the store of this process.
        seed: of its random numbers, which are its own; default: fresh. It is kept with the record.
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
        # Reentrant: a signal handler may interrupt whoever holds it, and emit.
        self._lock = threading.RLock()
        self._seed = seed
        self._strategy = strategy_of(parse_sampling(self._text), seed)
        self._seen = 0
        self._told = -1
        self._open: dict[object, _Unit] = {}
        self._wholes: dict[object, _Unit] = {}
        self._plain_wholes = False
        self._waiting = 0
        self.flush()

    def continue_in_child(self) -> None:
        """Go on in a forked child: with numbers of its own, and without its parent's operations."""
        self._begin(secrets.randbits(32))

    def frame(self) -> SamplingFrame:
        """How the condition is sampled, and how many operations were seen so far."""
        return SamplingFrame(self._experiment, self._condition, self._text, self._seed, self._seen)

    def flush(self) -> None:
        """Write down how many operations were seen, if it is not yet."""
        with self._lock:
            if self._told != self._seen:
                self._told = self._seen
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
            opened: the scope that it belongs to.
            name, measurements, metadata: the event.
            attribution: how its scope was found.
            time_ns: when; default: now.
            foreign: it is a captured span's. Those are kept, unless they are inside a span of ours.
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
        """The operation that an event belongs to, and whether it ends it; None: always kept."""
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
                self._wholes[span] = unit
            return unit, False
        self._open.pop(span, None)
        self._wholes.pop(span, None)
        if unit is None:
            return (None, False) if foreign else (self._new(opened, span), True)
        return unit, unit.root == span

    def _around(self) -> _Unit | None:
        """The operation that an event without a span of its own happens in."""
        here = current_span_id()
        unit = None if here is None else self._open.get(here)
        if unit is None and self._wholes:
            # A reader will take it for a part of the whole within whose time it happened.
            unit = self._wholes[next(reversed(self._wholes))]
        return unit

    def _single(self, opened: OpenScope, name: str) -> tuple[_Unit | None, bool]:
        # A whole told by a plain event takes for its parts what ended before it, within its time:
        # by then those are drawn. So where there are such wholes, plain events are all kept.
        self._plain_wholes = self._plain_wholes or is_container(name)
        if self._plain_wholes:
            return None, False
        return self._new(opened, None), True

    def _new(self, opened: OpenScope, root: object) -> _Unit:
        self._seen += 1
        unit = _Unit(root, self._seen, abs(opened.id))
        if not self._strategy.needs_outcome:
            unit.weight, unit.slot = self._strategy.decide(_UNKNOWN)
        elif opened.state == CLOSED:
            unit.weight = 1.0  # it came late: nobody will be there to keep it if it has no end
        return unit

    def _enter(self, span: object, unit: _Unit) -> None:
        self._open[span] = unit
        if len(self._open) > MOST_OPEN:
            oldest = next(iter(self._open))
            self._wholes.pop(oldest, None)
            self._keep(self._open.pop(oldest))

    def enter(self, span: str, parent: str | None) -> None:
        """A captured span began that is no event yet, but may be the parent of some."""
        with self._lock:
            unit = self._open.get(parent)
            if unit is not None:
                self._enter(span, unit)

    def leave(self, span: str) -> None:
        """It ended, and is no event."""
        with self._lock:
            self._open.pop(span, None)

    # --- those that wait for their end --------------------------------------------------------

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
        """Keep an operation whose end nobody waits for any longer."""
        if unit.weight is None:
            self._settle(unit, 1.0, NO_SLOT)

    def _settle(self, unit: _Unit, weight: float, slot: int) -> None:
        unit.weight, unit.slot = weight, slot
        waiting, unit.waiting = unit.waiting, []
        self._waiting -= unit.size
        if weight != DROPPED:
            told = _WEIGHT.pack(weight)
            for write, data in waiting:
                write(data[: -_WEIGHT.size] + told)

    def close(self, opened: OpenScope) -> None:
        """A scope is over: keep what has not come to its end in it, and say what was seen."""
        with self._lock:
            for unit in dict.fromkeys(list(self._open.values())):
                if unit.scope == abs(opened.id):
                    self._keep(unit)
            self.flush()


_samplers: weakref.WeakSet[NodeSampler] = weakref.WeakSet()


def _renew_locks() -> None:
    for sampler in list(_samplers):
        sampler._lock = threading.RLock()


# Another thread of the parent may hold it as a child is forked.
in_child(_renew_locks)


def _spans_of(metadata: object) -> tuple[object, object]:
    """The span that an event is of, and that one's parent; None where it names none."""
    if not isinstance(metadata, Mapping):
        return None, None
    try:
        return hashable_id(metadata.get("span_id")), hashable_id(metadata.get("parent_span_id"))
    except Exception:  # a mapping of somebody else's, which cannot be read; it is recorded as it is
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
    """The frame, and the exception of somebody else's that came in between, if one did."""
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
    """Name of an encoded event, and what a reader will work out about it."""
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
