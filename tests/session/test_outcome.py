"""What becomes of a trial, and of the session that it failed in."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_crucible.session.outcome import (
    RECORDED,
    RecordedFailures,
    phase_outcome,
    recorded_status,
    trial_outcome,
)
from tests.session import support

EVERYTHING = """
import pytest

pytestmark = pytest.mark.experiment("e")

@pytest.fixture
def broken_setup():
    raise RuntimeError("setup")

@pytest.fixture
def broken_teardown():
    yield
    raise RuntimeError("teardown")

def test_passed():
    pass

def test_failed():
    assert 1 == 2

def test_error_in_setup(broken_setup):
    pass

def test_error_in_teardown(broken_teardown):
    pass

def test_failed_and_error(broken_teardown):
    assert 1 == 2

def test_skipped():
    pytest.skip("no key")

@pytest.mark.skipif(True, reason="never")
def test_skipped_by_mark():
    pass

@pytest.mark.xfail
def test_xfail():
    assert 1 == 2

@pytest.mark.xfail
def test_xpass():
    pass

@pytest.mark.xfail(strict=True)
def test_strict_xpass():
    pass

@pytest.mark.xfail(run=False)
def test_xfail_not_run():
    pass
"""


def test_every_outcome(pytester: pytest.Pytester, mode: tuple[str, ...]) -> None:
    """Each trial has the outcome that pytest gave it, and every number adds up."""
    pytester.makepyfile(EVERYTHING)
    result = support.run(pytester, *mode)
    # Failed: three tests, and the experiment, because too many of its trials errored.
    result.assert_outcomes(passed=2, failed=4, errors=3, skipped=2, xfailed=2, xpassed=1)
    assert result.ret == 1
    assert support.outcomes(pytester) == {
        "test_passed": "passed",
        "test_failed": "failed",
        "test_error_in_setup": "errored",
        "test_error_in_teardown": "errored",
        "test_failed_and_error": "errored",
        "test_skipped": "skipped",
        "test_skipped_by_mark": "skipped",
        "test_xfail": "xfailed",
        "test_xpass": "xpassed",
        "test_strict_xpass": "failed",
        "test_xfail_not_run": "skipped",
    }
    tests = support.only(pytester).metrics[support.DEFAULT].tests
    assert (tests.trials, tests.passed, tests.failed, tests.errored) == (11, 2, 3, 3)
    assert (tests.skipped, tests.crashed, tests.missing) == (3, 0, 0)
    assert tests.pass_rate == pytest.approx(2 / 8)
    result.stdout.fnmatch_lines(["  recorded 8/11 trials · 1 xfailed · 3 skipped*"])


def test_failures_say_type_and_place_only(pytester: pytest.Pytester) -> None:
    """The record of a failure names the exception and the line, and never quotes the answer."""
    pytester.makepyfile("""
        import pytest

        def grade(answer):
            assert answer == "42"

        @pytest.mark.experiment("e")
        def test_a():
            grade("the secret answer")
    """)
    result = support.run(pytester)
    (trial,) = support.only(pytester).trials
    error = "AssertionError at test_failures_say_type_and_place_only.py:4"
    assert trial.attempts[0].error == error
    result.stdout.fnmatch_lines([f"* 1 × {error}"])
    run = support.newest(pytester).path
    assert run is not None
    for path in run.rglob("*.*"):
        assert b"secret answer" not in path.read_bytes()


def test_recorded_failures_leave_the_session_green(
    pytester: pytest.Pytester, mode: tuple[str, ...]
) -> None:
    """With ``failures="record"`` a failed trial only counts; errors still fail the session."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", failures="record", trials=3)
        def test_a(experiment):
            assert experiment.trial != 2
    """)
    result = support.run(pytester, *mode)
    assert result.ret == 0
    assert result.parseoutcomes() == {"passed": 2, "recorded": 1}
    assert "FAILURES" not in result.stdout.str()
    tests = support.only(pytester).metrics[support.DEFAULT].tests
    assert (tests.passed, tests.failed) == (2, 1)


@pytest.mark.parametrize("phase", ["setup", "teardown"])
def test_errors_are_never_only_recorded(pytester: pytest.Pytester, phase: str) -> None:
    """A fixture that breaks is a broken suite: it fails the session also with ``record``."""
    raising = "raise RuntimeError"
    pytester.makepyfile(f"""
        import pytest

        @pytest.fixture
        def broken():
            {raising if phase == "setup" else "pass"}
            yield
            {raising if phase == "teardown" else "pass"}

        @pytest.mark.experiment("e", failures="record")
        def test_a(broken):
            pass
    """)
    result = support.run(pytester)
    assert result.ret == 1
    assert result.parseoutcomes()["errors"] == 1
    assert support.outcomes(pytester) == {"test_a": "errored"}


@pytest.mark.parametrize(("bound", "status"), [("<= 1", 0), ("< 1", 1)])
def test_the_expectation_decides(
    pytester: pytest.Pytester, mode: tuple[str, ...], bound: str, status: int
) -> None:
    """With ``expect`` failed trials count, and the aggregate decides whether the session fails."""
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.experiment("e", trials=4, expect=["tests.failed {bound}"])
        def test_a(experiment):
            assert experiment.trial != 2
    """)
    result = support.run(pytester, *mode)
    assert result.ret == status
    counts = result.parseoutcomes()
    assert counts["recorded"] == 1
    assert counts.get("failed", 0) == status


@pytest.mark.parametrize("option", ["-x", "--maxfail=2"])
def test_stopping_early_names_what_is_missing(
    pytester: pytest.Pytester, mode: tuple[str, ...], option: str
) -> None:
    """After ``-x`` and ``--maxfail`` the trials that never ran are counted as missing."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", trials=30)
        def test_a():
            assert 0
    """)
    result = support.run(pytester, *mode, option)
    assert result.ret in (pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.INTERRUPTED)
    tests = support.only(pytester).metrics[support.DEFAULT].tests
    assert tests.trials == 30
    assert tests.missing == 30 - tests.failed > 0
    assert tests.failed >= (1 if option == "-x" else 2)
    result.stdout.fnmatch_lines([f"*{tests.missing} missing*"])
    result.stdout.fnmatch_lines([f"incomplete: {tests.missing} trials never ran: *"])


def test_recorded_failures_do_not_stop_the_session(pytester: pytest.Pytester) -> None:
    """``-x`` means failures: a trial that only counts is none."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", trials=3, failures="record")
        def test_a():
            assert 0
    """)
    result = support.run(pytester, "-x")
    assert result.ret == 0
    assert result.parseoutcomes() == {"recorded": 3}


def test_failures_of_unittest_assertions_name_the_users_line(pytester: pytest.Pytester) -> None:
    """The place of a failure is in the suite, also where unittest's own code raised."""
    pytester.makepyfile("""
        import unittest
        import pytest

        @pytest.mark.experiment("e")
        class TestA(unittest.TestCase):
            def test_a(self):
                self.assertEqual(1, 2)
    """)
    support.run(pytester).assert_outcomes(failed=1)
    (trial,) = support.only(pytester).trials
    assert trial.attempts[0].error == (
        "AssertionError at test_failures_of_unittest_assertions_name_the_users_line.py:7"
    )


def test_an_unmet_expectation_is_listed_like_a_failure(pytester: pytest.Pytester) -> None:
    """The closing lines name the expectation: a red session never looks green."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", expect=["tests.passed > 1"])
        def test_a():
            pass
    """)
    result = support.run(pytester)
    assert result.ret == 1
    result.stdout.fnmatch_lines([
        "FAILED experiment e (default) - REJECTED: tests.passed > 1",
        "*1 failed, 1 passed*",
    ])  # fmt: skip


def test_a_number_that_was_never_recorded_is_no_pass(pytester: pytest.Pytester) -> None:
    """An expectation over missing data fails the session, and the line names what is missing."""
    pytester.makepyfile("""
        import pytest

        @pytest.mark.experiment("e", expect=["score.mean > 0.5"])
        def test_a():
            pass
    """)
    result = support.run(pytester)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["*score.mean > 0.5*no metric score.mean was recorded*"])


def test_an_exit_in_a_test_keeps_the_record(pytester: pytest.Pytester) -> None:
    """``pytest.exit`` in the middle of a trial: that trial is interrupted, the rest is missing."""
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e", trials=3)
        def test_a(experiment):
            telemetry.execute("x")
            if experiment.trial == 2:
                pytest.exit("enough")
    """)
    support.run(pytester)
    assert list(support.outcomes(pytester).values()) == ["passed", "interrupted", "missing"]
    assert support.heard(pytester) == {"e/default": ["x", "x"]}


# --- one report, one trial ---------------------------------------------------------------------


def report(outcome: str, **more: Any) -> pytest.TestReport:
    place = ("t.py", 0, "test_it")
    made = pytest.TestReport("t.py::test_it", place, {}, outcome, None, "call")  # type: ignore[arg-type]
    for name, value in more.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (report("passed"), "passed"),
        (report("failed"), "failed"),
        (report("skipped"), "skipped"),
        (report("skipped", wasxfail="known"), "xfailed"),
        (report("passed", wasxfail="known"), "xpassed"),
        (report("skipped", wasxfail="reason: [NOTRUN] known"), "skipped"),
    ],
)
def test_a_phase_is_what_its_report_says(
    request: pytest.FixtureRequest, given: pytest.TestReport, expected: str
) -> None:
    """Expected failures are neither skipped nor passed."""
    assert phase_outcome(given, None, request.node) == expected


@pytest.mark.parametrize(
    ("setup", "call", "teardown", "expected"),
    [
        ("passed", "passed", "passed", "passed"),
        ("passed", "failed", "passed", "failed"),
        ("failed", None, "passed", "errored"),
        ("passed", "passed", "failed", "errored"),
        ("passed", "failed", "failed", "errored"),
        ("skipped", None, "passed", "skipped"),
        ("passed", "xfailed", "passed", "xfailed"),
        ("xfailed", None, "passed", "xfailed"),
        (None, None, None, "interrupted"),
        ("passed", None, None, "passed"),
    ],
)
def test_a_trial_is_what_its_phases_say(
    setup: str | None, call: str | None, teardown: str | None, expected: str
) -> None:
    """A fixture that raises is an error, whatever the test said."""
    phases = {"setup": setup, "call": call, "teardown": teardown}
    assert trial_outcome({name: each for name, each in phases.items() if each}) == expected


def test_only_failures_that_count_are_shown_as_recorded() -> None:
    """Other skips and failures look as ever."""
    assert recorded_status(report("skipped")) is None
    assert recorded_status(report("failed", **{RECORDED: "e"})) is None
    shown = recorded_status(report("skipped", **{RECORDED: "e"}))
    assert shown is not None
    assert shown[0] == "recorded as failed"


def test_a_failure_that_only_counts_becomes_no_failure() -> None:
    """It says whose trial it was; a passed trial, or one of another experiment, is left alone."""
    ours, passed, others = report("failed", **{RECORDED: "e"}), report("passed"), report("failed")
    for each in (ours, passed, others):
        RecordedFailures().pytest_runtest_logreport(each)
    assert [each.outcome for each in (ours, passed, others)] == ["skipped", "passed", "failed"]
    assert ours.wasxfail == "failed trial of experiment 'e'"
