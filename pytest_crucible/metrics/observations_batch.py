"""Observations in batches: add thousands of plain events to a group at once.

A run of a million events has mostly events of a few shapes: the same name, the same keys. Plain
events have no span, contain no operations and are not cancelled. `groups.add_row` treats all of
them alike, so they can be added as whole columns. The result is the same; a property test compares
both ways.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.capture.bus import HANDLER_FAILURE
from pytest_crucible.capture.frames import EventFrame
from pytest_crucible.events.catalog import is_call, is_container, is_start
from pytest_crucible.events.enrichment import Enriched, error_text
from pytest_crucible.events.enrichment_batch import (
    NOTHING,
    Alike,
    Column,
    Same,
    alike,
    enriched_columns,
)
from pytest_crucible.events.event import Event
from pytest_crucible.events.pricing import reason_unpriced
from pytest_crucible.events.schema import MEASURED, Measured
from pytest_crucible.events.scope import Scope
from pytest_crucible.metrics.counting.ensembles import concerns
from pytest_crucible.metrics.counting.nesting import MAX_PARTS
from pytest_crucible.metrics.groups import NO_CASE, Group, Observations, Place, name_index
from pytest_crucible.record.node_reader import Node, as_mapping

Frames = list[EventFrame]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_NOT_PLAIN = frozenset({"span_id", "parent_span_id", "strand", "continues", "cancelled"})
_MOST_SHAPES = 32
_FEWEST = 64  # for fewer events, NumPy's calls cost more than they save


@dataclass(frozen=True, slots=True)
class _Columns(Measured[Floats]):
    """The columns of new rows, one array of the shape ``(rows,)`` each, and errors by row."""

    time_us: Ints
    name: Ints
    cases: Ints
    numbers: Mapping[str, Floats]
    starts: Bools
    errors: list[tuple[int, str]]

    def measured(self, column: str) -> Floats:
        return self.numbers[column]


class PlainEvents:
    """Adds events to their groups: plain ones in batches, others one by one.

    Args:
        found: the observations that get the events.
        place: returns the place of a scope in a run; None if its events do not count.
        add: adds one event that is not plain.
    """

    def __init__(
        self,
        found: Observations,
        place: Callable[[Scope, str], Place | None],
        add: Callable[[Event], None],
    ) -> None:
        self._found = found
        self._place = place
        self._add = add

    def take(self, node: Node, scope: Scope, frames: Frames) -> None:
        """Add the events of one scope in one node."""
        place = self._place(scope, node.run)
        if place is None:
            return
        group = place.group
        shapes = None
        if len(frames) >= _FEWEST and group.wholes is None and not group.sampled:
            shapes = _by_shape(frames)
        if shapes is None:
            self._one_by_one(node, scope, frames)
        else:
            self._found.events += len(frames)
            _add_columns(place, node, shapes)

    def _one_by_one(self, node: Node, scope: Scope, frames: Frames) -> None:
        for frame in frames:
            self._add(
                Event(
                    name=frame.name,
                    measurements=as_mapping(frame.measurements),
                    metadata=as_mapping(frame.metadata),
                    time_us=(frame.time_ns - node.offset_ns) // 1000,
                    run=node.run,
                    node=node.name,
                    sequence=-1,  # groups do not need it
                    scope=scope,
                )
            )


@dataclass(frozen=True, slots=True)
class _Shape:
    """Events of one shape, and their times (ns by their node's clock, one per event)."""

    events: Alike
    times_ns: list[int]


def _by_shape(frames: Frames) -> list[_Shape] | None:
    """Return the events by shape; None if some are not plain, or if there are too many shapes."""
    numbers = [frame.measurements for frame in frames]
    context = [frame.metadata for frame in frames]
    kinds = set(map(type, context))
    if set(map(type, numbers)) != {dict} or not kinds <= {dict, NoneType}:
        return None
    if not _is_plain(frames[0].name, context[0] or ()):
        return None
    names = [frame.name for frame in frames]
    times = [frame.time_ns for frame in frames]
    if NoneType in kinds:
        context = [metadata or {} for metadata in context]
    if len(set(names)) == 1 and (events := alike(names[0], numbers, context)):
        return [_Shape(events, times)]
    rows: dict[Any, list[int]] = {}
    for row, key in enumerate(zip(names, map(tuple, numbers), map(tuple, context), strict=True)):
        rows.setdefault(key, []).append(row)
    if len(rows) > _MOST_SHAPES or not all(_is_plain(name, keys) for name, _, keys in rows):
        return None
    shapes = []
    for (name, _, _), own in rows.items():
        events = alike(name, [numbers[row] for row in own], [context[row] for row in own])
        if events is None:
            return None
        shapes.append(_Shape(events, [times[row] for row in own]))
    return shapes


def _is_plain(name: str, context: Collection[str]) -> bool:
    """Whether events with this name and these keys of metadata are plain."""
    return not (
        name == HANDLER_FAILURE
        or is_container(name)
        or concerns(name)
        or not _NOT_PLAIN.isdisjoint(context)
    )


def _add_columns(place: Place, node: Node, shapes: list[_Shape]) -> None:
    """Add the events of all shapes to the place's group, in order of time."""
    group = place.group
    batches = [_columns(place, node, shape) for shape in shapes]
    for shape, batch in zip(shapes, batches, strict=True):
        _count_calls(place, shape.events, batch)
        _count_models(group, shape.events)
    firsts = np.cumsum([0, *(batch.time_us.size for batch in batches)]).tolist()
    errors = {
        first + row: error
        for first, batch in zip(firsts, batches, strict=False)
        for row, error in batch.errors
    }
    joined = {
        name: np.concatenate([getattr(batch, name) for batch in batches])
        for name in ("time_us", "name", "cases", "starts", *MEASURED)
    }
    if len(batches) > 1:
        order = np.argsort(joined["time_us"], kind="stable")
        joined = {name: column[order] for name, column in joined.items()}
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        errors = {int(rank[row]): error for row, error in errors.items()}
    _append(place, joined, errors)


def _append(place: Place, columns: Mapping[str, NDArray[Any]], errors: Mapping[int, str]) -> None:
    group, first, size = place.group, len(place.group.counted), columns["time_us"].size
    measured = ~np.isnan(columns["latency_ms"]) | ~np.isnan(columns["success"])
    operation = measured & ~columns["starts"]
    cost, tokens = ~np.isnan(columns["cost_usd"]), ~np.isnan(columns["total_tokens"])
    for name in ("time_us", "name", *MEASURED):
        _extend(getattr(group, name), columns[name])
    _extend(group.case, columns["cases"])
    _extend(group.trial, np.full(size, place.trial, dtype=np.int64))
    _extend(group.judge, np.full(size, place.judge, dtype=np.int8))
    _extend(group.counted, operation.astype(np.int8))
    _extend(group.counted_cost, cost.astype(np.int8))
    _extend(group.counted_tokens, tokens.astype(np.int8))
    for row in sorted(errors):
        group.failed[first + row] = errors[row]
    # Any of them may turn out to be part of an operation that ends later.
    claimable = np.flatnonzero((operation | cost | tokens) & ~columns["starts"])[-MAX_PARTS:]
    place.nesting.remember(
        (columns["time_us"][claimable], claimable + first, cost[claimable], tokens[claimable])
    )


def _extend(column: array[Any], values: NDArray[Any]) -> None:
    column.frombytes(values.view(np.uint8).data)


def _columns(place: Place, node: Node, shape: _Shape) -> _Columns:
    events, size = shape.events, len(shape.times_ns)
    enriched = enriched_columns(events)
    numbers = {name: _floats(enriched.get(name, NOTHING), size) for name in MEASURED}
    starts = is_start(events.name)
    return _Columns(
        time_us=(np.array(shape.times_ns) - node.offset_ns) // 1000,
        name=np.full(size, name_index(place.group, events.name), dtype=np.int64),
        cases=_cases(place, events.context, size),
        numbers=numbers,
        starts=np.full(size, starts),
        errors=[] if starts else _errors(numbers["success"], events.metadata),
    )


def _cases(place: Place, context: Mapping[str, Sequence[Any]], size: int) -> Ints:
    """Return the case of every event; outside trials the one that its metadata name."""
    if place.case != NO_CASE or "sample_id" not in context:
        return np.full(size, place.case, dtype=np.int64)
    clusters = context.get("cluster") or [None] * size
    pairs = zip(context["sample_id"], clusters, strict=True)
    return np.array([place.group.sample(*pair) for pair in pairs], dtype=np.int64)


def _floats(column: Column, size: int) -> Floats:
    """Return a column as an array of the shape ``(size,)``, with NaN for None."""
    if isinstance(column, Same):
        return np.full(size, column.value, dtype=np.float64)
    return np.array(column, dtype=np.float64)


def _errors(success: Floats, context: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    return [(row, error_text(context[row])) for row in np.flatnonzero(success == 0).tolist()]


def _count_calls(place: Place, events: Alike, batch: _Columns) -> None:
    name = events.name
    if not is_call(name):
        return
    counts = place.group.calls
    providers = events.context.get("provider", [""])
    if set(map(type, providers)) == {str}:
        providers = list(set(providers))
    counts.providers.update(str(provider or "").lower() for provider in providers)
    cost, tokens = ~np.isnan(batch.cost_usd), ~np.isnan(batch.total_tokens)
    kinds = np.bincount(cost * 4 + (batch.success == 0) * 2 + tokens)
    for kind in np.flatnonzero(kinds).tolist():
        # `reason_unpriced` needs no more of a plain event.
        example = Enriched(
            cost_usd=0 if kind & 4 else None,
            success=False if kind & 2 else None,
            total_tokens=0 if kind & 1 else None,
        )
        counts.add(place.judge, reason_unpriced(example), int(kinds[kind]))


def _count_models(group: Group, events: Alike) -> None:
    models = events.context.get("model", [])
    if set(map(type, models)) != {str}:
        models = [str(model) for model in models if model is not None]
    for model, count in Counter(models).items():
        group.models[model] = group.models.get(model, 0) + count
