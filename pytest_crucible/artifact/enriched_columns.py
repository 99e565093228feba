"""What `enrich` finds, for many events of one shape at once: by columns instead of by events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol

from pytest_crucible._enrich import (
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


Column = Sequence[Any] | Same


class Shaped(Protocol):
    """Events with the same name and the same keys."""

    @property
    def name(self) -> str: ...
    @property
    def measurements(self) -> Sequence[Mapping[str, Any]]:
        """Of each event."""

    @property
    def metadata(self) -> Sequence[Mapping[str, Any]]:
        """Of each event."""

    @property
    def numbers(self) -> Mapping[str, list[Any]]:
        """Measurements by key: the values of all events."""

    @property
    def context(self) -> Mapping[str, list[Any]]:
        """Metadata by key: the values of all events."""


def enriched_columns(events: Shaped) -> dict[str, Column]:
    """The fields of `Enriched` that may hold something, ``extra`` spread out among them."""
    plan = plan_of(events.name, tuple(events.numbers), tuple(events.context))
    found: dict[str, Column] = {}
    if plan.latency:
        found["latency_ms"] = _latency_ms(events)
    if plan.cost:
        found["cost_usd"] = _first(events, plan.cost)
    found["success"] = _success(events, plan)
    found.update(_tokens(events, plan))
    for field in plan.context:
        found[field] = events.context[field]
    found.update(category_columns(plan, events))
    return found


def category_columns(plan: Plan, events: Shaped) -> dict[str, list[Any]]:
    """The fields of the events' category."""
    return {
        field: events.context[field] if field in events.context else events.numbers[field]
        for field in plan.fields
    }


def _latency_ms(events: Shaped) -> list[Any]:
    if LATENCY_KEYS.intersection(events.numbers) != {"duration"}:
        return [latency_ms_of(each) for each in events.measurements]
    durations = _finite(events.numbers["duration"])
    return [None if each is None else each / NS_PER_MS for each in durations]


def _success(events: Shaped, plan: Plan) -> Column:
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


def _tokens(events: Shaped, plan: Plan) -> dict[str, Column]:
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


def _first(events: Shaped, places: Places) -> Sequence[Any]:
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
