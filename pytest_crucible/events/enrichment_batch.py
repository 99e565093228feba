"""Enrichment of many events of one shape at once: whole columns, the same values as `enrich`."""

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
    """Events of one shape: the same name and the same keys, all of them texts.

    Attributes:
        name: the name of all events.
        measurements, metadata: one mapping per event.
        numbers, context: measurements and metadata by key: a list with one value per event.
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
    """Return events of this name as `Alike`; None if they do not all have the same shape.

    Args:
        name: the name of all events.
        measurements, metadata: one mapping per event, for at least one event.
    """
    numbers = by_key(measurements)
    context = None if numbers is None else by_key(metadata)
    if numbers is None or context is None:
        return None
    return Alike(name, measurements, metadata, numbers, context)


def by_key(mappings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]] | None:
    """Return the values of all mappings by key; None if keys differ or are not all texts."""
    keys = tuple(mappings[0])
    if len(set(map(len, mappings))) > 1:
        return None
    # True, 1 and 1.0 are one key to Python, but not the same column.
    if not all(type(key) is str for key in keys):
        return None
    try:
        # All mappings have as many keys as the first: one that has all of its keys has no others.
        # One list per key, not one tuple per mapping: hundreds of tuples would keep the garbage
        # collector busy.
        return {key: [mapping[key] for mapping in mappings] for key in keys}
    except KeyError:
        return None


def number_column(events: Alike, column: str) -> Sequence[Any] | None:
    """Return one column of numbers, one per event; None if the events have no key for it."""
    # A total of tokens may be the sum of two other columns.
    columns = TOKENS if column in TOKENS else (column,)
    return _worked_out(events, events.plan, columns).get(column)


def enriched_columns(events: Alike) -> dict[str, Column]:
    """Return the columns that `tell` may set, and the fields of the events' category, by name."""
    plan = events.plan
    return {
        "success": _success(events, plan),
        **_worked_out(events, plan, WORKED_OUT),
        **{column: events.context[column] for column in plan.context},
        **category_columns(events),
    }


def category_columns(events: Alike) -> dict[str, list[Any]]:
    """Return the fields of the events' category that they have, by name."""
    return {
        field: events.context[field] if field in events.context else events.numbers[field]
        for field in events.plan.fields
    }


def _worked_out(events: Alike, plan: Plan, columns: Collection[str]) -> dict[str, Sequence[Any]]:
    values: dict[str, Sequence[Any]] = {}
    for column, is_context, key, divisor in plan.single:
        if column in columns:
            values[column] = _first(events, ((is_context, key),), divisor)
    for column, places, divisor in plan.several:
        if column in columns:
            values[column] = _first(events, places, divisor)
    for column, rule in plan.rules:
        if column in columns:
            values[column] = _filled(values.get(column), _each(events, rule))
    if (plan.nested or plan.sums) and TOKENS[0] in columns:
        _add_tokens(values, events, plan)
    return values


def _add_tokens(values: dict[str, Sequence[Any]], events: Alike, plan: Plan) -> None:
    nothing = [None] * len(events.metadata)
    if plan.nested:
        nested = _each(events, nested_tokens_of)
        for column in TOKENS:
            values[column] = _filled(values.get(column), [tokens.get(column) for tokens in nested])
    tokens_columns = (values.get(column, nothing) for column in TOKENS)
    values[TOKENS[-1]] = [
        (a or 0) + (b or 0) if total is None and (a is not None or b is not None) else total
        for a, b, total in zip(*tokens_columns, strict=True)
    ]


def _filled(column: Sequence[Any] | None, others: Sequence[Any]) -> Sequence[Any]:
    """Return a column in which values of ``others`` replace None."""
    if column is None:
        return others
    return [b if a is None else a for a, b in zip(column, others, strict=True)]


def _each(events: Alike, rule: Rule) -> list[Any]:
    """Return what a rule works out for every event."""
    return list(map(rule, events.measurements, events.metadata))


def _success(events: Alike, plan: Plan) -> Column:
    if plan.success:
        success = [
            success_of(plan, numbers, context)
            for numbers, context in zip(events.measurements, events.metadata, strict=True)
        ]
    elif plan.cancelled:
        success = [plan.otherwise] * len(events.metadata)
    else:
        return Same(plan.otherwise)
    if plan.cancelled:
        cancelled = events.context["cancelled"]
        success = [None if c is True else s for s, c in zip(success, cancelled, strict=True)]
    return success


def _first(events: Alike, places: Places, divisor: float | None) -> Sequence[Any]:
    """Return the first finite number of every event under these keys, divided by ``divisor``."""
    column: Sequence[Any] = ()
    for position, (is_context, key) in enumerate(places):
        more = _finite((events.context if is_context else events.numbers)[key])
        column = _filled(column, more) if position else more
    if divisor is None:
        return column
    return [None if value is None else value / divisor for value in column]


def _finite(values: Sequence[Any]) -> Sequence[Any]:
    """Return `number` of every value."""
    if {int, float}.issuperset(map(type, values)):
        try:
            if all(map(isfinite, values)):
                return values
        except OverflowError:  # an int too large for a float
            pass
    return [number(value) for value in values]
