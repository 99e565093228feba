"""Processes really die here, and what survived is counted."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from functools import partial

import pytest

from pytest_crucible.cli.main import main
from tests.session.dying import (
    FATAL,
    IN_FLIGHT,
    PYTEST,
    SUITE,
    TRIALS,
    clean_environment,
    events_of_fatal_trial,
    results_of,
    run_suite,
)


def test_a_killed_run_is_finished_by_another(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    """Recovered and merged with a run of the rest, the record is complete, and can be judged."""
    killed, rest, whole = (str(pytester.path / name) for name in ("killed", "rest", "whole"))
    run_suite(pytester, "terminate(signal.SIGKILL)", f"--crucible-output={killed}")
    assert main(["recover", killed]) == 0
    assert main(["gate", killed, "--expect", "success_rate > 50%"]) == 1
    chosen = " or ".join(f"{n}]" for n in range(FATAL, TRIALS))
    ran = run_suite(pytester, "pass", f"--crucible-output={rest}", "-k", chosen)
    assert ran.returncode == 0
    capsys.readouterr()
    for shards in ([killed, rest], [rest, killed]):
        assert main(["merge", *shards, "-o", whole]) == 0
        out = capsys.readouterr().out
        assert f"recorded {TRIALS}/{TRIALS} trials · 1 crashed attempt replaced by later" in out
        assert "incomplete" not in out
        assert main(["gate", whole, "--expect", "success_rate > 50%"]) == 0


DEATHS = {
    "os._exit": "os._exit(1)",
    "SIGKILL": "terminate(signal.SIGKILL)",
    "SIGTERM": "terminate(signal.SIGTERM)",
    "segfault": "segfault()",
    "abort": "os.abort()",
    "timeout-thread": "hang()",
}


@pytest.mark.parametrize("death", DEATHS)
def test_a_worker_that_dies_loses_nothing(pytester: pytest.Pytester, death: str) -> None:
    """Finished trials and every event of the trial in flight survive; the exit code is not 0."""
    decorator = "@pytest.mark.timeout(2, method='thread')" if "timeout" in death else ""
    done = run_suite(pytester, DEATHS[death], "-n2", decorator=decorator)
    assert done.returncode != 0
    assert f"recorded {TRIALS - 1}/{TRIALS} trials · 1 crashed (gw" in done.stdout
    assert "incomplete:" in done.stdout
    assert "Traceback" not in done.stdout
    [experiment] = results_of(pytester.path).experiments
    tests = experiment.metrics["default"].tests
    assert (tests.passed, tests.crashed, tests.missing) == (TRIALS - 1, 1, 0)
    assert tests.pass_rate == pytest.approx((TRIALS - 1) / TRIALS)
    assert events_of_fatal_trial(pytester.path) == IN_FLIGHT


@pytest.mark.parametrize("death", DEATHS)
def test_a_session_that_dies_can_be_recovered(pytester: pytest.Pytester, death: str) -> None:
    """Without workers the whole session dies; `crucible recover` makes the artifact."""
    decorator = "@pytest.mark.timeout(2, method='thread')" if "timeout" in death else ""
    done = run_suite(pytester, DEATHS[death], "-p", "no:xdist", decorator=decorator)
    assert done.returncode != 0
    assert main(["recover", "crucible-results"]) == 0
    [run] = (each for each in (pytester.path / "crucible-results").iterdir() if each.is_dir())
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert main(["recover", "crucible-results"]) == 0
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    [experiment] = results_of(pytester.path).experiments
    tests = experiment.metrics["default"].tests
    assert (tests.trials, tests.passed, tests.crashed) == (TRIALS, FATAL, 1)
    assert tests.missing == TRIALS - FATAL - 1
    assert events_of_fatal_trial(pytester.path) == IN_FLIGHT


@pytest.mark.parametrize("mode", ["-n2", "-p no:xdist"])
@pytest.mark.parametrize(
    ("fault", "decorator"),
    [
        ("pytest.exit('enough')", ""),
        ("pytest.exit('enough', returncode=0)", ""),
        ("raise KeyboardInterrupt", ""),
        ("hang()", "@pytest.mark.timeout(2, method='signal')"),
    ],
)
def test_an_interrupted_session_keeps_what_it_has(
    pytester: pytest.Pytester, mode: str, fault: str, decorator: str
) -> None:
    """Exits, interrupts and time-outs keep every recorded event, and the exit code is not 0."""
    done = run_suite(pytester, fault, *mode.split(), decorator=decorator)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert "experiments" in done.stdout
    [experiment] = results_of(pytester.path).experiments
    assert experiment.metrics["default"].tests.passed >= (1 if mode == "-n2" else FATAL)
    assert events_of_fatal_trial(pytester.path) == IN_FLIGHT


def test_a_worker_that_dies_in_sessionfinish_is_noticed(pytester: pytest.Pytester) -> None:
    """pytest's own exit code would be 0; the missing end of the record makes it 1."""
    pytester.makeconftest(
        """
        import os, pytest
        @pytest.hookimpl(tryfirst=True)
        def pytest_sessionfinish(session):
            if os.environ.get("PYTEST_XDIST_WORKER") == "gw0":
                os._exit(0)
        """
    )
    done = run_suite(pytester, "pass", "-n2")
    assert done.returncode != 0
    assert "gw0: did not end in good order" in done.stdout
    assert f"recorded {TRIALS}/{TRIALS} trials" in done.stdout


def test_a_worker_that_dies_at_start_up_loses_no_trial(pytester: pytest.Pytester) -> None:
    """Its replacement runs the trials."""
    pytester.makeconftest(
        """
        import os, pathlib
        flag = pathlib.Path(__file__).with_name("died")
        if os.environ.get("PYTEST_XDIST_WORKER") == "gw0" and not flag.exists():
            flag.touch()
            os._exit(3)
        """
    )
    done = run_suite(pytester, "pass", "-n2")
    assert "Traceback" not in done.stderr
    assert done.returncode != 0 or f"recorded {TRIALS}/{TRIALS} trials" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_controller_that_is_killed_leaves_every_event(
    pytester: pytest.Pytester, number: signal.Signals
) -> None:
    """The workers' spools hold what they recorded, and can be recovered."""
    source = SUITE.format(
        trials=TRIALS, fatal=FATAL, in_flight=IN_FLIGHT, decorator="",
        fault="open('reached', 'w').close(); hang()",
    )  # fmt: skip
    pytester.makepyfile(test_faults=source)
    process = subprocess.Popen(
        [*PYTEST, "-n2"], cwd=pytester.path, env=clean_environment(), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        # A shell's background job ignores it, and so would its children: then a worker that has
        # lost its controller hangs on, which is execnet's affair.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (pytester.path / "reached").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        process.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode != 0
    assert events_of_fatal_trial(pytester.path) == IN_FLIGHT
    assert main(["recover", "crucible-results"]) == 0
    [experiment] = results_of(pytester.path).experiments
    assert experiment.metrics["default"].tests.passed >= FATAL


@pytest.mark.parametrize("mode", ["-n2", "-p no:xdist"])
def test_a_removed_run_folder_comes_back(pytester: pytest.Pytester, mode: str) -> None:
    """Somebody tidies up during the run: the record is restored from the open files."""
    fault = "import shutil; shutil.rmtree('crucible-results')"
    done = run_suite(pytester, fault, *mode.split())
    assert f"recorded {TRIALS}/{TRIALS} trials" in done.stdout, done.stdout
    assert done.returncode == 0
    [experiment] = results_of(pytester.path).experiments
    assert experiment.metrics["default"].tests.passed == TRIALS
