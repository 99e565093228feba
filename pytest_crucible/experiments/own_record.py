"""The record of one scope, read while the process still records."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

from pytest_crucible.capture.open_scope import CLOSED, OpenScope
from pytest_crucible.events.event import Event
from pytest_crucible.events.scope import JUDGE
from pytest_crucible.record.node_reader import Node
from pytest_crucible.record.store import Recorded, Store

# Imported where it is used: recording needs no NumPy, and most trials read nothing.
# `load_readers` imports it before the trials.
if TYPE_CHECKING:
    from pytest_crucible.metrics.streaming import LiveMetrics
    from pytest_crucible.metrics.values import Metrics


class OwnRecord:
    """The events of a scope and of its judges, in the store of this process.

    Args:
        opened: the scope.
        store: the store that records the scope.
        run, node: as in `Event`.
        since: position in the store where reading begins; None: the present one.
    """

    def __init__(
        self, opened: OpenScope, store: Store, run: str, node: str, since: int | None = None
    ) -> None:
        self._opened = opened
        self._store = store
        self._run = run
        self._node = node
        self._since = store.position() if since is None else since
        self._pid = os.getpid()
        self._live: LiveMetrics | None = None

    def __iter__(self) -> Iterator[Event]:
        return self._events(self._start())

    def version(self) -> tuple[int, int]:
        """Return a value that changes as soon as the record may have grown."""
        return os.getpid(), self._store.position()

    def metrics(self, *, exact: bool) -> Metrics:
        """Work out the metrics; see `Experiment.metrics`."""
        opened = self._opened
        if exact:
            return self._metrics_with_plugins()
        if opened.state == CLOSED or opened.sampler is not None:
            return self._metrics_of_all()
        from pytest_crucible.metrics.streaming import LiveMetrics

        live = self._live
        if live is None or live.pid != os.getpid():  # a forked child has a record of its own
            live = self._live = LiveMetrics(opened.scope, os.getpid())
            live.position = self._start()
        with live.lock:
            until = self._store.position()
            events = self._events(live.position)
            live.add(takewhile(lambda event: event.sequence < until, events))
            live.position = until
            return self._metrics_of_all() if live.partial else live.metrics()

    def _metrics_of_all(self) -> Metrics:
        from pytest_crucible.events.pricing import pricers
        from pytest_crucible.metrics.observations import observe
        from pytest_crucible.metrics.summary import summarise

        scope = self._opened.scope
        return summarise(
            observe(self, enrichers=pricers()).group(scope.experiment, scope.condition)
        )

    def _metrics_with_plugins(self) -> Metrics:
        """Work out the metrics of all events, with the enrichers and metrics of plugins."""
        from pytest_crucible.analysis.plugin_metrics import summarise_all
        from pytest_crucible.events.pricing import pricers
        from pytest_crucible.hooks.installed import installed
        from pytest_crucible.metrics.catalog import Catalog
        from pytest_crucible.metrics.observations import observe
        from pytest_crucible.runs.late_enrichment import enrich_nodes_late

        plugins, scope = installed(), self._opened.scope
        node = self._reader(self._start())
        enrich_nodes_late([node], None, plugins)
        group = observe(self._own(node), enrichers=pricers()).group(
            scope.experiment, scope.condition
        )
        problems: list[str] = []
        metrics = summarise_all(group, Catalog(plugins.declared()), plugins.metrics, problems)
        for problem in problems:
            warnings.warn(problem, stacklevel=4)
        return metrics

    def _start(self) -> int:
        # A forked child records into a file of its own, and reads that from its beginning.
        return self._since if os.getpid() == self._pid else 0

    def _events(self, since: int) -> Iterator[Event]:
        return self._own(self._reader(since))

    def _reader(self, since: int) -> Node:
        opened = self._opened
        return Node(
            self._node,
            Recorded(self._store, since),
            run=self._run,
            scopes={opened.id: opened.scope},
            samplings=opened.tell_sampled(),
        )

    def _own(self, node: Node) -> Iterator[Event]:
        """Pick the events of this scope and of its judges from those of the process."""
        scope = self._opened.scope
        scopes = scope, replace(scope, role=JUDGE)
        return (event for event in node if event.scope in scopes)


def load_readers() -> None:
    """Import the modules that read, so that no trial measures the import."""
    import pytest_crucible.events.pricing
    import pytest_crucible.events.validation
    import pytest_crucible.metrics.streaming
    import pytest_crucible.queries.events  # noqa: F401
