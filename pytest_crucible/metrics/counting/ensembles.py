"""Wholes: ensemble predictions and hedged requests, with the model calls that they made.

A call belongs to the whole under whose span it started. If there are no ids (plain ``execute``
calls, threads without context), it belongs to the whole that was running when it began.
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
_CLOSED = 256  # ended wholes of a scope to remember: a losing call may end after its whole

_PREFIXES = ("ensemble.", "hedging.")
_IDS = ("request_id", "prediction_id")
_Key = tuple[str, object]


def concerns(name: str) -> bool:
    """Whether an event of this name is about ensembles or hedging."""
    return name.startswith(_PREFIXES)


@dataclass(slots=True)
class Member:
    """A model call within a whole.

    Attributes:
        row: the row of its end.
        model: name of the model.
        began_us: when it began, in µs.
        cancelled: whether it was cancelled.
        outer: it encloses another member, which is the call; of this one only the cost may count.
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
        span: its span id; None for plain events.
        around: the whole that encloses it.
        began_us, ended_us: times of its start and end in µs; None if they are unknown.
        latency_ms, success: as its end event reports.
        votes: number of votes completed in it.
        agreement: share of votes for the winning answer.
        duplicated: whether a second request was sent.
        weight: how many wholes it stands for, if the run was sampled.
        members: its model calls.
        reports: metadata and measurements of its events, the latest first.
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
    reports: list[Mapping[str, Any]] = field(default_factory=list)

    def add_report(self, event: Event) -> None:
        """Keep metadata and measurements of one of its events."""
        self.reports[:0] = (event.metadata, event.measurements)

    def text(self, key: str) -> str | None:
        """Return the latest value that its events report under ``key``, as text."""
        value = next((report[key] for report in self.reports if report.get(key) is not None), None)
        return None if value is None else str(value)

    def number(self, *keys: str) -> float | None:
        """Return the latest finite number that its events report under the first key that has one.

        Args:
            keys: names of measurements or metadata, the preferred one first.
        """
        for key in keys:
            for report in self.reports:
                value = number(report.get(key))
                if value is not None:
                    return value
        return None


class Wholes:
    """The wholes of one scope.

    Args:
        wholes: the list of all wholes of the group, to which they are appended.
        case, trial: of the scope.
    """

    def __init__(self, wholes: list[Whole], case: int, trial: int) -> None:
        self._wholes = wholes
        self._case, self._trial = case, trial
        self._open: list[Whole] = []
        self._closed: deque[Whole] = deque(maxlen=_CLOSED)
        self._by_key: dict[_Key, Whole] = {}
        self._owners: dict[object, Whole | None] = {}  # the whole of every open span
        self._above: set[object] = set()  # open spans that enclose a member

    def add(self, event: Event, enriched: Enriched, row: int) -> None:
        """Add an event, in a group that has ensembles or hedging."""
        kind, _, stage = event.name.rpartition(".")
        if event.name == VOTE:
            self._vote(event)
        elif event.name == DUPLICATED:
            whole = self._named(event, HEDGED) or self._begin(HEDGED, event)
            whole.duplicated = True
            whole.add_report(event)
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
        whole.add_report(event)
        self._open.append(whole)
        self._wholes.append(whole)
        for key in _keys(event):
            self._by_key[key] = whole
        if len(self._by_key) > 4 * _CLOSED:
            self._forget()
        return whole

    def _forget(self) -> None:
        """Drop the keys of wholes that ended long ago."""
        keep = {id(whole) for whole in (*self._open, *self._closed)}
        self._by_key = {key: whole for key, whole in self._by_key.items() if id(whole) in keep}

    def _named(self, event: Event, kind: str) -> Whole | None:
        """Return the whole that an event is about: by its ids, else the innermost open whole."""
        around = event.metadata.get("parent_span_id") or event.metadata.get("open_span_id")
        for key in (*_keys(event), ("span", hashable_id(around))):
            whole = self._by_key.get(key)
            if whole is not None and whole.kind == kind:
                return whole
        if any(key[0] in _IDS for key in _keys(event)):
            return None  # it is about a whole without a start event
        return next((whole for whole in reversed(self._open) if whole.kind == kind), None)

    def _end(self, kind: str, event: Event, enriched: Enriched) -> None:
        span, _ = _ids(event)
        whole = self._named(event, kind)
        if whole is None or whole.ended_us is not None or whole.span != span:
            whole = self._begin(kind, event)
        else:
            whole.add_report(event)
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
            self._wholes.append(whole)
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
        """Return the whole of a span that begins now, given its parent span."""
        if parent is not None:
            owner = self._owners.get(parent) or self._by_key.get(("span", parent))
            if owner is not None:
                return owner
        plain = [whole for whole in self._open if whole.span is None]
        if plain:
            return plain[-1]
        return self._open[0] if parent is None and len(self._open) == 1 else None

    def _during(self, began_us: float) -> Whole | None:
        """Return the latest whole that was running at a time, in µs."""
        running = [
            whole
            for whole in (*self._open, *self._closed)
            if whole.began_us is not None
            and whole.began_us <= began_us
            and (whole.ended_us is None or began_us <= whole.ended_us)
        ]
        return max(running, key=lambda whole: whole.began_us or 0.0, default=None)


def _ids(event: Event) -> tuple[object, object]:
    get = event.metadata.get
    return hashable_id(get("span_id")), hashable_id(get("parent_span_id"))


def _keys(event: Event) -> list[_Key]:
    get = event.metadata.get
    keys = [("span", hashable_id(get("span_id")))] if get("span_id") is not None else []
    return keys + [(name, hashable_id(get(name))) for name in _IDS if get(name) is not None]


def agreement_of(event: Event) -> float | None:
    """Return the share of votes for the winning answer: as reported, else counted from ``votes``.

    Args:
        event: may report ``agreement``; or ``votes``, as counts by answer or as a list of answers.
    """
    for source in (event.measurements, event.metadata):
        reported = number(source.get("agreement"))
        if reported is not None:
            return reported
    votes = event.metadata.get("votes", event.measurements.get("votes"))
    counts: list[float] = []
    if isinstance(votes, Mapping):
        numbers = [number(count) for count in votes.values()]
        counts = [count for count in numbers if count is not None and count >= 0]
        if len(counts) < len(numbers):
            return None
    elif isinstance(votes, Sequence) and not isinstance(votes, (str, bytes)):
        counts = [float(sum(vote == other for other in votes)) for vote in votes]
        return max(counts) / len(votes) if votes else None
    total = sum(counts)
    return max(counts) / total if total else None
