"""The record of one scope, read while the process still records."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

from pytest_crucible.capture.open_scope import CLOSED, OpenScope
from pytest_crucible.events.event import Event
from pytest_crucible.events.scope import Scope
from pytest_crucible.metrics.catalog import Catalog, Metric
from pytest_crucible.record.merge import in_order
from pytest_crucible.record.node_reader import Node
from pytest_crucible.record.store import Recorded, Store
from pytest_crucible.runs.experiment_definition import Definition

# Imported where it is used: recording needs no NumPy, and most trials read nothing.
# `load_readers` imports it before the trials.
if TYPE_CHECKING:
    from pytest_crucible.analysis.results import ExperimentResult
    from pytest_crucible.metrics.streaming import LiveMetrics
    from pytest_crucible.metrics.values import Metrics


class OwnRecord:
    """The events of a scope, of its judges and of its cases, in the store of this process.

    Args:
        opened: the scope.
        store: the store that records the scope.
        run, node: as in `Event`.
        since: position in the store where reading begins; None: the present one.
        declared: the metrics that the experiment declares.
    """

    def __init__(
        self,
        opened: OpenScope,
        store: Store,
        run: str,
        node: str,
        since: int | None = None,
        declared: tuple[Metric, ...] = (),
    ) -> None:
        self._catalog = Catalog(declared)
        self._opened = opened
        self._store = store
        self._run = run
        self._node = node
        self._since = store.position() if since is None else since
        self._pid = os.getpid()
        self._live: LiveMetrics | None = None

    def __iter__(self) -> Iterator[Event]:
        return self._own(in_order(self._reader(self._start())))

    def version(self) -> tuple[int, int]:
        """Return a value that changes as soon as the record may have grown."""
        return os.getpid(), self._store.position()

    def metrics(self, definition: Definition, *, exact: bool) -> Metrics:
        """Work out the metrics; see `Experiment.metrics`."""
        if exact:
            found = self.result(definition, stacklevel=5).metrics[self._opened.scope.condition]
        else:
            found = self._metrics_so_far()
        summary = replace(found.summary, unattributed=self._opened.unattributed)
        return replace(found, summary=summary)

    def _metrics_so_far(self) -> Metrics:
        opened = self._opened
        if opened.state == CLOSED or opened.sampler is not None:
            return self._metrics_of_all()
        from pytest_crucible.metrics.streaming import LiveMetrics

        live = self._live
        if live is None or live.pid != os.getpid():  # a forked child has a record of its own
            live = self._live = LiveMetrics(opened.scope, os.getpid())
            live.position = self._start()
        with live.lock:
            until = self._store.position()
            reader = self._reader(live.position, live.scopes)
            events = self._own(reader)
            live.add(takewhile(lambda event: event.sequence < until, events))
            live.position = until
            live.scopes = {n: scope for n, scope in reader.learned.items() if scope is not None}
            whole = live.partial or any(self._catalog.agreements())  # sums are not enough
            return self._metrics_of_all() if whole else live.metrics(self._catalog)

    def _metrics_of_all(self) -> Metrics:
        from pytest_crucible.events.pricing import pricers
        from pytest_crucible.metrics.observations import observe
        from pytest_crucible.metrics.summary import summarise

        scope = self._opened.scope
        observations = observe(self, enrichers=pricers())
        return summarise(observations.group(scope.experiment, scope.condition), self._catalog)

    def result(self, definition: Definition, stacklevel: int = 4) -> ExperimentResult:
        """Work out the result of all events, with the enrichers and metrics of plugins.

        Args:
            definition: of the experiment.
            stacklevel: of the warning about a plugin that raised.
        """
        from pytest_crucible.analysis.analyse import result_of
        from pytest_crucible.events.pricing import pricers
        from pytest_crucible.hooks.installed import installed
        from pytest_crucible.metrics.observations import observe
        from pytest_crucible.runs.late_enrichment import enrich_nodes_late
        from pytest_crucible.stats.ranges import all_outside

        plugins, scope = installed(), self._opened.scope
        node = self._reader(self._start())
        enrich_nodes_late([node], None, plugins)
        observations = observe(self._own(node), enrichers=pricers())
        group = observations.group(scope.experiment, scope.condition)
        problems = list(observations.problems)
        result = result_of(definition, group, plugins, problems)
        problems += map(str, all_outside(group, result.catalog))
        for problem in problems:
            warnings.warn(problem, stacklevel=stacklevel)
        return result

    def _start(self) -> int:
        # A forked child records into a file of its own, and reads that from its beginning.
        return self._since if os.getpid() == self._pid else 0

    def _events(self, since: int) -> Iterator[Event]:
        return self._own(self._reader(since))

    def _reader(self, since: int, scopes: Mapping[int, Scope] | None = None) -> Node:
        """Read from a position.

        Args:
            since: the position.
            scopes: the scopes that were opened before it, by number.
        """
        opened = self._opened
        return Node(
            self._node,
            Recorded(self._store, since),
            run=self._run,
            scopes={opened.id: opened.scope, **(scopes or {})},
            samplings=opened.tell_sampled(),
        )

    def _own(self, events: Iterable[Event]) -> Iterator[Event]:
        """Pick the events of this scope and of those inside it from those of the process."""
        own: dict[int, tuple[Scope | None, bool]] = {}  # keeps the scopes, so that ids stay theirs
        for event in events:
            known = own.get(id(event.scope))
            if known is None:
                known = own[id(event.scope)] = event.scope, self._owns(event.scope)
            if known[1]:
                yield event

    def _owns(self, scope: Scope | None) -> bool:
        mine = self._opened.scope
        if scope is None:
            return False
        if self._opened.parent is None:  # its cases belong to it
            scope = replace(scope, case=mine.case, trial=mine.trial)
        return replace(scope, role=None) == mine


def load_readers() -> None:
    """Import the modules that read, so that no trial measures the import."""
    import pytest_crucible.events.pricing
    import pytest_crucible.events.validation
    import pytest_crucible.metrics.streaming
    import pytest_crucible.queries.events  # noqa: F401
