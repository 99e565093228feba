"""Views of events: queries that are put together first and read when somebody looks."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
from numpy.typing import NDArray

from pytest_crucible._errors import MissingExtraError
from pytest_crucible.capture.bus import matcher
from pytest_crucible.events.enrichment import Enriched, enrich
from pytest_crucible.events.event import Event, weight_of
from pytest_crucible.events.schema import NUMBERS
from pytest_crucible.exports.parquet_file import arrow_table, fitted_columns
from pytest_crucible.exports.rows import nested_row
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.outliers import MAD, Method
from pytest_crucible.queries.anomalies import Anomalies, anomalies
from pytest_crucible.queries.columns import OF_EVENTS, OF_SCOPES, EventColumns, columns_of
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
_MEASURED = ("success", *NUMBERS)
_DTYPE = np.dtype(
    [
        ("name", object), ("time_us", np.int64),
        *((name, object) for name in (*OF_SCOPES, *OF_EVENTS)),
        *((name, np.float64) for name in _MEASURED), ("weight", np.float64),
    ]
)  # fmt: skip
_said_of_scopes = attrgetter(*OF_SCOPES)
_said_of_events = attrgetter(*OF_EVENTS, *_MEASURED)  # None becomes NaN in a column of floats
_NO_SCOPE = (None,) * len(OF_SCOPES)
_MISSING = object()


class Events(Sequence[Event]):
    """Some events, in order. Every query gives a new view; the events are read when it is used.

    A view of an experiment that still runs sees what is recorded later, too.

    Args:
        source: called for each reading.
        version: changes whenever ``source`` would give something else.
        stages: what is done with the events of ``source``, one after the other.
    """

    def __init__(
        self,
        source: Callable[[], Iterable[Event]],
        version: Callable[[], object] = lambda: None,
        stages: tuple[Stage, ...] = (),
    ) -> None:
        self._source = source
        self._version = version
        self._stages = stages
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
        **metadata: object,
    ) -> Events:
        """The events to which all of this applies.

        Args:
            name: event name, in which ``*`` stands for any characters.
            success: those that succeeded, or those that failed.
            time_range: as for `between`.
            condition: of their experiment.
            metadata: ``model="gpt-4o-mini"``: metadata with this value. What an event does not have
                as metadata is looked for among what was worked out about it (``cohort``), in its
                scope (``case``, ``trial``), in the event (``node``, ``attribution``) and in its
                measurements.

        A key that this view does not know is taken for misspelt. Known is what every event has
        (scope, what is worked out, …), what the catalog says of events with such a ``name``, and
        what any event of the view has as metadata or measurement: for other keys than those of the
        first two kinds it is read, as far as the first event that has it. A view without any events
        knows nothing, and refuses nothing; `where` never does.

        Raises:
            TypeError: the events of this view do not know a key; names the one that was meant, if
                one is close, and the valid ones.
            ValueError: a time range that makes no sense.
        """
        check_keys(metadata, self, name)
        view = self if time_range is None else self.between(*time_range)
        if name is not None:
            matches = matcher(name).match
            view = view.where(lambda event: matches(event.name))
        if condition is not None:
            view = view.where(lambda e: e.scope is not None and e.scope.condition == condition)
        if metadata:
            view = view.where(lambda event: _has(event, metadata))
        if success is not None:
            view = view.where(lambda event: _enriched(event).success is success)
        return view

    def where(self, predicate: Predicate) -> Events:
        """The events for which ``predicate(event)`` is true."""
        return self._then(lambda events: filter(predicate, events))

    def between(self, start: Moment | None, end: Moment | None) -> Events:
        """The events from ``start`` to ``end``, both included; None is open.

        Raises:
            ValueError: a time without zone, or an end before the start.
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
        """The events of the last five ``minutes``, say.

        Args:
            number: how many, above zero.
            unit: seconds, minutes or hours.
            until: when they end. Default: with the newest event of this view, so that it means the
                same long after the run.

        Raises:
            ValueError: another unit, or no positive number.
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
        """The last ``number`` events.

        Raises:
            ValueError: the number is below zero.
        """
        if number < 0:
            raise ValueError(f"the last {number} events: it takes a number of at least 0")
        return self._then(lambda events: deque(events, maxlen=number))

    def _then(self, stage: Stage) -> Events:
        return Events(self._source, self._version, (*self._stages, stage))

    # --- a sequence ----------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Event]:
        # A generator, so that this runs with the first `next`: `list(view)` asks for an iterator,
        # then for the length, and must not read everything twice.
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
        """The events many at once, for what reads all of them."""
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
        return f"<{len(self)} events>"

    # --- numbers and tables --------------------------------------------------------------------

    def windowed_metrics(
        self, size: timedelta | float, step: timedelta | float | None = None
    ) -> list[Window]:
        """Metrics of windows that slide over the events; windows without events are left out.

        The first window starts with the first event. A whole and its parts are not both counted.

        Args:
            size: length of a window; a number is in seconds.
            step: from the start of one window to that of the next; default ``size``.

        Raises:
            ValueError: one of them is not above zero.
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
        """The events one of whose numbers lies far from those of the others.

        Compared are events of the same name, experiment and condition. The defaults are those of
        the summary.

        Args:
            metric: ``latency_ms``, ``cost_usd``, ``input_tokens``, ``output_tokens``,
                ``total_tokens``, or a measurement; so also a number given to ``record``.
            method: ``mad``, ``zscore``, ``iqr`` or ``ewma``: see docs/anomalies.md.
            threshold: of the score; default: that of the literature.
            log: compare logarithms; default: of latency and cost.

        Raises:
            ValueError: there is no such method, or the threshold is not above zero.
        """
        return anomalies(self, metric, method, threshold, log)

    def trace(self, id: str) -> Trace:
        """The tree of the events that belong together; ``print`` shows it.

        Args:
            id: a correlation id, a trace id of OpenTelemetry or of causal events; else that of one
                span or causal event, with what is below it.

        Raises:
            LookupError: no event has it.
        """
        return trace(self, id)

    def columns(self) -> EventColumns:
        """These events as columns: read once, kept, and then asked in no time.

        ``events.columns().query(name="req_llm.*", success=False).latency_ms.mean()``
        """
        version, kept = self._version(), self._columns
        if kept is None or kept[0] != version:
            kept = self._columns = version, columns_of(self.chunks())
        return kept[1]

    def to_numpy(self) -> NDArray[np.void]:
        """A structured array, one row per event.

        Fields: name, time_us, condition, case, model, provider, and as float64 with NaN for "no
        such number" success (1, 0), latency_ms, cost_usd, input_tokens, output_tokens,
        total_tokens, weight (how many events it stands for).
        """
        return np.array([_record(event) for event in self], dtype=_DTYPE)

    def to_arrow(self) -> pyarrow.Table:
        """A table of pyarrow with the columns of the exports.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        return arrow_table([nested_row(event) for event in self])

    def to_pandas(self) -> pandas.DataFrame:
        """A data frame of pandas with the columns of the exports.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise MissingExtraError("to_pandas", "pandas") from error
        return pandas.DataFrame(fitted_columns([nested_row(event) for event in self]))

    def to_polars(self) -> polars.DataFrame:
        """A data frame of polars with the columns of the exports.

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


def _record(event: Event) -> tuple[object, ...]:
    scope = event.scope
    return (
        event.name, event.time_us, *(_NO_SCOPE if scope is None else _said_of_scopes(scope)),
        *_said_of_events(_enriched(event)), weight_of(event),
    )  # fmt: skip


def _time_us(moment: Moment | None) -> int | None:
    if not isinstance(moment, datetime):
        return moment
    since = moment.utcoffset()
    if since is None:
        raise ValueError(f"{moment!r} has no time zone: datetime.now(timezone.utc) has one")
    whole = int(moment.replace(microsecond=0).timestamp())
    return whole * 1_000_000 + moment.microsecond


def _length_us(name: str, length: timedelta | float) -> int:
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    length_us = round(seconds * 1_000_000)
    if length_us < 1:
        raise ValueError(f"{name}={length!r} is not above zero (at least a microsecond)")
    return length_us
