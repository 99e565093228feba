"""Blocks of `Experiment.case` under pytest: they fail as subtests do, and the test goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from _pytest.outcomes import Exit, Failed, Skipped, XFailed

from pytest_crucible._text import one_line, plural, text_of
from pytest_crucible.experiments.case_block import OnFailure
from pytest_crucible.experiments.raised import (
    ERRORED,
    FAILED,
    INTERRUPTED,
    PASSED,
    outcome_of,
    raised_at,
)
from pytest_crucible.session.trial_error import error_of, is_failure

SKIPPED, XFAILED = "skipped", "xfailed"
_MOST_SHOWN = 10
_LONGEST = 200
_STRICT = "[XPASS(strict)]"


class CaseReferee:
    """Notes the failed blocks of one test.

    Args:
        item: the test.
        refusal: returns why no further block may begin: the budget is spent, or the claims are
            decided; None: it may.
        decided: says whether the claims are decided.
        enough: says whether the session stops after so many failed blocks (``-x``).
    """

    on_failure: OnFailure = "record"

    def __init__(
        self,
        item: pytest.Item,
        refusal: Callable[[], str | None],
        decided: Callable[[], bool],
        enough: Callable[[int], bool],
    ) -> None:
        self._item = item
        self._refusal = refusal
        self._decided = decided
        self._enough = enough
        self.began = False
        self.ended = 0
        self.failures: list[str] = []
        self.failed = 0

    def admit(self) -> None:
        """Skip the rest of the test if the budget is spent, or the claims are decided.

        Raises:
            pytest.skip.Exception: they are.
        """
        self.began = True
        reason = self._refusal()
        if reason is not None:
            raise pytest.skip.Exception(reason, _use_item_location=True)

    def decided(self) -> bool:
        """See `Referee`."""
        return self._decided()

    def judge(self, case: str, error: BaseException | None) -> tuple[str, str | None, bool]:
        """See `Referee`: errors of the block are swallowed, what stops the session is not."""
        self.ended += 1
        if error is None:
            return outcome_of(None), None, False
        if isinstance(error, Skipped):
            return SKIPPED, None, True
        if isinstance(error, Exit) or not isinstance(
            error, (Exception, SystemExit, Failed, XFailed)
        ):
            return INTERRUPTED, raised_at(error, self._item.config.rootpath), False
        text = error_of(pytest.ExceptionInfo.from_exception(error), self._item, "call")
        if isinstance(error, XFailed):
            return XFAILED, text, True
        self._note(case, text, error)
        goes_on = not self._enough(self.failed) and not _timed_out(error)
        return FAILED if is_failure(error, self._item) else ERRORED, text, goes_on

    def _note(self, case: str, text: str, error: BaseException) -> None:
        self.failed += 1
        if len(self.failures) < _MOST_SHOWN:
            message = one_line(text_of(error))[:_LONGEST]
            self.failures.append(f"{case}: {text}" + (f": {message}" if message else ""))

    def fail(self, report: pytest.TestReport) -> str:
        """Let a test fail because of its blocks; with a mark ``xfail``, as expected.

        Args:
            report: of the test, whose code around the blocks raised nothing.

        Returns:
            The outcome of the code around the blocks.
        """
        text = str(report.longrepr)
        strict = report.failed and text.startswith(_STRICT)
        if strict or hasattr(report, "wasxfail"):
            report.outcome = "skipped"
            if strict:
                report.wasxfail = text.removeprefix(_STRICT).strip()
            report.longrepr = self.report()
        elif report.passed:
            report.outcome, report.longrepr = "failed", self.report()
        else:
            return FAILED  # for a reason of its own, such as a subtest
        return PASSED

    def report(self) -> str:
        """Return what the test's report says: which blocks failed, and why."""
        lines = [f"{self.failed} of {plural(self.ended, 'case')} failed", *self.failures]
        more = self.failed - len(self.failures)
        return "\n  ".join([*lines, f"and {more} more"] if more else lines)


def _timed_out(error: BaseException) -> bool:
    """Whether pytest-timeout raised: it stops the whole test, and does not come a second time."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__") == "pytest_timeout":
            return True
        trace = trace.tb_next
    return False
