"""Chunks: a few hundred events as parallel lists, for code that works on many events at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any, TypeVar

import msgspec

from pytest_crucible.events.event import ATTRIBUTIONS, Event
from pytest_crucible.events.scope import Scope

CHUNK = 256
"""Events in a chunk: enough to share the cost of a call, few enough for the CPU's caches."""


T = TypeVar("T")
_MAX_ORIGINS = 4096


class Origin(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Run, node and scope that many events share; compared by identity."""

    run: str
    node: str
    scope: Scope | None


@dataclass(slots=True)
class Chunk:
    """Consecutive events as parallel lists, with one item per event.

    Attributes:
        names, measurements, metadata, times_us, sequences: as in `Event`.
        origins: run, node and scope of each event.
        attributions, degraded, weights, enriched: as in `Event`; None if all events have the
            default.
    """

    names: list[str]
    measurements: list[Mapping[str, Any]]
    metadata: list[Mapping[str, Any]]
    times_us: list[int]
    sequences: list[int]
    origins: list[Origin]
    attributions: list[str] | None = None
    degraded: list[int] | None = None
    weights: list[float | None] | None = None
    enriched: list[Mapping[str, Any] | None] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def events(self) -> list[Event]:
        """Return the events as objects."""
        attributions = self.attributions or repeat(ATTRIBUTIONS[0])
        return [
            Event(
                name=name,
                measurements=measurements,
                metadata=metadata,
                time_us=time_us,
                run=origin.run,
                node=origin.node,
                sequence=sequence,
                scope=origin.scope,
                attribution=attribution,
                degraded=degraded,
                weight=weight,
                enriched=enriched,
            )
            for (
                name, measurements, metadata, time_us, sequence, origin,
                attribution, degraded, weight, enriched,
            ) in zip(
                self.names, self.measurements, self.metadata, self.times_us, self.sequences,
                self.origins, attributions, self.degraded or repeat(0),
                self.weights or repeat(None), self.enriched or repeat(None), strict=False,
            )
        ]  # fmt: skip

    def rows(self, rows: Sequence[int] | slice) -> Chunk:
        """Return a chunk of some of the events, by index."""
        return Chunk(
            names=_at(rows, self.names),
            measurements=_at(rows, self.measurements),
            metadata=_at(rows, self.metadata),
            times_us=_at(rows, self.times_us),
            sequences=_at(rows, self.sequences),
            origins=_at(rows, self.origins),
            attributions=self.attributions and _at(rows, self.attributions),
            degraded=self.degraded and _at(rows, self.degraded),
            weights=self.weights and _at(rows, self.weights),
            enriched=self.enriched and _at(rows, self.enriched),
        )


def _at(rows: Sequence[int] | slice, column: list[T]) -> list[T]:
    return column[rows] if isinstance(rows, slice) else [column[row] for row in rows]


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """Concatenate chunks."""
    return Chunk(
        names=[name for chunk in chunks for name in chunk.names],
        measurements=[numbers for chunk in chunks for numbers in chunk.measurements],
        metadata=[context for chunk in chunks for context in chunk.metadata],
        times_us=[time for chunk in chunks for time in chunk.times_us],
        sequences=[number for chunk in chunks for number in chunk.sequences],
        origins=[origin for chunk in chunks for origin in chunk.origins],
        attributions=_filled([chunk.attributions for chunk in chunks], chunks, ATTRIBUTIONS[0]),
        degraded=_filled([chunk.degraded for chunk in chunks], chunks, 0),
        weights=_filled([chunk.weights for chunk in chunks], chunks, None),
        enriched=_filled([chunk.enriched for chunk in chunks], chunks, None),
    )


def _filled(columns: list[list[T] | None], chunks: Sequence[Chunk], default: T) -> list[T] | None:
    if columns.count(None) == len(columns):
        return None
    values: list[T] = []
    for column, chunk in zip(columns, chunks, strict=True):
        values += [default] * len(chunk) if column is None else column
    return values


class Origins:
    """Makes one `Origin` for each combination of run, node and scope."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[int, str, str], Origin] = {}

    def of(self, scope: Scope | None, run: str, node: str) -> Origin:
        """Return the one object for this scope, run and node."""
        key = id(scope), run, node
        origin = self._by_key.get(key)
        if origin is None:
            if len(self._by_key) >= _MAX_ORIGINS:
                self._by_key.clear()
            # The origin holds the scope, so no other scope can get the same id.
            origin = self._by_key[key] = Origin(run, node, scope)
        return origin


def chunks_of(events: Iterable[Event]) -> Iterator[Chunk]:
    """Group events into chunks."""
    rest, origins = iter(events), Origins()
    while batch := list(islice(rest, CHUNK)):
        yield chunk_of(batch, origins)


def chunk_of(events: list[Event], origins: Origins) -> Chunk:
    """Make one chunk of all the events."""
    attributions = [event.attribution for event in events]
    degraded = [event.degraded for event in events]
    weights = [event.weight for event in events]
    enriched = [event.enriched for event in events]
    return Chunk(
        names=[event.name for event in events],
        measurements=[event.measurements for event in events],
        metadata=[event.metadata for event in events],
        times_us=[event.time_us for event in events],
        sequences=[event.sequence for event in events],
        origins=[origins.of(event.scope, event.run, event.node) for event in events],
        attributions=None if set(attributions) == {ATTRIBUTIONS[0]} else attributions,
        degraded=degraded if any(degraded) else None,
        weights=None if weights.count(None) == len(weights) else weights,
        enriched=None if enriched.count(None) == len(enriched) else enriched,
    )
