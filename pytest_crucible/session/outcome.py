"""Outcomes and errors of trials, from pytest's reports."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

from pytest_crucible._errors import ValidationError

TRIAL = "crucible_trial"
"""Attribute of trials' reports: the controller counts them, to notice lost records."""

RECORDED = "crucible_recorded"
"""Attribute of the reports of failed trials with ``failures="record"``; xdist transfers it."""

_OURS = str(Path(__file__).parent.parent) + os.sep
_STDLIB = sysconfig.get_path("stdlib") + os.sep


def recorded_status(
    report: pytest.TestReport | pytest.CollectReport,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """Return how the terminal shows a failed trial with ``failures="record"``; None for others."""
    if getattr(report, RECORDED, None) and report.outcome == "skipped":
        return "recorded as failed", "r", ("RECORDED", {"yellow": True})
    return None


class RecordedFailures:
    """Lets failed trials count in their experiment without failing the session.

    Registered if there are experiments with ``failures="record"``.
    """

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Here and not in makereport: rerun plugins look at the report in between, and to them the
        # trial must have failed.
        if getattr(report, RECORDED, None) and report.failed:
            report.outcome = "skipped"
            report.wasxfail = f"failed trial of experiment {getattr(report, RECORDED)!r}"

    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        return recorded_status(report)


def phase_outcome(report: pytest.TestReport) -> str:
    """Return the outcome of setup, call or teardown, as in pytest's summary."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return report.outcome


def trial_outcome(outcomes: dict[str, str]) -> str:
    """Work out the outcome of a trial from the outcomes of its phases."""
    if outcomes.get("setup") == "failed" or outcomes.get("teardown") == "failed":
        return "errored"
    return outcomes.get("call") or outcomes.get("setup") or "interrupted"


def error_of(excinfo: pytest.ExceptionInfo[BaseException], config: pytest.Config) -> str:
    """Return the type of an error and the file and line of the user's code where it was raised.

    Without the message, because messages of assertions quote the model's answers. Our own messages
    of validation do not, so they are returned.
    """
    if isinstance(excinfo.value.__cause__, ValidationError):
        return str(excinfo.value.__cause__)
    origin = excinfo.traceback[-1] if excinfo.traceback else None
    for entry in excinfo.traceback:
        if not _is_library(str(entry.path)):
            origin = entry
    if origin is None:
        return excinfo.typename
    path = os.path.relpath(origin.path, config.rootpath)
    return f"{excinfo.typename} at {path}:{origin.lineno + 1}"


def _is_library(path: str) -> bool:
    installed = "site-packages" in path or f"{os.sep}_pytest{os.sep}" in path
    return installed or path.startswith((_STDLIB, _OURS))
