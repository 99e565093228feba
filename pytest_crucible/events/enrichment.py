"""Enrichment: work out latency, cost, success, tokens … of an event when it is read.

Nothing here runs while the code under test is measured, and nothing is guessed: a number that the
event does not hold is None. `schema` lists the columns, and the keys under which events report
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any

import msgspec

from pytest_crucible.events.catalog import EXCEPTION, STOP
from pytest_crucible.events.event import Event
from pytest_crucible.events.schema import COLUMNS, FROM_METADATA, NS_PER_MS, Source

_OK = frozenset({"ok", "success", "succeeded", "completed"})
_FAILED = frozenset({"error", "failed", "failure", "timeout", "exception"})
_CATEGORY_FIELDS: dict[str, tuple[str, ...]] = {
    "crucible_train": (
        "epoch", "batch", "loss", "accuracy", "learning_rate", "gradient_norm", "checkpoint_path",
    ),
    "crucible_deployment": (
        "model_name", "model_version", "input_size", "output_size", "batch_size",
    ),
    "crucible_framework": ("pipeline_id", "stage_name", "stage_index"),
}  # fmt: skip


class Enriched(msgspec.Struct, kw_only=True, gc=False):
    """What enrichment works out about one event; None for what the event does not say.

    Attributes:
        latency_ms: from ``duration`` (ns), else ``stop`` − ``start`` (ns), else ``latency_ms``.
        cost_usd: as the event reports it, or as an enricher priced it.
        success: True, False, or None if the event neither succeeds nor fails.
        cancelled: whether it was stopped from outside, which is neither success nor failure.
        input_tokens, output_tokens, total_tokens: from ``input_tokens`` …, ``prompt_tokens`` … or
            the reference's ``tokens: {prompt, completion, total}``.
        extra: fields of training, deployment and framework events, and fields that enrichers set.
    """

    latency_ms: float | None = None
    cost_usd: float | None = None
    success: bool | None = None
    cancelled: bool = False
    input_tokens: float | None = None
    output_tokens: float | None = None
    total_tokens: float | None = None
    model: Any = None
    provider: Any = None
    session_id: Any = None
    user_id: Any = None
    sample_id: Any = None
    cohort: Any = None
    extra: dict[str, Any] = {}


Places = tuple[tuple[bool, str], ...]
"""The keys that may hold a number, in the order to try them: (is it a key of the metadata, key)."""

Rule = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
"""A function from measurements and metadata to the value of a column, or None."""


class Plan(msgspec.Struct, frozen=True, gc=False):
    """Which keys to read in events of one shape: the same name and the same keys.

    Nearly all events of a run have one of a few shapes, and lack most of the keys that could hold
    a number. Looking for the keys once per shape saves most of the work.

    Attributes:
        otherwise: success of an event if none of its keys says whether it succeeded.
        single: columns whose number only one key can hold: (column, whether it is a key of the
            metadata, key, divisor).
        several: columns whose number several keys can hold: (column, keys, divisor).
        rules: columns that a function works out if no key holds the number: (column, function).
        nested: whether ``tokens: {…}`` may hold tokens.
        sums: whether the total of tokens may have to be added up.
        context: columns whose value is the metadata of the same name.
        success, cancelled: whether the events have a key that may say so.
        more: whether the events need more than ``single``, ``context`` and ``success``.
        fields: the fields of the events' category that the events have.
        blank: None for each column that may be set.
    """

    otherwise: bool | None
    single: tuple[tuple[str, bool, str, float | None], ...]
    several: tuple[tuple[str, Places, float | None], ...]
    rules: tuple[tuple[str, Rule], ...]
    nested: bool
    sums: bool
    context: tuple[str, ...]
    success: bool
    cancelled: bool
    more: bool
    fields: tuple[str, ...]
    blank: dict[str, Any]


_SUCCESS_KEYS = frozenset({"success", "error", "exception", "status", "response"})
_SOURCES = {column.name: column.source for column in COLUMNS if column.source is not None}
TOKENS = tuple(name for name, source in _SOURCES.items() if source.in_tokens)
"""The columns of input, output and total tokens."""
_INPUT, _OUTPUT, _TOTAL = TOKENS
_IN_TOKENS = tuple(
    (column, key)
    for column in TOKENS
    for key in (*_SOURCES[column].keys, *_SOURCES[column].in_tokens)
)
_NO_TOKENS: Mapping[str, float] = {}
_LOW, _HIGH = -(2**53), 2**53
_MAX_PLANS = 4096
_AND = object()  # between the keys of measurements and those of metadata
_plans: dict[tuple[object, ...], Plan] = {}


def _plan(name: str, numbers: tuple[str, ...], context: tuple[str, ...]) -> Plan:
    keys = {*numbers, *context}
    nested = "tokens" in keys
    rules = tuple(
        (column, rule) for column, (read, rule) in _RULES.items() if not read.isdisjoint(keys)
    )
    places = {
        column: present
        for column, source in _SOURCES.items()
        if (present := _places(source, numbers, context))
    }
    reported = [(column, present, _SOURCES[column].divisor) for column, present in places.items()]
    several = tuple(entry for entry in reported if len(entry[1]) > 1)
    context_columns = tuple(column for column in FROM_METADATA if column in context)
    category = _CATEGORY_FIELDS.get(name.partition(".")[0], ())
    sums = nested or _INPUT in places or _OUTPUT in places
    cancelled = "cancelled" in context
    plan = Plan(
        otherwise=False if name.endswith(EXCEPTION) else True if name.endswith(STOP) else None,
        single=tuple(
            (column, *present[0], divisor)
            for column, present, divisor in reported
            if len(present) == 1
        ),
        several=several,
        rules=rules,
        nested=nested,
        sums=sums,
        context=context_columns,
        success=not _SUCCESS_KEYS.isdisjoint(keys),
        cancelled=cancelled,
        more=bool(several or rules or nested or cancelled),
        fields=tuple(field for field in category if field in keys),
        blank=dict.fromkeys(
            ("success", *places, *dict(rules), *(TOKENS if sums else ()), *context_columns)
        ),
    )
    if len(_plans) >= _MAX_PLANS:  # the code under test makes up names or keys
        _plans.clear()
    _plans[name, *numbers, _AND, *context] = plan
    return plan


def _places(source: Source, numbers: tuple[str, ...], context: tuple[str, ...]) -> Places:
    """Return the keys of a column's source that events with these keys have."""
    present = {"measurements": (False, numbers), "metadata": (True, context)}
    return tuple(
        (is_context, key)
        for is_context, keys in map(present.__getitem__, source.within)
        for key in source.keys
        if key in keys
    )


def plan_of(name: str, numbers: Iterable[str], context: Iterable[str]) -> Plan:
    """Return the plan for events of this name, with these keys in measurements and metadata."""
    return _plans.get((name, *numbers, _AND, *context)) or _plan(name, (*numbers,), (*context,))


def enrich(event: Event) -> Enriched:
    """Work out the columns of one event. Never raises, whatever the event holds."""
    name, numbers, context = event.name, event.measurements, event.metadata
    plan = _plans.get((name, *numbers, _AND, *context)) or _plan(name, (*numbers,), (*context,))
    columns = plan.blank.copy()
    tell(columns, plan, numbers, context)
    if plan.fields:
        columns["extra"] = category_fields(plan, numbers, context)
    enriched = Enriched(**columns)
    if plan.cancelled:
        enriched.cancelled = context["cancelled"] is True
    if event.enriched:
        _apply(enriched, event.enriched)
    return enriched


def tell(
    row: dict[str, Any], plan: Plan, numbers: Mapping[str, Any], context: Mapping[str, Any]
) -> None:
    """Set the columns of an event in ``row``, where they are None before.

    It writes into the row itself: making an `Enriched` first would take half of the time that an
    export needs per event. It ignores what enrichers set.

    Args:
        row: the row that is changed.
        plan: the plan for events of this shape.
        numbers: the event's measurements.
        context: the event's metadata.
    """
    row["success"] = success_of(plan, numbers, context) if plan.success else plan.otherwise
    for column, is_context, key, divisor in plan.single:
        value = (context if is_context else numbers)[key]
        kind = type(value)
        # Usual numbers without a call, which would take a tenth of the time. NaN − NaN is not 0.
        if not ((kind is int and _LOW < value < _HIGH) or (kind is float and value - value == 0)):
            value = number(value)
        if divisor is not None and value is not None:
            value /= divisor
        row[column] = value
    if plan.more:
        _tell_more(row, plan, numbers, context)
    for column in plan.context:
        value = context[column]
        if value is not None:
            row[column] = value
    if plan.sums:
        prompt, answer = row[_INPUT], row[_OUTPUT]
        if (prompt is not None or answer is not None) and row[_TOTAL] is None:
            row[_TOTAL] = (prompt or 0) + (answer or 0)


def _tell_more(
    row: dict[str, Any], plan: Plan, numbers: Mapping[str, Any], context: Mapping[str, Any]
) -> None:
    for column, places, divisor in plan.several:
        value = _first(places, numbers, context)
        row[column] = value if divisor is None or value is None else value / divisor
    for column, rule in plan.rules:
        if row[column] is None:
            row[column] = rule(numbers, context)
    if plan.nested:
        for column, value in nested_tokens_of(numbers, context).items():
            if row[column] is None:
                row[column] = value
    if plan.cancelled and context["cancelled"] is True:
        row["success"] = None


def category_fields(
    plan: Plan, numbers: Mapping[str, Any], context: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the fields of the event's category that it has, by name."""
    return {field: context.get(field, numbers.get(field)) for field in plan.fields}


def _apply(enriched: Enriched, fields: Mapping[str, Any]) -> None:
    """Set the fields that enrichers set when the run was made."""
    for field in Enriched.__struct_fields__:
        if field == "extra":
            enriched.extra = {**enriched.extra, **fields.get(field, {})}
        elif field in fields:
            setattr(enriched, field, fields[field])


def changed(plain: Enriched, enriched: Enriched) -> dict[str, Any]:
    """Return the fields of ``enriched`` that enrichers set: those that differ from ``plain``.

    Args:
        plain: what `enrich` worked out.
        enriched: the same after the enrichers.
    """
    fields = {
        field: getattr(enriched, field)
        for field in Enriched.__struct_fields__
        if field != "extra" and getattr(enriched, field) != getattr(plain, field)
    }
    extra = {
        key: value
        for key, value in enriched.extra.items()
        if key not in plain.extra or plain.extra[key] != value
    }
    return {**fields, "extra": extra} if extra else fields


def number(value: object) -> float | None:
    """Return ``value`` if it is a finite number, else None. Booleans are not numbers here."""
    if type(value) is int or type(value) is float:
        try:
            return value if isfinite(value) else None
        except OverflowError:  # an int too large for a float
            return None
    return None


def _latency_ms(numbers: Mapping[str, Any], context: Mapping[str, Any]) -> float | None:
    start, stop = number(numbers.get("start")), number(numbers.get("stop"))
    if start is not None and stop is not None:
        return (stop - start) / NS_PER_MS
    return number(numbers.get("latency_ms"))


_RULES: Mapping[str, tuple[frozenset[str], Rule]] = {
    "latency_ms": (frozenset({"start", "stop", "latency_ms"}), _latency_ms),
}
"""By column, a function that works it out if no key of its `schema.Source` holds a number, and the
keys that the function reads: (keys, function)."""
LATENCY_WAYS = (
    *((key,) for key in _SOURCES["latency_ms"].keys), ("start", "stop"), ("latency_ms",),
)  # fmt: skip
"""Sets of measurements, any of which is enough to know a latency; the first complete one counts."""


def success_of(plan: Plan, numbers: Mapping[str, Any], context: Mapping[str, Any]) -> bool | None:
    """Whether an event succeeded, by its keys or else by its name; None if neither says so."""
    explicit = context.get("success", numbers.get("success"))
    if isinstance(explicit, bool):
        return explicit
    if _error(context):
        return False
    status = context.get("status", numbers.get("status"))
    if isinstance(status, str):
        if status.lower() in _OK:
            return True
        if status.lower() in _FAILED:
            return False
    elif type(status) is int and 100 <= status <= 599:
        return status < 400
    if context.get("response") is not None:
        return True
    # A span that ended without an exception did what it was asked to.
    return plan.otherwise


def _error(context: Mapping[str, Any]) -> Any:
    return context.get("error") or context.get("exception")


def error_text(context: Mapping[str, Any]) -> str:
    """Return the error in the metadata of a failed event as text; ``unknown`` if there is none."""
    return str(_error(context) or "unknown")


def is_operation(enriched: Enriched) -> bool:
    """Whether an event ends an operation: it has a latency, or succeeded, failed or was stopped."""
    return enriched.latency_ms is not None or enriched.success is not None or enriched.cancelled


def _first(places: Places, numbers: Mapping[str, Any], context: Mapping[str, Any]) -> float | None:
    """Return the first finite number under these keys."""
    for is_context, key in places:
        value = (context if is_context else numbers)[key]
        if type(value) is float and isfinite(value):
            return value
        if type(value) is int and (_LOW < value < _HIGH or number(value) is not None):
            return value
    return None


def nested_tokens_of(numbers: Mapping[str, Any], context: Mapping[str, Any]) -> Mapping[str, float]:
    """Return the numbers of tokens in ``tokens: {…}``, by column."""
    nested = context.get("tokens", numbers.get("tokens"))
    if not isinstance(nested, Mapping):
        return _NO_TOKENS
    tokens: dict[str, float] = {}
    for column, key in _IN_TOKENS:
        if key in nested and column not in tokens:
            value = number(nested[key])
            if value is not None:
                tokens[column] = value
    return tokens
