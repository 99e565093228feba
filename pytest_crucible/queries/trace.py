"""Traces: events that belong together, as a tree.

The parent of a span is the span that it names. The parent of a plain event is the span that was
open when it happened (inside ``correlate``); that of a causal event is an event that caused it.
Parents are never guessed from times, and no event is lost: an event that names no parent, or one
that was not recorded, is a root.
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
_DEEPEST = 40  # deeper nodes show their depth as a number, so that lines fit the screen


@dataclass(frozen=True, slots=True, eq=False)
class TraceNode:
    """One span or event of a trace, with its children.

    Attributes:
        event: the span's end (its start, if it never ended), or the event.
        start: the span's start, if it was recorded and is not ``event``.
        children: in the order in which they began.
        causes: ids of further events that caused this one; a tree can show only one parent.
    """

    event: Event
    start: Event | None
    children: tuple[TraceNode, ...] = field(repr=False)  # its repr would be as long as the trace
    causes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """The trace with an id: one tree, or several if the events have no common root.

    ``str(trace)`` is the indented tree with names, latencies and costs.
    """

    id: str
    roots: tuple[TraceNode, ...]

    def walk(self) -> Iterator[tuple[int, TraceNode]]:
        """Yield every node with its depth (0 for roots), parents before children."""
        waiting = [(0, root) for root in reversed(self.roots)]
        while waiting:
            depth, node = waiting.pop()
            yield depth, node
            waiting.extend((depth + 1, child) for child in reversed(node.children))

    def lines(self) -> Iterator[str]:
        """Yield the lines of the tree as text."""
        yield f"trace {one_line(self.id)}"
        for depth, node in self.walk():
            indent = _INDENT * (min(depth, _DEEPEST) + 1)
            yield f"{indent}{f'({depth}) ' if depth > _DEEPEST else ''}{_describe(node)}"
            for line in _choices(node):
                yield indent + _INDENT + line

    def __str__(self) -> str:
        return "\n".join(self.lines())


class _Draft:
    """A node that is not complete yet.

    Attributes:
        start, end: the events of a span; other events are ``end``.
        causes, spans: ids of the parents that its events name.
        children: the nodes of which it is the parent.
        top: a node above it, or itself if it is a root. `root` shortens the way (union-find, path
            halving: Tarjan and van Leeuwen 1984).
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
        """Return the root of its tree."""
        draft = self
        while draft.top is not draft:
            draft.top = draft.top.top
            draft = draft.top
        return draft

    @property
    def began_us(self) -> float:
        """When it began, µs since the epoch."""
        if self.start is not None:
            return self.start.time_us
        assert self.end is not None
        latency = None if self.end.internal else enrich(self.end).latency_ms
        return self.end.time_us - (latency or 0.0) * 1000


def trace(events: Iterable[Event], id: object) -> Trace:
    """See `Events.trace`."""
    wanted = "" if id is None else str(id)  # ids in events may be no texts, either
    candidates = [event for event in events if not _IDS.isdisjoint(event.metadata)]
    members = _members(candidates, wanted) if wanted else []
    if not members:
        raise LookupError(f"no event has the correlation, trace or span id {id!r}")
    drafts, by_id = _drafts(members)
    roots = []
    for draft in drafts:
        parent = _parent(draft, by_id)
        if parent is None:
            roots.append(draft)
        else:
            parent.children.append(draft)
            draft.top = parent
    return Trace(wanted, _frozen(drafts, roots))


def _members(events: Sequence[Event], id: str) -> list[Event]:
    """Return the events with the id, and those below them that have no other id of this kind."""
    key = next(
        (key for key in (KEY, "trace_id") if any(_text(event, key) == id for event in events)), None
    )
    chosen = {
        index
        for index, event in enumerate(events)
        if (_own_id(event) if key is None else _text(event, key)) == id
    }
    below: dict[str, list[int]] = {}
    for index, event in enumerate(events):
        if index not in chosen and (key is None or _text(event, key) is None):
            for parent in (*_causes(event), *_spans(event)):
                below.setdefault(parent, []).append(index)
    waiting = [_own_id(events[index]) for index in chosen]
    while waiting:
        for index in below.pop(waiting.pop() or "", ()):
            chosen.add(index)
            waiting.append(_own_id(events[index]))
    return [event for index, event in enumerate(events) if index in chosen]


def _drafts(events: Iterable[Event]) -> tuple[list[_Draft], dict[str, _Draft]]:
    """Return a draft for every span and every other event, and the first draft with each id."""
    drafts: list[_Draft] = []
    by_id: dict[str, _Draft] = {}
    for event in events:
        own = _own_id(event)
        draft = by_id.get(own) if own is not None else None
        starts = is_start(event.name) and _text(event, "span_id") is not None
        if draft is None or not _fits(draft, event, starts):
            draft = _Draft()
            drafts.append(draft)
            if own is not None:
                by_id.setdefault(own, draft)
        if starts:
            draft.start = event
        else:
            draft.end = event
        draft.causes += [cause for cause in _causes(event) if cause not in draft.causes]
        draft.spans += [span for span in _spans(event) if span not in draft.spans]
    return drafts, by_id


def _fits(draft: _Draft, event: Event, starts: bool) -> bool:
    """Whether an event is the missing start or end of a draft's span."""
    half = draft.start or draft.end
    assert half is not None
    if (draft.start if starts else draft.end) is not None:
        return False
    if _text(half, "span_id") is None or _text(event, "span_id") is None:
        return False
    return half.name.rpartition(".")[0] == event.name.rpartition(".")[0]


def _parent(draft: _Draft, by_id: Mapping[str, _Draft]) -> _Draft | None:
    """Return the first named parent that exists and is not below it; causes come before spans."""
    for parent_id in (*draft.causes, *draft.spans):
        parent = by_id.get(parent_id)
        if parent is not None and parent.root() is not draft:
            draft.causes = [cause for cause in draft.causes if cause != parent_id]
            return parent
    return None


def _frozen(drafts: Sequence[_Draft], roots: Iterable[_Draft]) -> tuple[TraceNode, ...]:
    """Return the nodes of the roots. Made from the leaves up, because traces may be too deep for
    recursion.
    """
    order, waiting = [], list(roots)
    tops = list(waiting)
    while waiting:
        draft = waiting.pop()
        order.append(draft)
        waiting.extend(draft.children)
    nodes: dict[int, TraceNode] = {}
    for draft in reversed(order):
        event = draft.end or draft.start
        assert event is not None
        nodes[id(draft)] = TraceNode(
            event=event,
            start=draft.start if draft.end is not None else None,
            children=tuple(nodes[id(child)] for child in _sorted(draft.children)),
            causes=tuple(draft.causes),
        )
    return tuple(nodes[id(root)] for root in _sorted(tops))


def _sorted(drafts: Iterable[_Draft]) -> list[_Draft]:
    return sorted(drafts, key=lambda draft: draft.began_us)


# --- ids --------------------------------------------------------------------------------------


def _text(event: Event, key: str) -> str | None:
    value = event.metadata.get(key)
    return None if value is None else str(value) or None


def _own_id(event: Event) -> str | None:
    return _text(event, "span_id") or _text(event, "event_id")


def _causes(event: Event) -> list[str]:
    """Return the ids of the events that a causal event names as its parents."""
    ids: list[object] = []
    for key in _CAUSES:
        value = event.metadata.get(key)
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
            ids += value
        else:
            ids.append(value)
    return list(dict.fromkeys(str(cause) for cause in ids if cause is not None and str(cause)))


def _spans(event: Event) -> list[str]:
    ids = (_text(event, key) for key in ("parent_span_id", OPEN_SPAN))
    return [span for span in ids if span is not None]


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
            is_number = isinstance(value, bool) or number(value) is not None
            yield f"{one_line(str(name))}={value if is_number else 'unknown'}"
    if node.causes:
        yield f"also caused by {', '.join(map(one_line, node.causes))}"


def _choices(node: TraceNode) -> Iterator[str]:
    """Yield a line for the decision of a causal event, and one for every rejected alternative."""
    if not node.event.name.startswith(CAUSAL):
        return
    get = node.event.metadata.get
    decision = get("decision")
    if decision is not None:
        yield f"chosen: {one_line(str(decision))}"
    alternatives = get("alternatives")
    if isinstance(alternatives, Sequence) and not isinstance(alternatives, (str, bytes)):
        for alternative in alternatives:
            if alternative != decision:
                yield f"rejected: {one_line(str(alternative))}"


def _milliseconds(latency: float) -> str:
    if abs(latency) < 1:
        return f"{latency:.2g}"
    return f"{latency:,.{1 if latency < 100 else 0}f}"
