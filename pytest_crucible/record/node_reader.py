"""From the frames of one node to its events, one by one or many at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol, cast

from pytest_crucible.capture.frames import (
    SCHEMA,
    EventFrame,
    ExperimentFrame,
    FooterFrame,
    Frame,
    HeaderFrame,
    NoteFrame,
    PlanFrame,
    SamplingFrame,
    ScopeFrame,
)
from pytest_crucible.capture.recorder import NO_SCOPE
from pytest_crucible.capture.strategies import NO_SLOT
from pytest_crucible.events.event import ATTRIBUTIONS, RESERVED, Event
from pytest_crucible.events.scope import JUDGE, Scope
from pytest_crucible.record.chunks import CHUNK, Chunk, Origin
from pytest_crucible.record.reservoir import Condition, Survivors
from pytest_crucible.record.spool_reader import BATCH, SpoolReader

TrialKey = tuple[str, str, str, str, int]
"""experiment, condition, test, case, trial"""

_EMPTY: Mapping[str, Any] = {}
_MAX_WAITING = 8192  # events that wait to be set aside, as they are
_ENOUGH = 1024  # of one scope, to share the work; while the caches hold them


class Aside(Protocol):
    """Takes usual events of the code under test out of the stream, many at once."""

    def take(self, node: Node, scope: Scope, frames: list[EventFrame]) -> None:
        """Take events of one scope, in order."""
        ...


@dataclass
class Node:
    """What one node recorded; everything but its name is known once its events have been read.

    Attributes:
        name: ``main``, ``gw0``, …
        source: where the frames come from, for messages.
        header: first frame, if one was read.
        definitions: experiment name to the arguments of its marker.
        plan: the trials this node meant to run.
        notes: why its record is incomplete.
        closed: whether it ended in good order.
        events: number of events.
        learned: what scope numbers turned out to mean.
        scopes: what scope numbers mean, where ``frames`` starts after the frames that tell.
        enriched: what enrichers set, by sequence of the event, in order.
        samplings: how conditions are sampled, by experiment and condition; before reading, where
            ``frames`` starts after the frames that tell.
        piecewise: ``frames`` is a piece of a record that grows. Then what is in a reservoir counts
            as it came, whether or not something takes its place later: sums over all pieces are
            unbiased, too.
        keep: what must live for as long as the frames are read.

    ``frames`` is read twice where there is a reservoir.
    """

    name: str
    frames: Iterable[tuple[int, Frame]]
    source: str = "memory"
    run: str = ""
    header: HeaderFrame | None = None
    definitions: dict[str, dict[str, Any]] = field(default_factory=dict)
    plan: list[TrialKey] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    closed: bool = False
    events: int = 0
    scopes: Mapping[int, Scope] = field(default_factory=dict)
    enriched: Iterable[tuple[int, Mapping[str, Any]]] = ()
    learned: dict[int, Scope | None] = field(default_factory=dict)
    samplings: dict[Condition, SamplingFrame] = field(default_factory=dict)
    piecewise: bool = False
    keep: object = None
    _offset_ns: int = 0
    _survivors: Survivors | None = None
    _origins: dict[int, Origin] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether the node ended as it should; a forked or joined process may just stop."""
        return self.closed or (self.header is not None and self.header.parent is not None)

    def __iter__(self) -> Iterator[Event]:
        """Read the node's events in order, learning its tables on the way."""
        return self.read()

    def chunks(self) -> Iterator[Chunk]:
        """The same, many at once."""
        told = self._begin()
        for sequences, frames in _batches(self.frames, 2 * BATCH):
            places: list[int] = []
            events: list[EventFrame] = []
            origins: list[Origin] = []
            if set(map(type, frames)) == {EventFrame}:
                places, events = sequences, cast("list[EventFrame]", frames)
                if {event.slot for event in events} != {NO_SLOT}:
                    kept = [row for row, event in enumerate(events) if self._is_left(event)]
                    places, events = [places[row] for row in kept], [events[row] for row in kept]
                numbers = [event.scope for event in events]
                for number in set(numbers).difference(self._origins):
                    self._origin(number)
                origins = [self._origins[number] for number in numbers]
            else:
                for sequence, frame in zip(sequences, frames, strict=True):
                    if type(frame) is EventFrame:
                        if self._is_left(frame):
                            places.append(sequence)
                            events.append(frame)
                            origins.append(
                                self._origins.get(frame.scope) or self._origin(frame.scope)
                            )
                        continue
                    if events and type(frame) is HeaderFrame:  # by another clock from here on
                        yield self._chunk(places, events, origins, told)
                        places, events, origins = [], [], []
                    self._learn(frame)
            if events:
                yield self._chunk(places, events, origins, told)

    def read(self, aside: Aside | None = None) -> Iterator[Event]:
        """The same, one by one. ``aside`` gets the usual ones many at once, and they are left out.

        It has them before the next event that is not left out.
        """
        told = self._begin()
        waiting: defaultdict[int, list[EventFrame]] = defaultdict(list)
        for sequences, frames in _batches(self.frames):
            # What enrichers set is looked up in order: then none is left out.
            none = aside is None or told.any
            usual = [False] * len(frames) if none else _are_usual(frames)
            for sequence, frame, is_usual in zip(sequences, frames, usual, strict=True):
                if type(frame) is not EventFrame:
                    self._learn(frame)
                elif is_usual:
                    waiting[frame.scope].append(frame)
                else:
                    if waiting:
                        self._set_aside(waiting, aside)
                    event = self._event(sequence, frame, told)
                    if event is not None:
                        yield event
            if waiting:
                few = sum(map(len, waiting.values())) < _MAX_WAITING
                self._set_aside(waiting, aside, least=_ENOUGH if few else 0)
        self._set_aside(waiting, aside)

    def _begin(self) -> _Told:
        self.learned = {NO_SCOPE: None, **self.scopes}
        self._origins = {}
        self.definitions, self.plan, self.notes, self.events = {}, [], [], 0
        self.closed, self._survivors = False, None
        return _Told(self.enriched)

    def _event(self, sequence: int, frame: EventFrame, told: _Told) -> Event | None:
        """One event; None if it is not left."""
        if not self._is_left(frame):
            return None
        self.events += 1
        name = frame.name
        return Event(
            name=name if type(name) is str else str(name),
            measurements=as_mapping(frame.measurements),
            metadata=as_mapping(frame.metadata),
            time_us=(frame.time_ns - self._offset_ns) // 1000,
            run=self.run,
            node=self.name,
            sequence=sequence,
            scope=self._scope(frame.scope),
            attribution=ATTRIBUTIONS[frame.attribution],
            degraded=frame.degraded,
            weight=frame.weight if frame.unit else None,
            enriched=told.of(sequence) if told.any else None,
        )

    def _chunk(
        self, places: list[int], frames: list[EventFrame], origins: list[Origin], told: _Told
    ) -> Chunk:
        """The same for consecutive events, all of them left."""
        odd = {frame.attribution or frame.degraded or frame.unit for frame in frames} != {0}
        self.events += len(frames)
        names = [frame.name for frame in frames]
        if not {str}.issuperset(map(type, names)):
            names = [name if type(name) is str else str(name) for name in names]
        offset = self._offset_ns
        return Chunk(
            names=names,
            measurements=_mappings([frame.measurements for frame in frames]),
            metadata=_mappings([frame.metadata for frame in frames]),
            times_us=[(frame.time_ns - offset) // 1000 for frame in frames],
            sequences=places,
            origins=origins,
            attributions=[ATTRIBUTIONS[frame.attribution] for frame in frames] if odd else None,
            degraded=[frame.degraded for frame in frames] if odd else None,
            weights=[frame.weight if frame.unit else None for frame in frames] if odd else None,
            enriched=[told.of(place) for place in places] if told.any else None,
        )

    def _origin(self, number: int) -> Origin:
        found = self._origins[number] = Origin(self.run, self.name, self._scope(number))
        return found

    def _scope(self, number: int) -> Scope | None:
        scopes = self.learned
        return scopes[number] if number in scopes else _judges(number, scopes)

    def _set_aside(
        self, waiting: dict[int, list[EventFrame]], aside: Aside | None, least: int = 0
    ) -> None:
        for number in [each for each, frames in waiting.items() if len(frames) >= least]:
            frames = waiting.pop(number)
            self.events += len(frames)
            scope = self._scope(number)
            if scope is not None and aside is not None:
                aside.take(self, scope, frames)

    @property
    def offset_ns(self) -> int:
        """This node's wall clock minus the controller's."""
        return self._offset_ns

    def _is_left(self, frame: EventFrame) -> bool:
        """False for one of a reservoir whose place another took; tells others their weight."""
        if frame.slot == NO_SLOT or self.piecewise:
            return True
        if self._survivors is None:
            self._survivors = Survivors(self.frames, self.learned, self.samplings)
        weight = self._survivors.weight(frame)
        frame.weight = 1.0 if weight is None else weight
        return weight is not None

    def drew(self, condition: Condition) -> bool:
        """Whether anything of a condition was there to be drawn; known once it has been read."""
        told = self.samplings.get(condition)
        if told is not None and told.seen:
            return True
        return self._survivors is not None and self._survivors.seen(condition) > 0

    def _learn(self, frame: Frame) -> None:
        match frame:
            case ScopeFrame():
                self._origins.pop(frame.id, None)
                self.learned[frame.id] = Scope(
                    experiment=frame.experiment,
                    condition=frame.condition,
                    test=frame.test,
                    case=frame.case,
                    trial=frame.trial,
                    attempt=frame.attempt,
                )
            case HeaderFrame():
                self._origins.clear()
                self.header, self.run, self.name = frame, frame.run, frame.node
                self._offset_ns = frame.clock_offset_ns
                if frame.schema != SCHEMA:
                    self.notes.append(
                        f"{self.source}: schema {frame.schema}, this version reads {SCHEMA}"
                    )
            case ExperimentFrame():
                self.definitions[frame.name] = frame.definition
            case PlanFrame():
                self.plan.extend(frame.trials)
            case SamplingFrame():
                self.samplings[frame.experiment, frame.condition] = frame
            case NoteFrame():
                self.notes.append(f"{self.name}: {frame.text}")
            case FooterFrame():
                self.closed = True


def _batches(
    frames: Iterable[tuple[int, Frame]], size: int = BATCH
) -> Iterator[tuple[list[int], list[Frame]]]:
    if isinstance(frames, SpoolReader):
        yield from frames.batches(size)
        return
    rest = iter(frames)
    while some := list(islice(rest, CHUNK)):
        yield [position for position, _ in some], [frame for _, frame in some]


def _are_usual(frames: list[Frame]) -> list[bool]:
    """Of each whether it is an event of which nothing is to be said but what it says itself."""
    return [
        type(frame) is EventFrame
        and not (frame.attribution or frame.degraded or frame.unit)
        and type(frame.name) is str
        and not frame.name.startswith(RESERVED)
        for frame in frames
    ]


class _Told:
    """What enrichers set, looked up in order of the events.

    Attributes:
        any: whether there is something left.
    """

    def __init__(self, enriched: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        self._rest = iter(enriched)
        self._ahead = next(self._rest, None)
        self.any = self._ahead is not None

    def of(self, sequence: int) -> Mapping[str, Any] | None:
        while self._ahead is not None and self._ahead[0] < sequence:
            self._ahead = next(self._rest, None)
        self.any = self._ahead is not None
        return self._ahead[1] if self._ahead and self._ahead[0] == sequence else None


def _judges(number: int, scopes: dict[int, Scope | None]) -> Scope | None:
    """The scope of a judge, whose number is that of the trial it judges, negated."""
    owner = scopes.get(-number)
    found = scopes[number] = None if owner is None else replace(owner, role=JUDGE)
    return found


def _mappings(values: list[Any]) -> list[Mapping[str, Any]]:
    return values if {dict}.issuperset(map(type, values)) else list(map(as_mapping, values))


def as_mapping(value: object) -> Mapping[str, Any]:
    """What a caller passed as measurements or metadata, which may be anything."""
    if type(value) is dict:
        return value
    if value is None:
        return _EMPTY
    return {"value": value}
