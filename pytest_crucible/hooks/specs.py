"""Hooks that a conftest, a pytest plugin or an installed package may implement.

In a session they are called in the process that prints the summary (under xdist: the controller),
so a conftest below the root directory is seen only if pytest loads it there. Everywhere else they
are those of packages with the entry point group ``pytest_crucible``, see `installed`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_crucible.events.enrichment import Enriched
    from pytest_crucible.events.event import Event
    from pytest_crucible.exports.formats import Exporter, Format
    from pytest_crucible.metrics.catalog import Metric
    from pytest_crucible.metrics.observations import Group
    from pytest_crucible.metrics.values import Metrics


def pytest_crucible_enrich(event: Event, enriched: Enriched) -> None:
    """Add to, or correct, what was worked out about an event.

    Called for every event of the code under test when the run is read. Set attributes of
    ``enriched``, or keys of ``enriched.extra``: those become columns of the exports.
    """


def pytest_crucible_metrics(observations: Group, metrics: Metrics) -> Mapping[str, float] | None:
    """More numbers for one experiment under one condition, by name.

    They appear in the summary and can be used in expectations by that name.
    """


def pytest_crucible_declare() -> Sequence[Metric] | None:
    """What is known of metrics: their unit, which way is better, their range and margin.

    Of numbers that tests record; or, with ``values``, of metrics that the plugin works out itself:
    these have an interval, and are compared like built-in ones.
    """


def pytest_crucible_exporters() -> Mapping[str, Exporter | Format] | None:
    """Export formats by name; ``exporter(rows, path)`` writes ``path``.

    ``rows()`` yields one nested mapping per event and can be called as often as needed. A
    `pytest_crucible.Format` in place of the exporter may say more: how files are read back.
    """


def pytest_crucible_summary(results: object) -> Sequence[str] | None:
    """Lines to add below the summary. ``results`` is a `pytest_crucible.Results`."""
    # Not so in the signature: this file stands below the room that makes them.
