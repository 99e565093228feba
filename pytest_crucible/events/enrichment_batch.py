"""Events that are alike, and what `enrich` finds in them: by columns instead of by events."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from pytest_crucible.events.enrichment import (
    TOKENS,
    Places,
    Plan,
    Rule,
    nested_tokens_of,
    number,
    plan_of,
    success_of,
)
from pytest_crucible.events.schema import WORKED_OUT


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


def number_column(events: Alike, column: str) -> Sequence[Any] | None:
    """One column of numbers alone; None where the events tell nothing about it."""
    # A total of tokens may be the sum of two other columns.
    wanted = TOKENS if column in TOKENS else (column,)
    return _worked_out(events, events.plan, wanted).get(column)


def enriched_columns(events: Alike) -> dict[str, Column]:
    """The columns in which `tell` may set something, and those of the events' category."""
    plan = events.plan
    return {
        "success": _success(events, plan),
        **_worked_out(events, plan, WORKED_OUT),
        **{column: events.context[column] for column in plan.context},
        **category_columns(events),
    }


def category_columns(events: Alike) -> dict[str, list[Any]]:
    """The fields of the events' category."""
    return {
        field: events.context[field] if field in events.context else events.numbers[field]
        for field in events.plan.fields
    }


def _worked_out(events: Alike, plan: Plan, wanted: Collection[str]) -> dict[str, Sequence[Any]]:
    found: dict[str, Sequence[Any]] = {}
    for column, is_context, key, divisor in plan.single:
        if column in wanted:
            found[column] = _first(events, ((is_context, key),), divisor)
    for column, places, divisor in plan.several:
        if column in wanted:
            found[column] = _first(events, places, divisor)
    for column, rule in plan.rules:
        if column in wanted:
            found[column] = _filled(found.get(column), _each(events, rule))
    if (plan.nested or plan.sums) and TOKENS[0] in wanted:
        _add_tokens(found, events, plan)
    return found


def _add_tokens(found: dict[str, Sequence[Any]], events: Alike, plan: Plan) -> None:
    nothing = [None] * len(events.metadata)
    if plan.nested:
        nested = _each(events, nested_tokens_of)
        for column in TOKENS:
            within = [each.get(column) for each in nested]
            found[column] = _filled(found.get(column), within)
    told = (found.get(column, nothing) for column in TOKENS)
    found[TOKENS[-1]] = [
        (a or 0) + (b or 0) if total is None and (a is not None or b is not None) else total
        for a, b, total in zip(*told, strict=True)
    ]


def _filled(column: Sequence[Any] | None, others: Sequence[Any]) -> Sequence[Any]:
    """A column with ``others`` where it is None."""
    if column is None:
        return others
    return [b if a is None else a for a, b in zip(column, others, strict=True)]


def _each(events: Alike, rule: Rule) -> list[Any]:
    """What a rule works out of each event."""
    return list(map(rule, events.measurements, events.metadata))


def _success(events: Alike, plan: Plan) -> Column:
    if plan.success:
        told = [
            success_of(plan, *each)
            for each in zip(events.measurements, events.metadata, strict=True)
        ]
    elif plan.cancelled:
        told = [plan.otherwise] * len(events.metadata)
    else:
        return Same(plan.otherwise)
    if plan.cancelled:
        cancelled = events.context["cancelled"]
        told = [None if c is True else each for each, c in zip(told, cancelled, strict=True)]
    return told


def _first(events: Alike, places: Places, divisor: float | None) -> Sequence[Any]:
    """Of each event the first of these that is a finite number, divided by ``divisor``."""
    found: Sequence[Any] = ()
    for position, (is_context, key) in enumerate(places):
        more = _finite((events.context if is_context else events.numbers)[key])
        found = _filled(found, more) if position else more
    if divisor is None:
        return found
    return [None if each is None else each / divisor for each in found]


def _finite(values: Sequence[Any]) -> Sequence[Any]:
    """`number` of each."""
    if {int, float}.issuperset(map(type, values)):
        try:
            if all(map(isfinite, values)):
                return values
        except OverflowError:  # an int beyond every float
            pass
    return [number(value) for value in values]
