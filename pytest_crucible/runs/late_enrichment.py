"""Late enrichment: plugins add fields to events when a run is opened, not when it was made.

Only enrichers that did not enrich the events when the run was made do so now: an enricher that
counts what it sets would count twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from pytest_crucible.events.event import Event
from pytest_crucible.hooks.plugins import Plugins
from pytest_crucible.record.node_reader import Node
from pytest_crucible.runs.enriched import LateEnrichedReader, enriched_fields

ENRICHERS = "enrichers"
"""Key of a manifest: the names of the enrichers that ran when the run was made."""


def enrich_nodes_late(
    nodes: Sequence[Node], manifest: Mapping[str, Any] | None, plugins: Plugins
) -> None:
    """Let plugins enrich the events of nodes whenever these are read.

    An enricher that the manifest names does not run again. If the nodes hold enriched fields, and
    no manifest names the enrichers that set them, none runs.

    Args:
        nodes: their ``enriched`` reader is replaced.
        manifest: of the run; None if it has none.
        plugins: the plugins that may have enrichers.
    """
    listed = (manifest or {}).get(ENRICHERS)
    names: list[object] | None = listed if isinstance(listed, list) else None
    new = [enricher for name, enricher in plugins.enrichers() if name not in (names or ())]
    if not new or (names is None and any(next(iter(node.enriched), None) for node in nodes)):
        return
    for node in nodes:
        node.enriched = LateEnrichedReader(node, new)


def events_enriched_late(
    events: Callable[[], Iterator[Event]], plugins: Plugins
) -> Callable[[], Iterator[Event]]:
    """Let plugins enrich the events of an exported file.

    A file names no enrichers: if any of its events has enriched fields, no enricher runs.

    Args:
        events: reads the file anew at every call.
        plugins: the plugins that may have enrichers.
    """
    enrichers = [enricher for _, enricher in plugins.enrichers()]
    if not enrichers or any(event.enriched for event in events()):
        return events

    def enriched() -> Iterator[Event]:
        for event in events():
            fields = {} if event.internal else enriched_fields(event, enrichers)
            yield msgspec.structs.replace(event, enriched=fields) if fields else event

    return enriched
