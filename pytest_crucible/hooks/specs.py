"""Hooks that a conftest, a pytest plugin or an installed package may implement.

A session calls them in the process that prints the summary (under xdist: the controller), so hooks
in a conftest below the root directory only count if pytest loads it there. The command line and the
library only call hooks of packages with the entry point group ``pytest_crucible``, see `installed`.
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
    """Add columns to an event, or correct them.

    Called for every event of the code under test when the run is read. Set attributes of
    ``enriched``, or keys of ``enriched.extra``, which become columns of exports.
    """


def pytest_crucible_metrics(observations: Group, metrics: Metrics) -> Mapping[str, float] | None:
    """Return more numbers for one experiment under one condition, by name.

    The summary shows them, and expectations can use them by name.
    """


def pytest_crucible_declare() -> Mapping[str, str | Metric] | None:
    """Return metrics by name, with their unit, direction, range, margin and formula.

    They describe numbers that tests record, or formulas over them; or, with ``values``, metrics
    that the plugin works out itself, which have an interval and are compared like built-in ones.
    """


def pytest_crucible_exporters() -> Mapping[str, Exporter | Format] | None:
    """Return export formats by name; ``exporter(rows, path)`` writes ``path``.

    ``rows()`` yields one nested mapping per event and can be called several times. Instead of an
    exporter, a `pytest_crucible.Format` can also say how to read files back.
    """


def pytest_crucible_summary(results: object) -> Sequence[str] | None:
    """Return lines to add below the summary. ``results`` is a `pytest_crucible.Results`."""
    # Not typed in the signature, because the room of `Results` is above this one.
