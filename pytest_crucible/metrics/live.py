"""Live metrics: of an experiment that still runs, as `ExperimentHandle.metrics` keeps them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace

from pytest_crucible._event import LOG, TRIAL_START, TRIAL_STOP, Event
from pytest_crucible._scope import Scope
from pytest_crucible.metrics.curves import LoggedSeries, add_logged, summarise_logged
from pytest_crucible.metrics.streaming import StreamingMetrics
from pytest_crucible.metrics.summary import summarise_trials
from pytest_crucible.metrics.trials import TrialBook
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.metrics.wholes import concerns


class LiveMetrics:
    """What is known of a trial, or an experiment outside pytest, up to a position in its record.

    Curves are kept whole: a step may be logged again.

    Attributes:
        pid: process that it is known in.
        position: where in the record to go on reading.
        lock: hold it while adding.
        partial: an event was about ensembles or hedging, which only the whole record can tell.
    """

    def __init__(self, scope: Scope, pid: int) -> None:
        self.pid = pid
        self.position = 0
        self.partial = False
        self.lock = threading.Lock()
        self._streaming = StreamingMetrics(scope.experiment, scope.condition)
        self._book = TrialBook()
        self._logged: dict[str, LoggedSeries] = {}

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.name in (TRIAL_START, TRIAL_STOP):
                self._book.add(event)
            elif event.name == LOG and event.scope is not None:
                add_logged(self._logged, event, event.scope, 0, 0)
            else:
                self.partial = self.partial or concerns(event.name)
                self._streaming.add(event)

    def metrics(self) -> Metrics:
        trials = self._book.all()
        logged = {name: summarise_logged(s, name) for name, s in sorted(self._logged.items())}
        return replace(self._streaming.metrics(), tests=summarise_trials(trials), logged=logged)
