"""What became of a test: outcomes and errors, read off pytest's reports."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

import pytest

from pytest_crucible._errors import ValidationError

TRIAL = "crucible_trial"
"""Attribute of reports of trials: the controller counts them, to notice what was lost."""

RECORDED = "crucible_recorded"
"""Attribute of reports of failed trials that only count; survives the way through xdist."""

_OURS = str(Path(__file__).parent.parent) + os.sep
_STDLIB = sysconfig.get_path("stdlib") + os.sep


def recorded_status(
    report: pytest.TestReport | pytest.CollectReport,
) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
    """How the terminal shows a failed trial that only counts."""
    if getattr(report, RECORDED, None) and report.outcome == "skipped":
        return "recorded as failed", "r", ("RECORDED", {"yellow": True})
    return None


class RecordedFailures:
    """Registered if there are experiments whose failed trials only count."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Here and not in makereport: rerun plugins look at the report in between, and to them
        # the trial has failed. From here on it only counts in the experiment.
        if getattr(report, RECORDED, None) and report.failed:
            report.outcome = "skipped"
            report.wasxfail = f"failed trial of experiment {getattr(report, RECORDED)!r}"

    def pytest_report_teststatus(
        self, report: pytest.TestReport
    ) -> tuple[str, str, tuple[str, dict[str, bool]]] | None:
        return recorded_status(report)


def phase_outcome(report: pytest.TestReport) -> str:
    """What became of setup, call or teardown."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    return report.outcome


def trial_outcome(outcomes: dict[str, str]) -> str:
    """What became of the trial, from its phases."""
    if outcomes.get("setup") == "failed" or outcomes.get("teardown") == "failed":
        return "errored"
    return outcomes.get("call") or outcomes.get("setup") or "interrupted"


def error_of(excinfo: pytest.ExceptionInfo[BaseException], config: pytest.Config) -> str:
    """Type and place. The text stays out: assertion messages quote answers; ours do not."""
    if isinstance(excinfo.value.__cause__, ValidationError):
        return str(excinfo.value.__cause__)
    entry = excinfo.traceback[-1] if excinfo.traceback else None
    for each in excinfo.traceback:
        if not _is_library(str(each.path)):
            entry = each
    if entry is None:
        return excinfo.typename
    path = os.path.relpath(entry.path, config.rootpath)
    return f"{excinfo.typename} at {path}:{entry.lineno + 1}"


def _is_library(path: str) -> bool:
    installed = "site-packages" in path or f"{os.sep}_pytest{os.sep}" in path
    return installed or path.startswith((_STDLIB, _OURS))
