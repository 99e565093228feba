"""What the tests of the queries share: a view of some events."""

from __future__ import annotations

from pytest_crucible.events.event import Event
from pytest_crucible.queries.events import Events


def view(events: list[Event]) -> Events:
    return Events(lambda: iter(events))
