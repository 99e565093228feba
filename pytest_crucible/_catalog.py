"""The events that the reference system knows, by category."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EventInfo:
    """One known event.

    Attributes:
        name: dotted name.
        category: llm, ensemble, hedging, training, deployment, framework, trace or tools.
        description: what it means.
        fields: measurements and metadata it usually carries.
    """

    name: str
    category: str
    description: str
    fields: tuple[str, ...] = ()


_LLM = ("model", "provider", "input_tokens", "output_tokens", "cost")
EVENTS: tuple[EventInfo, ...] = (
    EventInfo("req_llm.request.start", "llm", "LLM request started", ("model", "provider")),
    EventInfo("req_llm.request.stop", "llm", "LLM request completed", ("duration", *_LLM)),
    EventInfo("req_llm.request.exception", "llm", "LLM request failed", ("duration", "error")),
    EventInfo("ensemble.prediction.start", "ensemble", "Ensemble prediction started", ("models",)),
    EventInfo(
        "ensemble.prediction.stop", "ensemble", "Ensemble prediction completed",
        ("duration", "total_cost", "models_succeeded", "models_failed"),
    ),
    EventInfo("ensemble.vote.completed", "ensemble", "Ensemble voting completed", ("agreement",)),
    EventInfo("hedging.request.start", "hedging", "Hedged request started", ("primary_model",)),
    EventInfo("hedging.request.duplicated", "hedging", "Request duplicated", ("delay_ms",)),
    EventInfo("hedging.request.stop", "hedging", "Hedged request completed", ("winner",)),
    EventInfo("crucible_train.training.start", "training", "Training job started", ()),
    EventInfo("crucible_train.training.stop", "training", "Training job completed", ("duration",)),
    EventInfo("crucible_train.epoch.start", "training", "Epoch started", ("epoch",)),
    EventInfo(
        "crucible_train.epoch.stop", "training", "Epoch completed with metrics",
        ("epoch", "loss", "accuracy", "learning_rate"),
    ),
    EventInfo(
        "crucible_train.batch.stop", "training", "Batch completed with loss",
        ("epoch", "batch", "loss", "gradient_norm"),
    ),
    EventInfo(
        "crucible_train.checkpoint.saved", "training", "Model checkpoint saved",
        ("epoch", "checkpoint_path"),
    ),
    EventInfo(
        "crucible_deployment.inference.start", "deployment", "Inference request started",
        ("model_name", "model_version"),
    ),
    EventInfo(
        "crucible_deployment.inference.stop", "deployment", "Inference request completed",
        ("duration", "input_size", "output_size", "batch_size"),
    ),
    EventInfo("crucible_deployment.inference.exception", "deployment", "Inference failed", ()),
    EventInfo("crucible_framework.pipeline.start", "framework", "Pipeline started", ()),
    EventInfo("crucible_framework.pipeline.stop", "framework", "Pipeline completed", ()),
    EventInfo("crucible_framework.stage.start", "framework", "Stage started", ("stage_name",)),
    EventInfo("crucible_framework.stage.stop", "framework", "Stage completed", ("stage_name",)),
    EventInfo("causal_trace.event.created", "trace", "Causal reasoning event created", ()),
    EventInfo("altar.tool.start", "tools", "Tool invocation started", ("tool_name",)),
    EventInfo("altar.tool.stop", "tools", "Tool invocation completed", ("tool_name", "duration")),
)  # fmt: skip

CONTAINERS = (
    "ensemble.prediction.",
    "hedging.request.",
    "crucible_framework.",
    "crucible_train.training.",
    "crucible_train.epoch.",
)
"""Prefixes of events that stand for a whole made of other operations."""


def is_container(name: str) -> bool:
    """Whether the catalog knows ``name`` as a whole made of parts that are events themselves."""
    return name.startswith(CONTAINERS)
