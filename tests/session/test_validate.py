"""``validate`` on the marker: checked when a trial ends, told in the summary."""

from __future__ import annotations

import pytest

from pytest_crucible.cli.main import main
from tests.session.support import OUTPUT, only, outcomes, results, run

BODY = """
import pytest_crucible as crucible
import pytest

@pytest.fixture
def late(experiment):
    yield
    experiment.execute("altar.tool.stop", {"duration": "long"})

@pytest.mark.experiment("exp", validate=%r)
@pytest.mark.parametrize("case", [1, 2])
def test_it(case, experiment, late):
    experiment.execute("req_llm.reqest.stop", {"duration": 1})
    for _ in range(case):
        experiment.execute("cache.hit", {})

@pytest.mark.experiment("fine", validate=%r)
def test_fine(experiment):
    experiment.execute("req_llm.request.stop", {"duration": 1})
"""
CONFTEST = """
import pytest_crucible as crucible
crucible.define_event("cache.hit", measurements={"age_s": "s"})
"""
LINES = [
    "*invalid: cache.hit without age_s (3 events)*",
    "*invalid: req_llm.reqest.stop is not known; req_llm.request.stop was meant? (2 events)*",
    "*invalid: altar.tool.stop: duration is a str, not a number (2 events)*",
]


@pytest.fixture(autouse=True)
def catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an inner conftest defines is gone after the test."""
    from pytest_crucible.events import catalog as _catalog

    monkeypatch.setattr(_catalog, "_known", dict(_catalog._known))


def test_warn_counts_and_tells(
    pytester: pytest.Pytester, mode: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every kind of problem has a line with its count; no event is lost and no test fails."""
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(BODY % ("warn", "warn"))
    result = run(pytester, *mode)
    result.assert_outcomes(passed=3)
    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(LINES)
    assert [e.invalid == {} for e in results(pytester).experiments] == [False, True]
    assert (
        sum(m.summary.total_events for m in results(pytester).experiments[0].metrics.values()) == 7
    )
    capsys.readouterr()
    main(["show", OUTPUT])
    assert "invalid: cache.hit without age_s (3 events)" in capsys.readouterr().out


def test_error_fails_the_trial_at_its_teardown(pytester: pytest.Pytester) -> None:
    """A trial with wrong events is errored, by one line; the others are what they were."""
    pytester.makepyfile(BODY % ("error", "error"))
    result = run(pytester)
    result.assert_outcomes(passed=3, errors=2, failed=1)  # failed: the experiment
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["experiment 'exp': req_llm.reqest.stop is not known; req_llm.request.stop was meant? *"]
    )
    result.stdout.no_fnmatch_line("*Traceback*")
    assert outcomes(pytester) == {
        "test_it[1]": "errored", "test_it[2]": "errored", "test_fine": "passed",
    }  # fmt: skip
    assert "2 × experiment 'exp': req_llm.reqest.stop" in result.stdout.str()


def test_failing_teardown_keeps_its_own_error(pytester: pytest.Pytester) -> None:
    """Wrong events do not hide what a fixture raised; they are in the summary."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.fixture
        def broken():
            yield
            raise KeyError("mine")

        @pytest.mark.experiment("exp", validate="error")
        def test_it(experiment, broken):
            experiment.execute("altar.tool.stop")
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=1, errors=1, failed=1)
    result.stdout.fnmatch_lines(["*KeyError*", "*invalid: altar.tool.stop without duration*"])


def test_events_between_trials_fail_the_session(pytester: pytest.Pytester) -> None:
    """With a wider scope, what is wrong outside of trials fails no trial, but the session."""
    pytester.makepyfile(
        """
        import pytest
        from pytest_crucible import telemetry

        @pytest.fixture(scope="module", autouse=True)
        def setup():
            yield
            telemetry.execute("altar.tool.stop")

        @pytest.mark.experiment("exp", scope="module", validate="error")
        def test_it(experiment):
            pass

        def test_last():
            pass
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=2)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert only(pytester).refused == {"altar.tool.stop without duration": 1}


def test_most_kinds_are_left_to_a_count(pytester: pytest.Pytester) -> None:
    """The summary names five kinds; JSON has all of them."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.experiment("exp", validate="warn")
        def test_it(experiment):
            for i in range(7):
                experiment.execute(f"altar.tool.stop{i}")
        """
    )
    result = run(pytester)
    assert result.stdout.str().count("invalid: altar.tool.stop") == 5
    result.stdout.fnmatch_lines(["*invalid: and 2 other kinds*"])
    assert len(only(pytester).invalid) == 7


def test_typo_in_the_level_is_refused(pytester: pytest.Pytester) -> None:
    """An unknown level is a usage error before any test runs."""
    pytester.makepyfile(BODY % ("strict", "warn"))
    assert run(pytester).ret == pytest.ExitCode.USAGE_ERROR


def test_process_that_joined_is_checked_when_it_leaves(pytester: pytest.Pytester) -> None:
    """The ticket carries the level; what is wrong over there fails the session over here."""
    pytester.makepyfile(
        """
        import pytest
        import pytest_crucible as crucible

        @pytest.mark.experiment("exp", validate="error")
        def test_it(experiment):
            with crucible.join(experiment.ticket) as joined:  # as another process would
                joined.execute("altar.tool.stop")
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert only(pytester).refused == {"altar.tool.stop without duration": 1}
