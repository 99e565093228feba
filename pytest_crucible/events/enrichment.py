"""Enrichment: what an event means, worked out when it is read.

Nothing here runs while the code under test is measured, and nothing is guessed: a number that the
event does not hold is None. Which columns there are, and the keys that tell them: `schema`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any

import msgspec

from pytest_crucible.events.catalog import EXCEPTION, STOP
from pytest_crucible.events.event import Event
from pytest_crucible.events.schema import COLUMNS, FROM_METADATA, NS_PER_MS, Told

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
    """What could be worked out about one event.

    Attributes:
        latency_ms: from ``duration`` (ns), else ``stop`` − ``start`` (ns).
        cost_usd: as the event reports it.
        success: True, False, or None where the event neither succeeds nor fails.
        cancelled: stopped from outside; neither a success nor a failure.
        input_tokens, output_tokens, total_tokens: from ``input_tokens`` …, ``prompt_tokens`` … or
            the reference's ``tokens: {prompt, completion, total}``.
        extra: fields of training, deployment and framework events, and of users' enrichers.
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
"""Where a number may stand: whether in the metadata, and under which key."""

Rule = Callable[[Mapping[str, Any], Mapping[str, Any]], Any]
"""From measurements and metadata to the value of a column, or None."""


class Plan(msgspec.Struct, frozen=True, gc=False):
    """Where to look in events of one shape: the same name, the same keys.

    Nearly all events of a run have one of a few shapes, and nearly all the keys that could hold
    something are not there; to find that out once per shape saves most of the work.

    Attributes:
        otherwise: success where no key tells.
        single: columns whose number can stand in one place only: whether that is in the metadata,
            its key, and by what it is divided.
        several: columns whose number can stand in several places, these, and the same.
        rules: columns that a function works out where nothing else tells them, and this.
        nested: whether tokens may stand in ``tokens: {…}``, too.
        sums: whether the total of tokens may have to be added up.
        context: columns that stand in the metadata as they are.
        success, cancelled: whether any key is there that could tell.
        more: whether it takes more than ``single``, ``context`` and ``success``.
        fields: of the event's category, that are there.
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
_TOLD = {each.name: each.told for each in COLUMNS if each.told is not None}
TOKENS = tuple(name for name, told in _TOLD.items() if told.in_tokens)
"""The columns of input, output and total tokens."""
_ASKED, _ANSWERED, _TOTAL = TOKENS
_IN_TOKENS = tuple(
    (column, key) for column in TOKENS for key in (*_TOLD[column].keys, *_TOLD[column].in_tokens)
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
        (column, rule) for column, (by, rule) in _RULES.items() if not by.isdisjoint(keys)
    )
    places = {
        column: there
        for column, told in _TOLD.items()
        if (there := _places(told, numbers, context))
    }
    found = [(column, each, _TOLD[column].divisor) for column, each in places.items()]
    several = tuple(each for each in found if len(each[1]) > 1)
    context_columns = tuple(column for column in FROM_METADATA if column in context)
    category = _CATEGORY_FIELDS.get(name.partition(".")[0], ())
    sums = nested or _ASKED in places or _ANSWERED in places
    cancelled = "cancelled" in context
    plan = Plan(
        otherwise=False if name.endswith(EXCEPTION) else True if name.endswith(STOP) else None,
        single=tuple((column, *of[0], divisor) for column, of, divisor in found if len(of) == 1),
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
    if len(_plans) >= _MAX_PLANS:  # names or keys that are made up as it goes
        _plans.clear()
    _plans[name, *numbers, _AND, *context] = plan
    return plan


def _places(told: Told, numbers: tuple[str, ...], context: tuple[str, ...]) -> Places:
    there = {"measurements": (False, numbers), "metadata": (True, context)}
    return tuple(
        (is_context, key)
        for is_context, keys in map(there.__getitem__, told.sources)
        for key in told.keys
        if key in keys
    )


def plan_of(name: str, numbers: Iterable[str], context: Iterable[str]) -> Plan:
    """Where to look in events of this name with these keys in measurements and metadata."""
    return _plans.get((name, *numbers, _AND, *context)) or _plan(name, (*numbers,), (*context,))


def enrich(event: Event) -> Enriched:
    """Work out the fields above for one event. Never raises, whatever the event holds."""
    name, numbers, context = event.name, event.measurements, event.metadata
    plan = _plans.get((name, *numbers, _AND, *context)) or _plan(name, (*numbers,), (*context,))
    told = plan.blank.copy()
    tell(told, plan, numbers, context)
    if plan.fields:
        told["extra"] = category_fields(plan, numbers, context)
    found = Enriched(**told)
    if plan.cancelled:
        found.cancelled = context["cancelled"] is True
    if event.enriched:
        _apply(found, event.enriched)
    return found


def tell(
    row: dict[str, Any], plan: Plan, numbers: Mapping[str, Any], context: Mapping[str, Any]
) -> None:
    """Set the columns of an event that may hold something, in a row in which they are None.

    Straight into the row: an `Enriched` in between would be half of the time that an export takes
    per event. What enrichers set is not looked at.
    """
    row["success"] = success_of(plan, numbers, context) if plan.success else plan.otherwise
    for column, is_context, key, divisor in plan.single:
        value = (context if is_context else numbers)[key]
        kind = type(value)
        # The usual numbers at once (NaN − NaN is not 0): a call each would be a tenth of the time.
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
        asked, answered = row[_ASKED], row[_ANSWERED]
        if (asked is not None or answered is not None) and row[_TOTAL] is None:
            row[_TOTAL] = (asked or 0) + (answered or 0)


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
    """The fields of an event's category."""
    return {field: context.get(field, numbers.get(field)) for field in plan.fields}


def _apply(found: Enriched, fields: Mapping[str, Any]) -> None:
    for field in Enriched.__struct_fields__:
        if field == "extra":
            found.extra = {**found.extra, **fields.get(field, {})}
        elif field in fields:
            setattr(found, field, fields[field])


def changed(plain: Enriched, enriched: Enriched) -> dict[str, Any]:
    """What ``enriched`` says beyond, or against, what `enrich` worked out itself."""
    found = {
        field: getattr(enriched, field)
        for field in Enriched.__struct_fields__
        if field != "extra" and getattr(enriched, field) != getattr(plain, field)
    }
    extra = {
        key: value
        for key, value in enriched.extra.items()
        if key not in plain.extra or plain.extra[key] != value
    }
    return {**found, "extra": extra} if extra else found


def number(value: object) -> float | None:
    """``value`` as a finite number, or None. Booleans are not numbers here."""
    if type(value) is int or type(value) is float:
        try:
            return value if isfinite(value) else None
        except OverflowError:  # an int beyond every float
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
"""What works a column out where no number stands under its own keys (`schema.Told`), and from which
keys."""
LATENCY_WAYS = (
    *((key,) for key in _TOLD["latency_ms"].keys), ("start", "stop"), ("latency_ms",),
)  # fmt: skip
"""Measurements that tell a latency: all of a way, and the first way that does."""


def success_of(plan: Plan, numbers: Mapping[str, Any], context: Mapping[str, Any]) -> bool | None:
    """Whether an event succeeded, as its keys tell, else its name; None if neither does."""
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
    """What the metadata of a failed event say of its failure."""
    return str(_error(context) or "unknown")


def is_operation(enriched: Enriched) -> bool:
    """Whether an event ends an operation: one that took time, succeeded, failed or was stopped."""
    return enriched.latency_ms is not None or enriched.success is not None or enriched.cancelled


def _first(places: Places, numbers: Mapping[str, Any], context: Mapping[str, Any]) -> float | None:
    for is_context, key in places:
        value = (context if is_context else numbers)[key]
        if type(value) is float and isfinite(value):
            return value
        if type(value) is int and (_LOW < value < _HIGH or number(value) is not None):
            return value
    return None


def nested_tokens_of(numbers: Mapping[str, Any], context: Mapping[str, Any]) -> Mapping[str, float]:
    """Tokens that stand in ``tokens: {…}``, by column."""
    nested = context.get("tokens", numbers.get("tokens"))
    if not isinstance(nested, Mapping):
        return _NO_TOKENS
    found: dict[str, float] = {}
    for column, key in _IN_TOKENS:
        if key in nested and column not in found:
            value = number(nested[key])
            if value is not None:
                found[column] = value
    return found
