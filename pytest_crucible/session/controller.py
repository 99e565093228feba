"""The controller of xdist: runs no tests, and reads what its workers recorded.

Every session with xdist has one, so it imports next to nothing until a worker has recorded.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from pytest_crucible._files import new_run_id
from pytest_crucible.session.outcome import TRIAL, recorded_status
from pytest_crucible.session.settings import LOAD, SETTINGS
from pytest_crucible.session.transport import Inbox, move_to_room, place

WORKERINPUT = "crucible"
WORKEROUTPUT = "crucible_usage_error"
NOTES = "crucible_notes"
RESCUED = "crucible_rescued"
"""Keys of the messages between controller and workers, in ``workerinput`` and ``workeroutput``."""


def rescue(folder: Path, rescued: list[Path]) -> tuple[Path, list[str]]:
    """Move the run to where there is room, if a disk was full.

    Args:
        folder: the run folder.
        rescued: records that were written elsewhere because of the full disk.

    Returns:
        The folder in which to finish the run, and notes for the user, a sentence each.
    """
    try:
        roomy = move_to_room(folder, rescued)
    except OSError as error:
        return folder, [f"the record could not be kept elsewhere either: {error.strerror}"]
    return roomy, [f"the disk was full: the whole record is in {roomy}"] if rescued else []


class Controller:
    """The controller of xdist: runs no tests, and reads what its workers recorded."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._output = config.stash[SETTINGS].output
        self._run = new_run_id()
        self._inboxes: list[Inbox] = []
        self._notes: list[str] = []
        self._rescued: list[Path] = []
        self._reported = 0
        self._warned = False
        self._finished = False

    def greet(self, node: Any) -> None:
        """Send a worker the id and the folder of the run, and a channel to reach us."""
        channel = node.gateway.newchannel()
        self._inboxes.append(Inbox(self._output, self._run, channel))
        node.workerinput[WORKERINPUT] = {
            "run": self._run,
            "output": os.fspath(self._output),
            "place": place(self._output),
            "channel": channel,
            "each": self._config.getoption("dist", None) == "each",
        }

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "setup" and getattr(report, TRIAL, False):
            self._reported += 1

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self) -> None:
        # If the folder exists, this worker has found experiments; it has not run a test yet.
        if self._warned or not (self._output / self._run).is_dir():
            return
        self._warned = True
        from pytest_crucible.runs.machine import load_average

        self._config.stash[LOAD] = load_average()
        from pytest_crucible.session.settings import sdk_installed
        from pytest_crucible.session.span_capture import environment_problems

        terminal = self._config.pluginmanager.getplugin("terminalreporter")
        if terminal is not None and terminal.verbosity >= -1 and sdk_installed():
            for problem in environment_problems():
                terminal.ensure_newline()
                terminal.write_line(f"capture: {problem}")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        # Called twice if a worker was interrupted, and never if the controller was.
        output = getattr(node, "workeroutput", {})
        self._notes += [note for note in output.get(NOTES, ()) if note not in self._notes]
        rescued = output.get(RESCUED)
        if rescued and Path(rescued) not in self._rescued:
            self._rescued.append(Path(rescued))
        if output.get(WORKEROUTPUT):
            raise pytest.UsageError(output[WORKEROUTPUT])

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        result = yield
        folder = self._output / self._run
        if folder.is_dir() or self._reported:
            problems = [problem for inbox in self._inboxes for problem in inbox.problems]
            from pytest_crucible.session.finish import finish, print_after_internal_error

            folder, notes = rescue(folder, self._rescued)
            self._finished = True
            finish(session, folder, [*self._notes, *problems, *notes], self._reported)
            print_after_internal_error(session)
        return result

    @pytest.hookimpl(tryfirst=True)  # before that of subtests, which shows all of them
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Any:
        return recorded_status(report)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._finished:
            from pytest_crucible.session.finish import print_summary

            print_summary(terminalreporter, self._config)
