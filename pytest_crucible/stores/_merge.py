"""From the frames of one or many nodes to one stream of events.

Merging is reading: each node's order is kept, nodes are interleaved by wall time, and nothing
depends on the order in which files are listed.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from pytest_crucible._event import ATTRIBUTIONS, RESERVED, Event
from pytest_crucible._frames import (
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
from pytest_crucible._recorder import NO_SCOPE
from pytest_crucible._sampling import NO_SLOT
from pytest_crucible._scope import JUDGE, Scope
from pytest_crucible.stores._reservoir import Condition, Survivors

TrialKey = tuple[str, str, str, str, int]
"""experiment, condition, test, case, trial"""

_EMPTY: Mapping[str, Any] = {}
_MAX_WAITING = 8192  # events that wait to be set aside, as they are


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

    @property
    def ended(self) -> bool:
        """Whether the node ended as it should; a forked or joined process may just stop."""
        return self.closed or (self.header is not None and self.header.parent is not None)

    def __iter__(self) -> Iterator[Event]:
        """Read the node's events in order, learning its tables on the way."""
        return self.read()

    def read(self, aside: Aside | None = None) -> Iterator[Event]:
        """The same. ``aside`` gets the usual events many at once, and they are left out.

        It has them before the next event that is not left out.
        """
        scopes: dict[int, Scope | None] = {NO_SCOPE: None, **self.scopes}
        self.learned = scopes
        self.definitions, self.plan, self.notes, self.events = {}, [], [], 0
        self.closed, self._survivors = False, None
        told = _Told(self.enriched)
        if told.any:
            aside = None
        waiting: defaultdict[int, list[EventFrame]] = defaultdict(list)
        count = 0
        for sequence, frame in self.frames:
            if type(frame) is EventFrame:
                if aside is not None and not (
                    # There is nothing to be said about it but what it says itself.
                    frame.attribution
                    or frame.degraded
                    or frame.unit
                    or type(frame.name) is not str
                    or frame.name.startswith(RESERVED)
                ):
                    waiting[frame.scope].append(frame)
                    count += 1
                    if count == _MAX_WAITING:
                        count = self._set_aside(waiting, scopes, aside)
                    continue
                if count and aside is not None:
                    count = self._set_aside(waiting, scopes, aside)
                if frame.slot != NO_SLOT and not self._survives(frame, scopes):
                    continue
                self.events += 1
                numbers, context, name = frame.measurements, frame.metadata, frame.name
                number = frame.scope
                yield Event(
                    name=name if type(name) is str else str(name),
                    measurements=numbers if type(numbers) is dict else as_mapping(numbers),
                    metadata=context if type(context) is dict else as_mapping(context),
                    time_us=(frame.time_ns - self._offset_ns) // 1000,
                    run=self.run,
                    node=self.name,
                    sequence=sequence,
                    scope=scopes[number] if number in scopes else _judges(number, scopes),
                    attribution=ATTRIBUTIONS[frame.attribution],
                    degraded=frame.degraded,
                    weight=frame.weight if frame.unit else None,
                    enriched=told.of(sequence) if told.any else None,
                )
            elif isinstance(frame, ScopeFrame):
                scopes[frame.id] = Scope(
                    experiment=frame.experiment,
                    condition=frame.condition,
                    test=frame.test,
                    case=frame.case,
                    trial=frame.trial,
                    attempt=frame.attempt,
                )
            else:
                self._learn(frame)
        if count and aside is not None:
            self._set_aside(waiting, scopes, aside)

    def _set_aside(
        self,
        waiting: dict[int, list[EventFrame]],
        scopes: dict[int, Scope | None],
        aside: Aside,
    ) -> int:
        for number, frames in waiting.items():
            self.events += len(frames)
            scope = scopes[number] if number in scopes else _judges(number, scopes)
            if scope is not None:
                aside.take(self, scope, frames)
        waiting.clear()
        return 0

    @property
    def offset_ns(self) -> int:
        """This node's wall clock minus the controller's."""
        return self._offset_ns

    def _survives(self, frame: EventFrame, scopes: dict[int, Scope | None]) -> bool:
        """Whether an event in a reservoir is left at the end; tells it what it stands for."""
        if self.piecewise:
            return True
        if self._survivors is None:
            self._survivors = Survivors(self.frames, scopes, self.samplings)
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
            case HeaderFrame():
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


def merge(nodes: Iterable[Node], aside: Aside | None = None) -> Iterator[Event]:
    """All events of all nodes: in order within a node, by wall time across nodes.

    Args:
        nodes: each is read once.
        aside: see `Node.read`.
    """
    nodes = list(nodes)
    if len(nodes) == 1:
        return nodes[0].read(aside)
    streams = [_timed(node, aside) for node in nodes]
    return (event for *_, event in heapq.merge(*streams, key=lambda item: item[:3]))


def _timed(node: Node, aside: Aside | None) -> Iterator[tuple[int, str, int, Event]]:
    latest = 0
    for event in node.read(aside):
        # A wall clock may be set back; the order within a node must survive that.
        latest = max(latest, event.time_us)
        yield latest, event.node, event.sequence, event


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


def as_mapping(value: object) -> Mapping[str, Any]:
    """What a caller passed as measurements or metadata, which may be anything."""
    if type(value) is dict:
        return value
    if value is None:
        return _EMPTY
    return {"value": value}
