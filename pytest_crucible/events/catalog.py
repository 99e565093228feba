"""The catalog of known events: the reference system's, and those that users define.

Recording events does not need it. Readers ask it what a name means and which events contain other
operations (`is_container`); `validation` checks a record against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pytest_crucible._errors import DefinitionError

CATEGORIES = (
    "llm", "ensemble", "hedging", "training", "deployment", "framework", "trace", "tools",
)  # fmt: skip
"""Categories of the reference system's events; the user's own events may have others."""

START, STOP, EXCEPTION = SPAN_ENDS = (".start", ".stop", ".exception")
"""The endings of the names of a span's events."""
CALL = "req_llm.request."
"""Prefix of the names of events that report a call of a model."""

_NOTHING: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventInfo:
    """One known event.

    Attributes:
        name: dotted name.
        category: llm, ensemble, hedging, training, deployment, framework, trace, tools, or one of
            the user's own.
        description: what it means.
        measurements: numbers that every such event has, with their units (``ns``, ``USD``; empty if
            there is none).
        optional: numbers that it may have, with their units.
        metadata: keys of the context that it usually has.
    """

    name: str
    category: str
    description: str = ""
    measurements: Mapping[str, str] = field(default_factory=dict)
    optional: Mapping[str, str] = field(default_factory=dict)
    metadata: tuple[str, ...] = ()


_START = {"system_time": "ns", "monotonic_time": "ns"}
_DURATION = {"duration": "ns"}
_LLM = ("model", "provider")
_SPENT = {"input_tokens": "tokens", "output_tokens": "tokens", "cost_usd": "USD"}
_HEDGE = ("request_id", "primary_model", "backup_model")
_DEPLOYED = ("model_name", "model_version", "batch_size")
_PIPELINE = ("pipeline_id",)
_STAGE = ("pipeline_id", "stage_name", "stage_index")


def _info(
    name: str,
    category: str,
    description: str,
    measurements: Mapping[str, str] = _NOTHING,
    optional: Mapping[str, str] = _NOTHING,
    metadata: tuple[str, ...] = (),
) -> EventInfo:
    return EventInfo(
        name=name,
        category=category,
        description=description,
        measurements=measurements,
        optional=optional,
        metadata=metadata,
    )


EVENTS: tuple[EventInfo, ...] = (
    _info("req_llm.request.start", "llm", "LLM request started", {}, _START, _LLM),
    _info("req_llm.request.stop", "llm", "LLM request completed", _DURATION, _SPENT, _LLM),
    _info(
        "req_llm.request.exception", "llm", "LLM request failed", {}, _DURATION, (*_LLM, "error")
    ),
    _info(
        "ensemble.prediction.start", "ensemble", "Ensemble prediction started", {}, _START,
        ("models", "strategy"),
    ),
    _info(
        "ensemble.prediction.stop", "ensemble", "Ensemble prediction completed", _DURATION,
        {"total_cost": "USD", "models_succeeded": "models", "models_failed": "models"},
        ("models", "strategy"),
    ),
    _info(
        "ensemble.vote.completed", "ensemble", "Ensemble voting completed", {},
        {"agreement": "share"}, ("votes", "winner"),
    ),
    _info("hedging.request.start", "hedging", "Hedged request started", {}, _START, _HEDGE),
    _info(
        "hedging.request.duplicated", "hedging", "Request duplicated as a hedge",
        {"delay_ms": "ms"}, {}, (*_HEDGE, "reason"),
    ),
    _info(
        "hedging.request.stop", "hedging", "Hedged request completed", _DURATION,
        {"primary_latency": "ms", "backup_latency": "ms", "duplication_cost": "USD"},
        (*_HEDGE, "winner"),
    ),
    _info(
        "crucible_train.training.start", "training", "Training job started", {}, _START,
        ("model_name", "config"),
    ),
    _info(
        "crucible_train.training.stop", "training", "Training job completed", _DURATION,
        {"total_epochs": "epochs", "final_loss": ""}, ("model_name",),
    ),
    _info(
        "crucible_train.epoch.start", "training", "Epoch started", {"epoch": "epoch"}, _START
    ),
    _info(
        "crucible_train.epoch.stop", "training", "Epoch completed with metrics",
        {"epoch": "epoch"}, {**_DURATION, "loss": "", "accuracy": "share", "learning_rate": ""},
    ),
    _info(
        "crucible_train.batch.stop", "training", "Batch completed with loss",
        {"batch": "batch", "loss": ""},
        {**_DURATION, "epoch": "epoch", "gradient_norm": "", "learning_rate": ""},
    ),
    _info(
        "crucible_train.checkpoint.saved", "training", "Model checkpoint saved", {},
        {"epoch": "epoch", "model_size_bytes": "bytes"}, ("checkpoint_path",),
    ),
    _info(
        "crucible_deployment.inference.start", "deployment", "Inference request started", {},
        _START, _DEPLOYED,
    ),
    _info(
        "crucible_deployment.inference.stop", "deployment", "Inference request completed",
        _DURATION, {"input_size": "", "output_size": ""}, _DEPLOYED,
    ),
    _info(
        "crucible_deployment.inference.exception", "deployment", "Inference request failed", {},
        _DURATION, (*_DEPLOYED, "error"),
    ),
    _info(
        "crucible_framework.pipeline.start", "framework", "Pipeline execution started", {}, _START,
        (*_PIPELINE, "stage_count"),
    ),
    _info(
        "crucible_framework.pipeline.stop", "framework", "Pipeline execution completed", _DURATION,
        {}, _PIPELINE,
    ),
    _info(
        "crucible_framework.stage.start", "framework", "Stage execution started", {}, _START,
        _STAGE,
    ),
    _info(
        "crucible_framework.stage.stop", "framework", "Stage execution completed", _DURATION, {},
        _STAGE,
    ),
    _info(
        "causal_trace.event.created", "trace", "Causal reasoning event created", {},
        {"confidence": "share"},
        ("trace_id", "event_type", "decision", "alternatives", "reasoning"),
    ),
    _info(
        "altar.tool.start", "tools", "Tool invocation started", {}, _START,
        ("tool_name", "session_id"),
    ),
    _info(
        "altar.tool.stop", "tools", "Tool invocation completed", _DURATION,
        {"results_count": "results", "cost_usd": "USD"}, ("tool_name", "session_id"),
    ),
)  # fmt: skip

_known: dict[str, EventInfo] = {event.name: event for event in EVENTS}


def define_event(
    name: str,
    *,
    category: str = "custom",
    description: str = "",
    measurements: Mapping[str, str] | Iterable[str] = (),
    optional: Mapping[str, str] | Iterable[str] = (),
    metadata: Iterable[str] = (),
) -> EventInfo:
    """Add an event of your own to the catalog of this process; best in a ``conftest.py``.

    Args:
        name: dotted, e.g. ``cache.hit``. Names that begin with ``crucible.`` are the plugin's.
        category: its group in ``crucible events``.
        description: what it means.
        measurements: numbers that every such event has: names, or names with their units
            (``{"age_s": "s"}``).
        optional: numbers that it may have.
        metadata: keys of the context that it usually has.

    Returns:
        The event as the catalog holds it.

    Raises:
        DefinitionError: the definition makes no sense, or the catalog has another one under this
            name. Defining the same event twice is fine.
    """
    if "." not in str(name) or not all(str(name).split(".")):
        raise DefinitionError(f"an event's name is dotted, like 'cache.hit', not {name!r}")
    if name.startswith("crucible."):
        raise DefinitionError(f"event {name!r}: names that begin with 'crucible.' are reserved")
    for key, text in (("category", category), ("description", description)):
        if not str(text).isprintable():
            raise DefinitionError(f"event {name!r}: {key} must be printable text, not {text!r}")
    required, allowed = (
        _units(name, "measurements", measurements),
        _units(name, "optional", optional),
    )
    for key in required.keys() & allowed.keys():
        raise DefinitionError(f"event {name!r}: {key!r} is both a measurement and optional")
    info = EventInfo(
        name=name,
        category=category,
        description=description,
        measurements=required,
        optional=allowed,
        metadata=tuple(_units(name, "metadata", metadata)),
    )
    known = _known.setdefault(name, info)
    if known != info:
        differing = next(
            key
            for key in ("category", "description", "measurements", "optional", "metadata")
            if getattr(known, key) != getattr(info, key)
        )
        raise DefinitionError(
            f"event {name!r} is known with {differing}={getattr(known, differing)!r}, "
            f"not {getattr(info, differing)!r}; define another name"
        )
    return known


def _units(name: str, key: str, given: Mapping[str, str] | Iterable[str]) -> dict[str, str]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise DefinitionError(f"event {name!r}: {key} must be a list of names, not {given!r}")
    units = dict(given) if isinstance(given, Mapping) else dict.fromkeys(given, "")
    for number, unit in units.items():
        if not isinstance(number, str) or not number or not isinstance(unit, str):
            raise DefinitionError(
                f"event {name!r}: {key} must hold names, or names with units, not {number!r}"
            )
    return units


def list_events(category: str | None = None) -> list[EventInfo]:
    """Return the known events: first the reference system's, then the user's.

    Args:
        category: return only the events of this category; None for all.
    """
    return [event for event in _known.values() if category in (None, event.category)]


def event_info(name: str) -> EventInfo | None:
    """Return what the catalog says about an event; None if it does not have the name."""
    return _known.get(name)


CONTAINERS = (
    "ensemble.prediction.",
    "hedging.request.",
    "crucible_framework.",
    "crucible_train.training.",
    "crucible_train.epoch.",
)
"""Prefixes of the names of events that contain other operations, such as a pipeline its stages."""


def is_start(name: str) -> bool:
    """Whether an event of this name is the start of a span, whose end is another event."""
    return name.endswith(START)


def is_call(name: str) -> bool:
    """Whether an event of this name reports a call of a model that has ended."""
    return name.startswith(CALL) and not is_start(name)


def is_container(name: str) -> bool:
    """Whether an event of this name contains operations that are events themselves."""
    return name.startswith(CONTAINERS)
