"""Rows: turn events into the rows that exporters write, and rows back into events."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import msgspec

from pytest_crucible._clock import iso_from_us
from pytest_crucible.capture.frames import encode_degraded
from pytest_crucible.events.enrichment import category_fields, changed, enrich, plan_of, tell
from pytest_crucible.events.enrichment_batch import Alike, Column
from pytest_crucible.events.event import RESERVED, Event
from pytest_crucible.events.schema import (
    EXPORTED,
    FROM_METADATA,
    FROM_SCOPE,
    KINDS,
    MEASURED,
    WEIGHT,
    WORKED_OUT,
)
from pytest_crucible.events.scope import Scope
from pytest_crucible.record.chunks import Chunk, Origin, chunks_of

NESTED = ("measurements", "metadata")
_KNOWN = frozenset({*EXPORTED, WEIGHT, *NESTED})
_ENRICHED = (*WORKED_OUT, *FROM_METADATA)
_TEXTS = tuple(name for name in _ENRICHED if KINDS[name] is str)
_MAX_TEMPLATES = 256
_FIRST_US, _LAST_US = -62_135_596_800_000_000, 253_402_300_799_999_999  # the years 1 to 9999

_encoder = msgspec.json.Encoder()
_to_json = _encoder.encode


class Mark(Protocol):
    """Marks the rows of some events, such as anomalies, with a further column."""

    def __call__(self, event: Event, row: dict[str, Any]) -> dict[str, Any]:
        """Add the mark to the row of an event, if it gets one, and return the row."""

    def places(self, events: Alike, origins: Sequence[Origin]) -> list[int]:
        """Return the positions of the events that get a mark, among events of one shape."""

    def columns(self, chunk: Chunk) -> Mapping[str, Column]:
        """Return the columns of `EXPORTED` that it sets in all rows, marked or not."""


@runtime_checkable
class Chunked(Protocol):
    """Events that can be read in chunks."""

    def chunks(self) -> Iterator[Chunk]: ...


class Rows:
    """The rows of some events, for exporters. Every call starts a new pass over all rows.

    Args:
        events: returns the events; called once per pass.
        enrichers: as for `observe`.
        change: turns the rows of a pass into the rows to write.
        mark: marks the rows of some events.
    """

    def __init__(
        self,
        events: Callable[[], Iterable[Event]],
        enrichers: Iterable[Any] = (),
        change: Callable[[Iterator[dict[str, Any]]], Iterator[dict[str, Any]]] | None = None,
        mark: Mark | None = None,
    ) -> None:
        self._events = events
        self._enrichers = tuple(enrichers)
        self._change = change
        self.mark = mark

    @property
    def plain(self) -> bool:
        """Whether the rows follow from the events and the mark alone."""
        return self._change is None and not self._enrichers

    def chunks(self) -> Iterator[Chunk]:
        """Yield the events of a pass in chunks; only if the rows are `plain`."""
        events = self._events()
        return events.chunks() if isinstance(events, Chunked) else chunks_of(events)

    def __call__(self) -> Iterator[dict[str, Any]]:
        rows = nested_rows(self._events(), self._enrichers, self.mark)
        return rows if self._change is None else self._change(rows)


def nested_row(event: Event, enrichers: Iterable[Any] = ()) -> dict[str, Any]:
    """Return the row of an event: all columns, with ``measurements`` and ``metadata`` nested."""
    return next(nested_rows((event,), enrichers))


def nested_rows(
    events: Iterable[Event], enrichers: Iterable[Any] = (), mark: Mark | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the nested row of every event.

    Args:
        events: the events.
        enrichers: as for `observe`.
        mark: marks the rows of some events.
    """
    extra = tuple(enrichers)
    templates: dict[tuple[int, str, str], tuple[Scope | None, str, dict[str, Any]]] = {}
    last: Event | None = None
    for event in events:
        if (
            last is None
            or event.scope is not last.scope
            or event.node is not last.node
            or event.run is not last.run
        ):
            last = event
            key = id(event.scope), event.run, event.node
            if key not in templates:
                if len(templates) >= _MAX_TEMPLATES:
                    templates.clear()
                # Keeps the scope alive, so that no other scope gets its ``id``.
                templates[key] = event.scope, f"{event.run}-{event.node}-", _template(event)
            _, prefix, template = templates[key]
        row = template.copy()
        sequence, time_us, name = event.sequence, event.time_us, event.name
        row["event_id"] = prefix + str(sequence)
        row["sequence"] = sequence
        row["event"] = name
        row["time_us"] = time_us
        row["datetime"] = iso_from_us(time_us)
        row["attribution"] = event.attribution
        if name.startswith(RESERVED):
            pass
        elif extra or event.enriched:
            _add_enriched(row, event, extra)
        else:
            numbers, context = event.measurements, event.metadata
            plan = plan_of(name, numbers, context)
            tell(row, plan, numbers, context)
            if plan.fields:
                row.update(category_fields(plan, numbers, context))
        if event.weight is not None:
            row[WEIGHT] = event.weight
        row["measurements"] = event.measurements
        row["metadata"] = event.metadata
        yield row if mark is None else mark(event, row)


def _add_enriched(row: dict[str, Any], event: Event, enrichers: Iterable[Any]) -> None:
    """Set the columns that enrichment and enrichers work out."""
    enriched = enrich(event)
    for enricher in enrichers:
        enricher(event, enriched)
    for name in _ENRICHED:
        value = getattr(enriched, name)
        if value is not None:
            row[name] = value
    row.update(enriched.extra)


def _template(event: Event) -> dict[str, Any]:
    """Return the columns that are the same for all events of a scope in a node."""
    row: dict[str, Any] = dict.fromkeys(EXPORTED)
    return row | origin_columns(event.run, event.node, event.scope)


def origin_columns(run: str, node: str, scope: Scope | None) -> dict[str, Any]:
    """Return the columns of run, node and scope; ``sample_id`` is the case if metadata lack it."""
    columns: dict[str, Any] = {"run": run, "node": node}
    columns |= {name: getattr(scope, name, None) for name in FROM_SCOPE}
    columns["sample_id"] = columns["case"]
    return columns


def to_json(value: Any) -> bytes:
    """Return a value as JSON. NaN and infinities become null, all keys become texts."""
    try:
        return _to_json(value)
    except (TypeError, ValueError, RecursionError):
        frame, _ = encode_degraded(0, "", 0, value, None, 0)
        return _to_json(msgspec.msgpack.decode(frame)[4])


def to_json_lines(rows: list[Any]) -> bytes:
    """Return rows as lines of JSON, encoded as by `to_json`."""
    try:
        return _encoder.encode_lines(rows)
    except (TypeError, ValueError, RecursionError):
        return b"".join(to_json(row) + b"\n" for row in rows)


def event_from_row(row: Mapping[str, Any]) -> Event:
    """Return the event from which a nested row was made.

    Raises:
        KeyError, TypeError, ValueError: it is not such a row.
    """
    scope = None
    if row["experiment"] is not None:
        scope = _scope(
            str(row["experiment"]),
            str(row["condition"]),
            row.get("test"),
            row.get("case"),
            _whole(row.get("trial")),
            _whole(row.get("attempt")),
            row.get("role"),
        )
    event = Event(
        name="" if row["event"] is None else str(row["event"]),  # CSV reads an empty name as None
        measurements=_mapping(row.get("measurements")),
        metadata=_mapping(row.get("metadata")),
        time_us=_time_us(row["time_us"]),
        run=str(row["run"]),
        node=str(row["node"]),
        sequence=_int64(row["sequence"]),
        scope=scope,
        attribution=str(row.get("attribution") or "context"),
        weight=None if row.get(WEIGHT) is None else _weight(row[WEIGHT]),
    )
    enriched = {} if event.internal else _set_by_enrichers(event, row)
    return msgspec.structs.replace(event, enriched=enriched) if enriched else event


def _set_by_enrichers(event: Event, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that enrichers set: columns that differ from what the event says itself."""
    plain = enrich(event)
    fields: dict[str, Any] = {name: _measured(name, row[name]) for name in MEASURED if name in row}
    for name in _TEXTS:
        value, own = row.get(name), getattr(plain, name)
        if value is None or value == own:
            continue
        if name == "sample_id" and own is None:
            own = row.get("case")
        # CSV and Parquet write a model that is the number 3 as "3", which is no difference.
        if str(value) != str(own):
            fields[name] = value
    extra = {
        key: value
        for key, value in row.items()
        if key not in _KNOWN and key not in plain.extra and value is not None
    }
    return changed(plain, msgspec.structs.replace(plain, **fields, extra={**plain.extra, **extra}))


@lru_cache(maxsize=65536)
def _scope(
    experiment: str,
    condition: str,
    test: str | None,
    case: str | None,
    trial: int | None,
    attempt: int | None,
    role: str | None,
) -> Scope:
    """Return the same object for equal scopes, because readers compare scopes by identity."""
    return Scope(
        experiment=experiment,
        condition=condition,
        test=test,
        case=case,
        trial=trial,
        attempt=attempt,
        role=role,
    )


def _whole(value: Any) -> int | None:
    return None if value is None or value == "" else _int64(value)


def _int64(value: Any) -> int:
    number = int(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{number} is beyond 64 bits")
    return number


def _measured(name: str, value: Any) -> Any:
    if value is not None and not isinstance(value, bool if KINDS[name] is bool else (int, float)):
        raise TypeError(f"{name} is a {type(value).__name__}")
    if type(value) is int:
        float(value)  # OverflowError if the int is too large for a float
    return value


def _weight(value: Any) -> float:
    number = float(value)
    if not 0 < number < math.inf:
        raise ValueError(f"{WEIGHT}={value!r} is no weight")
    return number


def _time_us(value: Any) -> int:
    number = int(value)
    if not _FIRST_US <= number <= _LAST_US:
        raise ValueError(f"time_us={number} is in none of the years 1 to 9999")
    return number


def _mapping(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is not an object")
    return value


def unflatten(flat: Mapping[str, Any], *, absent: bool = True) -> dict[str, Any]:
    """Return a flat row as a nested one.

    Args:
        flat: the row, with columns such as ``metadata.model``.
        absent: whether None means that the event does not have the key (CSV, Parquet) or is its
            value (JSON).
    """
    row: dict[str, Any] = {"measurements": {}, "metadata": {}}
    for column, value in flat.items():
        prefix, dot, rest = column.partition(".")
        if not dot or prefix not in ("measurements", "metadata"):
            row[column] = value
        elif value is not None or not absent:
            target = row[prefix]
            *path, last = rest.split(".")
            for depth, part in enumerate(path):
                inner = target.setdefault(part, {})
                if not isinstance(inner, dict):  # "a" and "a.b" both have values
                    last = ".".join([*path[depth:], last])
                    break
                target = inner
            target[last] = value
    return row
