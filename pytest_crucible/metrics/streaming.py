"""Streaming metrics: the numbers of an experiment that still runs, in memory that does not grow.

As in `observations`, `Nesting` and `Calls` decide which events count. They may find out later that
an event is part of another, or reports a call that another event reports. Events for which that is
possible wait in a window, as long as `Nesting` and `Calls` look back; all others are added up at
once and forgotten.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from pytest_crucible.capture.sketch import RELATIVE_ERROR
from pytest_crucible.events.enrichment import Enriched, enrich
from pytest_crucible.events.event import LOG, RECORD, TRIAL_START, TRIAL_STOP, Event
from pytest_crucible.events.pricing import pricers
from pytest_crucible.events.scope import JUDGE, Scope
from pytest_crucible.metrics.catalog import PLAIN, Catalog
from pytest_crucible.metrics.counting.ensembles import concerns
from pytest_crucible.metrics.counting.model_calls import MAX_RECENT, CallCounts, Calls
from pytest_crucible.metrics.counting.nesting import MAX_PARTS, Nesting
from pytest_crucible.metrics.curves import LoggedSeries, add_logged, summarise_logged
from pytest_crucible.metrics.running import EXACT
from pytest_crucible.metrics.streaming_sums import Row, Sums
from pytest_crucible.metrics.summary import formula_numbers, summarise_trials
from pytest_crucible.metrics.trials import TrialBook
from pytest_crucible.metrics.values import Metrics

MAX_SCOPES = 64
"""So many trials (and judges of trials) may have interleaved events."""

Enricher = Callable[[Event, Enriched], None]


class StreamingMetrics:
    """Metrics of the events of one experiment under one condition, one event at a time.

    The numbers are those of the whole record, with two exceptions. After the first ``exact``
    numbers of a kind, percentiles are only within ``relative_error``. And outcomes of trials,
    anomalies, ensembles and hedging are missing, because they need the whole record.

    Memory grows with the number of different event names and of trials, not with that of events.

    Args:
        experiment: name of the experiment; events of others are ignored.
        condition: name of its condition; events of others are ignored.
        exact: percentiles of up to this many numbers of a kind are exact.
        relative_error: of percentiles of more numbers, between 0 and 1.
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
        self._sums = Sums(exact, relative_error)
        self._places: OrderedDict[tuple[str, str, Scope], _Place] = OrderedDict()
        self._rows = 0

    def add(self, event: Event, enrichers: Iterable[Enricher] = ()) -> None:
        """Add one event; the events of a node must come in order.

        Events of other experiments and conditions are ignored. So are the plugin's own events,
        except for recorded numbers.

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
            elif event.name == TRIAL_START and scope.case is not None:
                self._sums.begin_trial((scope.case, scope.trial or 0), event.time_us)
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
            place = self._places[key] = _Place(self._sums, scope)
            if len(self._places) > MAX_SCOPES:
                self._places.popitem(last=False)[1].settle_all()
        elif len(self._places) > 1:
            self._places.move_to_end(key)
        return place

    def merge(self, other: StreamingMetrics) -> StreamingMetrics:
        """Return metrics of the events of both; both stay as they are.

        The order of several merges does not matter, apart from rounding.

        Raises:
            ValueError: experiment, condition or precision differ.
        """
        mine, theirs = (
            (side.experiment, side.condition, side._exact, side._relative_error)
            for side in (self, other)
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
        """Return the metrics of all events so far."""
        return self._settled().metrics(self.experiment, self.condition)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain data that JSON can hold, for `from_dict` in another process."""
        return {
            "experiment": self.experiment,
            "condition": self.condition,
            "exact": self._exact,
            "relative_error": self._relative_error,
            "sums": self._settled().to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> StreamingMetrics:
        """Make metrics from the data that `to_dict` of another process returned, to merge them.

        Raises:
            ValueError: ``data`` is something else.
        """
        try:
            streaming = cls(
                data["experiment"],
                data["condition"],
                exact=data["exact"],
                relative_error=data["relative_error"],
            )
            streaming._sums.merge_dict(data["sums"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not what StreamingMetrics.to_dict gives: {error!r}") from error
        return streaming

    def _settled(self) -> Sums:
        """Return the sums, including the events that still wait in windows, as they count now."""
        waiting = [row for place in self._places.values() for row in place.waiting()]
        if not waiting:
            return self._sums
        copy = Sums(self._exact, self._relative_error)
        copy.merge(self._sums)
        for row in waiting:
            copy.add(row)
        return copy


class _Place:
    """The events of one scope in one node.

    `Nesting` and `Calls` refer to events by row number, and change columns at these rows. This
    class is the table that they see (`Columns`): it only holds the rows that still wait.
    """

    def __init__(self, sums: Sums, scope: Scope) -> None:
        self._sums = sums
        self._judge = scope.role == JUDGE
        self._trial = None if scope.case is None else (scope.case, scope.trial or 0)
        self._nesting = Nesting()
        self._parts: OrderedDict[int, Row] = OrderedDict()  # may turn out to be parts
        self._spans: OrderedDict[int, Row] = OrderedDict()  # another span may report the same call
        self.counted = _Flags(self._find, "counted")
        self.counted_cost = _Flags(self._find, "counted_cost")
        self.counted_tokens = _Flags(self._find, "counted_tokens")
        self.latency_ms = _Latencies(self._find)
        self.failed: dict[int, str] = {}
        self.cancelled = _Cancelled(self._find)
        self.merged = _NotKept()
        self._calls = Calls(self, CallCounts(), self._judge)

    def _find(self, number: int) -> Row | None:
        return self._parts.get(number) or self._spans.get(number)

    def add(self, event: Event, enriched: Enriched, number: int) -> None:
        """Add an event as the row ``number``."""
        (counted, cost, tokens), parts = self._nesting.place(event, enriched, number)
        for part in parts:
            row = self._parts.pop(part, None)
            if row is not None:
                row.counted, row.cancelled = 0, False
                self._sums.add(row)
        row = Row(
            name=event.name,
            weight=event.weight,
            time_us=event.time_us,
            enriched=enriched,
            counted=counted,
            counted_cost=cost,
            counted_tokens=tokens,
            cancelled=enriched.cancelled and counted,
            judge=self._judge,
            trial=self._trial,
        )
        if self._nesting.may_claim(number):
            self._put(self._parts, number, row, MAX_PARTS)
            self._calls.add(event, enriched, number)
        elif "strand" in event.metadata:
            self._put(self._spans, number, row, 2 * MAX_RECENT)
            self._calls.add(event, enriched, number)
        else:
            self._calls.add(event, enriched, number)
            self._sums.add(row)

    def _put(self, window: OrderedDict[int, Row], number: int, row: Row, most: int) -> None:
        """Add a row to a window; if it is full, add up its oldest row."""
        window[number] = row
        if len(window) > most:
            self._sums.add(window.popitem(last=False)[1])

    def waiting(self) -> Iterator[Row]:
        """Yield the rows that later events may still change."""
        yield from self._parts.values()
        yield from self._spans.values()

    def settle_all(self) -> None:
        """Add up the waiting rows, as they count now: no further event will change them."""
        for row in self.waiting():
            self._sums.add(row)


Find = Callable[[int], Row | None]


class _Flags:
    """A column that says which rows count. Rows that are already added up do not change."""

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


class _NotKept:
    """The set of merged rows, which streaming metrics do not need."""

    def add(self, number: int, /) -> None: ...


class LiveMetrics:
    """Metrics of a trial, or of an experiment outside pytest, up to a position in its record.

    Logged numbers are kept in full, because a step may be logged again.

    Attributes:
        pid: id of the process that these metrics belong to.
        position: the position in the record from which to read on.
        scopes: the scopes that were opened before it, by number.
        lock: hold it while you add events.
        partial: an event was about ensembles or hedging, so that the metrics need the whole record.
    """

    def __init__(self, scope: Scope, pid: int) -> None:
        self.pid = pid
        self.position = 0
        self.scopes: dict[int, Scope] = {}
        self.partial = False
        self.lock = threading.Lock()
        self._streaming = StreamingMetrics(scope.experiment, scope.condition)
        self._enrichers = pricers()
        self._book = TrialBook()
        self._logged: dict[str, LoggedSeries] = {}
        self._cases: dict[str | None, int] = {}

    def add(self, events: Iterable[Event]) -> None:
        """Add events, in order within their node."""
        for event in events:
            if event.name in (TRIAL_START, TRIAL_STOP):
                self._book.add(event)
                self._streaming.add(event)
            elif event.name == LOG and event.scope is not None:
                add_logged(self._logged, event, self._case(event.scope), event.scope.trial or 0, 0)
            else:
                self.partial = self.partial or concerns(event.name)
                self._streaming.add(event, self._enrichers)

    def _case(self, scope: Scope) -> int:
        return self._cases.setdefault(scope.case, len(self._cases))

    def metrics(self, catalog: Catalog = PLAIN) -> Metrics:
        """Return the metrics so far, with trials, curves and the formulas of the catalogue."""
        trials = self._book.all()
        logged = {
            name: summarise_logged(series, name, catalog)
            for name, series in sorted(self._logged.items())
        }
        metrics = self._streaming.metrics()
        custom = formula_numbers(metrics.recorded, catalog)
        return replace(metrics, tests=summarise_trials(trials), logged=logged, custom=custom)
