"""The experiment as code sees it: the ``experiment`` fixture, and what ``experiment()`` yields."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat, SupportsIndex

from pytest_crucible import telemetry
from pytest_crucible._errors import LifecycleError
from pytest_crucible.capture.open_scope import CLOSED, PAUSED, OpenScope, current_scope
from pytest_crucible.capture.recorder import pause_scope, record_into, resume_scope
from pytest_crucible.capture.span import Span
from pytest_crucible.events.event import INVALID, LOG, RECORD
from pytest_crucible.events.scope import JUDGE
from pytest_crucible.experiments.own_record import OwnRecord
from pytest_crucible.experiments.step_log import (
    StepLog,
    check_adapter,
    check_log,
    plain_number,
    step_number,
)
from pytest_crucible.metrics.catalog import RESERVED_NAMES
from pytest_crucible.record.store import Store
from pytest_crucible.runs.definition import JOIN, Definition, obeyed

if TYPE_CHECKING:
    from pytest_crucible.experiments.adapters import MetricsAdapter
    from pytest_crucible.metrics.curves import Curve
    from pytest_crucible.metrics.values import Metrics
    from pytest_crucible.queries.events import Events

Status = Literal["running", "paused", "stopped", "archived"]

TICKET = "CRUCIBLE_TICKET"
"""Environment variable that carries a ticket to a subprocess."""


class Experiment:
    """One experiment under one condition; under pytest, one trial of it.

    The fixture gives one to a test: ``def test_it(experiment: Experiment)``. Outside pytest
    `experiment` and `start` give one.

    What is emitted through the handle belongs to it for certain, in whichever thread.

    Attributes:
        definition: the experiment as its author described it.
        scope: condition, test, case, trial and attempt.
        id: of the run that it records into.
        node: of the process in it that records.
        folder: of that run; None where it is kept in memory.
        archived_to: the archive that it was written to, if it was.
    """

    def __init__(
        self,
        definition: Definition,
        opened: OpenScope,
        store: Store,
        run: str,
        node: str,
        folder: Path | None = None,
        since: int | None = None,
    ) -> None:
        self.definition = definition
        self.scope = opened.scope
        self._opened = opened
        self._record = OwnRecord(opened, store, run, node, since)
        self.id = run
        self.node = node
        self.folder = folder
        self.archived_to: Path | None = None
        self._steps = StepLog()

    @property
    def name(self) -> str:
        """What the experiment is called."""
        return self.definition.name

    @property
    def condition(self) -> str:
        """The arm; ``default`` where there is only one."""
        return self.scope.condition

    @property
    def case(self) -> str | None:
        """Id of the case under test (``sample_id``)."""
        return self.scope.case

    @property
    def trial(self) -> int | None:
        """Which repetition of the case this is, from 1."""
        return self.scope.trial

    @property
    def attempt(self) -> int | None:
        """Which execution of the trial this is, from 1; above 1 only with reruns."""
        return self.scope.attempt

    def execute(
        self,
        name: str,
        measurements: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """`telemetry.execute`, for this experiment whatever the context."""
        if current_scope.get() is self._opened:  # as in a test: nothing to change for it
            telemetry.execute(name, measurements, metadata)
            return
        with self.active():
            telemetry.execute(name, measurements, metadata)

    def span(self, name: str, metadata: Mapping[str, Any] | None = None, /, **more: Any) -> Span:
        """`telemetry.span`, for this experiment whatever the context."""
        return Span(name, {**metadata, **more} if metadata else more, self._opened)

    def record(self, **numbers: SupportsFloat) -> None:
        """Record numbers of this trial; each name becomes a metric: ``record(score=0.9)``.

        Raises:
            TypeError: a value is no number. Booleans count as 0 and 1.
            ValueError: a name is that of a built-in metric.
        """
        self._check_open("record")
        taken = RESERVED_NAMES.intersection(numbers)
        if taken:
            name = min(taken)
            raise ValueError(f"record({name}=…): {name} is a built-in metric; use another name")
        plain = {name: plain_number(f"record({name}=", value) for name, value in numbers.items()}
        self.execute(RECORD, plain)

    def log(
        self,
        name: str,
        value: SupportsFloat,
        step: SupportsIndex | None = None,
        *,
        best: Literal["min", "max"] | None = None,
        **more: object,
    ) -> float:
        """Log a number of a training step: ``log("loss", 2.5, step=0)``.

        It is on disk as this returns, like every event. Each name becomes a curve, of which the
        summary shows first, last and best; expectations can say ``loss.last < 0.5``.

        Args:
            name: of the number, e.g. ``loss``.
            value: NaN and infinity are kept, too, and counted.
            step: a whole number; if it was logged before, this value replaces the earlier one.
                Default: the one after the highest so far, from 0.
            best: ``min`` or ``max``; default: ``min`` for losses, errors and so on, else ``max``.
            more: kept with the record, and told to adapters.

        Returns:
            The value as a plain number.

        Raises:
            TypeError: the value is no number, or the step no whole number.
            ValueError: the name is that of a built-in metric, or ``best`` neither min nor max.
        """
        self._check_open("log")
        if name in RESERVED_NAMES:
            raise ValueError(f"log({name!r}, …): {name} is a built-in metric; use another name")
        check_log(name, best)
        number = plain_number(f"log({name!r}, ", value)
        position = self._steps.place(name, step_number(name, step))
        told = {"name": name, **more} if best is None else {"name": name, "best": best, **more}
        self.execute(LOG, {"value": number, "step": position}, told)
        if self._steps.adapters and not self._opened.state:
            with self.active():
                self._steps.tell(self.id, self.scope, name, number, position, more)
        return number

    def logged(self, name: str) -> Curve:
        """The curve of ``name`` in this trial so far: ``steps, values = exp.logged("loss")``.

        In the order of the steps; of a step that was logged twice, the later value.
        """
        from pytest_crucible.metrics.curves import curve_of

        return curve_of(self._record, name)

    def log_to(self, adapter: MetricsAdapter) -> None:
        """Tell ``adapter`` every number that is logged from now on, in addition to the record.

        It is flushed when the trial, or the experiment, ends. If it raises, it is detached, which
        the summary reports.

        Raises:
            TypeError: it is no such adapter.
        """
        check_adapter(adapter)
        self._steps.adapters.append(adapter)

    def flush(self) -> None:
        """Flush the adapters that numbers are told to. For this package's use."""
        if self._steps.adapters:
            with self.active():
                self._steps.flush()

    def settle(self) -> dict[str, int]:
        """Before the end: flush the adapters, check against the catalog. For this package's use.

        Returns:
            What is wrong with recorded events, and with how many; empty without ``validate``.
        """
        self.flush()
        level = self.definition.validate
        if level is None:
            return {}
        from pytest_crucible.events.validation import problems_of

        found = problems_of(event for event in self._record if not event.internal)
        for problem, count in found.items():
            told = {"problem": problem, "validate": level}
            record_into(self._opened, INVALID, {"count": count}, told)
        return found

    def _check_open(self, what: str) -> None:
        if self._opened.state == CLOSED and self.folder is None:
            raise LifecycleError(f"experiment {self.name!r} is {self.status}: {what} came too late")

    @contextmanager
    def active(self) -> Iterator[Experiment]:
        """Attribute everything emitted in this block, by this thread or task, to this handle."""
        token = current_scope.set(self._opened)
        try:
            yield self
        finally:
            current_scope.reset(token)

    @contextmanager
    def judge(self) -> Iterator[Experiment]:
        """Mark everything in this block, by this thread or task, as a judge's.

        Calls of a model that grades answers belong to the experiment, but their cost is not the
        application's: both are told apart in the summary.
        """
        opened = self._opened
        # Readers know a judge's scope by its number: no frame is needed to say what it means.
        scope = replace(self.scope, role=JUDGE)
        judging = OpenScope(-abs(opened.id), scope, opened.sink, opened.sampler)
        judging.state = opened.state
        opened.judging.append(judging)
        token = current_scope.set(judging)
        # Where spans are captured, OpenTelemetry's own context tells threads, and must agree.
        bridge = sys.modules.get("pytest_crucible.bridges.opentelemetry")
        carried = bridge.carry(judging) if bridge is not None else None
        try:
            yield self
        finally:
            if bridge is not None:
                bridge.drop(carried)
            current_scope.reset(token)
            opened.judging.remove(judging)
            judging.state = CLOSED

    @property
    def ticket(self) -> str:
        """Lets another process record into this trial: hand it over, and `join` there.

        Raises:
            LifecycleError: the experiment is kept in memory (library use), which nobody can join.
        """
        if self.folder is None:
            raise LifecycleError(f"experiment {self.name!r} is kept in memory: no process can join")
        return json.dumps(
            {
                "folder": os.fspath(self.folder),
                "run": self.id,
                "node": self.node,
                "definition": {
                    "name": self.name,
                    **{key: getattr(self.definition, key) for key in obeyed(JOIN)},
                },
                "scope": asdict(self.scope),
            }
        )

    def child_env(self) -> dict[str, str]:
        """The environment for a subprocess that is to `join`: this one's, and the ticket."""
        return {**os.environ, TICKET: self.ticket}

    @property
    def events(self) -> Events:
        """The events of the code under test that belong to this handle, in order.

        A sequence that reads them when it is used, and can be queried:
        ``experiment.events.query(name="req_llm.*", success=False).last(5, "minutes")``.
        """
        from pytest_crucible.queries.events import Events

        return Events(
            lambda: (event for event in self._record if not event.internal),
            self._record.version,
        )

    @property
    def everything(self) -> OwnRecord:
        """`events` and the plugin's own, such as recorded numbers. For this package's use."""
        return self._record

    def metrics(self, *, exact: bool = False) -> Metrics:
        """Metrics over `events` and the numbers given to `record` so far.

        While it runs each call reads only what came since the last one, and beyond a thousand
        numbers percentiles are to within 1 % (`StreamingMetrics`); anomalies are not looked for.
        Afterwards, and where a sample is taken or there are ensembles or hedged requests, all is
        worked out from the record.

        Args:
            exact: read the whole record also while it runs: percentiles are exact, and anomalies
                are told.
        """
        return self._record.metrics(exact=exact)

    def pause(self) -> None:
        """Record nothing until `resume`.

        Raises:
            LifecycleError: it is paused already, or over.
        """
        if self._opened.state in (PAUSED, CLOSED):
            raise LifecycleError(f"experiment {self.name!r} cannot be paused: it is {self.status}")
        pause_scope(self._opened)

    def resume(self) -> None:
        """Record again after `pause`.

        Raises:
            LifecycleError: it is not paused.
        """
        if self._opened.state != PAUSED:
            raise LifecycleError(f"experiment {self.name!r} cannot be resumed: it is {self.status}")
        resume_scope(self._opened)

    @contextmanager
    def paused(self) -> Iterator[Experiment]:
        """Record nothing in this block; errors are those of `pause`."""
        self.pause()
        try:
            yield self
        finally:
            if self._opened.state == PAUSED:  # it may have been resumed or stopped within
                self.resume()

    @property
    def status(self) -> Status:
        """running, paused, stopped, or archived: stopped, and written to an archive."""
        state = self._opened.state
        if state == CLOSED:
            return "stopped" if self.archived_to is None else "archived"
        return "paused" if state == PAUSED else "running"

    @property
    def is_paused(self) -> bool:
        """Whether it records nothing until `resume`."""
        return self._opened.state == PAUSED

    @property
    def reason(self) -> str | None:
        """Why it was stopped: what `stop` was told, or the type of the exception that ended it."""
        return self._opened.timeline.reason

    @property
    def started_at(self) -> datetime:
        """When it began; in UTC, as all the following."""
        return _moment(self._opened.timeline.began_wall_ns)

    @property
    def paused_at(self) -> datetime | None:
        """Since when it has been paused; None if it is not."""
        since = self._opened.timeline.paused_wall_ns
        return None if since is None else _moment(since)

    @property
    def stopped_at(self) -> datetime | None:
        """When it ended; None if it has not."""
        ended = self._opened.timeline.ended_wall_ns
        return None if ended is None else _moment(ended)

    @property
    def duration_s(self) -> float:
        """Seconds from the start to the end, or until now; by a clock that is never set back."""
        return self._opened.timeline.durations()[0] / 1e9

    @property
    def active_s(self) -> float:
        """The part of `duration_s` in which it recorded, in seconds."""
        duration, paused = self._opened.timeline.durations()
        return (duration - paused) / 1e9

    @property
    def paused_s(self) -> float:
        """The part of `duration_s` in which it was paused, in seconds."""
        return self._opened.timeline.durations()[1] / 1e9

    @property
    def pause_count(self) -> int:
        """How often it was paused."""
        return self._opened.timeline.pauses

    def __repr__(self) -> str:
        return f"<experiment {self.name!r} {self.condition!r} {self.status}>"


def _moment(time_ns: int) -> datetime:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=rest // 1000)
