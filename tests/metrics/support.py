"""What the tests of the metrics share: the group of some events, and its metrics."""

from __future__ import annotations

from typing import Any

from pytest_crucible.events.event import Event
from pytest_crucible.metrics.ensembles import EnsembleMetrics, HedgingMetrics
from pytest_crucible.metrics.observations import Group, observe
from pytest_crucible.metrics.summary import summarise
from pytest_crucible.metrics.values import Metrics
from tests.made_events import MS, event


def group(*events: Event) -> Group:
    """The only group of these events."""
    (found,) = observe(events).groups.values()
    return found


def metrics(*events: Event) -> Metrics:
    return summarise(group(*events))


# --- ensembles and hedging ----------------------------------------------------------------------


def hedging(events: list[Event]) -> HedgingMetrics:
    found = metrics(*events).hedging
    assert found is not None
    return found


def ensemble(events: list[Event]) -> EnsembleMetrics:
    found = metrics(*events).ensemble
    assert found is not None
    return found


def call(model: str, ends_ms: int, takes_ms: int, **more: Any) -> Event:
    measured = {"duration": takes_ms * MS} | ({"cost": more.pop("cost")} if "cost" in more else {})
    return event(metadata={"model": model, **more}, measurements=measured, at_us=ends_ms * 1000)


def hedge(stage: str, at_ms: int, measured: dict[str, Any] | None = None, **more: Any) -> Event:
    more.setdefault("request_id", "h1")
    return event(f"hedging.request.{stage}", measured, more, at_us=at_ms * 1000)


MODELS: dict[str, Any] = {"primary_model": "big", "backup_model": "small"}
