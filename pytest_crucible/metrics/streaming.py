"""Streaming metrics: the numbers of an experiment that still runs, in memory that does not grow.

What counts is settled as in `observations`: by `Nesting` and `Calls`, which may find out later that
an event was a part of another, or told of the same call. Events that they may still come back to
wait in a window as long as they look back; all others are added up at once and forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from pytest_crucible._clock import iso_from_us
from pytest_crucible._enrich import Enriched, enrich, number
from pytest_crucible._event import RECORD, Event
from pytest_crucible._scope import JUDGE, Scope
from pytest_crucible._sketch import RELATIVE_ERROR
from pytest_crucible.metrics.calls import MAX_RECENT, CallCounts, Calls
from pytest_crucible.metrics.nesting import MAX_PARTS, Nesting
from pytest_crucible.metrics.running import EXACT, Numbers
from pytest_crucible.metrics.summary import (
    Cost,
    EventMetrics,
    Metrics,
    Overview,
    Reliability,
    Tokens,
    cost_of,
    reliability_of,
    tokens_of,
)

MAX_SCOPES = 64
"""Trials (and judges of trials) whose events may come interleaved."""

Enricher = Callable[[Event, Enriched], None]


class StreamingMetrics:
    """Metrics of the events of one experiment under one condition, as they come.

    The same numbers as from the whole record, but for these: beyond the first ``exact`` numbers of
    a kind, percentiles are within ``relative_error``; and what became of trials is not told.
    Memory grows with the number of different event names, not with that of events.

    Args:
        experiment, condition: whose.
        exact: so many numbers of a kind are kept as they are.
        relative_error: of percentiles, between 0 and 1.
    """

    def __init__(
        self,
        experiment: str,
        condition: str = "default",
        *,
        exact: int = EXACT,
        relative_error: float = RELATIVE_ERROR,
    ) -> None:
        self.experiment = experiment
        self.condition = condition
        self._exact = exact
        self._relative_error = relative_error
        self._sums = _Sums(exact, relative_error)
        self._places: OrderedDict[tuple[str, str, Scope], _Place] = OrderedDict()
        self._rows = 0

    def add(self, event: Event, enrichers: Iterable[Enricher] = ()) -> None:
        """Take in one event, in order within its node.

        Events of other experiments and conditions, and the plugin's own but recorded numbers, are
        left out.

        Args:
            event: the event.
            enrichers: as for `observe`.
        """
        scope = event.scope
        if scope is None or (scope.experiment, scope.condition) != (
            self.experiment,
            self.condition,
        ):
            return
        if event.internal:
            if event.name == RECORD:
                self._sums.add_recorded(event)
            return
        enriched = enrich(event)
        for enricher in enrichers:
            enricher(event, enriched)
        self._rows += 1
        self._place(event, scope).add(event, enriched, self._rows)

    def _place(self, event: Event, scope: Scope) -> _Place:
        key = event.run, event.node, scope
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = _Place(self._sums, scope.role == JUDGE)
            if len(self._places) > MAX_SCOPES:
                self._places.popitem(last=False)[1].settle_all()
        elif len(self._places) > 1:
            self._places.move_to_end(key)
        return place

    def merge(self, other: StreamingMetrics) -> StreamingMetrics:
        """What both have seen together; both stay as they are.

        In which order several are merged does not matter, but for rounding.

        Raises:
            ValueError: they are of different experiments or conditions, or of different precision.
        """
        mine, theirs = (
            (each.experiment, each.condition, each._exact, each._relative_error)
            for each in (self, other)
        )
        if mine != theirs:
            raise ValueError(f"metrics of {mine} and {theirs} do not merge")
        merged = StreamingMetrics(
            self.experiment,
            self.condition,
            exact=self._exact,
            relative_error=self._relative_error,
        )
        merged._sums.merge(self._settled())
        merged._sums.merge(other._settled())
        return merged

    def metrics(self) -> Metrics:
        """The metrics so far."""
        return self._settled().metrics(self.experiment, self.condition)

    def _settled(self) -> _Sums:
        """The sums, with what waits in the windows counted as it stands now."""
        waiting = [row for place in self._places.values() for row in place.waiting()]
        if not waiting:
            return self._sums
        copy = _Sums(self._exact, self._relative_error)
        copy.merge(self._sums)
        for row in waiting:
            copy.add(row)
        return copy


@dataclass(slots=True)
class _Row:
    """One event, as far as it is added up."""

    name: str
    weight: float | None
    time_us: int
    enriched: Enriched
    counted: int
    counted_cost: int
    counted_tokens: int
    cancelled: bool


class _Place:
    """The events of one scope in one node.

    `Nesting` and `Calls` speak of rows by number; this is the table that they see.
    """

    def __init__(self, sums: _Sums, judge: bool) -> None:
        self._sums = sums
        self._nesting = Nesting()
        self._parts: OrderedDict[int, _Row] = OrderedDict()  # may turn out to be parts
        self._told: OrderedDict[int, _Row] = OrderedDict()  # calls: may be told of once more
        self.counted = _Flags(self._find, "counted")
        self.counted_cost = _Flags(self._find, "counted_cost")
        self.counted_tokens = _Flags(self._find, "counted_tokens")
        self.latency_ms = _Latencies(self._find)
        self.failed: dict[int, str] = {}
        self.cancelled = _Cancelled(self._find)
        self._calls = Calls(self, CallCounts(), judge)

    def _find(self, number: int) -> _Row | None:
        return self._parts.get(number) or self._told.get(number)

    def add(self, event: Event, enriched: Enriched, number: int) -> None:
        (counted, cost, tokens), parts = self._nesting.place(event, enriched, number)
        for part in parts:
            row = self._parts.pop(part, None)
            if row is not None:
                row.counted, row.cancelled = 0, False
                self._sums.add(row)
        row = _Row(
            name=event.name,
            weight=event.weight,
            time_us=event.time_us,
            enriched=enriched,
            counted=counted,
            counted_cost=cost,
            counted_tokens=tokens,
            cancelled=enriched.cancelled and counted,
        )
        if self._nesting.may_claim(number):
            self._put(self._parts, number, row, MAX_PARTS)
            self._calls.add(event, enriched, number)
        elif "strand" in event.metadata:
            self._put(self._told, number, row, 2 * MAX_RECENT)
            self._calls.add(event, enriched, number)
        else:
            self._calls.add(event, enriched, number)
            self._sums.add(row)

    def _put(self, window: OrderedDict[int, _Row], number: int, row: _Row, most: int) -> None:
        window[number] = row
        if len(window) > most:
            self._sums.add(window.popitem(last=False)[1])

    def waiting(self) -> Iterator[_Row]:
        yield from self._parts.values()
        yield from self._told.values()

    def settle_all(self) -> None:
        """Nobody will come back to what still waits."""
        for row in self.waiting():
            self._sums.add(row)


Find = Callable[[int], _Row | None]


class _Flags:
    """One of the columns that say what counts. Rows that are added up already stay as they are."""

    def __init__(self, find: Find, name: str) -> None:
        self._find = find
        self._name = name

    def __setitem__(self, number: int, value: int, /) -> None:
        row = self._find(number)
        if row is not None:
            setattr(row, self._name, value)


class _Latencies:
    def __init__(self, find: Find) -> None:
        self._find = find

    def __setitem__(self, number: int, value: float, /) -> None:
        row = self._find(number)
        if row is not None:
            row.enriched.latency_ms = value


class _Cancelled:
    def __init__(self, find: Find) -> None:
        self._find = find

    def discard(self, number: int, /) -> None:
        row = self._find(number)
        if row is not None:
            row.cancelled = False


class _Part:
    """Sums over some events: all that count, or all with one name."""

    def __init__(self, exact: int, error: float) -> None:
        self.count = self.successful = self.failed = self.cancelled = 0.0
        self.latency, self.cost = Numbers(exact, error), Numbers(exact, error)
        self.tokens = tuple(Numbers(exact, error) for _ in range(3))  # input, output, total

    def add_operation(self, row: _Row, weight: float) -> None:
        enriched = row.enriched
        if enriched.latency_ms is not None:
            self.latency.add(enriched.latency_ms, weight)
        if enriched.success is not None:
            if enriched.success:
                self.successful += weight
            else:
                self.failed += weight

    def add_cost(self, row: _Row, weight: float) -> None:
        if row.enriched.cost_usd is not None:
            self.cost.add(row.enriched.cost_usd, weight)

    def add_tokens(self, row: _Row, weight: float) -> None:
        told = row.enriched
        values = told.input_tokens, told.output_tokens, told.total_tokens
        for numbers, value in zip(self.tokens, values, strict=True):
            if value is not None:
                numbers.add(value, weight)

    def merge(self, other: _Part) -> None:
        self.count += other.count
        self.successful += other.successful
        self.failed += other.failed
        self.cancelled += other.cancelled
        mine, theirs = ((part.latency, part.cost, *part.tokens) for part in (self, other))
        for numbers, more in zip(mine, theirs, strict=True):
            numbers.merge(more)

    def cost_metrics(self) -> Cost:
        return cost_of(self.cost.describe())

    def token_metrics(self) -> Tokens:
        return tokens_of(*(numbers.describe() for numbers in self.tokens))

    def reliability(self) -> Reliability:
        return reliability_of(round(self.successful), round(self.failed), round(self.cancelled))


class _Sums:
    """Everything that is added up."""

    def __init__(self, exact: int, error: float) -> None:
        self._precision = exact, error
        self._overall = _Part(exact, error)
        self._by_name: dict[str, _Part] = {}
        self._recorded: dict[str, Numbers] = {}
        self._kept = 0
        self._sampled = False
        self._first_us: int | None = None
        self._last_us = 0

    def add(self, row: _Row) -> None:
        weight = 1.0 if row.weight is None else row.weight
        self._sampled = self._sampled or row.weight is not None
        self._kept += 1
        self._seen(row.time_us, row.time_us)
        overall = self._overall
        overall.count += weight
        if row.counted:
            overall.add_operation(row, weight)
        if row.cancelled:
            overall.cancelled += weight
        if row.counted_cost:
            overall.add_cost(row, weight)
        if row.counted_tokens:
            overall.add_tokens(row, weight)
        part = self._named(row.name)
        part.count += weight
        part.add_operation(row, weight)
        part.add_cost(row, weight)
        part.add_tokens(row, weight)

    def _seen(self, first_us: int, last_us: int) -> None:
        known = self._first_us
        self._first_us = first_us if known is None else min(known, first_us)
        self._last_us = max(self._last_us, last_us)

    def _named(self, name: str) -> _Part:
        part = self._by_name.get(name)
        if part is None:
            part = self._by_name[name] = _Part(*self._precision)
        return part

    def add_recorded(self, event: Event) -> None:
        for name, value in event.measurements.items():
            numbers = self._numbers(name)
            numeric = float(value) if isinstance(value, bool) else number(value)
            if numeric is not None:
                numbers.add(numeric)

    def _numbers(self, name: str) -> Numbers:
        numbers = self._recorded.get(name)
        if numbers is None:
            numbers = self._recorded[name] = Numbers(*self._precision)
        return numbers

    def merge(self, other: _Sums) -> None:
        self._overall.merge(other._overall)
        for name, part in other._by_name.items():
            self._named(name).merge(part)
        for name, numbers in other._recorded.items():
            self._numbers(name).merge(numbers)
        self._kept += other._kept
        self._sampled = self._sampled or other._sampled
        if other._first_us is not None:
            self._seen(other._first_us, other._last_us)

    def metrics(self, experiment: str, condition: str) -> Metrics:
        overall = self._overall
        return Metrics(
            experiment=experiment,
            condition=condition,
            summary=self._overview(),
            latency=overall.latency.describe(),
            cost=overall.cost_metrics(),
            reliability=overall.reliability(),
            tokens=overall.token_metrics(),
            recorded={name: each.describe() for name, each in sorted(self._recorded.items())},
            events={name: _event_metrics(part) for name, part in sorted(self._by_name.items())},
        )

    def _overview(self) -> Overview:
        if self._first_us is None:
            return Overview()
        return Overview(
            total_events=round(self._overall.count),
            kept_events=self._kept if self._sampled else None,
            start=iso_from_us(self._first_us),
            end=iso_from_us(self._last_us),
            duration_s=(self._last_us - self._first_us) / 1_000_000,
            event_types={name: round(part.count) for name, part in sorted(self._by_name.items())},
        )


def _event_metrics(part: _Part) -> EventMetrics:
    return EventMetrics(
        count=round(part.count),
        latency=part.latency.describe(),
        cost=part.cost_metrics(),
        reliability=part.reliability(),
        tokens=part.token_metrics(),
    )
