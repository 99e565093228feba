"""Events and run folders for tests, made without recording anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_crucible import _clock
from pytest_crucible._layout import NODES, SUFFIX
from pytest_crucible.capture import bus as _bus
from pytest_crucible.capture import span as _span
from pytest_crucible.capture.frames import (
    EVENT_TAG,
    SCHEMA,
    ExperimentFrame,
    HeaderFrame,
    PlanFrame,
    ScopeFrame,
    encode,
)
from pytest_crucible.events.event import CONTEXT, RECORD, TRIAL_START, TRIAL_STOP, Event
from pytest_crucible.events.scope import Scope
from pytest_crucible.record.node_reader import TrialKey
from pytest_crucible.record.spool import SpoolStore
from pytest_crucible.runs.experiment_definition import Definition


def set_clock(
    patch: pytest.MonkeyPatch,
    wall_ns: Callable[[], int],
    monotonic_ns: Callable[[], int] = _clock.monotonic_ns,
) -> None:
    """Have the package read the time from these."""
    for module in (_clock, _bus, _span):
        patch.setattr(module, "wall_ns", wall_ns)
        patch.setattr(module, "monotonic_ns", monotonic_ns)


T0_US = 1_763_900_000_000_000
MS = 1_000_000
"""Nanoseconds in a millisecond, the unit of durations."""


def event(
    name: str = "req_llm.request.stop",
    measurements: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    *,
    at_us: int = 0,
    scope: Scope | None = Scope(experiment="exp"),  # noqa: B008  (a frozen value)
    attribution: str = "context",
    run: str = "run-1",
    node: str = "main",
    sequence: int = 0,
    degraded: int = 0,
) -> Event:
    """One event, ``at_us`` after the start of the run."""
    return Event(
        name=name,
        measurements=measurements or {},
        metadata=metadata or {},
        time_us=T0_US + at_us,
        run=run,
        node=node,
        sequence=sequence,
        scope=scope,
        attribution=attribution,
        degraded=degraded,
    )


def trial_scope(
    case: str = "case-1", trial: int = 1, attempt: int = 1, condition: str = "default"
) -> Scope:
    """The scope of one attempt of a trial."""
    return Scope(
        experiment="exp",
        condition=condition,
        test=f"test_it[{case}]",
        case=case,
        trial=trial,
        attempt=attempt,
    )


def trial(
    outcome: str | None,
    scope: Scope,
    *,
    duration_ms: float = 1.0,
    error: str | None = None,
    run: str = "run-1",
    node: str = "main",
) -> list[Event]:
    """The events of one attempt; without an outcome it never ended."""
    events = [event(TRIAL_START, scope=scope, run=run, node=node)]
    if outcome is not None:
        metadata = {"outcome": outcome} | ({"error": error} if error else {})
        measurements = {"duration": duration_ms * MS}
        events.append(event(TRIAL_STOP, measurements, metadata, scope=scope, run=run, node=node))
    return events


def recorded(
    numbers: Mapping[str, Any], scope: Scope, *, run: str = "run-1", node: str = "main"
) -> Event:
    """What ``experiment.record(**numbers)`` leaves behind."""
    return event(RECORD, numbers, scope=scope, run=run, node=node)


def reference_events() -> list[Event]:
    """The reference system's own example: ten requests that succeed and two that fail."""
    events = [
        event(
            measurements={"duration": i * 100 * MS, "cost": i / 1000},
            metadata={"tokens": {"prompt": 100 * i, "completion": 200 * i, "total": 300 * i}},
            at_us=i * 1000,
            sequence=i,
        )
        for i in range(1, 11)
    ]
    failures = [
        event("req_llm.request.exception", metadata={"error": "timeout"}, sequence=i)
        for i in (11, 12)
    ]
    return events + failures


def write_run(
    folder: Path,
    events: Iterable[Event],
    *,
    definitions: Iterable[Definition] = (),
    plan: Iterable[TrialKey] = (),
    node: str = "main",
    closed: bool = True,
) -> Path:
    """A run folder as a session leaves it, with the spool of one node and no manifest."""
    nodes = folder / NODES
    nodes.mkdir(parents=True, exist_ok=True)
    uid = f"{folder.name}-{node}"
    header = HeaderFrame(SCHEMA, folder.name, node, uid, 1, "host", T0_US * 1000, 0)
    store = SpoolStore(nodes / f"{node}{SUFFIX}", header)
    for definition in definitions:
        store.append(encode(ExperimentFrame(definition.name, definition.to_dict())))
    store.append(encode(PlanFrame(list(plan))))
    numbers: dict[Scope | None, int] = {None: 0}
    for each in events:
        scope = each.scope
        if scope is not None and scope not in numbers:
            numbers[scope] = len(numbers)
            store.append(
                encode(
                    ScopeFrame(
                        numbers[scope], scope.experiment, scope.condition, scope.test,
                        scope.case, scope.trial, scope.attempt,
                    )
                )
            )  # fmt: skip
        data = (numbers[scope], each.name, each.time_us * 1000, each.measurements, each.metadata)
        store.append(encode((EVENT_TAG, *data, CONTEXT, 0)))
    if closed:
        store.close()
    return folder
