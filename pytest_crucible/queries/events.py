"""Views of events: queries that read the events only when their result is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from pytest_crucible._clock import time_us_of
from pytest_crucible._errors import MissingExtraError
from pytest_crucible._text import plural
from pytest_crucible.capture.bus import matcher
from pytest_crucible.events.enrichment import Enriched, enrich
from pytest_crucible.events.event import Event
from pytest_crucible.exports.parquet_file import arrow_table, fitted_columns
from pytest_crucible.exports.rows import nested_row
from pytest_crucible.metrics.observations import Group, observe
from pytest_crucible.metrics.outliers import MAD, Method
from pytest_crucible.metrics.summary import summarise
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.queries.anomalies import Anomalies, anomalies
from pytest_crucible.queries.columns import EventColumns, columns_of, structured_array
from pytest_crucible.queries.described import Told, of_experiments
from pytest_crucible.queries.event_table import event_table
from pytest_crucible.queries.keys import check_keys
from pytest_crucible.queries.trace import Trace, trace
from pytest_crucible.queries.windows import Window, slide
from pytest_crucible.record.chunks import Chunk, chunks_of
from pytest_crucible.record.merge import Merged

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

Predicate = Callable[[Event], object]
Stage = Callable[[Iterable[Event]], Iterable[Event]]
Moment = datetime | int
"""A time with its zone, or µs since the epoch as in ``Event.time_us``."""

Unit = Literal["seconds", "minutes", "hours"]
UNITS: dict[Unit, int] = {"seconds": 1_000_000, "minutes": 60_000_000, "hours": 3_600_000_000}
_MISSING = object()


class Events(Sequence[Event]):
    """Some events, in order. Every query returns a new view, which reads events when it is used.

    A view of a running experiment also shows events that are recorded later.

    Args:
        source: returns the events; called whenever they are read.
        version: returns a value that changes whenever ``source`` would return other events.
        stages: functions that the events of ``source`` pass through, one after the other.
        told: returns tags and metadata of the experiments, by name.
    """

    def __init__(
        self,
        source: Callable[[], Iterable[Event]],
        version: Callable[[], object] = lambda: None,
        stages: tuple[Stage, ...] = (),
        told: Callable[[], Told] = dict,
    ) -> None:
        self._source = source
        self._version = version
        self._stages = stages
        self._told = told
        self._read: tuple[object, list[Event]] | None = None
        self._columns: tuple[object, EventColumns] | None = None

    # --- queries -------------------------------------------------------------------------------

    def query(
        self,
        name: str | None = None,
        *,
        success: bool | None = None,
        time_range: tuple[Moment | None, Moment | None] | None = None,
        condition: str | None = None,
        experiment_tag: str | None = None,
        experiment_metadata: Mapping[str, object] | None = None,
        **metadata: object,
    ) -> Events:
        """Return the events that meet all of these conditions.

        A key that no event of this view has is an error, because it is probably misspelt. Valid
        are the keys that every event has (of its scope, of enrichment, …), those that the catalog
        lists for events with such a ``name``, and the keys of metadata and measurements of any
        event of this view. To know the latter, the view is read until every key has been seen. A
        view without events refuses no key, and `where` never does.

        Args:
            name: event name, in which ``*`` stands for any characters.
            success: True for events that succeeded, False for those that failed; None for all.
            time_range: as for `between`.
            condition: a condition of their experiment.
            experiment_tag: a tag of their experiment.
            experiment_metadata: ``{"commit": "ab12"}``: entries of their experiment's metadata.
            metadata: ``model="gpt-4o-mini"``: the value of a key. It is looked for in the metadata,
                then in the columns of enrichment (``cohort``), the scope (``case``, ``trial``), the
                event (``node``, ``attribution``) and the measurements.

        Raises:
            TypeError: no event of this view has a key; one line with the valid ones and, if there
                is one, a similar key.
            ValueError: a time range that makes no sense.
        """
        check_keys(metadata, self, name)
        view = self if time_range is None else self.between(*time_range)
        if name is not None:
            matches = matcher(name).match
            view = view.where(lambda event: matches(event.name))
        if condition is not None:
            view = view.where(lambda e: e.scope is not None and e.scope.condition == condition)
        if experiment_tag is not None or experiment_metadata:
            tag, entries, told = experiment_tag, experiment_metadata or {}, self._told
            view = view._then(lambda events: of_experiments(events, told, tag, entries))
        if metadata:
            view = view.where(lambda event: _has(event, metadata))
        if success is not None:
            view = view.where(lambda event: _enriched(event).success is success)
        return view

    def where(self, predicate: Predicate) -> Events:
        """Return the events for which ``predicate(event)`` is true."""
        return self._then(lambda events: filter(predicate, events))

    def between(self, start: Moment | None, end: Moment | None) -> Events:
        """Return the events from ``start`` to ``end``, both included; None for no limit.

        Raises:
            ValueError: a time without a time zone, or an end before the start.
        """
        first, last = _time_us(start), _time_us(end)
        if first is not None and last is not None and last < first:
            raise ValueError(f"the end {end!r} is before the start {start!r}")
        return self.where(
            lambda event: (
                (first is None or event.time_us >= first)
                and (last is None or event.time_us <= last)
            )
        )

    def last(self, number: float, unit: Unit = "seconds", *, until: Moment | None = None) -> Events:
        """Return the events of the last seconds, minutes or hours: ``last(5, "minutes")``.

        Args:
            number: how many of the unit, above zero.
            unit: ``seconds``, ``minutes`` or ``hours``.
            until: the end of this time. Default: the newest event of this view, so that the result
                is the same long after the run.

        Raises:
            ValueError: another unit, or a number that is not above zero.
        """
        if unit not in UNITS:
            raise ValueError(f"unit {unit!r} is not one of {', '.join(UNITS)}")
        if not number > 0:
            raise ValueError(f"the last {number} {unit}: it takes a number above zero")
        span, fixed = round(number * UNITS[unit]), _time_us(until)

        def newest(events: Iterable[Event]) -> Iterable[Event]:
            read = list(events)
            end = max((e.time_us for e in read), default=0) if fixed is None else fixed
            return (event for event in read if end - span <= event.time_us <= end)

        return self._then(newest)

    def last_n(self, number: int) -> Events:
        """Return the last ``number`` events.

        Raises:
            ValueError: the number is below zero.
        """
        if number < 0:
            raise ValueError(f"the last {number} events: it takes a number of at least 0")
        return self._then(lambda events: deque(events, maxlen=number))

    def _then(self, stage: Stage) -> Events:
        return Events(self._source, self._version, (*self._stages, stage), self._told)

    # --- a sequence ----------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Event]:
        # A generator runs only at the first `next`. `list(view)` asks for an iterator, then for the
        # length, which reads the events; the generator then uses what was read.
        read = self._read
        if read is not None and read[0] == self._version():
            yield from read[1]
        else:
            yield from self._stream()

    def _stream(self) -> Iterable[Event]:
        events = self._source()
        for stage in self._stages:
            events = stage(events)
        return events

    def chunks(self) -> Iterator[Chunk]:
        """Yield the events in chunks of many, which is faster for readers of all events."""
        read, source = self._read, None
        if not self._stages and (read is None or read[0] != self._version()):
            source = self._source()
        return source.chunks() if isinstance(source, Merged) else chunks_of(self)

    def _list(self) -> list[Event]:
        version, read = self._version(), self._read
        if read is None or read[0] != version:
            read = self._read = version, list(self._stream())
        return read[1]

    def __len__(self) -> int:
        return len(self._list())

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        return self._list()[index]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, (Events, list, tuple)):
            return self._list() == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # like a list: what it holds may change

    def __repr__(self) -> str:
        return f"<{plural(len(self), 'event')}>"

    def _repr_html_(self) -> str:
        return event_table(self._list())

    # --- numbers and tables --------------------------------------------------------------------

    def metrics(self, experiment: str | None = None, condition: str | None = None) -> Metrics:
        """Work out the metrics of these events: ``events.query(model="m").metrics().cost.total``.

        They are those of an experiment that emitted only these: an operation and its parts do not
        both count, percentiles are exact. Trials and recorded numbers are among the events of a
        run; those of a handle are without them. Without events, all counts are 0.

        Args:
            experiment: name of the experiment; may be left out if these are events of only one.
            condition: the condition; may be left out if there is only one.

        Raises:
            LookupError: the events are of several conditions; the message names them.
        """
        groups = observe(self).groups
        matching = [
            group
            for name, group in groups.items()
            if experiment in (None, name[0]) and condition in (None, name[1])
        ]
        if len(matching) > 1:
            valid = ", ".join(f"({group.experiment!r}, {group.condition!r})" for group in matching)
            raise LookupError(f"metrics(): events of several conditions; which one? valid: {valid}")
        return summarise(matching[0] if matching else Group(experiment or "", condition or ""))

    def windowed_metrics(
        self, size: timedelta | float, step: timedelta | float | None = None
    ) -> list[Window]:
        """Return metrics of windows that slide over the events, leaving out windows without events.

        The first window starts at the first event. An operation and its parts do not both count.

        Args:
            size: length of a window; a number means seconds.
            step: time from the start of one window to the start of the next; default ``size``.

        Raises:
            ValueError: ``size`` or ``step`` is not above zero.
        """
        size_us = _length_us("size", size)
        step_us = size_us if step is None else _length_us("step", step)
        return slide(observe(self).groups.values(), size_us, step_us)

    def anomalies(
        self,
        metric: str = "latency_ms",
        method: Method = MAD,
        threshold: float | None = None,
        *,
        log: bool | None = None,
    ) -> Anomalies:
        """Return the events with a number that lies far from the numbers of comparable events.

        Events are compared if they have the same name, experiment and condition. The defaults are
        those of the summary.

        Args:
            metric: ``latency_ms``, ``cost_usd``, ``input_tokens``, ``output_tokens``,
                ``total_tokens``, or the name of a measurement or of a number given to ``record``.
            method: ``mad``, ``zscore``, ``iqr`` or ``ewma``: see docs/anomalies.md.
            threshold: an event is an anomaly if its score exceeds this, above or below; default:
                the usual one of the literature.
            log: whether to compare logarithms; default: True for latency and cost, else False.

        Raises:
            ValueError: there is no such method, or the threshold is not above zero.
        """
        return anomalies(self, metric, method, threshold, log)

    def trace(self, id: str) -> Trace:
        """Return the tree of events that belong together; ``print`` shows it.

        Args:
            id: a correlation id, or a trace id of OpenTelemetry or of causal events. Or the id of a
                span or a causal event, for the tree below it.

        Raises:
            LookupError: no event has this id.
        """
        return trace(self, id)

    def columns(self) -> EventColumns:
        """Return these events as columns. They are read once and kept, so later queries are fast.

        ``events.columns().query(name="req_llm.*", success=False).latency_ms.mean()``
        """
        version, kept = self._version(), self._columns
        if kept is None or kept[0] != version:
            kept = self._columns = version, columns_of(self.chunks())
        return kept[1]

    def to_numpy(self) -> NDArray[np.void]:
        """Return a structured array of the shape ``(events,)``.

        Fields: name, time_us, condition, case, model, provider; as float64, with NaN for events
        without such a number: success (1, 0), latency_ms, cost_usd, input_tokens, output_tokens,
        total_tokens, weight (how many events it stands for).
        """
        return structured_array(self)

    def to_arrow(self) -> pyarrow.Table:
        """Return a table of pyarrow with the columns of exports.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        return arrow_table([nested_row(event) for event in self])

    def to_pandas(self) -> pandas.DataFrame:
        """Return a data frame of pandas with the columns of exports.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError("to_pandas", "pandas") from error
        return pandas.DataFrame(fitted_columns([nested_row(event) for event in self]))

    def to_polars(self) -> polars.DataFrame:
        """Return a data frame of polars with the columns of exports.

        Raises:
            MissingExtraError: polars is not installed.
        """
        try:
            import polars
        except ImportError as error:
            raise MissingExtraError("to_polars", "polars") from error
        columns = fitted_columns([nested_row(event) for event in self])
        return polars.DataFrame(columns, infer_schema_length=None)


def _enriched(event: Event) -> Enriched:
    return Enriched() if event.internal else enrich(event)


def _has(event: Event, wanted: Mapping[str, object]) -> bool:
    enriched = None
    for key, value in wanted.items():
        found = event.metadata.get(key, _MISSING)
        if found is _MISSING:
            enriched = enriched or _enriched(event)
            found = _worked_out(event, enriched, key)
        if found is _MISSING or found != value:
            return False
    return True


def _worked_out(event: Event, enriched: Enriched, key: str) -> object:
    if key in enriched.extra:
        return enriched.extra[key]
    for source in (enriched, event.scope, event):
        found: object = getattr(source, key, _MISSING)
        if found is not _MISSING:
            return found
    return event.measurements.get(key, _MISSING)


def _time_us(moment: Moment | None) -> int | None:
    return time_us_of(moment) if isinstance(moment, datetime) else moment


def _length_us(name: str, length: timedelta | float) -> int:
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    length_us = round(seconds * 1_000_000)
    if length_us < 1:
        raise ValueError(f"{name}={length!r} is not above zero (at least a microsecond)")
    return length_us
