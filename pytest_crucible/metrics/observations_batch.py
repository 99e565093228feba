"""Plain events: those that are no part of anything, by the thousand instead of one by one.

A run of a million events is mostly events of a few shapes: the same name, the same keys. For those
without spans, wholes and cancellations all that `places.add_row` does comes down to whole columns.
What is worked out is the same, and a property test holds one against the other.
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
from pytest_crucible.metrics.counting.spans import MAX_PARTS
from pytest_crucible.metrics.groups import Group, Observations, Place, name_index
from pytest_crucible.record.node_reader import Node, as_mapping

Frames = list[EventFrame]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_NOT_PLAIN = frozenset({"span_id", "parent_span_id", "strand", "continues", "cancelled"})
_MANY = 32  # shapes
_FEW = 64  # below this NumPy's calls cost more than they save


@dataclass(frozen=True, slots=True)
class _Columns(Measured[Floats]):
    """Rows to be: one array per column, and what else the events tell."""

    time_us: Ints
    name: Ints
    numbers: Mapping[str, Floats]
    starts: Bools
    errors: list[tuple[int, str]]

    def measured(self, column: str) -> Floats:
        return self.numbers[column]


class PlainEvents:
    """Takes plain events out of a stream and adds them to their groups.

    Args:
        found: what they are added to.
        place: where the events of a scope and run go; None if they do not count.
        add: adds one event in the usual way.
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
        place = self._place(scope, node.run)
        if place is None:
            return
        group = place.group
        shapes = None
        if len(frames) >= _FEW and group.wholes is None and not group.sampled:
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
                    sequence=-1,  # no row tells it
                    scope=scope,
                )
            )


@dataclass(frozen=True, slots=True)
class _Shape:
    """Events of one shape, and when each happened (ns, by their node's clock)."""

    events: Alike
    times_ns: list[int]


def _by_shape(frames: Frames) -> list[_Shape] | None:
    """The events by name and keys; None if they are not all plain, or hardly two are alike."""
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
        context = [each or {} for each in context]
    if len(set(names)) == 1 and (events := alike(names[0], numbers, context)):
        return [_Shape(events, times)]
    rows: dict[Any, list[int]] = {}
    for row, key in enumerate(zip(names, map(tuple, numbers), map(tuple, context), strict=True)):
        rows.setdefault(key, []).append(row)
    if len(rows) > _MANY or not all(_is_plain(name, keys) for name, _, keys in rows):
        return None
    found = []
    for (name, _, _), of in rows.items():
        events = alike(name, [numbers[row] for row in of], [context[row] for row in of])
        if events is None:
            return None
        found.append(_Shape(events, [times[row] for row in of]))
    return found


def _is_plain(name: str, context: Collection[str]) -> bool:
    return not (
        name == HANDLER_FAILURE
        or is_container(name)
        or concerns(name)
        or not _NOT_PLAIN.isdisjoint(context)
    )


def _add_columns(place: Place, node: Node, shapes: list[_Shape]) -> None:
    group = place.group
    parts = [_columns(group, node, shape) for shape in shapes]
    for shape, part in zip(shapes, parts, strict=True):
        _count_calls(place, shape.events, part)
        _count_models(group, shape.events)
    sizes = np.cumsum([0, *(part.time_us.size for part in parts)]).tolist()
    errors = {
        size + row: error
        for size, part in zip(sizes, parts, strict=False)
        for row, error in part.errors
    }
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("time_us", "name", "starts", *MEASURED)
    }
    if len(parts) > 1:
        order = np.argsort(joined["time_us"], kind="stable")
        joined = {name: column[order] for name, column in joined.items()}
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        errors = {int(rank[row]): error for row, error in errors.items()}
    _append(place, joined, errors)


def _append(place: Place, columns: Mapping[str, NDArray[Any]], errors: Mapping[int, str]) -> None:
    group, first, size = place.group, len(place.group.counted), columns["time_us"].size
    known = ~np.isnan(columns["latency_ms"]) | ~np.isnan(columns["success"])
    operation = known & ~columns["starts"]
    cost, tokens = ~np.isnan(columns["cost_usd"]), ~np.isnan(columns["total_tokens"])
    for name in ("time_us", "name", *MEASURED):
        _extend(getattr(group, name), columns[name])
    _extend(group.case, np.full(size, place.case, dtype=np.int64))
    _extend(group.trial, np.full(size, place.trial, dtype=np.int64))
    _extend(group.judge, np.full(size, place.judge, dtype=np.int8))
    _extend(group.counted, operation.astype(np.int8))
    _extend(group.counted_cost, cost.astype(np.int8))
    _extend(group.counted_tokens, tokens.astype(np.int8))
    for row in sorted(errors):
        group.failed[first + row] = errors[row]
    # Any of them may turn out to be a part of a whole that ends later.
    claimable = np.flatnonzero((operation | cost | tokens) & ~columns["starts"])[-MAX_PARTS:]
    place.nesting.remember(
        (columns["time_us"][claimable], claimable + first, cost[claimable], tokens[claimable])
    )


def _extend(column: array[Any], values: NDArray[Any]) -> None:
    column.frombytes(values.view(np.uint8).data)


def _columns(group: Group, node: Node, shape: _Shape) -> _Columns:
    events, size = shape.events, len(shape.times_ns)
    told = enriched_columns(events)
    numbers = {name: _floats(told.get(name, NOTHING), size) for name in MEASURED}
    starts = is_start(events.name)
    return _Columns(
        time_us=(np.array(shape.times_ns) - node.offset_ns) // 1000,
        name=np.full(size, name_index(group, events.name), dtype=np.int64),
        numbers=numbers,
        starts=np.full(size, starts),
        errors=[] if starts else _errors(numbers["success"], events.metadata),
    )


def _floats(column: Column, size: int) -> Floats:
    """NaN where there is no number."""
    if isinstance(column, Same):
        return np.full(size, column.value, dtype=np.float64)
    return np.array(column, dtype=np.float64)


def _errors(success: Floats, context: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    return [(row, error_text(context[row])) for row in np.flatnonzero(success == 0).tolist()]


def _count_calls(place: Place, events: Alike, part: _Columns) -> None:
    name = events.name
    if not is_call(name):
        return
    counts = place.group.calls
    told = events.context.get("provider", [""])
    if set(map(type, told)) == {str}:
        told = list(set(told))
    counts.providers.update(str(each or "").lower() for each in told)
    cost, tokens = ~np.isnan(part.cost_usd), ~np.isnan(part.total_tokens)
    kinds = np.bincount(cost * 4 + (part.success == 0) * 2 + tokens)
    for kind in np.flatnonzero(kinds).tolist():
        # Nothing else of a plain event matters here.
        example = Enriched(
            cost_usd=0 if kind & 4 else None,
            success=False if kind & 2 else None,
            total_tokens=0 if kind & 1 else None,
        )
        counts.add(place.judge, reason_unpriced(example), int(kinds[kind]))


def _count_models(group: Group, events: Alike) -> None:
    models = events.context.get("model", [])
    if set(map(type, models)) != {str}:
        models = [str(each) for each in models if each is not None]
    for model, count in Counter(models).items():
        group.models[model] = group.models.get(model, 0) + count
