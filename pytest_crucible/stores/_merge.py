"""From the frames of one or many nodes to one stream of events.

Merging is reading: each node's order is kept, nodes are interleaved by wall time, and nothing
depends on the order in which files are listed.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_crucible._event import ATTRIBUTIONS, Event
from pytest_crucible._frames import (
    SCHEMA,
    EventFrame,
    ExperimentFrame,
    FooterFrame,
    Frame,
    HeaderFrame,
    NoteFrame,
    PlanFrame,
    ScopeFrame,
)
from pytest_crucible._recorder import NO_SCOPE
from pytest_crucible._scope import JUDGE, Scope

TrialKey = tuple[str, str, str, str, int]
"""experiment, condition, test, case, trial"""

_EMPTY: Mapping[str, Any] = {}


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
        keep: what must live for as long as the frames are read.
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
    keep: object = None
    _offset_ns: int = 0

    @property
    def ended(self) -> bool:
        """Whether the node ended as it should; a forked or joined process may just stop."""
        return self.closed or (self.header is not None and self.header.parent is not None)

    def __iter__(self) -> Iterator[Event]:
        """Read the node's events in order, learning its tables on the way."""
        scopes: dict[int, Scope | None] = {NO_SCOPE: None, **self.scopes}
        self.learned = scopes
        self.definitions, self.plan, self.notes, self.events = {}, [], [], 0
        self.closed = False
        enriched = iter(self.enriched)
        ahead = next(enriched, None)
        for sequence, frame in self.frames:
            if type(frame) is EventFrame:
                self.events += 1
                more = None
                if ahead is not None:
                    while ahead is not None and ahead[0] < sequence:
                        ahead = next(enriched, None)
                    more = ahead[1] if ahead is not None and ahead[0] == sequence else None
                # Written out here: this runs for every event that is read.
                numbers, context, name = frame.measurements, frame.metadata, frame.name
                number = frame.scope
                yield Event(
                    name=name if type(name) is str else str(name),
                    measurements=numbers if type(numbers) is dict else _as_mapping(numbers),
                    metadata=context if type(context) is dict else _as_mapping(context),
                    time_us=(frame.time_ns - self._offset_ns) // 1000,
                    run=self.run,
                    node=self.name,
                    sequence=sequence,
                    scope=scopes[number] if number in scopes else _judges(number, scopes),
                    attribution=ATTRIBUTIONS[frame.attribution],
                    degraded=frame.degraded,
                    enriched=more,
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
            case NoteFrame():
                self.notes.append(f"{self.name}: {frame.text}")
            case FooterFrame():
                self.closed = True


def merge(nodes: Iterable[Node]) -> Iterator[Event]:
    """All events of all nodes: in order within a node, by wall time across nodes."""
    nodes = list(nodes)
    if len(nodes) == 1:
        return iter(nodes[0])
    streams = [_timed(node) for node in nodes]
    return (event for *_, event in heapq.merge(*streams, key=lambda item: item[:3]))


def _timed(node: Node) -> Iterator[tuple[int, str, int, Event]]:
    latest = 0
    for event in node:
        # A wall clock may be set back; the order within a node must survive that.
        latest = max(latest, event.time_us)
        yield latest, event.node, event.sequence, event


def _judges(number: int, scopes: dict[int, Scope | None]) -> Scope | None:
    """The scope of a judge, whose number is that of the trial it judges, negated."""
    owner = scopes.get(-number)
    found = scopes[number] = None if owner is None else replace(owner, role=JUDGE)
    return found


def _as_mapping(value: object) -> Mapping[str, Any]:
    """What a caller passed as measurements or metadata, if it was no mapping with string keys."""
    if value is None:
        return _EMPTY
    return {"value": value}
