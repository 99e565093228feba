"""Runs, events and what is asked of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import assert_type

import numpy as np
from numpy.typing import NDArray

from pytest_crucible import (
    Anomalies,
    Enriched,
    Event,
    EventColumns,
    Events,
    Group,
    Metrics,
    Results,
    Run,
    StreamingMetrics,
    Trace,
    TraceNode,
    Window,
    open_run,
)


def run() -> None:
    found = open_run("crucible-results")
    assert_type(found, Run)
    assert_type(found.events, Events)
    assert_type(found.metrics(), Metrics)
    assert_type(found.metrics("prompt", condition="short").latency.max, float | None)
    results = found.results()
    assert_type(results, Results)
    for each in results.experiments:
        assert_type(each.definition.name, str)
        assert_type(each.verdict, str | None)
        assert_type(each.metrics["short"], Metrics)
        assert_type(each.groups["short"], Group)
    assert_type(results.nodes[0]["events"], int)
    assert_type(results.incomplete, tuple[str, ...])


def events(view: Events) -> None:
    now = datetime.now(UTC)
    slow = view.query("llm.*", success=True, time_range=(now, None), condition="a", model="gpt")
    assert_type(slow, Events)
    assert_type(slow.where(lambda event: event.time_us > 5), Events)
    assert_type(slow.last(5, "minutes", until=now).last_n(3).between(None, 5), Events)
    assert_type(slow[0], Event)
    assert_type(slow[:2], list[Event])
    assert_type(view.trace("id"), Trace)
    assert_type(view.trace("id").roots, tuple[TraceNode, ...])
    assert_type(view.anomalies("latency_ms", method="iqr", threshold=3.0), Anomalies)
    for window in view.windowed_metrics(timedelta(seconds=60), step=10):
        assert_type(window, Window)
        assert_type(window.mean_latency_ms, float | None)
    assert_type(view.to_numpy(), NDArray[np.void])
    columns = view.columns().query(name="llm.*", success=False, model="gpt")
    assert_type(columns, EventColumns)
    assert_type(columns.latency_ms, NDArray[np.float64])
    assert_type(columns.time_us, NDArray[np.int64])
    assert_type(columns.where(columns.latency_ms > 100), EventColumns)


def streaming(view: Events) -> Metrics:
    part = StreamingMetrics("prompt", "short")
    for event in view:
        part.add(event)
    return part.merge(StreamingMetrics.from_dict(part.to_dict())).metrics()


# Hooks, as a conftest.py has them.


def pytest_crucible_enrich(event: Event, enriched: Enriched) -> None:
    enriched.cost_usd = 0.5
    enriched.extra["region"] = event.metadata.get("region")


def pytest_crucible_metrics(observations: Group, metrics: Metrics) -> Mapping[str, float]:
    return {"calls": float(len(observations.latency_ms)), "spent": metrics.cost.total or 0.0}


def pytest_crucible_summary(results: Results) -> list[str]:
    return [each.definition.name for each in results.experiments]
