"""Reads the frames of one node as events, one by one or many at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol, cast, runtime_checkable

from pytest_crucible.capture.frames import (
    INSERTED_NOTE,
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
_MAX_WAITING = 8192  # usual events that may wait, over all scopes
_ENOUGH = 1024  # events of one scope: enough to share the work, few enough for the CPU's caches


@runtime_checkable
class Searchable(Protocol):
    """Frames that can be searched without decoding them, see `Store.holds`."""

    def holds(self, data: bytes) -> bool: ...


class Aside(Protocol):
    """Receives the usual events (`_are_usual`) of a node, many at once."""

    def take(self, node: Node, scope: Scope, frames: list[EventFrame]) -> None:
        """Receive some events of one scope, in order."""
        ...


@dataclass
class Node:
    """The record of one node. Reading the events fills all attributes that say what was recorded.

    Attributes:
        name: ``main``, ``gw0``, …
        frames: with their positions; read twice if the record has a reservoir.
        source: where the frames come from, for messages.
        run: id of the run.
        header: the first frame, if one was read.
        definitions: the arguments of markers, by name of the experiment.
        plan: the trials that this node was to run.
        notes: why the record is incomplete, a sentence each.
        closed: whether the record has a footer.
        events: number of events.
        scopes: scopes by number, if ``frames`` starts after the frames that define them.
        learned: all scopes by number, as far as they have been read.
        enriched: what enrichers set, by sequence of the event, in order.
        samplings: how conditions are sampled, by experiment and condition; set it before reading
            if ``frames`` starts after the frames that say so.
        piecewise: whether ``frames`` is a piece of a record that still grows. Then an operation in
            a reservoir counts with the weight it had when it was recorded, even if another replaces
            it later: sums over all pieces are unbiased, too.
        keep: an object that must live as long as the frames are read.
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
    def unordered(self) -> bool:
        """Whether inserted events may stand elsewhere than their time says."""
        frames = self.frames
        return isinstance(frames, Searchable) and frames.holds(INSERTED_NOTE.encode())

    @property
    def ended(self) -> bool:
        """Whether the node ended as it should; a forked or joined process needs no footer."""
        return self.closed or (self.header is not None and self.header.parent is not None)

    def __iter__(self) -> Iterator[Event]:
        """Read the node's events in order."""
        return self.read()

    def chunks(self) -> Iterator[Chunk]:
        """Read the node's events in order, in chunks."""
        enrichments = self._begin()
        for positions, frames in _batches(self.frames, 2 * BATCH):
            sequences: list[int] = []
            events: list[EventFrame] = []
            origins: list[Origin] = []
            if set(map(type, frames)) == {EventFrame}:
                sequences, events = positions, cast("list[EventFrame]", frames)
                if {event.slot for event in events} != {NO_SLOT}:
                    kept = [index for index, event in enumerate(events) if self._survives(event)]
                    sequences = [sequences[index] for index in kept]
                    events = [events[index] for index in kept]
                numbers = [event.scope for event in events]
                for number in set(numbers).difference(self._origins):
                    self._origin(number)
                origins = [self._origins[number] for number in numbers]
            else:
                for position, frame in zip(positions, frames, strict=True):
                    if type(frame) is EventFrame:
                        if self._survives(frame):
                            sequences.append(position)
                            events.append(frame)
                            origins.append(
                                self._origins.get(frame.scope) or self._origin(frame.scope)
                            )
                        continue
                    if events and type(frame) is HeaderFrame:  # later events have another clock
                        yield self._chunk(sequences, events, origins, enrichments)
                        sequences, events, origins = [], [], []
                    self._learn(frame)
            if events:
                yield self._chunk(sequences, events, origins, enrichments)

    def read(self, aside: Aside | None = None) -> Iterator[Event]:
        """Read the node's events in order, one by one.

        Args:
            aside: if given, it gets the usual events (`_are_usual`), many at once, and this yields
                only the others. It gets them before the next event that is yielded.
        """
        enrichments = self._begin()
        waiting: defaultdict[int, list[EventFrame]] = defaultdict(list)
        for positions, frames in _batches(self.frames):
            # Enrichments must be looked up in the order of events: then no event may go aside.
            all_yielded = aside is None or enrichments.remaining
            usual = [False] * len(frames) if all_yielded else _are_usual(frames)
            for position, frame, is_usual in zip(positions, frames, usual, strict=True):
                if type(frame) is not EventFrame:
                    self._learn(frame)
                elif is_usual:
                    waiting[frame.scope].append(frame)
                else:
                    if waiting:
                        self._set_aside(waiting, aside)
                    event = self._event(position, frame, enrichments)
                    if event is not None:
                        yield event
            if waiting:
                few = sum(map(len, waiting.values())) < _MAX_WAITING
                self._set_aside(waiting, aside, least=_ENOUGH if few else 0)
        self._set_aside(waiting, aside)

    def _begin(self) -> _Enrichments:
        self.learned = {NO_SCOPE: None, **self.scopes}
        self._origins = {}
        self.definitions, self.plan, self.notes, self.events = {}, [], [], 0
        self.closed, self._survivors = False, None
        return _Enrichments(self.enriched)

    def _event(self, sequence: int, frame: EventFrame, enrichments: _Enrichments) -> Event | None:
        """Make the event of a frame; None if a later one replaced it in a reservoir."""
        if not self._survives(frame):
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
            enriched=enrichments.of(sequence) if enrichments.remaining else None,
        )

    def _chunk(
        self,
        sequences: list[int],
        frames: list[EventFrame],
        origins: list[Origin],
        enrichments: _Enrichments,
    ) -> Chunk:
        """Make a chunk of consecutive frames; none of them was replaced in a reservoir."""
        unusual = {frame.attribution or frame.degraded or frame.unit for frame in frames} != {0}
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
            sequences=sequences,
            origins=origins,
            attributions=(
                [ATTRIBUTIONS[frame.attribution] for frame in frames] if unusual else None
            ),
            degraded=[frame.degraded for frame in frames] if unusual else None,
            weights=[frame.weight if frame.unit else None for frame in frames] if unusual else None,
            enriched=(
                [enrichments.of(sequence) for sequence in sequences]
                if enrichments.remaining
                else None
            ),
        )

    def _origin(self, number: int) -> Origin:
        origin = self._origins[number] = Origin(self.run, self.name, self._scope(number))
        return origin

    def _scope(self, number: int) -> Scope | None:
        scopes = self.learned
        return scopes[number] if number in scopes else _judge_scope(number, scopes)

    def _set_aside(
        self, waiting: dict[int, list[EventFrame]], aside: Aside | None, least: int = 0
    ) -> None:
        for number in [scope for scope, frames in waiting.items() if len(frames) >= least]:
            frames = waiting.pop(number)
            self.events += len(frames)
            scope = self._scope(number)
            if scope is not None and aside is not None:
                aside.take(self, scope, frames)

    @property
    def offset_ns(self) -> int:
        """This node's wall clock minus the controller's, in ns."""
        return self._offset_ns

    def _survives(self, frame: EventFrame) -> bool:
        """Return False if a later event replaced this one in a reservoir; else set its weight."""
        if frame.slot == NO_SLOT or self.piecewise:
            return True
        if self._survivors is None:
            self._survivors = Survivors(self.frames, self.learned, self.samplings)
        weight = self._survivors.weight(frame)
        frame.weight = 1.0 if weight is None else weight
        return weight is not None

    def drew(self, condition: Condition) -> bool:
        """Whether the sampler saw any operation of a condition; call it after reading."""
        sampling = self.samplings.get(condition)
        if sampling is not None and sampling.seen:
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
            case NoteFrame(text=text) if text != INSERTED_NOTE:
                self.notes.append(f"{self.name}: {text}")
            case FooterFrame():
                self.closed = True


def _batches(
    frames: Iterable[tuple[int, Frame]], size: int = BATCH
) -> Iterator[tuple[list[int], list[Frame]]]:
    if isinstance(frames, SpoolReader):
        yield from frames.batches(size)
        return
    rest = iter(frames)
    while batch := list(islice(rest, CHUNK)):
        yield [position for position, _ in batch], [frame for _, frame in batch]


def _are_usual(frames: list[Frame]) -> list[bool]:
    """Tell for each frame whether it is a usual event.

    That is an event of the code under test, found by context, complete, not sampled, and with a
    text as its name: all defaults, so that many can be handled in the same way.
    """
    return [
        type(frame) is EventFrame
        and not (frame.attribution or frame.degraded or frame.unit)
        and type(frame.name) is str
        and not frame.name.startswith(RESERVED)
        for frame in frames
    ]


class _Enrichments:
    """What enrichers set. Events must be looked up in their order.

    Attributes:
        remaining: whether any enrichment is left.
    """

    def __init__(self, enriched: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        self._rest = iter(enriched)
        self._ahead = next(self._rest, None)
        self.remaining = self._ahead is not None

    def of(self, sequence: int) -> Mapping[str, Any] | None:
        """Return what was set for this event; skip what was set for earlier ones."""
        while self._ahead is not None and self._ahead[0] < sequence:
            self._ahead = next(self._rest, None)
        self.remaining = self._ahead is not None
        return self._ahead[1] if self._ahead and self._ahead[0] == sequence else None


def _judge_scope(number: int, scopes: dict[int, Scope | None]) -> Scope | None:
    """Make the scope of a judge: its number is the negative number of the trial it judges."""
    judged = scopes.get(-number)
    scope = scopes[number] = None if judged is None else replace(judged, role=JUDGE)
    return scope


def _mappings(values: list[Any]) -> list[Mapping[str, Any]]:
    return values if {dict}.issuperset(map(type, values)) else list(map(as_mapping, values))


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return a caller's measurements or metadata as a mapping; they may be of any type."""
    if type(value) is dict:
        return value
    if value is None:
        return _EMPTY
    return {"value": value}
