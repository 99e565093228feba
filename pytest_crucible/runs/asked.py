"""What the enrichers of plugins say of a run that is opened, in so far as its record lacks it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from pytest_crucible.events.event import Event
from pytest_crucible.hooks.plugins import Plugins
from pytest_crucible.record.node_reader import Node
from pytest_crucible.runs.enriched import AskedReader, said_of

ASKED = "enrichers"
"""In a manifest: who was asked about the events when the run was made."""


def ask_of_nodes(
    nodes: Sequence[Node], manifest: Mapping[str, Any] | None, plugins: Plugins
) -> None:
    """Have the readers of nodes ask enrichers, too.

    What was kept stands, for to ask twice may count twice: an enricher that was asked when the run
    was made is not asked again, and where nobody knows who was, none is.
    """
    told = (manifest or {}).get(ASKED)
    asked: list[object] | None = told if isinstance(told, list) else None
    new = [each for name, each in plugins.enrichers() if name not in (asked or ())]
    if not new or (asked is None and any(next(iter(node.enriched), None) for node in nodes)):
        return
    for node in nodes:
        node.enriched = AskedReader(node, new)


def asked_events(
    events: Callable[[], Iterator[Event]], plugins: Plugins
) -> Callable[[], Iterator[Event]]:
    """The same for the events of an exported file, which does not say who was asked."""
    enrichers = [enricher for _, enricher in plugins.enrichers()]
    if not enrichers or any(event.enriched for event in events()):
        return events

    def asked() -> Iterator[Event]:
        for event in events():
            said = {} if event.internal else said_of(event, enrichers)
            yield msgspec.structs.replace(event, enriched=said) if said else event

    return asked
