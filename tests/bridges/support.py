"""What the tests of the bridges share: a trial to capture into, without a session around it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from opentelemetry import trace
from opentelemetry.util._once import Once

from pytest_crucible.bridges.opentelemetry import Bridge, carry, drop
from pytest_crucible.capture.open_scope import OpenScope, current_scope
from pytest_crucible.capture.recorder import close_scope, open_scope, stop_listening
from pytest_crucible.capture.sampler import NodeSampler
from pytest_crucible.events.event import Event
from pytest_crucible.events.scope import Scope
from pytest_crucible.metrics.observations import Group, Observations, observe
from pytest_crucible.metrics.summary import summarise
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.record.memory import MemoryStore
from pytest_crucible.record.node_reader import Node


@dataclass
class Captured:
    """What one trial captured."""

    store: MemoryStore
    opened: OpenScope
    bridge: Bridge
    problems: list[str] = field(default_factory=list)

    @property
    def events(self) -> list[Event]:
        return [event for event in Node("main", self.store.frames()) if not event.internal]

    @property
    def ends(self) -> list[Event]:
        return [event for event in self.events if not event.name.endswith(".start")]

    @property
    def observations(self) -> Observations:
        return observe(Node("main", self.store.frames()))

    @property
    def group(self) -> Group:
        return self.observations.group(self.opened.scope.experiment, "default")

    @property
    def metrics(self) -> Metrics:
        return summarise(self.group)

    @property
    def calls(self) -> int:
        return round(self.group.calls.application)

    @property
    def tokens(self) -> tuple[float, float]:
        tokens = self.metrics.tokens
        return tokens.total_prompt or 0, tokens.total_completion or 0


@contextmanager
def capturing(
    experiment: str = "exp", bridge: Bridge | None = None, sampling: str | None = None
) -> Iterator[Captured]:
    """A measured trial in this context."""
    store, problems = MemoryStore(), list[str]()
    scope = Scope(experiment=experiment, test="t", case="c", trial=1, attempt=1)
    own = bridge is None
    bridge = bridge or Bridge(problems.append)
    sampler = None
    if sampling is not None:
        sampler = NodeSampler(experiment, "default", sampling, store.append, seed=1)
    opened = open_scope(scope, store, 1, sampler)
    token = current_scope.set(opened)
    bridge.enter(opened)
    carried = carry(opened)
    found = Captured(store, opened, bridge, problems)
    try:
        yield found
    finally:
        drop(carried)
        bridge.leave(opened)
        close_scope(opened)
        current_scope.reset(token)
        if own:
            bridge.close()
        stop_listening()
    assert not problems, problems


@contextmanager
def no_provider() -> Iterator[None]:
    """The API as in a fresh process: nobody has set a provider."""
    before = trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE
    trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = None, Once()
    environment = os.environ.pop("OTEL_PYTHON_TRACER_PROVIDER", None)
    try:
        yield
    finally:
        trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = before
        if environment is not None:
            os.environ["OTEL_PYTHON_TRACER_PROVIDER"] = environment
