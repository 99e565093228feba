"""Batches: rows of events of one shape, as columns.

Nearly all events of a run have one of a few shapes: the same name, the same keys. A batch works out
once which columns its events have and where their values are, and then only reads the values.
Unusual events (with a weight, or with fields that enrichers set) go through `rows.nested_rows`.
Property tests compare both ways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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
    """What the rows of all events of an origin (run, node and scope) have in common.

    Attributes:
        prefix: the start of their event ids, ``RUN-NODE-``.
        columns: their values, by column.
        same: the same values as `Same`.
    """

    prefix: str
    columns: Mapping[str, Any]
    same: Mapping[str, Same]


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one shape.

    Attributes:
        rows: their positions in the chunk that they come from.
        chunk: a chunk of these events only.
        events: these events as `Alike`.
        mark: sets columns in all rows.
    """

    rows: Sequence[int]
    chunk: Chunk
    events: Alike
    mark: Mark | None = None

    @property
    def internal(self) -> bool:
        """Whether they are the plugin's own events."""
        return self.events.name.startswith(RESERVED)

    def columns(self) -> dict[str, Column]:
        """Return the columns of `EXPORTED` in order, then the fields of the events' category."""
        chunk, origins = self.chunk, self.chunk.origins
        columns: dict[str, Column] = dict.fromkeys(EXPORTED, NOTHING)
        head = _head(origins[0])
        heads = [head] * len(origins)
        if origins.count(origins[0]) == len(origins):
            columns.update(head.same)
            columns["event_id"] = [f"{head.prefix}{number}" for number in chunk.sequences]
        else:
            heads = list(map(_head, origins))
            for name in head.columns:
                columns[name] = [head.columns[name] for head in heads]
            columns["event_id"] = [
                f"{head.prefix}{number}"
                for head, number in zip(heads, chunk.sequences, strict=True)
            ]
        columns["sequence"] = chunk.sequences
        columns["event"] = Same(self.events.name)
        columns["time_us"] = chunk.times_us
        columns["datetime"] = list(map(iso_from_us, chunk.times_us))
        columns["attribution"] = _CONTEXT if chunk.attributions is None else chunk.attributions
        if not self.internal:
            more = enriched_columns(self.events)
            if "sample_id" in more:
                more["sample_id"] = [
                    head.columns["sample_id"] if sample is None else sample
                    for head, sample in zip(heads, self.events.context["sample_id"], strict=True)
                ]
            columns.update(more)
            if self.mark is not None:
                columns.update(self.mark.columns(chunk))
        return columns

    def category(self) -> dict[str, list[Any]]:
        """Return the fields of the events' category, by name."""
        return {} if self.internal else category_columns(self.events)


def batches_of(chunk: Chunk, mark: Mark | None = None) -> tuple[list[Batch], list[int]]:
    """Return the batches of a chunk, and the positions of the events that are in no batch.

    Args:
        chunk: the events.
        mark: events that it marks are in no batch.
    """
    batches, odd = _batches(chunk)
    if mark is None:
        return batches, odd
    unmarked = []
    for batch in batches:
        marked = set(mark.places(batch.events, batch.chunk.origins))
        if not marked:
            unmarked.append(replace(batch, mark=mark))
            continue
        odd += [batch.rows[position] for position in marked]
        rest = [position for position in range(len(batch.rows)) if position not in marked]
        fewer = _batch([batch.rows[place] for place in rest], batch.chunk.rows(rest))
        if fewer is not None:
            unmarked.append(replace(fewer, mark=mark))
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
    for row, (name, numbers, context, weight, fields) in enumerate(columns):
        if weight is not None or fields is not None:
            odd.append(row)
            continue
        shape = name, tuple(numbers), tuple(context)
        rows_so_far = shapes.get(shape)
        if rows_so_far is None:
            shapes[shape] = [row]
        else:
            rows_so_far.append(row)
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
    """Return the events of a chunk as one batch; None if they do not all have the same shape."""
    names = set(chunk.names)
    events = alike(names.pop(), chunk.measurements, chunk.metadata) if len(names) == 1 else None
    return None if events is None else Batch(rows, chunk, events)
