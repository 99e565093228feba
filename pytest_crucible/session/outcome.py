"""Outcomes of trials, from pytest's reports, and how the terminal shows failed ones."""

from __future__ import annotations

import pytest

from pytest_crucible.session.trial_error import is_failure

TRIAL = "crucible_trial"
"""Attribute of trials' reports: the controller counts them, to notice lost records."""

RECORDED = "crucible_recorded"
"""Attribute of the reports of failed trials with ``failures="record"``; xdist transfers it."""

FAILED_SUBTESTS = "crucible_failed_subtests"
"""Attribute of reports that say passed, although a subtest of the same trial has failed."""

Status = tuple[str, str, tuple[str, dict[str, bool]]]
"""What the terminal shows: the category, a letter, and a word with its markup."""


def recorded_status(report: pytest.TestReport | pytest.CollectReport) -> Status | None:
    """Return how the terminal shows a failed trial with ``failures="record"``; None for others.

    Its subtests are not shown, for they are no trials.
    """
    if not getattr(report, RECORDED, None) or report.outcome != "skipped":
        return None
    if is_subtest(report):
        return "", "", ("", {})
    return "recorded as failed", "r", ("RECORDED", {"yellow": True})


class RecordedFailures:
    """Lets failed trials count in their experiment without failing the session.

    Registered if there are experiments with ``failures="record"``.
    """

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Here and not in makereport: rerun plugins look at the report in between, and to them the
        # trial must have failed.
        if getattr(report, RECORDED, None) and (report.failed or has_failed_subtests(report)):
            report.outcome = "skipped"
            report.wasxfail = f"failed trial of experiment {getattr(report, RECORDED)!r}"

    @pytest.hookimpl(tryfirst=True)  # before that of subtests, which shows all of them
    def pytest_report_teststatus(self, report: pytest.TestReport) -> Status | None:
        return recorded_status(report)


class FailedSubtests:
    """Fails a test of which a subtest has failed, as its trial has.

    Pytest does so when it prints, so under xdist, whose workers print nothing, it does not.
    Registered if tests may have subtests.
    """

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if has_failed_subtests(report) and not getattr(report, RECORDED, None):
            report.outcome = "failed"
            report.longrepr = "a subtest failed"


def may_have_subtests(item: pytest.Item) -> bool:
    """Whether a test may have subtests: with the fixture, or with unittest's method."""
    return hasattr(item, "addSubTest") or "subtests" in getattr(item, "fixturenames", ())


def has_failed_subtests(report: pytest.TestReport) -> bool:
    """Whether a test passed but for its subtests; for the report of the whole test."""
    return report.passed and hasattr(report, FAILED_SUBTESTS) and not is_subtest(report)


def is_subtest(report: pytest.TestReport | pytest.CollectReport) -> bool:
    """Whether a report is one of a subtest, of pytest 9 or of pytest-subtests."""
    return type(report).__name__.lower() == "subtestreport"


def phase_outcome(report: pytest.TestReport, error: BaseException | None, item: pytest.Item) -> str:
    """Return the outcome of setup, call or teardown.

    Args:
        report: says what pytest thinks of it.
        error: what was raised; None if nothing was.
        item: the test.
    """
    if hasattr(report, "wasxfail"):
        if "[NOTRUN]" in report.wasxfail:  # xfail(run=False)
            return "skipped"
        return "xfailed" if report.skipped else "xpassed"
    if report.failed and error is not None and not is_failure(error, item):
        return "errored"
    return report.outcome


_WORST_FIRST = ("errored", "failed")


def worse(first: str | None, second: str) -> str:
    """Return the outcome of a call: that of a failed subtest stays, whatever comes after it."""
    return next((each for each in _WORST_FIRST if each in (first, second)), second)


def trial_outcome(outcomes: dict[str, str]) -> str:
    """Work out the outcome of a trial from the outcomes of its phases."""
    if {outcomes.get("setup"), outcomes.get("teardown")} & {*_WORST_FIRST}:
        return "errored"
    return outcomes.get("call") or outcomes.get("setup") or "interrupted"
