"""Model calls: count every call once, even if several instrumentations report it.

Two spans report the same call if one encloses the other (an agent's ``chat`` span around the
client's). So do two spans of different instrumentations that overlap in time, do not name different
providers, and have the same response id; if one has no response id, the same strand (thread and
task) must have started both.
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
MAX_RECENT = 4096  # calls of a trial to compare with: memory stays flat over a million events


class Column(Protocol[T]):
    """A column in which a row can be set."""

    def __setitem__(self, row: int, value: T, /) -> None: ...


class Rows(Protocol):
    """A set from which rows can be removed."""

    def discard(self, row: int, /) -> None: ...


class Marks(Protocol):
    """A set to which rows can be added."""

    def add(self, row: int, /) -> None: ...


class Columns(Protocol):
    """The columns of a group that `Calls` changes when it merges spans."""

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
    """Counts of the model calls of one experiment under one condition, weighted if sampled.

    Attributes:
        application, judge: number of calls of the code under test, and of judges.
        unpriced: number of calls without a cost, by reason.
        merged: number of spans that report a call which another span reports, too.
        providers: the providers that calls named, in lower case; "" for a call that named none.
    """

    application: float = 0
    judge: float = 0
    unpriced: dict[str, float] = field(default_factory=dict)
    merged: float = 0
    providers: set[str] = field(default_factory=set)

    def add(self, judge: bool, reason: str | None, by: float) -> None:
        """Count a call.

        Args:
            judge: whether a judge made it.
            reason: why it has no cost; None if it has one.
            by: its weight; negative to take back a call that another span reports, too.
        """
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
    """A call, merged from all spans that have reported it so far.

    Attributes:
        row: the row that counts as the operation.
        spent: the row whose tokens count.
        start_us, end_us: from the first start to the last end of its spans.
        strand: the thread and task that started it.
        sources: the instrumentations that have reported it.
        waiting: the sources that have yet to report the data of a stream, in another span.
        reported: whether any span reports its cost, and whether any reports its tokens.
        reason: why it has no cost; None if it has one.
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
    reported: tuple[bool, bool]
    reason: str | None
    weight: float


class Calls:
    """The model calls of one scope.

    Args:
        columns: the columns of the scope's group.
        counts: the counts of the scope's group.
        judge: whether the scope is that of a judge.
    """

    def __init__(self, columns: Columns, counts: CallCounts, judge: bool) -> None:
        self._columns = columns
        self._counts = counts
        self._judge = judge
        self._above: set[object] = set()  # open spans that enclose a call
        self._recent: deque[_Call] = deque(maxlen=MAX_RECENT)

    def add(self, event: Event, enriched: Enriched, row: int) -> None:
        """Count an event if it is a call; its row has just been appended.

        If it reports a call that an earlier event reported, the columns of both rows change so
        that they count once.
        """
        name, get = event.name, event.metadata.get
        if name.endswith(START):
            return
        span, parent = hashable_id(get("span_id")), hashable_id(get("parent_span_id"))
        is_call = name.startswith(CALL)
        encloses_call = span is not None and span in self._above
        if encloses_call:
            self._above.discard(span)
        if parent is not None and (is_call or encloses_call):
            self._above.add(parent)
        if not is_call or encloses_call:
            return
        reason = reason_unpriced(enriched)
        self._counts.providers.add(str(enriched.provider or "").lower())
        if "strand" not in event.metadata:
            self._counts.add(self._judge, reason, weight_of(event))  # from `execute`: reported once
            return
        call = _call(event, enriched, row, reason)
        if get("continues") is True and self._continue(call):
            return
        for earlier in reversed(self._recent):
            if earlier.end_us < call.start_us:
                break
            if _same(earlier, call):
                self._merge(earlier, call)
                return
        self._counts.add(self._judge, reason, call.weight)
        self._recent.append(call)

    def _merge(self, call: _Call, new: _Call) -> None:
        """Merge two reports of one call into ``call``.

        The outer span counts as the operation; cost and tokens count from the inner span, if it
        reports them.
        """
        columns = self._columns
        outer, inner = (new, call) if new.start_us <= call.start_us else (call, new)
        spent = [
            inner if inner.reported[kind] or not outer.reported[kind] else outer
            for kind in range(2)
        ]
        self._drop(inner.row)
        for kind, column in enumerate((columns.counted_cost, columns.counted_tokens)):
            loser = outer if spent[kind] is inner else inner
            column[loser.spent] = 0
        self._counts.add(self._judge, call.reason, -call.weight)
        reason = None if call.reported[0] or new.reported[0] else (inner.reason or outer.reason)
        self._counts.add(self._judge, reason, call.weight)
        self._counts.merged += call.weight
        call.row, call.spent, call.reason = outer.row, spent[1].spent, reason
        call.reported = (call.reported[0] or new.reported[0], call.reported[1] or new.reported[1])
        call.start_us = min(call.start_us, new.start_us)
        call.end_us = max(call.end_us, new.end_us)
        call.sources |= new.sources
        call.waiting |= new.waiting
        call.response_id = call.response_id or new.response_id

    def _continue(self, data: _Call) -> bool:
        """Merge the data of a stream, which some instrumentations report in a second span.

        Args:
            data: the second span.

        Returns:
            Whether the call to which it belongs was found.
        """
        (source,) = data.sources
        for call in reversed(self._recent):
            if source in call.waiting and (call.strand, call.model) == (data.strand, data.model):
                break
        else:
            return False
        columns = self._columns
        call.waiting.discard(source)
        if call.sources == {source}:  # no other source has reported how long the stream took
            columns.latency_ms[call.row] = (data.end_us - call.start_us) / 1000
        columns.counted[data.row] = 0
        columns.merged.add(data.row)
        if call.reported[1]:
            columns.counted_cost[data.row] = columns.counted_tokens[data.row] = 0
        else:
            self._counts.add(self._judge, call.reason, -call.weight)
            self._counts.add(self._judge, data.reason, call.weight)
            call.spent, call.reported, call.reason = data.row, data.reported, data.reason
        call.end_us = max(call.end_us, data.end_us)
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
    reported = enriched.cost_usd is not None, enriched.total_tokens is not None
    waiting = {source} if not reported[1] and enriched.success else set()
    provider = None if enriched.provider is None else str(enriched.provider)
    return _Call(
        row=row, spent=row, start_us=start_us, end_us=end_us, strand=str(get("strand")),
        parent=get("parent_span_id"), provider=provider, model=enriched.model,
        response_id=get("response_id"), sources={source}, waiting=waiting,
        reported=reported, reason=reason, weight=weight_of(event),
    )  # fmt: skip


def _same(call: _Call, new: _Call) -> bool:
    """Whether both report the same call; ``new`` does not start after ``call`` has ended."""
    if call.sources & new.sources or call.start_us > new.end_us:
        return False
    if _differ(call.provider, new.provider):
        return False
    if call.response_id is not None and new.response_id is not None:
        return bool(call.response_id == new.response_id)
    return call.strand == new.strand


def _differ(one: Any, other: Any) -> bool:
    return one is not None and other is not None and one.lower() != other.lower()
