"""Calls: which events are calls of a model, each once, however many instrumentations told of it.

Two spans tell of one call if one lies within the other (an agent's ``chat`` around the client's),
or if they come from different instrumentations, overlap in time, name no different providers or
response ids, and share either the response id or the strand (thread and task) that started them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pytest_crucible.events.catalog import CALL, START
from pytest_crucible.events.enrichment import Enriched
from pytest_crucible.events.event import Event, hashable_id, weight_of
from pytest_crucible.events.pricing import reason_unpriced

T = TypeVar("T", contravariant=True)
MAX_RECENT = 4096  # calls of one trial that overlap; keeps memory flat over a million events


class Column(Protocol[T]):
    """One of them."""

    def __setitem__(self, row: int, value: T, /) -> None: ...


class Rows(Protocol):
    """A set of rows."""

    def discard(self, row: int, /) -> None: ...


class Marks(Protocol):
    """Rows that something is noted about."""

    def add(self, row: int, /) -> None: ...


class Columns(Protocol):
    """The columns of a group that merging touches."""

    @property
    def counted(self) -> Column[int]: ...
    @property
    def counted_cost(self) -> Column[int]: ...
    @property
    def counted_tokens(self) -> Column[int]: ...
    @property
    def latency_ms(self) -> Column[float]: ...
    @property
    def failed(self) -> dict[int, str]: ...
    @property
    def cancelled(self) -> Rows: ...
    @property
    def merged(self) -> Marks: ...


@dataclass(slots=True)
class CallCounts:
    """Of one experiment under one condition.

    Attributes:
        application, judge: calls of the code under test, and of judges.
        unpriced: calls without a cost, by the reason.
        merged: spans that told of a call which another span told of, too.
        providers: those that the calls named, in lower case; "" for a call that named none.
    """

    application: float = 0
    judge: float = 0
    unpriced: dict[str, float] = field(default_factory=dict)
    merged: float = 0
    providers: set[str] = field(default_factory=set)

    def add(self, judge: bool, reason: str | None, by: float) -> None:
        """Count a call as so many; negative for one that turned out to be told of twice."""
        if judge:
            self.judge += by
        else:
            self.application += by
        if reason is not None:
            self.unpriced[reason] = self.unpriced.get(reason, 0) + by
            if abs(self.unpriced[reason]) < 1e-6:
                del self.unpriced[reason]


@dataclass(slots=True)
class _Call:
    """A call, as told so far.

    Attributes:
        row: that counts as the operation; ``spent`` the one that counts tokens and cost.
        sources: instrumentations that told of it.
        waiting: those of them that have yet to tell the data of a stream.
        weight: how many calls it stands for.
    """

    row: int
    spent: int
    start_us: float
    end_us: float
    strand: str
    parent: object
    provider: str | None
    model: object
    response_id: object
    sources: set[object]
    waiting: set[object]
    told: tuple[bool, bool]
    reason: str | None
    weight: float


class Calls:
    """The calls of one scope.

    Args:
        columns: of the group that the scope belongs to.
        counts: of that group.
        judge: whether they are a judge's.
    """

    def __init__(self, columns: Columns, counts: CallCounts, judge: bool) -> None:
        self._columns = columns
        self._counts = counts
        self._judge = judge
        self._above: set[object] = set()  # spans with a call below them
        self._recent: deque[_Call] = deque(maxlen=MAX_RECENT)

    def add(self, event: Event, enriched: Enriched, row: int) -> None:
        """Look at an event whose row has just been appended."""
        name, get = event.name, event.metadata.get
        if name.endswith(START):
            return
        span, parent = hashable_id(get("span_id")), hashable_id(get("parent_span_id"))
        is_call = name.startswith(CALL)
        around = span is not None and span in self._above
        if around:
            self._above.discard(span)
        if parent is not None and (is_call or around):
            self._above.add(parent)
        if not is_call or around:
            return
        reason = reason_unpriced(enriched)
        self._counts.providers.add(str(enriched.provider or "").lower())
        if "strand" not in event.metadata:
            self._counts.add(self._judge, reason, weight_of(event))  # of our bus: told once
            return
        call = _call(event, enriched, row, reason)
        if get("continues") is True and self._continue(call):
            return
        for known in reversed(self._recent):
            if known.end_us < call.start_us:
                break
            if _same(known, call):
                self._merge(known, call)
                return
        self._counts.add(self._judge, reason, call.weight)
        self._recent.append(call)

    def _merge(self, known: _Call, new: _Call) -> None:
        """Two tellings of one call: the outer is the operation, the inner says what was spent."""
        columns = self._columns
        outer, inner = (new, known) if new.start_us <= known.start_us else (known, new)
        spent = [inner if inner.told[kind] or not outer.told[kind] else outer for kind in range(2)]
        self._drop(inner.row)
        for kind, column in enumerate((columns.counted_cost, columns.counted_tokens)):
            loser = outer if spent[kind] is inner else inner
            column[loser.spent] = 0
        self._counts.add(self._judge, known.reason, -known.weight)
        reason = None if known.told[0] or new.told[0] else (inner.reason or outer.reason)
        self._counts.add(self._judge, reason, known.weight)
        self._counts.merged += known.weight
        known.row, known.spent, known.reason = outer.row, spent[1].spent, reason
        known.told = (known.told[0] or new.told[0], known.told[1] or new.told[1])
        known.start_us = min(known.start_us, new.start_us)
        known.end_us = max(known.end_us, new.end_us)
        known.sources |= new.sources
        known.waiting |= new.waiting
        known.response_id = known.response_id or new.response_id

    def _continue(self, data: _Call) -> bool:
        """The data of a stream, which its instrumentation tells in a span of its own."""
        (source,) = data.sources
        for known in reversed(self._recent):
            if source in known.waiting and (known.strand, known.model) == (data.strand, data.model):
                break
        else:
            return False
        columns = self._columns
        known.waiting.discard(source)
        if known.sources == {source}:  # nobody else has told how long it took
            columns.latency_ms[known.row] = (data.end_us - known.start_us) / 1000
        columns.counted[data.row] = 0
        columns.merged.add(data.row)
        if known.told[1]:
            columns.counted_cost[data.row] = columns.counted_tokens[data.row] = 0
        else:
            self._counts.add(self._judge, known.reason, -known.weight)
            self._counts.add(self._judge, data.reason, known.weight)
            known.spent, known.told, known.reason = data.row, data.told, data.reason
        known.end_us = max(known.end_us, data.end_us)
        return True

    def _drop(self, row: int) -> None:
        self._columns.counted[row] = 0
        self._columns.merged.add(row)
        self._columns.failed.pop(row, None)
        self._columns.cancelled.discard(row)


def _call(event: Event, enriched: Enriched, row: int, reason: str | None) -> _Call:
    get = event.metadata.get
    source = get("instrumentation")
    end_us = float(event.time_us)
    start_ns = get("start_ns")
    start_us = (
        start_ns / 1000 if isinstance(start_ns, int) else end_us - (enriched.latency_ms or 0) * 1000
    )
    told = enriched.cost_usd is not None, enriched.total_tokens is not None
    waiting = {source} if not told[1] and enriched.success else set()
    provider = None if enriched.provider is None else str(enriched.provider)
    return _Call(
        row=row, spent=row, start_us=start_us, end_us=end_us, strand=str(get("strand")),
        parent=get("parent_span_id"), provider=provider, model=enriched.model,
        response_id=get("response_id"), sources={source}, waiting=waiting, told=told,
        reason=reason, weight=weight_of(event),
    )  # fmt: skip


def _same(known: _Call, new: _Call) -> bool:
    if known.sources & new.sources or known.start_us > new.end_us:
        return False
    if _differ(known.provider, new.provider):
        return False
    if known.response_id is not None and new.response_id is not None:
        return bool(known.response_id == new.response_id)
    return known.strand == new.strand


def _differ(one: Any, other: Any) -> bool:
    return one is not None and other is not None and one.lower() != other.lower()
