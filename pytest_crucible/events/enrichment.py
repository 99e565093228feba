"""Enrichment: what an event means, worked out when it is read.

Nothing here runs while the code under test is measured, and nothing is guessed: a number that the
event does not hold is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import msgspec

from pytest_crucible.events.event import Event

NS_PER_MS = 1_000_000
_OK = frozenset({"ok", "success", "succeeded", "completed"})
_FAILED = frozenset({"error", "failed", "failure", "timeout", "exception"})
_CONTEXT_FIELDS = ("session_id", "user_id", "sample_id", "cohort", "model", "provider")
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


class Plan(msgspec.Struct, frozen=True, gc=False):
    """Where to look in events of one shape: the same name, the same keys.

    Nearly all events of a run have one of a few shapes, and nearly all the keys that could hold
    something are not there; to find that out once per shape saves most of the work.

    Attributes:
        latency, success: whether any key is there that could tell.
        cost, asked, answered, total: where costs and tokens may stand: whether in the metadata,
            and under which key.
        otherwise: success where no key tells.
        context: context fields that are there.
        cancelled: whether there is such a key.
        nested: whether tokens may stand in ``tokens: {…}``, too.
        fields: of the event's category, that are there.
        numbers: by field where its number stands, if nothing above leaves a choice; else None.
    """

    latency: bool
    success: bool
    cost: Places
    asked: Places
    answered: Places
    total: Places
    nested: bool
    otherwise: bool | None
    context: tuple[str, ...]
    cancelled: bool
    fields: tuple[str, ...]
    numbers: tuple[tuple[str, bool, str], ...] | None


_COLUMNS = (
    "latency_ms", "cost_usd", "success", "input_tokens", "output_tokens", "total_tokens",
    "model", "provider", "session_id", "user_id", "sample_id", "cohort",
)  # fmt: skip
LATENCY_KEYS = frozenset({"duration", "duration_ns", "start", "stop", "latency_ms"})
_SUCCESS_KEYS = frozenset({"success", "error", "exception", "status", "response"})
_COST = ("cost_usd", "cost", "total_cost")
_INPUT = ("input_tokens", "prompt_tokens", "prompt", "input")
_OUTPUT = ("output_tokens", "completion_tokens", "completion", "output")
_TOTAL = ("total_tokens", "total")
_EXACT = 2**53
_MAX_PLANS = 4096
_plans: dict[tuple[str, tuple[str, ...], tuple[str, ...]], Plan] = {}


def _plan(name: str, numbers: tuple[str, ...], context: tuple[str, ...]) -> Plan:
    keys = {*numbers, *context}
    category = _CATEGORY_FIELDS.get(name.partition(".")[0], ())
    fields = tuple(each for each in category if each in keys)
    named = False if name.endswith(".exception") else True if name.endswith(".stop") else None

    def places(wanted: tuple[str, ...], *, context_first: bool = False) -> Places:
        sources = ((False, numbers), (True, context))
        return tuple(
            (is_context, key)
            for is_context, there in (reversed(sources) if context_first else sources)
            for key in wanted
            if key in there
        )

    # The short ones (prompt, total) only mean tokens inside ``tokens: {…}``.
    asked, answered, total = (
        places(tuple(key for key in keys if "_" in key)) for keys in (_INPUT, _OUTPUT, _TOTAL)
    )
    cost = places(_COST, context_first=True)
    told = {
        "latency_ms": places(("duration",)) if "duration" in numbers else (),
        "cost_usd": cost,
        "input_tokens": asked,
        "output_tokens": answered,
        "total_tokens": total,
    }
    only = not (_SUCCESS_KEYS | {"tokens", "cancelled"}) & keys and not fields
    only = only and LATENCY_KEYS & {*numbers} <= {"duration"}
    only = only and all(len(each) < 2 for each in (cost, asked, answered, total))
    plan = Plan(
        latency=not LATENCY_KEYS.isdisjoint(numbers),
        success=not _SUCCESS_KEYS.isdisjoint(keys),
        cost=cost,
        asked=asked,
        answered=answered,
        total=total,
        nested="tokens" in keys,
        otherwise=named,
        context=tuple(field for field in _CONTEXT_FIELDS if field in context),
        cancelled="cancelled" in context,
        fields=fields,
        numbers=tuple((field, *each[0]) for field, each in told.items() if each) if only else None,
    )
    if len(_plans) >= _MAX_PLANS:  # names or keys that are made up as it goes
        _plans.clear()
    _plans[name, numbers, context] = plan
    return plan


def plan_of(name: str, numbers: tuple[str, ...], context: tuple[str, ...]) -> Plan:
    """Where to look in events of this name with these keys in measurements and metadata."""
    shape = (name, numbers, context)
    return _plans.get(shape) or _plan(*shape)


def enrich(event: Event) -> Enriched:
    """Work out the fields above for one event. Never raises, whatever the event holds."""
    name, numbers, context = event.name, event.measurements, event.metadata
    plan = plan_of(name, tuple(numbers), tuple(context))
    found = Enriched()
    if plan.latency:
        found.latency_ms = latency_ms_of(numbers)
    if plan.cost:
        found.cost_usd = _first(plan.cost, numbers, context)
    if plan.cancelled:
        found.cancelled = context["cancelled"] is True
    if not found.cancelled:
        found.success = success_of(plan, numbers, context) if plan.success else plan.otherwise
    for field in plan.context:
        setattr(found, field, context[field])
    if plan.nested:
        asked, answered, total = nested_tokens_of(numbers, context)
    else:
        asked = _first(plan.asked, numbers, context) if plan.asked else None
        answered = _first(plan.answered, numbers, context) if plan.answered else None
        total = _first(plan.total, numbers, context) if plan.total else None
    if asked is not None or answered is not None:
        found.input_tokens, found.output_tokens = asked, answered
        if total is None:
            total = (asked or 0) + (answered or 0)
    found.total_tokens = total
    if plan.fields:
        found.extra = {field: context.get(field, numbers.get(field)) for field in plan.fields}
    if event.enriched:
        _apply(found, event.enriched)
    return found


def add_enriched(row: dict[str, Any], event: Event, enrichers: Sequence[Any] = ()) -> None:
    """Set what `enrich` finds, and then ``enrichers``, in a row in which all of that is None."""
    name, numbers, context = event.name, event.measurements, event.metadata
    shape = (name, tuple(numbers), tuple(context))
    plan = _plans.get(shape) or _plan(*shape)
    if plan.numbers is None or enrichers or event.enriched:
        _add_all(row, event, enrichers)
        return
    # Half of the time that an export takes per event would go into an `Enriched`.
    row["success"] = plan.otherwise
    for field, is_context, key in plan.numbers:
        value = (context if is_context else numbers)[key]
        if type(value) is int and -_EXACT < value < _EXACT:
            row[field] = value
        else:
            row[field] = number(value)
    for field in plan.context:
        if context[field] is not None:
            row[field] = context[field]
    if plan.latency and row["latency_ms"] is not None:
        row["latency_ms"] /= NS_PER_MS
    if row["total_tokens"] is None and (plan.asked or plan.answered):
        asked, answered = row["input_tokens"], row["output_tokens"]
        if asked is not None or answered is not None:
            row["total_tokens"] = (asked or 0) + (answered or 0)


def _add_all(row: dict[str, Any], event: Event, enrichers: Sequence[Any]) -> None:
    enriched = enrich(event)
    for enricher in enrichers:
        enricher(event, enriched)
    for field in _COLUMNS:
        value = getattr(enriched, field)
        if value is not None:
            row[field] = value
    row.update(enriched.extra)


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


def latency_ms_of(numbers: Mapping[str, Any]) -> float | None:
    """Latency in ms that measurements tell, if they do."""
    duration = number(numbers.get("duration"))
    if duration is None:
        duration = number(numbers.get("duration_ns"))
    if duration is not None:
        return duration / NS_PER_MS
    start, stop = number(numbers.get("start")), number(numbers.get("stop"))
    if start is not None and stop is not None:
        return (stop - start) / NS_PER_MS
    return number(numbers.get("latency_ms"))


def success_of(plan: Plan, numbers: Mapping[str, Any], context: Mapping[str, Any]) -> bool | None:
    """Whether an event succeeded, as its keys tell, else its name; None if neither does."""
    explicit = context.get("success", numbers.get("success"))
    if isinstance(explicit, bool):
        return explicit
    if context.get("error") or context.get("exception"):
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


def _first(places: Places, numbers: Mapping[str, Any], context: Mapping[str, Any]) -> float | None:
    for is_context, key in places:
        value = (context if is_context else numbers)[key]
        if type(value) is float and isfinite(value):
            return value
        if type(value) is int and (-_EXACT < value < _EXACT or number(value) is not None):
            return value
    return None


def nested_tokens_of(
    numbers: Mapping[str, Any], context: Mapping[str, Any]
) -> tuple[float | None, ...]:
    """Input, output and total tokens where they may stand in ``tokens: {…}``."""
    nested = context.get("tokens", numbers.get("tokens"))
    sources = [numbers, context, nested if isinstance(nested, Mapping) else {}]
    return tuple(_any(sources, keys) for keys in (_INPUT, _OUTPUT, _TOTAL))


def _any(sources: Sequence[Mapping[str, Any]], keys: tuple[str, ...]) -> float | None:
    for position, source in enumerate(sources):
        for key in keys:
            if key in source and ("_" in key or position == 2):
                value = number(source[key])
                if value is not None:
                    return value
    return None
