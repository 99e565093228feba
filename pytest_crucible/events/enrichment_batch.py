"""Events that are alike, and what `enrich` finds in them: by columns instead of by events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from pytest_crucible.events.enrichment import (
    LATENCY_KEYS,
    NS_PER_MS,
    Places,
    Plan,
    latency_ms_of,
    nested_tokens_of,
    number,
    plan_of,
    success_of,
)


@dataclass(frozen=True, slots=True)
class Same:
    """A column with the same value in every row."""

    value: Any


NOTHING = Same(None)
Column = Sequence[Any] | Same


@dataclass(frozen=True, slots=True)
class Alike:
    """Events of one shape: with the same name, and the same keys, which are texts.

    Attributes:
        name: theirs.
        measurements, metadata: of each.
        numbers, context: the same by key: the values of all events.
    """

    name: str
    measurements: Sequence[Mapping[str, Any]]
    metadata: Sequence[Mapping[str, Any]]
    numbers: Mapping[str, list[Any]]
    context: Mapping[str, list[Any]]

    @property
    def plan(self) -> Plan:
        return plan_of(self.name, tuple(self.numbers), tuple(self.context))


def alike(
    name: str, measurements: Sequence[Mapping[str, Any]], metadata: Sequence[Mapping[str, Any]]
) -> Alike | None:
    """At least one event of this name as events of one shape; None if they are not."""
    numbers = by_key(measurements)
    context = None if numbers is None else by_key(metadata)
    if numbers is None or context is None:
        return None
    return Alike(name, measurements, metadata, numbers, context)


def by_key(mappings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]] | None:
    """The values by key; None unless all have the same keys, and all of these are texts."""
    keys = tuple(mappings[0])
    if len(set(map(len, mappings))) > 1:
        return None
    # True, 1 and 1.0 are one key to Python, but not the same column.
    if not all(type(key) is str for key in keys):
        return None
    try:
        # With as many keys, and all of these among them, there is no other.
        # By key, not by mapping: tuples by the hundred would keep the garbage collector busy.
        return {key: [each[key] for each in mappings] for key in keys}
    except KeyError:
        return None


def measured_column(events: Alike, field: str) -> Sequence[Any] | None:
    """``latency_ms`` or ``cost_usd`` alone; None where the events tell nothing about it."""
    plan = events.plan
    if field == "latency_ms":
        return _latency_ms(events) if plan.latency else None
    return _first(events, plan.cost) if plan.cost else None


def enriched_columns(events: Alike) -> dict[str, Column]:
    """The fields of `Enriched` that may hold something, ``extra`` spread out among them."""
    plan = events.plan
    found: dict[str, Column] = {}
    for field in ("latency_ms", "cost_usd"):
        column = measured_column(events, field)
        if column is not None:
            found[field] = column
    found["success"] = _success(events, plan)
    found.update(_tokens(events, plan))
    for field in plan.context:
        found[field] = events.context[field]
    found.update(category_columns(events))
    return found


def category_columns(events: Alike) -> dict[str, list[Any]]:
    """The fields of the events' category."""
    return {
        field: events.context[field] if field in events.context else events.numbers[field]
        for field in events.plan.fields
    }


def _latency_ms(events: Alike) -> list[Any]:
    if LATENCY_KEYS.intersection(events.numbers) != {"duration"}:
        return [latency_ms_of(each) for each in events.measurements]
    durations = _finite(events.numbers["duration"])
    return [None if each is None else each / NS_PER_MS for each in durations]


def _success(events: Alike, plan: Plan) -> Column:
    if plan.success:
        pairs = zip(events.measurements, events.metadata, strict=True)
        told = [success_of(plan, *each) for each in pairs]
    elif plan.cancelled:
        told = [plan.otherwise] * len(events.metadata)
    else:
        return Same(plan.otherwise)
    if plan.cancelled:
        cancelled = events.context["cancelled"]
        told = [None if c is True else each for each, c in zip(told, cancelled, strict=True)]
    return told


def _tokens(events: Alike, plan: Plan) -> dict[str, Column]:
    asked: Sequence[Any]
    answered: Sequence[Any]
    total: Sequence[Any]
    if plan.nested:
        pairs = zip(events.measurements, events.metadata, strict=True)
        nested = [nested_tokens_of(*each) for each in pairs]
        asked, answered, total = ([each[kind] for each in nested] for kind in range(3))
    elif plan.asked or plan.answered:
        asked, answered, total = (
            _first(events, places) for places in (plan.asked, plan.answered, plan.total)
        )
    else:
        return {"total_tokens": _first(events, plan.total)} if plan.total else {}
    summed = [
        (a or 0) + (b or 0) if known is None and (a is not None or b is not None) else known
        for a, b, known in zip(asked, answered, total, strict=True)
    ]
    return {"input_tokens": asked, "output_tokens": answered, "total_tokens": summed}


def _first(events: Alike, places: Places) -> Sequence[Any]:
    """Of each event the first of these that is a finite number."""
    found: Sequence[Any] = [None] * len(events.metadata)
    for position, (is_context, key) in enumerate(places):
        more = _finite((events.context if is_context else events.numbers)[key])
        if position:
            more = [b if a is None else a for a, b in zip(found, more, strict=True)]
        found = more
    return found


def _finite(values: Sequence[Any]) -> Sequence[Any]:
    """`number` of each."""
    if {int, float}.issuperset(map(type, values)):
        try:
            if all(map(isfinite, values)):
                return values
        except OverflowError:  # an int beyond every float
            pass
    return [number(value) for value in values]
