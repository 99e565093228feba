"""Event: a recorded event, as readers see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pytest_crucible.events.scope import Scope

CONTEXT, SOLE, UNATTRIBUTED, LATE, OPENTELEMETRY, PARENT, INSERTED = range(7)
ATTRIBUTIONS = ("context", "sole", "unattributed", "late", "opentelemetry", "parent", "inserted")
"""How an event found its scope.

``context``: by context variable, exact. ``sole``: a thread without context emitted it while exactly
one experiment was open. ``late``: by context, after that scope had ended. ``unattributed``: several
experiments were open and nothing said which one it belongs to; it is counted, never guessed. Spans
have two more, both exact: ``opentelemetry``, when OpenTelemetry's own context carried the scope
into another thread; ``parent``, when it comes from the parent span, which was still open.
``inserted``: `Experiment.insert` recorded it for its experiment, with the time when it happened.
"""

RESERVED = "crucible."
"""Prefix of the names of the plugin's own events (trials, recorded numbers)."""

TRIAL_START = "crucible.trial.start"
TRIAL_STOP = "crucible.trial.stop"
RECORD = "crucible.record"
LOG = "crucible.log"
"""A number of a training step: ``name`` and ``best`` in the metadata, ``value`` and ``step`` in the
measurements."""
INVALID = "crucible.invalid"
"""A ``problem`` of recorded events, and the ``count`` of events that have it."""
CAPTURE = "crucible.capture"
"""A message of the capture of spans: a ``problem``, or an HTTP call to a ``host``."""


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One thing that happened.

    Attributes:
        name: dotted, e.g. ``req_llm.request.stop``.
        measurements: numbers, e.g. ``{"duration": 12_000_000}`` (ns).
        metadata: context, e.g. ``{"model": "gpt-4o-mini"}``.
        time_us: wall time, µs since the epoch.
        run, node, sequence: the run, the process that recorded it, and the event's position in
            that process's file, which grows with every event. Together they identify the event.
            An inserted event stands at its time, but has the sequence of its recording.
        scope: where it belongs; None if unknown.
        attribution: how ``scope`` was found, one of `ATTRIBUTIONS`.
        weight: how many events this one stands for, if only a sample was kept; None if all events
            were kept.
        degraded: how many values could not be encoded and were kept as their ``repr``.
        enriched: what enrichers set when the run was made, by field of `Enriched`.
    """

    name: str
    measurements: Mapping[str, Any]
    metadata: Mapping[str, Any]
    time_us: int
    run: str
    node: str
    sequence: int
    scope: Scope | None
    attribution: str = "context"
    degraded: int = 0
    weight: float | None = None
    enriched: Mapping[str, Any] | None = None

    @property
    def id(self) -> str:
        """Its identity as text, ``RUN-NODE-SEQUENCE``; the same whenever the run is read."""
        return f"{self.run}-{self.node}-{self.sequence}"

    @property
    def internal(self) -> bool:
        """True for the plugin's own events, which are not telemetry of the code under test."""
        return self.name.startswith(RESERVED)


def weight_of(event: Event) -> float:
    """Return how many events this one stands for."""
    return 1.0 if event.weight is None else event.weight


def hashable_id(value: object) -> object:
    """Return the id of a span (or trace, …) as a key of a dict: a text, a number or None."""
    return value if value is None or isinstance(value, (str, int)) else repr(value)
