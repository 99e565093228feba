"""Wholes: ensemble predictions and hedged requests, with the calls of models that they made.

A call belongs to the whole whose span it started under. Where ids do not tell (plain ``execute``
calls, threads without context) it belongs to the whole within whose time it began.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_crucible.events.catalog import is_start
from pytest_crucible.events.enrichment import Enriched, is_operation, number
from pytest_crucible.events.event import Event, hashable_id, weight_of

ENSEMBLE, HEDGED = "ensemble.prediction", "hedging.request"
VOTE, DUPLICATED = "ensemble.vote.completed", "hedging.request.duplicated"
_CLOSED = 256  # wholes of one scope that are over; a call that lost may end after its whole

_PREFIXES = ("ensemble.", "hedging.")
_IDS = ("request_id", "prediction_id")
_Key = tuple[str, object]


def concerns(name: str) -> bool:
    """Whether events of this name are about ensembles or hedging."""
    return name.startswith(_PREFIXES)


@dataclass(slots=True)
class Member:
    """A call of a model within a whole.

    Attributes:
        row: of its end.
        began_us: when it began.
        outer: it lies around another member, which is the call: only its cost may count.
    """

    row: int
    model: str
    began_us: float
    cancelled: bool
    outer: bool


@dataclass(slots=True)
class Whole:
    """An ensemble prediction, a hedged request, or a vote that belongs to neither.

    Attributes:
        kind: `ENSEMBLE`, `HEDGED` or `VOTE`.
        case, trial: as in `Group`.
        span: its id; None for plain events.
        around: the whole that it lies in.
        began_us, ended_us: None where there is no such event.
        latency_ms, success: as its end tells.
        votes: how many were completed in it.
        agreement: the share of members that gave the answer that won.
        duplicated: whether a second request was sent.
        weight: how many it stands for, where a sample was taken.
        told: metadata and measurements of its events, the latest first.
    """

    kind: str
    case: int
    trial: int
    span: object = None
    around: Whole | None = None
    began_us: float | None = None
    ended_us: float | None = None
    latency_ms: float | None = None
    success: bool | None = None
    votes: int = 0
    agreement: float | None = None
    duplicated: bool = False
    weight: float = 1.0
    members: list[Member] = field(default_factory=list)
    told: list[Mapping[str, Any]] = field(default_factory=list)

    def say(self, event: Event) -> None:
        self.told[:0] = (event.metadata, event.measurements)

    def text(self, key: str) -> str | None:
        """What its events say under ``key``, as text."""
        found = next((each[key] for each in self.told if each.get(key) is not None), None)
        return None if found is None else str(found)

    def number(self, *keys: str) -> float | None:
        """The first finite number that its events say under one of ``keys``."""
        for key in keys:
            for each in self.told:
                value = number(each.get(key))
                if value is not None:
                    return value
        return None


class Wholes:
    """The wholes of one scope.

    Args:
        found: where they are gathered, for all scopes of a group.
        case, trial: of the scope.
    """

    def __init__(self, found: list[Whole], case: int, trial: int) -> None:
        self._found = found
        self._case, self._trial = case, trial
        self._open: list[Whole] = []
        self._closed: deque[Whole] = deque(maxlen=_CLOSED)
        self._known: dict[_Key, Whole] = {}
        self._owners: dict[object, Whole | None] = {}  # of spans that are open
        self._above: set[object] = set()  # spans with a member below them

    def add(self, event: Event, enriched: Enriched, row: int) -> None:
        """Look at an event of a group in which there are ensembles or hedging."""
        kind, _, stage = event.name.rpartition(".")
        if event.name == VOTE:
            self._vote(event)
        elif event.name == DUPLICATED:
            whole = self._named(event, HEDGED) or self._begin(HEDGED, event)
            whole.duplicated = True
            whole.say(event)
        elif kind in (ENSEMBLE, HEDGED):
            if stage == "start":
                self._begin(kind, event).began_us = event.time_us
            elif stage in ("stop", "exception"):
                self._end(kind, event, enriched)
        else:
            self._member(event, enriched, row)

    # --- wholes -------------------------------------------------------------------------------

    def _begin(self, kind: str, event: Event) -> Whole:
        span, parent = _ids(event)
        whole = Whole(kind, self._case, self._trial, span, self._owner(parent))
        whole.weight = weight_of(event)
        whole.say(event)
        self._open.append(whole)
        self._found.append(whole)
        for key in _keys(event):
            self._known[key] = whole
        if len(self._known) > 4 * _CLOSED:
            self._forget()
        return whole

    def _forget(self) -> None:
        keep = {id(each) for each in (*self._open, *self._closed)}
        self._known = {key: each for key, each in self._known.items() if id(each) in keep}

    def _named(self, event: Event, kind: str) -> Whole | None:
        """The whole that an event is about: by its ids, else the innermost that is open."""
        around = event.metadata.get("parent_span_id") or event.metadata.get("open_span_id")
        for key in (*_keys(event), ("span", hashable_id(around))):
            whole = self._known.get(key)
            if whole is not None and whole.kind == kind:
                return whole
        if any(key[0] in _IDS for key in _keys(event)):
            return None  # it is about another, which has no start
        return next((each for each in reversed(self._open) if each.kind == kind), None)

    def _end(self, kind: str, event: Event, enriched: Enriched) -> None:
        span, _ = _ids(event)
        whole = self._named(event, kind)
        if whole is None or whole.ended_us is not None or whole.span != span:
            whole = self._begin(kind, event)
        else:
            whole.say(event)
        whole.ended_us, whole.latency_ms = event.time_us, enriched.latency_ms
        whole.success = enriched.success
        if whole.began_us is None and enriched.latency_ms is not None:
            whole.began_us = event.time_us - enriched.latency_ms * 1000
        if whole.agreement is None:
            whole.agreement = agreement_of(event)
        self._open.remove(whole)
        self._closed.append(whole)

    def _vote(self, event: Event) -> None:
        whole = self._named(event, ENSEMBLE)
        if whole is None or whole.votes:
            whole = Whole(VOTE, self._case, self._trial, weight=weight_of(event))
            self._found.append(whole)
        whole.votes += 1
        agreement = agreement_of(event)
        whole.agreement = whole.agreement if agreement is None else agreement

    # --- members ------------------------------------------------------------------------------

    def _member(self, event: Event, enriched: Enriched, row: int) -> None:
        span, parent = _ids(event)
        if is_start(event.name):
            if span is not None:
                self._owners[span] = self._owner(parent)
            return
        started = span in self._owners
        owner = self._owners.pop(span, None)
        outer = span is not None and span in self._above
        self._above.discard(span)
        is_member = is_operation(enriched) and enriched.model is not None
        if parent is not None and (is_member or outer):
            self._above.add(parent)
        if not is_member:
            return
        began_us = event.time_us - (enriched.latency_ms or 0.0) * 1000
        if not started:
            owner = self._during(began_us) if span is None else self._owner(parent)
        member = Member(row, str(enriched.model), began_us, enriched.cancelled, outer)
        kinds: set[str] = set()
        while owner is not None:
            if owner.kind not in kinds:
                owner.members.append(member)
            kinds.add(owner.kind)
            owner = owner.around

    def _owner(self, parent: object) -> Whole | None:
        """The whole that a span belongs to which begins now."""
        if parent is not None:
            found = self._owners.get(parent) or self._known.get(("span", parent))
            if found is not None:
                return found
        plain = [each for each in self._open if each.span is None]
        if plain:
            return plain[-1]
        return self._open[0] if parent is None and len(self._open) == 1 else None

    def _during(self, began_us: float) -> Whole | None:
        """The latest whole that was under way at a time."""
        found = [
            each
            for each in (*self._open, *self._closed)
            if each.began_us is not None
            and each.began_us <= began_us
            and (each.ended_us is None or began_us <= each.ended_us)
        ]
        return max(found, key=lambda each: each.began_us or 0.0, default=None)


def _ids(event: Event) -> tuple[object, object]:
    get = event.metadata.get
    return hashable_id(get("span_id")), hashable_id(get("parent_span_id"))


def _keys(event: Event) -> list[_Key]:
    get = event.metadata.get
    keys = [("span", hashable_id(get("span_id")))] if get("span_id") is not None else []
    return keys + [(name, hashable_id(get(name))) for name in _IDS if get(name) is not None]


def agreement_of(event: Event) -> float | None:
    """The share of votes for the answer that won: as told, or counted from ``votes``."""
    for source in (event.measurements, event.metadata):
        told = number(source.get("agreement"))
        if told is not None:
            return told
    votes = event.metadata.get("votes", event.measurements.get("votes"))
    counts: list[float] = []
    if isinstance(votes, Mapping):
        known = [number(each) for each in votes.values()]
        counts = [each for each in known if each is not None and each >= 0]
        if len(counts) < len(known):
            return None
    elif isinstance(votes, Sequence) and not isinstance(votes, (str, bytes)):
        counts = [float(sum(each == other for other in votes)) for each in votes]
        return max(counts) / len(votes) if votes else None
    total = sum(counts)
    return max(counts) / total if total else None
