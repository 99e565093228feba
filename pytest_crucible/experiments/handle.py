"""The handle of an experiment: the ``experiment`` fixture, or what ``experiment()`` yields."""

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
from pytest_crucible.runs.experiment_definition import JOIN, Definition, obeyed

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

    A test gets one from the fixture: ``def test_it(experiment: Experiment)``. Outside pytest,
    `experiment` and `start` return one.

    Events emitted through the handle always belong to this experiment, in any thread.

    Attributes:
        definition: the experiment as its author described it.
        scope: condition, test, case, trial and attempt.
        arm: value of the arm: of ``conditions={"short": PROMPT}``, or of the parametrized argument
            (of several, a dictionary) that ``conditions=`` names; else the condition's name.
        id: id of the run that holds the record.
        node: name of the process that records.
        folder: folder of the run; None for a run in memory.
        archived_to: the archive of this experiment; None without one.
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
        self.arm: Any = opened.scope.condition
        self._opened = opened
        self._record = OwnRecord(opened, store, run, node, since)
        self.id = run
        self.node = node
        self.folder = folder
        self.archived_to: Path | None = None
        self._steps = StepLog()

    @property
    def name(self) -> str:
        """Name of the experiment."""
        return self.definition.name

    @property
    def condition(self) -> str:
        """The arm; ``default`` if the experiment has only one."""
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
        """Emit an event as `telemetry.execute` does, but always for this experiment."""
        if (
            current_scope.get() is self._opened
        ):  # the usual case in a test: the scope is set already
            telemetry.execute(name, measurements, metadata)
            return
        with self.active():
            telemetry.execute(name, measurements, metadata)

    def span(self, name: str, metadata: Mapping[str, Any] | None = None, /, **more: Any) -> Span:
        """Open a span as `telemetry.span` does, but always for this experiment."""
        return Span(name, {**metadata, **more} if metadata else more, self._opened)

    def record(self, **numbers: SupportsFloat) -> None:
        """Record numbers of this trial; each name becomes a metric: ``record(score=0.9)``.

        Raises:
            TypeError: a value is not a number. Booleans count as 0 and 1.
            ValueError: a built-in metric has this name.
            LifecycleError: the experiment, outside pytest, has been stopped.
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

        Under pytest, the number is in the run folder when this returns. Each name becomes a curve:
        the summary shows its first, last and best value; expectations use ``loss.last < 0.5``.

        Args:
            name: name of the number, e.g. ``loss``.
            value: the number; NaN and infinity are recorded, too, and counted.
            step: a whole number; if it was logged before, this value replaces the earlier one.
                Default: one more than the highest step so far, from 0.
            best: ``min`` or ``max``; default: ``min`` for losses, errors and so on, else ``max``.
            more: stored with the number, and given to adapters.

        Returns:
            The value as a plain number.

        Raises:
            TypeError: the value is not a number, or the step not a whole number.
            ValueError: a built-in metric has this name, the name is not printable, or ``best`` is
                neither min nor max.
            LifecycleError: the experiment, outside pytest, has been stopped.
        """
        self._check_open("log")
        if name in RESERVED_NAMES:
            raise ValueError(f"log({name!r}, …): {name} is a built-in metric; use another name")
        check_log(name, best)
        number = plain_number(f"log({name!r}, ", value)
        position = self._steps.place(name, step_number(name, step))
        metadata = {"name": name, **more} if best is None else {"name": name, "best": best, **more}
        self.execute(LOG, {"value": number, "step": position}, metadata)
        if self._steps.adapters and not self._opened.state:
            with self.active():
                self._steps.tell(self.id, self.scope, name, number, position, more)
        return number

    def logged(self, name: str) -> Curve:
        """Return the curve of ``name`` so far: ``steps, values = experiment.logged("loss")``.

        Both are in the order of the steps; for a step that was logged twice, with the later value.
        """
        from pytest_crucible.metrics.curves import curve_of

        return curve_of(self._record, name)

    def log_to(self, adapter: MetricsAdapter) -> None:
        """Give ``adapter`` every number that is logged from now on, in addition to the record.

        The adapter is flushed when the trial, or the experiment, ends. If it raises, it is detached
        and the summary reports that.

        Raises:
            TypeError: ``adapter`` lacks a method of `MetricsAdapter`.
        """
        check_adapter(adapter)
        self._steps.adapters.append(adapter)

    def flush(self) -> None:
        """Flush the adapters. For this package's use."""
        if self._steps.adapters:
            with self.active():
                self._steps.flush()

    def settle(self) -> dict[str, int]:
        """Flush the adapters and validate events, before the end. For this package's use.

        Returns:
            The number of invalid events by problem; empty without ``validate``.
        """
        self.flush()
        level = self.definition.validate
        if level is None:
            return {}
        from pytest_crucible.events.validation import problems_of

        problems = problems_of(event for event in self._record if not event.internal)
        for problem, count in problems.items():
            metadata = {"problem": problem, "validate": level}
            record_into(self._opened, INVALID, {"count": count}, metadata)
        return problems

    def _check_open(self, what: str) -> None:
        if self._opened.state == CLOSED and self.folder is None:
            raise LifecycleError(f"experiment {self.name!r} is {self.status}: {what} came too late")

    @contextmanager
    def active(self) -> Iterator[Experiment]:
        """Attribute all events that this thread or task emits in this block to this handle."""
        token = current_scope.set(self._opened)
        try:
            yield self
        finally:
            current_scope.reset(token)

    @contextmanager
    def judge(self) -> Iterator[Experiment]:
        """Mark all events that this thread or task emits in this block as those of a judge.

        A judge is a model that grades answers. Its calls belong to the experiment, but the summary
        shows their cost apart from that of the application.
        """
        opened = self._opened
        # A negative number marks the scope of a judge: readers need no frame that describes it.
        scope = replace(self.scope, role=JUDGE)
        judging = OpenScope(-abs(opened.id), scope, opened.sink, opened.sampler)
        judging.state = opened.state
        opened.judging.append(judging)
        token = current_scope.set(judging)
        # If spans are captured, OpenTelemetry's context must hold the same scope.
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
        """A text that lets another process record into this trial, with `join`.

        Raises:
            LifecycleError: the experiment is in memory (outside pytest), so no process can join.
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
        """Return the environment for a subprocess that calls `join`: this one's, and the ticket."""
        return {**os.environ, TICKET: self.ticket}

    @property
    def events(self) -> Events:
        """The events of this experiment in order, without those of the plugin itself.

        A sequence that reads the record when it is used, and can be queried:
        ``experiment.events.query(name="req_llm.*", success=False).last(5, "minutes")``.
        """
        from pytest_crucible.queries.events import Events

        return Events(
            lambda: (event for event in self._record if not event.internal),
            self._record.version,
        )

    @property
    def everything(self) -> OwnRecord:
        """`events`, and those of the plugin itself (recorded numbers). For this package's use."""
        return self._record

    def metrics(self, *, exact: bool = False) -> Metrics:
        """Work out the metrics of `events` and of the numbers given to `record` so far.

        While the experiment runs, a call reads only the events since the last call. Beyond a
        thousand numbers, percentiles are then within 1 % (`StreamingMetrics`), and anomalies are
        left out. After the end, and with sampling, ensembles or hedged requests, a call reads the
        whole record.

        Args:
            exact: always read the whole record: percentiles are exact, and anomalies are included.
        """
        return self._record.metrics(exact=exact)

    def pause(self) -> None:
        """Record nothing until `resume`.

        Raises:
            LifecycleError: the experiment is paused or stopped.
        """
        if self._opened.state in (PAUSED, CLOSED):
            raise LifecycleError(f"experiment {self.name!r} cannot be paused: it is {self.status}")
        pause_scope(self._opened)

    def resume(self) -> None:
        """Record again after `pause`.

        Raises:
            LifecycleError: the experiment is not paused.
        """
        if self._opened.state != PAUSED:
            raise LifecycleError(f"experiment {self.name!r} cannot be resumed: it is {self.status}")
        resume_scope(self._opened)

    @contextmanager
    def paused(self) -> Iterator[Experiment]:
        """Record nothing in this block; raises what `pause` raises."""
        self.pause()
        try:
            yield self
        finally:
            if self._opened.state == PAUSED:  # the block may have resumed or stopped it
                self.resume()

    @property
    def status(self) -> Status:
        """running, paused, stopped or archived (stopped, and written to an archive)."""
        state = self._opened.state
        if state == CLOSED:
            return "stopped" if self.archived_to is None else "archived"
        return "paused" if state == PAUSED else "running"

    @property
    def is_paused(self) -> bool:
        """Whether the experiment is paused: it records nothing until `resume`."""
        return self._opened.state == PAUSED

    @property
    def reason(self) -> str | None:
        """Why it was stopped: the argument of `stop`, or the type of the exception."""
        return self._opened.timeline.reason

    @property
    def started_at(self) -> datetime:
        """When it began, in UTC."""
        return _moment(self._opened.timeline.began_wall_ns)

    @property
    def paused_at(self) -> datetime | None:
        """When the present pause began, in UTC; None if it is not paused."""
        since = self._opened.timeline.paused_wall_ns
        return None if since is None else _moment(since)

    @property
    def stopped_at(self) -> datetime | None:
        """When it ended, in UTC; None if it has not."""
        ended = self._opened.timeline.ended_wall_ns
        return None if ended is None else _moment(ended)

    @property
    def duration_s(self) -> float:
        """Seconds from the start to the end, or until now; by a monotonic clock."""
        return self._opened.timeline.durations()[0] / 1e9

    @property
    def active_s(self) -> float:
        """Seconds of `duration_s` in which it recorded."""
        duration, paused = self._opened.timeline.durations()
        return (duration - paused) / 1e9

    @property
    def paused_s(self) -> float:
        """Seconds of `duration_s` in which it was paused."""
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
