"""Enrichment: what an event means, worked out when it is read.

Nothing here runs while the code under test is measured, and nothing is guessed: a number that the
event does not hold is None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from pytest_crucible._event import Event

_NS_PER_MS = 1_000_000
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


def enrich(event: Event) -> Enriched:
    """Work out the fields above for one event. Never raises, whatever the event holds."""
    numbers, context = event.measurements, event.metadata
    found = Enriched(
        latency_ms=_latency_ms(numbers),
        cost_usd=_cost_usd(numbers, context),
        cancelled=context.get("cancelled") is True,
        model=context.get("model"),
        provider=context.get("provider"),
    )
    found.success = None if found.cancelled else _success(event.name, numbers, context)
    for field in ("session_id", "user_id", "sample_id", "cohort"):
        if field in context:
            setattr(found, field, context[field])
    _add_tokens(found, numbers, context)
    fields = _CATEGORY_FIELDS.get(event.name.partition(".")[0])
    if fields:
        found.extra = {
            field: context.get(field, numbers.get(field))
            for field in fields
            if field in context or field in numbers
        }
    if event.enriched:
        _apply(found, event.enriched)
    return found


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
            return value if math.isfinite(value) else None
        except OverflowError:  # an int beyond every float
            return None
    return None


def _latency_ms(numbers: Mapping[str, Any]) -> float | None:
    duration = number(numbers.get("duration"))
    if duration is None:
        duration = number(numbers.get("duration_ns"))
    if duration is not None:
        return duration / _NS_PER_MS
    start, stop = number(numbers.get("start")), number(numbers.get("stop"))
    if start is not None and stop is not None:
        return (stop - start) / _NS_PER_MS
    return number(numbers.get("latency_ms"))


def _cost_usd(numbers: Mapping[str, Any], context: Mapping[str, Any]) -> float | None:
    for source in (context, numbers):
        for key in ("cost_usd", "cost", "total_cost"):
            cost = number(source.get(key))
            if cost is not None:
                return cost
    return None


def _success(name: str, numbers: Mapping[str, Any], context: Mapping[str, Any]) -> bool | None:
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
    if name.endswith(".exception"):
        return False
    # A span that ended without an exception did what it was asked to.
    return True if name.endswith(".stop") else None


def _add_tokens(found: Enriched, numbers: Mapping[str, Any], context: Mapping[str, Any]) -> None:
    nested = context.get("tokens", numbers.get("tokens"))
    sources = [numbers, context]
    if isinstance(nested, Mapping):
        sources.append(nested)
    found.input_tokens = _first(sources, ("input_tokens", "prompt_tokens", "prompt", "input"))
    found.output_tokens = _first(
        sources, ("output_tokens", "completion_tokens", "completion", "output")
    )
    found.total_tokens = _first(sources, ("total_tokens", "total"))
    if found.total_tokens is None and not (
        found.input_tokens is None and found.output_tokens is None
    ):
        found.total_tokens = (found.input_tokens or 0) + (found.output_tokens or 0)


def _first(
    sources: list[Mapping[str, Any]], keys: tuple[str, str, *tuple[str, ...]]
) -> float | None:
    # The long spellings may stand anywhere; the short ones (prompt, total) only mean tokens
    # inside ``tokens: {…}``, which comes third.
    for position, source in enumerate(sources):
        for key in keys:
            if "_" in key or position == 2:
                value = number(source.get(key))
                if value is not None:
                    return value
    return None
