"""Batches: the events of one shape among a few hundred, as columns instead of row by row.

Nearly all events of a run have one of a few shapes: the same name, the same keys. What a row says
of such an event, and where it stands there, is worked out once per batch; per event it is only
looked up. What is not usual about an event (a weight, what enrichers set) is left to `nested_rows`,
and property tests hold what comes of batches against what comes of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import Any

from pytest_crucible._clock import iso_from_us
from pytest_crucible.events.enrichment_batch import (
    NOTHING,
    Alike,
    Column,
    Same,
    alike,
    category_columns,
    enriched_columns,
)
from pytest_crucible.events.event import ATTRIBUTIONS, RESERVED
from pytest_crucible.events.schema import EXPORTED
from pytest_crucible.exports.rows import Mark, origin_columns
from pytest_crucible.record.chunks import Chunk, Origin

_CONTEXT = Same(ATTRIBUTIONS[0])


@dataclass(frozen=True, slots=True)
class Head:
    """What all rows of an origin have in common.

    Attributes:
        prefix: of their ids.
        columns, same: by name of the column.
    """

    prefix: str
    columns: Mapping[str, Any]
    same: Mapping[str, Same]


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one shape.

    Attributes:
        rows: where they stand in their chunk.
        chunk: they alone.
        events: the same.
    """

    rows: Sequence[int]
    chunk: Chunk
    events: Alike

    @property
    def internal(self) -> bool:
        """Whether they are the plugin's own."""
        return self.events.name.startswith(RESERVED)

    def columns(self) -> dict[str, Column]:
        """`EXPORTED` in order, and those of the events' category."""
        chunk, origins = self.chunk, self.chunk.origins
        found: dict[str, Column] = dict.fromkeys(EXPORTED, NOTHING)
        head = _head(origins[0])
        heads = [head] * len(origins)
        if origins.count(origins[0]) == len(origins):
            found.update(head.same)
            found["event_id"] = [f"{head.prefix}{number}" for number in chunk.sequences]
        else:
            heads = list(map(_head, origins))
            for name in head.columns:
                found[name] = [head.columns[name] for head in heads]
            found["event_id"] = [
                f"{head.prefix}{number}"
                for head, number in zip(heads, chunk.sequences, strict=True)
            ]
        found["sequence"] = chunk.sequences
        found["event"] = Same(self.events.name)
        found["time_us"] = chunk.times_us
        found["datetime"] = list(map(iso_from_us, chunk.times_us))
        found["attribution"] = _CONTEXT if chunk.attributions is None else chunk.attributions
        if not self.internal:
            more = enriched_columns(self.events)
            if "sample_id" in more:
                more["sample_id"] = [
                    head.columns["sample_id"] if told is None else told
                    for head, told in zip(heads, self.events.context["sample_id"], strict=True)
                ]
            found.update(more)
        return found

    def category(self) -> dict[str, list[Any]]:
        """The columns of the events' category."""
        return {} if self.internal else category_columns(self.events)


def batches_of(chunk: Chunk, mark: Mark | None = None) -> tuple[list[Batch], list[int]]:
    """The batches of a chunk, and the places in it of events that are in none of them.

    Args:
        chunk: the events.
        mark: of what it has to say something is in no batch.
    """
    batches, odd = _batches(chunk)
    if mark is None:
        return batches, odd
    unmarked = []
    for batch in batches:
        marked = set(mark.places(batch.events, batch.chunk.origins))
        if not marked:
            unmarked.append(batch)
            continue
        odd += [batch.rows[place] for place in marked]
        rest = [place for place in range(len(batch.rows)) if place not in marked]
        fewer = _batch([batch.rows[place] for place in rest], batch.chunk.rows(rest))
        if fewer is not None:
            unmarked.append(fewer)
    return unmarked, sorted(odd)


def _batches(chunk: Chunk) -> tuple[list[Batch], list[int]]:
    if chunk.weights is None and chunk.enriched is None:
        batch = _batch(range(len(chunk)), chunk)
        if batch is not None:
            return [batch], []
    weights, enriched = chunk.weights or repeat(None), chunk.enriched or repeat(None)
    shapes: dict[Any, list[int]] = {}
    odd = []
    columns = zip(chunk.names, chunk.measurements, chunk.metadata, weights, enriched, strict=False)
    for row, (name, numbers, context, weight, told) in enumerate(columns):
        if weight is not None or told is not None:
            odd.append(row)
            continue
        shape = name, tuple(numbers), tuple(context)
        known = shapes.get(shape)
        if known is None:
            shapes[shape] = [row]
        else:
            known.append(row)
    batches = []
    for rows in shapes.values():
        batch = _batch(rows, chunk.rows(rows))
        if batch is None:
            odd += rows
        else:
            batches.append(batch)
    return batches, odd


@lru_cache(maxsize=1024)
def _head(origin: Origin) -> Head:
    columns = origin_columns(origin.run, origin.node, origin.scope)
    same = {name: Same(value) for name, value in columns.items()}
    return Head(f"{origin.run}-{origin.node}-", columns, same)


def _batch(rows: Sequence[int], chunk: Chunk) -> Batch | None:
    """These events as one batch, if they are one."""
    names = set(chunk.names)
    found = alike(names.pop(), chunk.measurements, chunk.metadata) if len(names) == 1 else None
    return None if found is None else Batch(rows, chunk, found)
