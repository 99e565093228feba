"""The handle of an experiment: the ``experiment`` fixture, or what ``experiment()`` yields."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, SupportsFloat, SupportsIndex

from pytest_crucible import telemetry
from pytest_crucible._errors import LifecycleError
from pytest_crucible._html import table
from pytest_crucible.capture.open_scope import CLOSED, OpenScope, current_scope
from pytest_crucible.capture.recorder import insert_into, record_into
from pytest_crucible.capture.span import Span
from pytest_crucible.events.event import INVALID, LOG, RECORD
from pytest_crucible.events.scope import JUDGE
from pytest_crucible.experiments.case_block import (
    CaseBlock,
    Library,
    OnFailure,
    Referee,
    Scopes,
    check_block,
)
from pytest_crucible.experiments.lifecycle import Lifecycle
from pytest_crucible.experiments.own_record import OwnRecord
from pytest_crucible.experiments.step_log import (
    StepLog,
    check_adapter,
    check_log,
    inserted_ns,
    plain_number,
    step_number,
)
from pytest_crucible.metrics.catalog import RESERVED_NAMES
from pytest_crucible.record.store import Store
from pytest_crucible.runs.experiment_definition import JOIN, Definition, obeyed

if TYPE_CHECKING:
    from pytest_crucible.experiments.adapters import MetricsAdapter
    from pytest_crucible.experiments.measure import Timing
    from pytest_crucible.metrics.curves import Curve
    from pytest_crucible.metrics.values import Metrics
    from pytest_crucible.queries.events import Events

TICKET = "CRUCIBLE_TICKET"
"""Environment variable that carries a ticket to a subprocess."""


class Experiment(Lifecycle):
    """One experiment under one condition; under pytest, one trial of it.

    A test gets one from the fixture: ``def test_it(experiment: Experiment)``. Outside pytest,
    `experiment` and `start` return one.

    Events emitted through the handle always belong to this experiment, in any thread.

    Attributes:
        definition: the experiment as its author described it.
        scope: condition, test, case, trial and attempt.
        opened: the scope that it records into, and ``scopes``, which opens others in its record.
            For this package's use.
        referee: says what becomes of a `case` that raises. For this package's use.
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
        *,
        scopes: Scopes,
        referee: Referee | None = None,
    ) -> None:
        self.definition = definition
        self.scope = opened.scope
        self.arm: Any = opened.scope.condition
        self.opened = opened
        opened.handle = lambda: self
        self._store = store
        self._record = OwnRecord(opened, store, run, node, since, definition.metrics)
        self.scopes = scopes
        self.referee = referee or Library()
        self._seen: dict[str, int] = {}
        self._lock = threading.Lock()
        self.id = run
        self.node = node
        self.folder = folder
        self.archived_to: Path | None = None
        self._steps = StepLog()

    @property
    def condition(self) -> str:
        """The arm; ``default`` if the experiment has only one."""
        return self.scope.condition

    @property
    def case_id(self) -> str | None:
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
        here = self._here()
        if current_scope.get() is here:  # the usual case in a test: the scope is set already
            telemetry.execute(name, measurements, metadata)
            return
        token = current_scope.set(here)
        try:
            telemetry.execute(name, measurements, metadata)
        finally:
            current_scope.reset(token)

    def insert(
        self,
        name: str,
        measurements: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        *,
        at: datetime,
    ) -> None:
        """Record an event that happened elsewhere or earlier, with its own time.

        It stands at this time in `events`, exports and windows; its sequence is that of recording,
        its attribution ``inserted``. Handlers are not called, since it does not happen now.

        Args:
            name, measurements, metadata: as for `telemetry.execute`.
            at: when it happened, with its time zone: ``datetime.now(timezone.utc)``.

        Raises:
            TypeError: ``at`` is not a ``datetime``.
            ValueError: ``at`` has no time zone, or is not between the years 1970 and 2261.
            LifecycleError: the experiment, outside pytest, has been stopped.
        """
        self._check_open("insert")
        insert_into(self._here(), name, measurements, metadata, inserted_ns(at))

    def span(self, name: str, metadata: Mapping[str, Any] | None = None, /, **more: Any) -> Span:
        """Open a span as `telemetry.span` does, but always for this experiment."""
        return Span(name, {**metadata, **more} if metadata else more, self._here())

    def case(
        self,
        case: object,
        /,
        *,
        cluster: object = None,
        on_failure: OnFailure | None = None,
        **metadata: Any,
    ) -> CaseBlock[Experiment]:
        """Make a trial of a block: ``with experiment.case("q17", cluster="doc3") as case:``.

        The trial has its own events, numbers and outcome; what is recorded in the block, also
        through this handle, belongs to it. A second block with the same id is its second trial.
        Under pytest an error is recorded and the code behind the block goes on, as with
        ``subtests.test``, and the test is no trial itself. Outside, the error is raised, too.

        Args:
            case: the id of the case, a text or a number; the same in every run.
            cluster: the group that the case belongs to (questions on one document).
            on_failure: ``raise`` or ``record``: whether an error goes on; default as above.
            metadata: describes the content of the case, for ``slices`` and to notice in a
                comparison that an id stands for another case. Only a hash of it is kept.

        Raises:
            DefinitionError: an id is no plain value.
            LifecycleError: the experiment has ended, or this is the handle of a case.
        """
        self._check_open("case")
        if self.opened.parent is not None:
            raise LifecycleError(f"case {self.case_id!r}: a case cannot contain other cases")
        name, group = check_block(case, cluster, on_failure)
        if self._here() is not self.opened:
            raise LifecycleError(f"case {name!r}: another case is still open here; end it first")
        return CaseBlock(self, name, group, on_failure, metadata)

    @property
    def decided(self) -> bool:
        """Whether the claims of a marker with ``stop="decided"`` are decided.

        A loop over cases can `break` then. Without that, the next `case` skips the rest of the
        test, as it does when a budget is spent.
        """
        return self.referee.decided()

    def enter(self, case: str) -> Experiment:
        """Open the scope of a `case`, and return its handle. For this package's use."""
        with self._lock:
            seen = self._seen[case] = self._seen.get(case, 0) + 1
        trial = (self.scope.trial or 1) + (seen - 1) * self.definition.trials
        scope = replace(self.scope, case=case, trial=trial)
        since = self._store.position()
        opened = self.scopes.open(scope, self.definition.sampling)
        self.opened.enclose(opened)
        inner = Experiment(
            self.definition, opened, self._store, self.id, self.node, self.folder, since,
            scopes=self.scopes, referee=self.referee,
        )  # fmt: skip
        inner._steps.adapters = self._steps.adapters
        return inner

    def leave(self, inner: Experiment) -> None:
        """Close the scope of a `case`. For this package's use."""
        self.scopes.close_scope(inner.opened)
        self.opened.release(inner.opened)

    def _here(self) -> OpenScope:
        """Return where this handle records now: into its scope, or into a case inside of it."""
        current = current_scope.get()
        while current is not None:
            inner = current.of_code_under_test
            # A task that began in a case may outlive it.
            if inner is self.opened or (inner.parent is self.opened and inner.state != CLOSED):
                return inner
            current = current.around
        return self.opened

    def _in_case(self) -> Experiment:
        """Return the handle of the case that runs here; this one if none does."""
        here = self._here()
        handle: Experiment = self if here.handle is None else here.handle()
        return handle

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

    def measure(
        self,
        func: Callable[..., object],
        /,
        *args: Any,
        name: str | None = None,
        processes: int = 1,
        rounds: int | None = None,
        loops: int | None = None,
        gc: bool | None = None,
        affinity: int | None = None,
        **kwargs: Any,
    ) -> Timing:
        """Time a fast function: ``experiment.measure(parse, text, processes=5)``.

        It is warmed up, and called in rounds of an inner loop so long that the clock does not
        matter. Every process becomes an observation of the metric: the median of its rounds, in ms.
        Only processes are independent of each other (memory layout, hash seed), so a verdict about
        a single case needs several.

        Args:
            func: what is measured, called as ``func(*args, **kwargs)``.
            name: of the metric; default: the name of the function.
            processes: number of processes. 1: this one; else fresh interpreters, which import the
                function by its name, and get arguments that are JSON values.
            rounds: of each process; default: for about 1 s in all, from 5 rounds in all to 200 of
                each process.
            loops: calls per round; default: so many that a round takes 1 ms, and 100 times the
                resolution of the clock.
            gc: whether the garbage collector runs meanwhile; None: as it is.
            affinity: the number of the CPU to run on meanwhile; None: on any.

        Raises:
            DefinitionError: an argument makes no sense, or the function only makes coroutines.
            RuntimeError: the function raised in a fresh process; here, its own error goes on.
            LifecycleError: the experiment, outside pytest, has been stopped.
        """
        from pytest_crucible.experiments.measure import measured, planned

        self._check_open("measure")
        plan = planned(
            func, args, kwargs, name=name, declared=self.definition.metrics, processes=processes,
            rounds=rounds, loops=loops, gc=gc, affinity=affinity,
        )  # fmt: skip
        timing, names = measured(plan)
        for process, seconds, median in zip(names, timing.values, timing.medians, strict=True):
            rounds_ms = [each * 1e3 for each in seconds]
            facts = {"process": process, "loops": timing.loops, "rounds_ms": rounds_ms}
            self.execute(RECORD, {timing.name: median * 1e3}, facts)
        return timing

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
        of_case = self._in_case()
        position = of_case._steps.place(name, step_number(name, step))
        metadata = {"name": name, **more} if best is None else {"name": name, "best": best, **more}
        self.execute(LOG, {"value": number, "step": position}, metadata)
        if self._steps.adapters and not self.opened.state:
            with self.active():
                self._steps.tell(self.id, of_case.scope, name, number, position, more)
        return number

    def logged(self, name: str) -> Curve:
        """Return the curve of ``name`` so far: ``steps, values = experiment.logged("loss")``.

        Both are in the order of the steps; for a step that was logged twice, with the later value.
        """
        from pytest_crucible.metrics.curves import curve_of

        return curve_of(self._in_case()._record, name)

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
            record_into(self.opened, INVALID, {"count": count}, metadata)
        return problems

    def _check_open(self, what: str) -> None:
        if self.opened.state == CLOSED and self.folder is None:
            raise LifecycleError(f"experiment {self.name!r} is {self.status}: {what} came too late")

    @contextmanager
    def active(self) -> Iterator[Experiment]:
        """Attribute all events that this thread or task emits in this block to this handle."""
        token = current_scope.set(self.opened)
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
        around = self._here()
        # A negative number marks the scope of a judge: readers need no frame that describes it.
        scope = replace(around.scope, role=JUDGE)
        judging = OpenScope(-abs(around.id), scope, around.sink, around.sampler)
        around.enclose(judging)
        judging.around = current_scope.get()
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
            around.release(judging)
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
                "scope": asdict(self._here().scope),
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
            told=lambda: {self.name: (self.definition.tags, self.definition.metadata)},
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
        return self._record.metrics(self.definition, exact=exact)

    def _repr_html_(self) -> str:
        metrics = self.metrics()
        state = self.status if self.reason is None else f"{self.status}: {self.reason}"
        facts = [("status", state), ("id", self.id), ("active, s", self.active_s)]
        facts += [("hypothesis", self.definition.hypothesis)] if self.definition.hypothesis else []
        shown = table(f"{self.name} ({self.condition})", (), facts)
        return shown + (metrics._repr_html_() if metrics.summary.total_events else "")

    def __repr__(self) -> str:
        return f"<experiment {self.name!r} {self.condition!r} {self.status}>"
