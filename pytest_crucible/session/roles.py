"""Roles of processes: the only process, or a worker of xdist (`session.controller` has the third).

Each process that runs tests records into its own spool file in the run folder. The process that
prints the summary reads these files. ``workerinput`` says which role a process has; the environment
must not, because nested sessions inherit it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_crucible._files import check_writable, make_run_folder, new_run_id
from pytest_crucible.experiments.own_record import load_readers
from pytest_crucible.experiments.recording import NodeRecording
from pytest_crucible.runs.experiment_definition import Definition
from pytest_crucible.runs.machine import load_average
from pytest_crucible.session.controller import (
    NOTES,
    RESCUED,
    WORKERINPUT,
    WORKEROUTPUT,
    rescue,
)
from pytest_crucible.session.expand import counterbalance, place_warmups
from pytest_crucible.session.fixture import MARKERS, TRIALS, count_markers
from pytest_crucible.session.marker import (
    IDENTITY,
    TrialIdentity,
    combine,
    definition_of,
    identify,
    name_arms,
)
from pytest_crucible.session.outcome import FailedSubtests, RecordedFailures, may_have_subtests
from pytest_crucible.session.settings import LOAD, SETTINGS, unknown_format
from pytest_crucible.session.setup_scope import SetupScopes, any_wide_fixture
from pytest_crucible.session.span_capture import Capture
from pytest_crucible.session.transport import (
    Channel,
    Shipper,
    measure_clock,
    same_place,
)
from pytest_crucible.session.trials import (
    BUDGET,
    STOPPING,
    AsyncTrials,
    ScopeCaptureHooks,
    TrialHooks,
    Validation,
    any_async,
)
from pytest_crucible.session.turns import TURNS, Turns


def refuse(session_items: list[pytest.Item], config: pytest.Config, problem: str) -> None:
    """Stop before any test runs, with one line.

    If a worker raised the usage error, xdist's controller would report an internal error. So a
    worker empties its collection and sends the line to the controller, which raises it.

    Raises:
        pytest.UsageError: this process is no worker.
    """
    if not hasattr(config, "workeroutput"):
        raise pytest.UsageError(problem)
    config.workeroutput[WORKEROUTPUT] = problem
    session_items.clear()


def gather(items: list[pytest.Item], config: pytest.Config) -> None:
    """Find out which items are trials of which experiment, and order their conditions fairly.

    Raises:
        pytest.UsageError: a marker is invalid.
    """
    try:
        definitions = _identify(items, config)
        if any(definition.conditions for definition in definitions):
            counterbalance(items)
        place_warmups(items)
    except pytest.UsageError as error:
        refuse(items, config, str(error))


def gather_late(items: list[pytest.Item], config: pytest.Config) -> bool:
    """Look again when collection is over, for markers that a hook has added since `gather`.

    Returns:
        Whether any item is a trial.

    Raises:
        pytest.UsageError: a marker is invalid, or came too late to be obeyed.
    """
    try:
        _identify(items, config)
    except pytest.UsageError as error:
        refuse(items, config, str(error))
    return any(IDENTITY in item.stash for item in items)


def _identify(items: list[pytest.Item], config: pytest.Config) -> Iterable[Definition]:
    """Note in the stash of each marked item which trial it is; return the definitions."""
    definitions: dict[int, Definition] = {}
    worker = _worker_of_dist_each(config)
    for item in items:
        definition = definition_of(item, definitions)
        if definition is None:
            continue
        identity = item.stash.get(IDENTITY, None)
        if identity is None or (identity.origin or identity.definition) != definition:
            identity = identify(item, definition, worker)
        item.stash[IDENTITY] = identity
        item.stash[MARKERS] = count_markers(item)
    name_arms(items)
    identities = [item.stash[IDENTITY] for item in items if IDENTITY in item.stash]
    combine(identities)  # for its checks: it refuses before any test runs
    return [identity.definition for identity in identities]


def _worker_of_dist_each(config: pytest.Config) -> str | None:
    """Return the worker's name with ``--dist each``, where every worker runs every trial."""
    workerinput = getattr(config, "workerinput", {})
    return workerinput["workerid"] if workerinput.get(WORKERINPUT, {}).get("each") else None


class Recorder:
    """A process that runs tests; it starts to record when collection is over."""

    def __init__(self, config: pytest.Config, run: str, node: str, output: Path) -> None:
        self._config = config
        self.run = run
        self.node = node
        self.output = output
        self.folder: Path | None = None
        self._hooks: TrialHooks | None = None
        self._recording: NodeRecording | None = None
        self.capture_problems: list[str] = []

    def _start(self, folder: Path) -> NodeRecording:
        """Make the recording of this process."""
        return NodeRecording(folder, self.run, self.node)

    def _flusher(self) -> Callable[[], None] | None:
        """Return what to call around each trial, outside pytest-timeout's timer; None: nothing."""
        return None

    def begin(self, session: pytest.Session) -> None:
        """Begin to record: all items are known, and none has run.

        Raises:
            pytest.UsageError: the run cannot be recorded.
        """
        turns: Turns | None = self._config.pluginmanager.getplugin(TURNS)
        if turns is not None:
            turns.prepare(session.items)
        try:
            definitions = self._definitions(session.items)
        except pytest.UsageError as error:
            refuse(session.items, self._config, str(error))
            return
        identities = [(item, item.stash.get(IDENTITY, None)) for item in session.items]
        trials = [(item, identity) for item, identity in identities if identity is not None]
        plan = [identity for _, identity in trials]
        unknown = unknown_format(self._config)
        if unknown is not None:
            refuse(session.items, self._config, unknown)
            return
        try:
            check_writable(self.output)
            self.folder = make_run_folder(self.output, self.run)
            self._recording = self._start(self.folder)
        except OSError as error:
            refuse(session.items, self._config, f"experiments cannot be recorded: {error}")
            return
        planned = [identity for identity in plan if identity.trial > 0]
        if turns is not None:
            turns.began(self.folder)
            planned = turns.rounds_of(planned)
        self._recording.announce(definitions, [identity.key for identity in planned])
        capture = Capture(self._config, self._recording.store)
        self.capture_problems = capture.preflight()
        self._hooks = TrialHooks(self._recording, capture, self._flusher())
        self._register([item for item, _ in trials], plan, self._hooks)
        if any(definition.stop for definition in definitions.values()):
            self._stop_when_decided(definitions, plan, self._hooks)

    def _definitions(self, items: list[pytest.Item]) -> dict[str, Definition]:
        """Return the experiments; put the cases of those that may stop early in random order.

        Raises:
            pytest.UsageError: an experiment could never stop.
        """
        plan = [item.stash[IDENTITY] for item in items if IDENTITY in item.stash]
        definitions = {name: self._settled(each) for name, each in combine(plan).items()}
        stopping = {name: each for name, each in definitions.items() if each.stop}
        if stopping:
            # Here, and not when items are gathered: pytest's --ff would put failures first.
            from pytest_crucible.session.random_order import seed_base, shuffle_cases
            from pytest_crucible.session.stopping import check_stop

            for definition in stopping.values():
                check_stop(definition, plan)
            shuffle_cases(items, stopping, seed_base(self._config, self.run))
        return definitions

    def _stop_when_decided(
        self, definitions: dict[str, Definition], plan: list[TrialIdentity], hooks: TrialHooks
    ) -> None:
        from pytest_crucible.session.stopping import Stopping

        settings = self._config.stash[SETTINGS]
        workers = int(getattr(self._config, "workerinput", {}).get("workercount", 1))
        baselines = int(settings.baseline is not None)
        stopping = Stopping(hooks, settings.pricer(), definitions, plan, workers, baselines)
        self._config.pluginmanager.register(stopping, STOPPING)

    def _settled(self, definition: Definition) -> Definition:
        """Return a definition with the settings of the session where the marker says nothing."""
        settings = self._config.stash[SETTINGS]
        if definition.max_errors is None:
            definition = replace(definition, max_errors=settings.max_errors)
        if settings.sequential:
            definition = replace(definition, sequential=True)
        if self._config.pluginmanager.hasplugin(TURNS):
            definition = replace(definition, stop=None)  # the other side may need the case
        return definition

    def _register(
        self, trials: list[pytest.Item], plan: list[TrialIdentity], hooks: TrialHooks
    ) -> None:
        """Register only the hooks that these tests need: every hook slows down every test."""
        definitions = {id(identity.definition): identity.definition for identity in plan}.values()
        settings, register = self._config.stash[SETTINGS], self._config.pluginmanager.register
        if settings.budget_usd is not None or any(
            definition.budget_usd is not None for definition in definitions
        ):
            from pytest_crucible.session.budget import Budget  # imports NumPy, to price events

            budget = Budget(hooks.recording, settings.pricer(), settings.budget_usd)
            register(budget, BUDGET)
        if any(definition.resources for definition in definitions):
            from pytest_crucible.session.resources import Resources

            register(Resources(hooks), "crucible-resources")
        if any_async(trials):
            register(AsyncTrials(hooks), "crucible-async")
        if any_wide_fixture(trials):
            register(SetupScopes(hooks.recording, hooks.capture), "crucible-setup")
        if any(definition.validate is not None for definition in definitions):
            register(Validation(hooks), "crucible-validation")
        if any(definition.failures == "record" for definition in definitions):
            register(RecordedFailures(), "crucible-recorded")
        if any(map(may_have_subtests, trials)):
            register(FailedSubtests(), "crucible-subtests")
        if hooks.flush is not None or any(definition.scope != "test" for definition in definitions):
            register(ScopeCaptureHooks(hooks), "crucible-scope-capture")
        register(hooks, TRIALS)
        if settings.prices is not None:  # for `experiment.metrics()`
            from pytest_crucible.events.pricing import read_prices, use_prices

            use_prices(read_prices(settings.prices))
        if any("experiment" in getattr(item, "fixturenames", ()) for item in trials):
            load_readers()

    def pytest_report_collectionfinish(self) -> list[str]:
        if self._config.option.verbose < -1:
            return []
        return [f"capture: {problem}" for problem in self.capture_problems]

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        result = yield
        self.close()
        return result

    def pytest_unconfigure(self) -> None:
        self.close()

    def close(self) -> None:
        """End what is still open, and close the record; may be called twice."""
        if self._config.stash[SETTINGS].prices is not None:
            from pytest_crucible.events.pricing import use_prices

            use_prices(None)
        if self._hooks is not None:
            self._hooks.finish()
        if self._recording is not None:
            self._recording.close()


class Local(Recorder):
    """The only process: it runs the tests and prints the summary."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__(config, new_run_id(), "main", config.stash[SETTINGS].output)
        self._unread: str | None = None  # why there is no summary

    def begin(self, session: pytest.Session) -> None:
        self._config.stash[LOAD] = load_average()
        super().begin(session)

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        result = yield
        self.close()
        if self.folder is not None and self._recording is not None:
            rescued = self._recording.rescue()
            folder, notes = rescue(self.folder, [rescued] if rescued else [])
            # Not at the top: it imports SciPy, which takes 0.7 s; workers do not need it.
            try:
                from pytest_crucible.session.finish import finish, print_after_internal_error
            except ImportError as error:
                self._unread = (
                    f"problem: the run cannot be read in this process: {error}; if a test imports "
                    "NumPy and then puts `sys.modules` back, import it at the top of a file; the "
                    f"record is complete, `crucible recover {folder}` makes its manifest"
                )
                if session.exitstatus == pytest.ExitCode.OK:
                    session.exitstatus = pytest.ExitCode.TESTS_FAILED
                return result
            finish(session, folder, [*self._recording.store.notes(), *notes])
            print_after_internal_error(session)
        return result

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._unread is not None:
            terminalreporter.write_line(self._unread, red=True)
            return
        from pytest_crucible.session.finish import print_summary

        print_summary(terminalreporter, self._config)

    def pytest_unconfigure(self) -> None:
        super().pytest_unconfigure()
        if self.folder is not None and self._unread is None:
            from pytest_crucible.session.finish import forget

            forget(self._config)


class Worker(Recorder):
    """An xdist worker: it records; its controller prints the summary.

    If it does not see the controller's output folder, it records into a folder of its own and sends
    the files.
    """

    def __init__(self, config: pytest.Config) -> None:
        greeting: dict[str, Any] = config.workerinput[WORKERINPUT]  # type: ignore[attr-defined]
        node = str(config.workerinput["workerid"])  # type: ignore[attr-defined]
        self._channel: Channel = greeting["channel"]
        self._remote = not same_place(greeting["place"])
        self._shipper: Shipper | None = None
        output = Path(tempfile.mkdtemp(prefix="crucible-")) if self._remote else greeting["output"]
        super().__init__(config, greeting["run"], node, Path(output))

    def _start(self, folder: Path) -> NodeRecording:
        if not self._remote:
            return super()._start(folder)
        self._shipper = Shipper(folder, self._channel)
        clock = measure_clock(self._channel)
        return NodeRecording(folder, self.run, self.node, clock=clock)

    def _flusher(self) -> Callable[[], None] | None:
        return None if self._shipper is None else self._ship

    def _ship(self) -> None:
        if self._shipper is not None:
            self._shipper.ship()

    def close(self) -> None:
        """Close the record, send the rest of it if remote, and send the notes."""
        super().close()
        if self._shipper is not None:
            self._shipper.finish()
            self._shipper = None
            shutil.rmtree(self.output, ignore_errors=True)
        if self._recording is not None:
            # If the disk was full, the spool file may have no room for these notes.
            notes = self._recording.store.notes()
            output: dict[str, Any] = self._config.workeroutput  # type: ignore[attr-defined]
            output[NOTES] = [f"{self.node}: {note}" for note in notes]
            if not self._remote and RESCUED not in output:
                output[RESCUED] = os.fspath(self._recording.rescue() or "")
