"""Trials as pytest runs them: setup begins an attempt, the report of teardown ends it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import pytest

from pytest_crucible import _clock
from pytest_crucible._errors import ValidationError
from pytest_crucible.capture.open_scope import OpenScope, current_scope
from pytest_crucible.capture.recorder import record_into
from pytest_crucible.events.event import TRIAL_START, TRIAL_STOP
from pytest_crucible.events.scope import Scope
from pytest_crucible.experiments.handle import Experiment
from pytest_crucible.experiments.recording import NodeRecording
from pytest_crucible.metrics.trials import DECIDED
from pytest_crucible.runs.experiment_definition import ERROR, Definition
from pytest_crucible.session.case_referee import CaseReferee
from pytest_crucible.session.fixture import LateMarkerError
from pytest_crucible.session.marker import IDENTITY, TrialIdentity
from pytest_crucible.session.outcome import (
    FAILED_SUBTESTS,
    RECORDED,
    TRIAL,
    phase_outcome,
    trial_outcome,
    worse,
)
from pytest_crucible.session.scope_capture import ScopeCapture
from pytest_crucible.session.span_capture import Capture
from pytest_crucible.session.trial_error import error_of

BUDGET = "crucible-budget"
"""Plugin name of `session.budget.Budget`."""

STOPPING = "crucible-stopping"
"""Plugin name of `session.stopping.Stopping`."""


@dataclass(slots=True)
class _Attempt:
    """The running attempt of a trial."""

    identity: TrialIdentity
    opened: OpenScope
    since: int  # position in the store
    began_ns: int
    referee: CaseReferee
    handle: Experiment | None = None
    outcomes: dict[str, str] = field(default_factory=dict)  # phase → outcome
    error: str | None = None
    decided: str | None = None  # why no further trial is needed
    called: bool = False  # whether the test's function has returned or raised


class TrialHooks:
    """Records the trials of this process. Registered if the session has experiments.

    All these hooks run in every test, marked or not. So hooks that only some sessions need are in
    classes of their own: `ScopeCaptureHooks`, `AsyncTrials`, `Validation`, `RecordedFailures`,
    `Budget`.

    Args:
        recording: of this process.
        capture: captures the spans of every scope that is opened here.
        flush: called at the start and the end of each trial, outside pytest-timeout's timer.
    """

    def __init__(
        self,
        recording: NodeRecording,
        capture: Capture,
        flush: Callable[[], None] | None,
    ) -> None:
        self.recording = recording
        self.capture = capture
        self.flush = flush
        self.scope_capture = ScopeCapture(recording, capture)
        self._attempt: _Attempt | None = None
        self._counts: dict[tuple[str, int], int] = {}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        if self._attempt is not None:
            self.interrupt()  # no teardown report came
        identity = item.stash.get(IDENTITY, None)
        if identity is not None:
            self._begin(item, identity)
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self) -> Generator[None, object, object]:
        try:
            return (yield)
        finally:
            if self._attempt is not None:
                self._attempt.called = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        attempt = self._attempt
        if attempt is None:
            return report
        definition = attempt.identity.definition
        setattr(report, TRIAL, True)
        error = None if call.excinfo is None else call.excinfo.value
        before, outcome = attempt.outcomes.get(call.when), phase_outcome(report, error, item)
        attempt.outcomes[call.when] = worse(before, outcome)
        # While the test is running, it is the report of a subtest.
        if call.when == "call" and error is None and attempt.called and attempt.referee.failed:
            attempt.outcomes["call"] = attempt.referee.fail(report)
        recorded = definition.failures == "record" and call.when == "call"
        if report.failed:
            # What is raised around blocks is no failed trial: it fails the session, and is shown.
            recorded = recorded and not (attempt.referee.began and error is not None)
            of_blocks = error is None and attempt.referee.began  # then it reached its end
            if attempt.outcomes[call.when] != before and not of_blocks:
                attempt.error = _error(item, report, call)  # of several subtests, of the first
            if recorded and not isinstance(error, LateMarkerError):
                setattr(report, RECORDED, definition.name)
        elif report.passed and attempt.outcomes[call.when] != outcome:
            setattr(report, FAILED_SUBTESTS, True)
            if recorded:
                setattr(report, RECORDED, definition.name)
        if call.when == "teardown":
            self._end(None)
        return report

    @property
    def opened(self) -> OpenScope | None:
        """The scope of the running trial; None between trials."""
        return None if self._attempt is None else self._attempt.opened

    def note_decided(self, text: str) -> None:
        """Note with the running trial why no further one is needed."""
        if self._attempt is not None:
            self._attempt.decided = text

    def handle(self) -> Experiment | None:
        """Return the handle of the running trial, and make it if needed; None between trials."""
        attempt = self._attempt
        if attempt is None:
            return None
        if attempt.handle is None:
            definition = attempt.identity.definition
            attempt.handle = self.recording.handle(
                definition, attempt.opened, attempt.since, attempt.referee
            )
            attempt.handle.arm = attempt.identity.arm
        return attempt.handle

    def interrupt(self) -> None:
        """End the running trial, if there is one, before the report of its teardown."""
        self._end("interrupted")

    def finish(self) -> None:
        """End everything that is still open, because the session is over."""
        self.interrupt()
        self.scope_capture.leave(None)
        self.capture.close()

    def _begin(self, item: pytest.Item, identity: TrialIdentity) -> None:
        attempted = identity.test, identity.trial
        number = self._counts[attempted] = self._counts.get(attempted, 0) + 1
        scope = Scope(
            experiment=identity.definition.name,
            condition=identity.condition,
            test=identity.test,
            case=identity.case,
            trial=identity.trial,
            attempt=number,
        )
        opened = self.recording.open(scope, identity.definition.sampling)
        opened.handle = self.handle
        file, line, _ = item.location
        facts = {"file": file, "line": (line or 0) + 1, **identity.facts}
        record_into(opened, TRIAL_START, {}, facts)
        since = self.recording.store.position()
        referee = CaseReferee(
            item,
            lambda: _refusal(item.config, identity),
            lambda: _decided(item.config, identity) is not None,
            lambda failed: _is_enough(item, identity.definition, failed),
        )
        self._attempt = _Attempt(identity, opened, since, _clock.monotonic_ns(), referee)
        current_scope.set(opened)
        self.capture.enter(opened)
        if self.flush is not None:
            self.flush()

    def _end(self, outcome: str | None) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            return
        if attempt.handle is not None:
            attempt.handle.flush()
        metadata = {"outcome": outcome or trial_outcome(attempt.outcomes)}
        if attempt.error is not None:
            metadata["error"] = attempt.error
        if attempt.decided is not None:
            metadata[DECIDED] = attempt.decided
        duration = _clock.monotonic_ns() - attempt.began_ns
        record_into(attempt.opened, TRIAL_STOP, {"duration": duration}, metadata)
        self.capture.leave(attempt.opened)
        self.recording.close_scope(attempt.opened)
        self.scope_capture.resume()


def _error(item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]) -> str:
    if call.excinfo is not None:
        return error_of(call.excinfo, item, call.when)
    file, line, _ = item.location
    what = "XPASS(strict)" if str(report.longrepr).startswith("[XPASS(strict)]") else "failed"
    return f"{what} at {file}:{(line or 0) + 1}"


def _refusal(config: pytest.Config, identity: TrialIdentity) -> str | None:
    """Return why no further case of a test may run; None if one may."""
    budget: Any = config.pluginmanager.getplugin(BUDGET)
    definition = identity.definition
    spent = None if budget is None else budget.refusal(definition.name, definition.budget_usd)
    return spent or _decided(config, identity)


def _decided(config: pytest.Config, identity: TrialIdentity) -> str | None:
    """Return why no further case of a test is needed; None if one is."""
    stopping: Any = config.pluginmanager.getplugin(STOPPING)
    return None if stopping is None else stopping.decided_in_loop(identity.definition.name)


def _is_enough(item: pytest.Item, definition: Definition, failed: int) -> bool:
    """Whether the session stops after so many failed cases of the running test."""
    most = item.config.getoption("maxfail")
    before = item.session.testsfailed
    return bool(most) and definition.failures != "record" and before + failed >= most


class ScopeCaptureHooks:
    """Opens and closes the scopes of classes, modules and the session, around every test.

    Registered if a marker has such a ``scope=``, or if a worker sends its record.
    """

    def __init__(self, hooks: TrialHooks) -> None:
        self._hooks = hooks

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        self._hooks.scope_capture.enter(item)
        try:
            return (yield)
        finally:
            self._hooks.interrupt()  # only if no teardown report came
            self._hooks.scope_capture.leave(nextitem)
            if self._hooks.flush is not None:
                self._hooks.flush()


class Validation:
    """Checks the events of each trial at its end. Registered if a marker has ``validate=``."""

    def __init__(self, hooks: TrialHooks) -> None:
        self._hooks = hooks

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        handle = self._hooks.handle()
        if handle is None or handle.definition.validate is None:
            return (yield)
        problems: dict[str, int] = {}
        try:
            result = yield
        finally:
            problems = handle.settle()  # after the teardown of fixtures, which may emit events
        if problems and handle.definition.validate == ERROR:
            error = ValidationError(handle.name, problems)
            raise pytest.fail.Exception(str(error), pytrace=False) from error
        return result


class AsyncTrials:
    """Sets the scope inside async tests. Registered if there are trials that are coroutines.

    An async plugin may run the test in a task that is older than the trial, so the task's context
    does not have the trial's scope.
    """

    def __init__(self, hooks: TrialHooks) -> None:
        self._hooks = hooks

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Generator[None, object, object]:
        opened, original = self._hooks.opened, pyfuncitem.obj
        if opened is None or not inspect.iscoroutinefunction(original):
            return (yield)

        @wraps(original)
        async def in_scope(*args: Any, **kwargs: Any) -> Any:
            token = current_scope.set(opened)
            try:
                return await original(*args, **kwargs)
            finally:
                current_scope.reset(token)

        pyfuncitem.obj = in_scope
        try:
            return (yield)
        finally:
            pyfuncitem.obj = original


def any_async(items: Iterable[pytest.Item]) -> bool:
    """Whether any of the tests is a coroutine function."""
    objects = (getattr(item, "obj", None) for item in items)
    # Look at each function once: thousands of parametrized tests may share it.
    functions = {id(getattr(function, "__func__", function)): function for function in objects}
    return any(map(inspect.iscoroutinefunction, functions.values()))
