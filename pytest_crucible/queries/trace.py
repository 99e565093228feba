"""Traces: what belongs together, put back into the tree that it was.

Spans hang below the span they name as their parent, plain events below the span that was open
(inside ``correlate``), causal events below the events that caused them. Nothing is placed by time,
and nothing is lost: what names no parent, or one that is not there, is a root.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_crucible._text import one_line
from pytest_crucible.capture.correlation import KEY, OPEN_SPAN
from pytest_crucible.events.catalog import SPAN_ENDS, is_start
from pytest_crucible.events.enrichment import Enriched, enrich, number
from pytest_crucible.events.event import Event

CAUSAL = "causal_trace."
_CAUSES = ("parent_ids", "parents", "parent_id", "parent_event_id")
_IDS = frozenset({*_CAUSES, KEY, OPEN_SPAN, "event_id", "parent_span_id", "span_id", "trace_id"})
_INDENT = "  "
_DEEPEST = 40  # beyond that the depth is told as a number: a chain must not run off the screen


@dataclass(frozen=True, slots=True, eq=False)
class TraceNode:
    """One span or event of a trace, with what hangs below it.

    Attributes:
        event: the span's end (its start, if it never ended), or the event.
        start: the span's start, if it is recorded and not ``event``.
        children: in order of their beginnings.
        causes: ids of other events that caused this one, which the tree cannot show as parents.
    """

    event: Event
    start: Event | None
    children: tuple[TraceNode, ...] = field(repr=False)  # as deep as the trace
    causes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """The trace with an id: a tree, or several where the events name no common parent.

    ``str(trace)`` is the indented tree with names, latencies and costs.
    """

    id: str
    roots: tuple[TraceNode, ...]

    def walk(self) -> Iterator[tuple[int, TraceNode]]:
        """Every node with its depth, parents before children."""
        waiting = [(0, root) for root in reversed(self.roots)]
        while waiting:
            depth, node = waiting.pop()
            yield depth, node
            waiting.extend((depth + 1, child) for child in reversed(node.children))

    def lines(self) -> Iterator[str]:
        """The tree as text."""
        yield f"trace {one_line(self.id)}"
        for depth, node in self.walk():
            indent = _INDENT * (min(depth, _DEEPEST) + 1)
            yield f"{indent}{f'({depth}) ' if depth > _DEEPEST else ''}{_describe(node)}"
            for line in _choices(node):
                yield indent + _INDENT + line

    def __str__(self) -> str:
        return "\n".join(self.lines())


class _Draft:
    """A node being put together.

    Attributes:
        causes, spans: ids of the parents that it names.
        top: towards the root of its tree, on a short cut.
    """

    __slots__ = ("causes", "children", "end", "spans", "start", "top")

    def __init__(self) -> None:
        self.start: Event | None = None
        self.end: Event | None = None
        self.causes: list[str] = []
        self.spans: list[str] = []
        self.children: list[_Draft] = []
        self.top: _Draft = self

    def root(self) -> _Draft:
        found = self
        while found.top is not found:
            found.top = found.top.top
            found = found.top
        return found

    @property
    def began_us(self) -> float:
        if self.start is not None:
            return self.start.time_us
        assert self.end is not None
        latency = None if self.end.internal else enrich(self.end).latency_ms
        return self.end.time_us - (latency or 0.0) * 1000


def trace(events: Iterable[Event], id: object) -> Trace:
    """See `Events.trace`."""
    wanted = "" if id is None else str(id)  # what an event says may be no text either
    named = [each for each in events if not _IDS.isdisjoint(each.metadata)]
    members = _members(named, wanted) if wanted else []
    if not members:
        raise LookupError(f"no event has the correlation, trace or span id {id!r}")
    drafts, known = _drafts(members)
    roots = []
    for draft in drafts:
        parent = _parent(draft, known)
        if parent is None:
            roots.append(draft)
        else:
            parent.children.append(draft)
            draft.top = parent
    return Trace(wanted, _frozen(drafts, roots))


def _members(events: Sequence[Event], id: str) -> list[Event]:
    """The events that carry the id, and those below them that carry no other."""
    key = next(
        (key for key in (KEY, "trace_id") if any(_said(each, key) == id for each in events)), None
    )
    chosen = {
        index
        for index, event in enumerate(events)
        if (_own_id(event) if key is None else _said(event, key)) == id
    }
    below: dict[str, list[int]] = {}
    for index, event in enumerate(events):
        if index not in chosen and (key is None or _said(event, key) is None):
            for parent in (*_causes(event), *_spans(event)):
                below.setdefault(parent, []).append(index)
    waiting = [_own_id(events[index]) for index in chosen]
    while waiting:
        for index in below.pop(waiting.pop() or "", ()):
            chosen.add(index)
            waiting.append(_own_id(events[index]))
    return [event for index, event in enumerate(events) if index in chosen]


def _drafts(events: Iterable[Event]) -> tuple[list[_Draft], dict[str, _Draft]]:
    """A node per span and per other event, and which id means which node: the first with it."""
    drafts: list[_Draft] = []
    known: dict[str, _Draft] = {}
    for event in events:
        own = _own_id(event)
        draft = known.get(own) if own is not None else None
        starts = is_start(event.name) and _said(event, "span_id") is not None
        if draft is None or not _fits(draft, event, starts):
            draft = _Draft()
            drafts.append(draft)
            if own is not None:
                known.setdefault(own, draft)
        if starts:
            draft.start = event
        else:
            draft.end = event
        draft.causes += [each for each in _causes(event) if each not in draft.causes]
        draft.spans += [each for each in _spans(event) if each not in draft.spans]
    return drafts, known


def _fits(draft: _Draft, event: Event, starts: bool) -> bool:
    """Whether an event is the other half of a span."""
    half = draft.start or draft.end
    assert half is not None
    if (draft.start if starts else draft.end) is not None:
        return False
    if _said(half, "span_id") is None or _said(event, "span_id") is None:
        return False
    return half.name.rpartition(".")[0] == event.name.rpartition(".")[0]


def _parent(draft: _Draft, known: Mapping[str, _Draft]) -> _Draft | None:
    """The first parent it names that is there and not below it; causes before spans."""
    for name in (*draft.causes, *draft.spans):
        found = known.get(name)
        if found is not None and found.root() is not draft:
            draft.causes = [each for each in draft.causes if each != name]
            return found
    return None


def _frozen(drafts: Sequence[_Draft], roots: Iterable[_Draft]) -> tuple[TraceNode, ...]:
    """The nodes, children before their parents; without recursion, traces may be deep."""
    order, waiting = [], list(roots)
    top = list(waiting)
    while waiting:
        draft = waiting.pop()
        order.append(draft)
        waiting.extend(draft.children)
    made: dict[int, TraceNode] = {}
    for draft in reversed(order):
        event = draft.end or draft.start
        assert event is not None
        made[id(draft)] = TraceNode(
            event=event,
            start=draft.start if draft.end is not None else None,
            children=tuple(made[id(each)] for each in _sorted(draft.children)),
            causes=tuple(draft.causes),
        )
    return tuple(made[id(each)] for each in _sorted(top))


def _sorted(drafts: Iterable[_Draft]) -> list[_Draft]:
    return sorted(drafts, key=lambda each: each.began_us)


# --- ids --------------------------------------------------------------------------------------


def _said(event: Event, key: str) -> str | None:
    value = event.metadata.get(key)
    return None if value is None else str(value) or None


def _own_id(event: Event) -> str | None:
    return _said(event, "span_id") or _said(event, "event_id")


def _causes(event: Event) -> list[str]:
    """What a causal event names as its parents."""
    found: list[object] = []
    for key in _CAUSES:
        value = event.metadata.get(key)
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            found += value
        else:
            found.append(value)
    return list(dict.fromkeys(str(each) for each in found if each is not None and str(each)))


def _spans(event: Event) -> list[str]:
    found = (_said(event, key) for key in ("parent_span_id", OPEN_SPAN))
    return [each for each in found if each is not None]


# --- text -------------------------------------------------------------------------------------


def _describe(node: TraceNode) -> str:
    event = node.event
    enriched = Enriched() if event.internal else enrich(event)
    return " · ".join([_name(event, enriched), *_details(node, enriched)])


def _name(event: Event, enriched: Enriched) -> str:
    name = event.name.rpartition(".")[0]
    if event.metadata.get("span_id") is None or not event.name.endswith(SPAN_ENDS):
        return one_line(event.name)
    if is_start(event.name):
        return f"{one_line(name)} (not ended)"
    if enriched.cancelled:
        return f"{one_line(name)} (cancelled)"
    return f"{one_line(name)} (failed)" if enriched.success is False else one_line(name)


def _details(node: TraceNode, enriched: Enriched) -> Iterator[str]:
    get = node.event.metadata.get
    for key in ("event_type", "model", "tool_name", "error"):
        if isinstance(get(key), str) and get(key):
            yield one_line(str(get(key)))
    if enriched.latency_ms is not None:
        yield f"{_milliseconds(enriched.latency_ms)} ms"
    if enriched.cost_usd is not None:
        yield f"${enriched.cost_usd:.4g}"
    confidence = number(node.event.measurements.get("confidence", get("confidence")))
    if confidence is not None:
        yield f"confidence {confidence:g}"
    if node.event.internal:
        for name, value in node.event.measurements.items():
            known = isinstance(value, bool) or number(value) is not None
            yield f"{one_line(str(name))}={value if known else 'unknown'}"
    if node.causes:
        yield f"also caused by {', '.join(map(one_line, node.causes))}"


def _choices(node: TraceNode) -> Iterator[str]:
    """What a causal event decided for, and what it decided against."""
    if not node.event.name.startswith(CAUSAL):
        return
    get = node.event.metadata.get
    decision = get("decision")
    if decision is not None:
        yield f"chosen: {one_line(str(decision))}"
    alternatives = get("alternatives")
    if isinstance(alternatives, Sequence) and not isinstance(alternatives, (str, bytes)):
        for each in alternatives:
            if each != decision:
                yield f"rejected: {one_line(str(each))}"


def _milliseconds(latency: float) -> str:
    if abs(latency) < 1:
        return f"{latency:.2g}"
    return f"{latency:,.{1 if latency < 100 else 0}f}"
