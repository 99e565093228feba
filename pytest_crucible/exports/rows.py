"""Rows: an event as exporters write it, and back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import msgspec

from pytest_crucible._clock import iso_from_us
from pytest_crucible.capture.frames import encode_degraded
from pytest_crucible.events.enrichment import category_fields, changed, enrich, plan_of, tell
from pytest_crucible.events.enrichment_batch import Alike
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
    """Says something of some events."""

    def __call__(self, event: Event, row: dict[str, Any]) -> dict[str, Any]:
        """Add what is to be said of an event to its row, and return the row."""

    def places(self, events: Alike, origins: Sequence[Origin]) -> list[int]:
        """Where the events stand that something is to be said of, among events of one shape."""


@runtime_checkable
class Chunked(Protocol):
    """Events that can be had many at once."""

    def chunks(self) -> Iterator[Chunk]: ...


class Rows:
    """The rows of some events, as exporters get them: each call gives all of them anew.

    Args:
        events: called once per pass.
        enrichers: as for `observe`.
        change: gets the rows of a pass and gives those to be written.
        mark: adds to the row of an event what is to be said of it.
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
        """Whether the rows say nothing that the events themselves and the mark do not."""
        return self._change is None and not self._enrichers

    def chunks(self) -> Iterator[Chunk]:
        """The events of a pass, where the rows are `plain`."""
        events = self._events()
        return events.chunks() if isinstance(events, Chunked) else chunks_of(events)

    def __call__(self) -> Iterator[dict[str, Any]]:
        rows = nested_rows(self._events(), self._enrichers, self.mark)
        return rows if self._change is None else self._change(rows)


def nested_row(event: Event, enrichers: Iterable[Any] = ()) -> dict[str, Any]:
    """An event with everything known about it; measurements and metadata keep their nesting."""
    return next(nested_rows((event,), enrichers))


def nested_rows(
    events: Iterable[Event], enrichers: Iterable[Any] = (), mark: Mark | None = None
) -> Iterator[dict[str, Any]]:
    """A nested row for each event."""
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
                # With the scope itself, so that its id stays its own.
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
    """The same with what enrichers say."""
    enriched = enrich(event)
    for enricher in enrichers:
        enricher(event, enriched)
    for name in _ENRICHED:
        value = getattr(enriched, name)
        if value is not None:
            row[name] = value
    row.update(enriched.extra)


def _template(event: Event) -> dict[str, Any]:
    """The row of an event as far as it is the same for all events of its scope."""
    row: dict[str, Any] = dict.fromkeys(EXPORTED)
    return row | origin_columns(event.run, event.node, event.scope)


def origin_columns(run: str, node: str, scope: Scope | None) -> dict[str, Any]:
    """What a row says of where its event comes from."""
    found: dict[str, Any] = {"run": run, "node": node}
    found |= {name: getattr(scope, name, None) for name in FROM_SCOPE}
    found["sample_id"] = found["case"]
    return found


def to_json(value: Any) -> bytes:
    """``value`` as JSON. NaN and infinities become null; keys that JSON cannot hold, text."""
    try:
        return _to_json(value)
    except (TypeError, ValueError, RecursionError):
        frame, _ = encode_degraded(0, "", 0, value, None, 0)
        return _to_json(msgspec.msgpack.decode(frame)[4])


def to_json_lines(rows: list[Any]) -> bytes:
    """Each of ``rows`` as by `to_json`, in a line of its own."""
    try:
        return _encoder.encode_lines(rows)
    except (TypeError, ValueError, RecursionError):
        return b"".join(to_json(row) + b"\n" for row in rows)


def event_from_row(row: Mapping[str, Any]) -> Event:
    """The event that a nested row was made from.

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
        name="" if row["event"] is None else str(row["event"]),  # CSV has no other way
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
    """What the columns say beyond what the event itself does."""
    plain = enrich(event)
    said = {name: _measured(name, row[name]) for name in MEASURED if name in row}
    for name in _TEXTS:
        value, own = row.get(name), getattr(plain, name)
        if value is None or value == own:
            continue
        if name == "sample_id" and own is None:
            own = row.get("case")
        # CSV and Parquet keep texts as texts: a model named 3 is no other than one named "3".
        if str(value) != str(own):
            said[name] = value
    extra = {
        key: value
        for key, value in row.items()
        if key not in _KNOWN and key not in plain.extra and value is not None
    }
    return changed(plain, msgspec.structs.replace(plain, **said, extra={**plain.extra, **extra}))


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
    """One object per scope, as when reading spools: readers tell scopes apart by identity."""
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
    found = int(value)
    if not -(2**63) <= found < 2**63:
        raise ValueError(f"{found} is beyond 64 bits")
    return found


def _measured(name: str, value: Any) -> Any:
    if value is not None and not isinstance(value, bool if KINDS[name] is bool else (int, float)):
        raise TypeError(f"{name} is a {type(value).__name__}")
    if type(value) is int:
        float(value)  # an int beyond every float: OverflowError
    return value


def _weight(value: Any) -> float:
    found = float(value)
    if not 0 < found < math.inf:
        raise ValueError(f"{WEIGHT}={value!r} is no weight")
    return found


def _time_us(value: Any) -> int:
    found = int(value)
    if not _FIRST_US <= found <= _LAST_US:
        raise ValueError(f"time_us={found} is in none of the years 1 to 9999")
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is not an object")
    return value


def unflatten(flat: Mapping[str, Any], *, absent: bool = True) -> dict[str, Any]:
    """A flat row as a nested one.

    Args:
        absent: whether None stands for what is not there (CSV, Parquet) or for itself (JSON).
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
