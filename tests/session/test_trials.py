"""Trials as pytest runs them: whatever runs one again, its attempts lie under one trial."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pytest_crucible.events.event import TRIAL_START, TRIAL_STOP
from pytest_crucible.metrics.values import Metrics
from pytest_crucible.session.trials import any_async
from tests.session import support

FLAKY = """
import pathlib
import pytest

def call(experiment):
    experiment.execute("llm.request.stop", {{"cost_usd": 0.25}})

@pytest.mark.experiment("flaky"{more})
def test_second_time_lucky(experiment):
    call(experiment)
    flag = pathlib.Path("tried")
    if not flag.exists():
        flag.touch()
        assert False

@pytest.mark.experiment("flaky"{more})
def test_steady(experiment):
    call(experiment)
"""


def run_flaky(pytester: pytest.Pytester, *arguments: str, more: str = "") -> Metrics:
    pytester.makepyfile(FLAKY.format(more=more))
    done = support.run(pytester, *arguments)
    assert done.ret == pytest.ExitCode.OK
    done.stdout.fnmatch_lines(["*recorded 2/2 trials*"])
    return support.only(pytester).metrics[support.DEFAULT]


@pytest.mark.parametrize("mode", ["-p no:xdist", "-n2"])
@pytest.mark.parametrize("more", ["", ", failures='record'"])
def test_reruns_are_attempts_of_one_trial(pytester: pytest.Pytester, mode: str, more: str) -> None:
    """The last attempt decides, the first is told beside it, and every call counts as cost."""
    metrics = run_flaky(pytester, "--reruns=2", *mode.split(), more=more)
    tests = metrics.tests
    assert (tests.trials, tests.passed, tests.failed, tests.attempts) == (2, 2, 0, 3)
    assert (tests.first_pass_rate, tests.pass_rate) == (0.5, 1.0)
    assert metrics.cost.total == pytest.approx(3 * 0.25)
    trial = next(each for each in support.only(pytester).trials if "lucky" in each.case)
    assert [(each.number, each.outcome) for each in trial.attempts] == [
        (1, "failed"),
        (2, "passed"),
    ]


def test_without_reruns_a_recorded_failure_stays_one(pytester: pytest.Pytester) -> None:
    """failures='record' keeps the session green, but the trial has failed."""
    tests = run_flaky(pytester, "-p", "no:xdist", more=", failures='record'").tests
    assert (tests.trials, tests.passed, tests.failed, tests.attempts) == (2, 1, 1, 2)
    assert tests.first_pass_rate == tests.pass_rate == 0.5


def test_a_trial_that_fails_every_attempt_has_failed(pytester: pytest.Pytester) -> None:
    """Reruns that run out leave one failed trial with all its attempts, and fail the session."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.experiment("hopeless")
        def test_a(experiment):
            experiment.execute("work.done")
            assert False
        """
    )
    done = support.run(pytester, "-p", "no:xdist", "--reruns=2")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    tests = support.only(pytester).metrics[support.DEFAULT].tests
    assert (tests.trials, tests.failed, tests.attempts) == (1, 1, 3)
    assert tests.first_pass_rate == tests.pass_rate == 0
    assert len(support.events(pytester)) == 3


@pytest.mark.parametrize("mode", ["-p no:xdist", "-n2"])
def test_repetitions_are_trials_of_one_case(pytester: pytest.Pytester, mode: str) -> None:
    """pytest-repeat multiplies trials: the case stays, the trial number counts up."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.experiment("repeated", conditions=("a", "b"), trials=2)
        @pytest.mark.parametrize("n", [7])
        def test_n(n, experiment):
            experiment.execute("work.done")
        """
    )
    done = support.run(pytester, "--count=3", *mode.split())
    assert done.ret == pytest.ExitCode.OK
    experiment = support.only(pytester)
    found = sorted((each.condition, each.trial) for each in experiment.trials)
    assert found == [(condition, trial) for condition in "ab" for trial in range(1, 7)]
    (case,) = {each.case for each in experiment.trials}
    assert case.endswith("::test_n[7]")
    assert {len(each.attempts) for each in experiment.trials} == {1}


def test_a_replacement_takes_over_the_other_trials(pytester: pytest.Pytester) -> None:
    """The trial that killed its worker is crashed; the replacement runs what was left to it."""
    pytester.makepyfile(
        """
        import os
        import pytest

        @pytest.mark.experiment("replaced")
        @pytest.mark.parametrize("n", range(8))
        def test_n(n, experiment):
            experiment.execute("llm.request.stop", {"cost_usd": 0.25})
            if n == 0:
                os._exit(1)
        """
    )
    done = support.run(pytester, "-n1", "--dist=load")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(["*recorded 7/8 trials · 1 crashed (gw0)*"])
    experiment = support.only(pytester)
    assert {each.case[-3:]: each.attempts[-1].node[1] for each in experiment.trials} == {
        f"[{n}]": "gw1" if n else "gw0" for n in range(8)
    }
    metrics = experiment.metrics[support.DEFAULT]
    assert (metrics.tests.passed, metrics.tests.crashed, metrics.tests.attempts) == (7, 1, 8)
    assert metrics.cost.total == pytest.approx(8 * 0.25)


def test_a_trial_whose_teardown_was_never_reported_ends_at_the_next_test(
    pytester: pytest.Pytester,
) -> None:
    """Where another plugin reports no teardown, the next test is no part of the trial before it."""
    pytester.makeconftest("""
        import pytest
        from _pytest.runner import call_and_report

        def pytest_runtest_protocol(item):
            if "broken" in item.name:
                call_and_report(item, "setup", log=True)
                item.session._setupstate.teardown_exact(None)
                return True
    """)
    pytester.makepyfile("""
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e")
        def test_broken():
            pass

        def test_unmarked():
            telemetry.execute("outside", {"n": 1})

        @pytest.mark.experiment("e")
        def test_whole():
            telemetry.execute("inside", {"n": 1})
    """)
    support.run(pytester)
    trials = {trial.case.partition("::")[2]: trial for trial in support.only(pytester).trials}
    assert trials["test_broken"].outcome == "interrupted"
    assert trials["test_whole"].outcome == "passed"
    assert support.heard(pytester) == {"e/default": ["inside"]}


# --- what is said of a trial -------------------------------------------------------------------


def test_a_trial_says_where_it_stands_and_what_became_of_it(pytester: pytest.Pytester) -> None:
    """File and line when it begins; outcome, duration and the error's place when it ends."""
    pytester.makepyfile(
        """
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e")
        @pytest.mark.parametrize("n", [0, 1])
        def test_it(n):
            telemetry.execute("work.done")
            assert n
        """
    )
    support.run(pytester)
    told = [
        event
        for event in support.newest(pytester).events
        if event.name in (TRIAL_START, TRIAL_STOP)
    ]
    assert [event.name for event in told] == [TRIAL_START, TRIAL_STOP] * 2
    first, failed, second, passed = told
    file = "test_a_trial_says_where_it_stands_and_what_became_of_it.py"
    assert {**first.metadata, "fingerprint": ""} == {"file": file, "line": 4, "fingerprint": ""}
    assert first.metadata["fingerprint"] != second.metadata["fingerprint"]
    assert failed.metadata == {"outcome": "failed", "error": f"AssertionError at {file}:8"}
    assert passed.metadata == {"outcome": "passed"}
    for begin, end in ((first, failed), (second, passed)):
        assert begin.scope == end.scope
        duration_us = end.measurements["duration"] / 1000
        assert 0 < duration_us <= end.time_us - begin.time_us + 1_000_000


def test_everything_between_setup_and_teardown_is_the_trials(pytester: pytest.Pytester) -> None:
    """Fixtures of the test included; what other hooks do before and after belongs to nobody."""
    pytester.makeconftest(
        """
        import pytest
        from pytest_crucible import telemetry

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_protocol(item):
            telemetry.execute("before")
            result = yield
            telemetry.execute("after")
            return result
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from pytest_crucible import telemetry

        @pytest.fixture
        def client():
            telemetry.execute("setup")
            yield
            telemetry.execute("teardown")

        @pytest.mark.experiment("e")
        def test_it(client):
            telemetry.execute("call")
        """
    )
    support.run(pytester).assert_outcomes(passed=1)
    assert support.heard(pytester) == {"e/default": ["call", "setup", "teardown"]}


# --- coroutines --------------------------------------------------------------------------------


async def coroutine() -> None: ...


def plain() -> None: ...


class Methods:
    async def coroutine(self) -> None: ...

    def plain(self) -> None: ...


@pytest.mark.parametrize(
    ("functions", "expected"),
    [
        ([], False),
        ([plain, None, Methods().plain], False),
        ([plain] * 1000 + [coroutine], True),
        ([Methods().plain, Methods().coroutine], True),
    ],
)
def test_any_coroutine_function_is_noticed(functions: list[object], expected: bool) -> None:
    """Functions and methods; items without a function, such as doctests, are none."""
    items = [SimpleNamespace() if each is None else SimpleNamespace(obj=each) for each in functions]
    assert any_async(items) is expected  # type: ignore[arg-type]


def test_a_coroutine_function_is_left_as_it_was(pytester: pytest.Pytester) -> None:
    """It is wrapped for the time of its call only, whether it passes or fails."""
    pytester.makeconftest(
        """
        import inspect
        import pytest

        @pytest.hookimpl(wrapper=True, tryfirst=True)
        def pytest_runtest_protocol(item):
            before = item.obj
            result = yield
            assert item.obj is before
            return result

        def pytest_pyfunc_call(pyfuncitem):
            # As an async plugin does: it runs what stands there now.
            if inspect.iscoroutinefunction(pyfuncitem.obj):
                import asyncio
                asyncio.run(pyfuncitem.obj())
                return True
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from pytest_crucible import telemetry

        @pytest.mark.experiment("e")
        async def test_it():
            telemetry.execute("work.done")

        @pytest.mark.experiment("e")
        async def test_wrong():
            assert False
        """
    )
    support.run(pytester).assert_outcomes(passed=1, failed=1)
    assert support.heard(pytester) == {"e/default": ["work.done"]}
