"""Rows: an event as exporters write it, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from pytest_crucible._clock import iso_from_us
from pytest_crucible._enrich import Enriched, changed, enrich
from pytest_crucible._event import Event
from pytest_crucible._frames import encode_degraded
from pytest_crucible._scope import Scope

BASE_COLUMNS = (
    "run", "event_id", "experiment", "condition", "test", "case", "trial", "attempt",
    "node", "sequence", "event", "time_us", "datetime", "attribution",
    "latency_ms", "cost_usd", "success", "input_tokens", "output_tokens", "total_tokens",
    "model", "provider", "session_id", "user_id", "sample_id", "cohort", "role",
)  # fmt: skip
"""Columns that every export has, in this order; those of measurements and metadata follow."""

REQUIRED = ("run", "experiment", "condition", "node", "sequence", "event", "time_us")

_ENRICHED = (
    "latency_ms", "cost_usd", "success", "input_tokens", "output_tokens", "total_tokens",
    "model", "provider", "session_id", "user_id", "sample_id", "cohort",
)  # fmt: skip

_MEASURED = (
    "latency_ms", "cost_usd", "success", "input_tokens", "output_tokens", "total_tokens",
)  # fmt: skip
WEIGHT = "sampling_weight"
"""Column of how many events a row stands for; only where a sample was taken."""
_KNOWN = frozenset({*BASE_COLUMNS, WEIGHT, "measurements", "metadata"})

_to_json = msgspec.json.Encoder().encode


def nested_row(event: Event, enrichers: Iterable[Any] = ()) -> dict[str, Any]:
    """An event with everything known about it; measurements and metadata keep their nesting."""
    scope = event.scope
    enriched = _enriched(event, enrichers)
    row: dict[str, Any] = {
        "run": event.run,
        "event_id": event.id,
        "experiment": scope.experiment if scope else None,
        "condition": scope.condition if scope else None,
        "test": scope.test if scope else None,
        "case": scope.case if scope else None,
        "trial": scope.trial if scope else None,
        "attempt": scope.attempt if scope else None,
        "node": event.node,
        "sequence": event.sequence,
        "event": event.name,
        "time_us": event.time_us,
        "datetime": iso_from_us(event.time_us),
        "attribution": event.attribution,
    }
    for column in _ENRICHED:
        row[column] = getattr(enriched, column)
    if row["sample_id"] is None:
        row["sample_id"] = row["case"]
    row["role"] = scope.role if scope else None
    row.update(enriched.extra)
    if event.weight is not None:
        row[WEIGHT] = event.weight
    row["measurements"] = event.measurements
    row["metadata"] = event.metadata
    return row


def _enriched(event: Event, enrichers: Iterable[Any]) -> Enriched:
    if event.internal:
        return Enriched()
    enriched = enrich(event)
    for enricher in enrichers:
        enricher(event, enriched)
    return enriched


def flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A nested row with ``measurements.…`` and ``metadata.…`` as columns of their own."""
    flat = {key: value for key, value in row.items() if key not in ("measurements", "metadata")}
    for prefix in ("measurements", "metadata"):
        for key, value in _leaves(prefix, row[prefix]):
            while key in flat:  # {"a.b": 1, "a": {"b": 2}}: both are kept
                key += "'"
            flat[key] = value
    return flat


def _leaves(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(f"{prefix}.{key}", item)
    elif isinstance(value, Mapping):
        return
    elif isinstance(value, (str, int, float, bool)) or value is None:
        yield prefix, value
    else:
        yield prefix, to_json(value).decode()


def to_json(value: Any) -> bytes:
    """``value`` as JSON. NaN and infinities become null; keys that JSON cannot hold, text."""
    try:
        return _to_json(value)
    except (TypeError, ValueError, RecursionError):
        frame, _ = encode_degraded(0, "", 0, value, None, 0)
        return _to_json(msgspec.msgpack.decode(frame)[4])


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
        name=str(row["event"]),
        measurements=_mapping(row.get("measurements")),
        metadata=_mapping(row.get("metadata")),
        time_us=int(row["time_us"]),
        run=str(row["run"]),
        node=str(row["node"]),
        sequence=int(row["sequence"]),
        scope=scope,
        attribution=str(row.get("attribution") or "context"),
        weight=None if row.get(WEIGHT) is None else float(row[WEIGHT]),
    )
    enriched = {} if event.internal else _set_by_enrichers(event, row)
    return msgspec.structs.replace(event, enriched=enriched) if enriched else event


def _set_by_enrichers(event: Event, row: Mapping[str, Any]) -> dict[str, Any]:
    """What the columns say beyond what the event itself does."""
    plain = enrich(event)
    said = {name: row[name] for name in _MEASURED if name in row}
    # CSV and Parquet keep texts as texts: a model named 3 is no other than one named "3".
    said |= {
        name: row[name]
        for name in ("model", "provider")
        if row.get(name) is not None and str(row[name]) != str(getattr(plain, name))
    }
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
    return None if value is None or value == "" else int(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{value!r} is not an object")
    return value


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """A flat row (CSV, Parquet) as a nested one; empty cells are absent."""
    row: dict[str, Any] = {"measurements": {}, "metadata": {}}
    for column, value in flat.items():
        prefix, dot, rest = column.partition(".")
        if not dot or prefix not in ("measurements", "metadata"):
            row[column] = value
        elif value is not None:
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
