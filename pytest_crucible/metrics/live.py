"""Live metrics: of an experiment that still runs, as `ExperimentHandle.metrics` keeps them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace

from pytest_crucible._event import TRIAL_START, TRIAL_STOP, Event
from pytest_crucible._scope import Scope
from pytest_crucible.metrics.streaming import StreamingMetrics
from pytest_crucible.metrics.summary import Metrics, summarise_trials
from pytest_crucible.metrics.trials import TrialBook


class LiveMetrics:
    """What is known of a trial, or an experiment outside pytest, up to a position in its record.

    Attributes:
        pid: process that it is known in.
        position: where in the record to go on reading.
        lock: hold it while adding.
    """

    def __init__(self, scope: Scope, pid: int) -> None:
        self.pid = pid
        self.position = 0
        self.lock = threading.Lock()
        self._streaming = StreamingMetrics(scope.experiment, scope.condition)
        self._book = TrialBook()

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            if event.name in (TRIAL_START, TRIAL_STOP):
                self._book.add(event)
            else:
                self._streaming.add(event)

    def metrics(self) -> Metrics:
        trials = self._book.all()
        return replace(self._streaming.metrics(), tests=summarise_trials(trials))
