"""Whatever the distribution: every trial once, under the same identity, in a fair order."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import accumulate

import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.metrics.trials import MISSING, Trial
from pytest_crucible.runs.run import open_folder
from tests.session import support
from tests.session.dying import clean_environment

SUITE = """
import pytest

pytestmark = [
    pytest.mark.experiment("modes", conditions=("control", "treatment"), trials=2),
    pytest.mark.xdist_group("{name}"),
]

@pytest.mark.parametrize("n", range(2))
def test_{name}(n, experiment):
    experiment.execute("work.done", {{"n": n}})
    if n == {failing}:
        assert False
"""
FILES = ("one", "two")
KEYS = Counter(
    (condition, f"test_{name}.py::test_{name}[{n}]", trial)
    for condition in ("control", "treatment")
    for name in FILES
    for n in range(2)
    for trial in (1, 2)
)
LOCAL = ("-p no:xdist", "-n0", "--dist=no")
WORKERS = (
    "-n2 --dist=load",
    "-n2 --dist=loadscope",
    "-n2 --dist=loadfile",
    "-n2 --dist=loadgroup",
    "-n auto --dist=worksteal",
    "--tx=2*popen --dist=load",
)
SHUFFLING = tuple(each for each in support.ARGUMENTS if each not in ("-p", "no:randomly"))
SHUFFLING = tuple(part for each in SHUFFLING for part in ("-p", each))


def make_suite(pytester: pytest.Pytester, failing: int = -1) -> None:
    sources = {f"test_{name}": SUITE.format(name=name, failing=failing) for name in FILES}
    pytester.makepyfile(**sources)


def keys(trials: list[Trial]) -> Counter[tuple[str, str, int]]:
    return Counter((each.condition, each.case, each.trial) for each in trials)


def event_keys(pytester: pytest.Pytester) -> Counter[tuple[str, str | None, int | None]]:
    scopes = [event.scope for event in support.events(pytester)]
    return Counter((scope.condition, scope.case, scope.trial) for scope in scopes if scope)


def assert_each_trial_once(pytester: pytest.Pytester) -> None:
    trials = list(support.only(pytester).trials)
    assert keys(trials) == KEYS == event_keys(pytester)
    assert {(each.outcome, len(each.attempts)) for each in trials} == {("passed", 1)}


@pytest.mark.parametrize("arguments", LOCAL + WORKERS)
def test_every_trial_runs_once_under_the_same_identity(
    pytester: pytest.Pytester, arguments: str
) -> None:
    """Nothing is doubled or lost, ids are those of every other mode, each worker has both arms."""
    make_suite(pytester)
    done = support.run(pytester, *arguments.split())
    assert done.ret == pytest.ExitCode.OK
    assert_each_trial_once(pytester)
    seen: dict[str, set[str]] = {}
    for trial in support.only(pytester).trials:
        seen.setdefault(trial.attempts[0].node[1], set()).add(trial.condition)
    nodes = ("main",) if arguments in LOCAL else ("gw0", "gw1")
    assert seen == {node: {"control", "treatment"} for node in nodes}


@pytest.mark.parametrize("arguments", ["-p no:xdist --randomly-seed=1", "-n2 --randomly-seed=2"])
def test_a_random_order_changes_no_identity(pytester: pytest.Pytester, arguments: str) -> None:
    """pytest-randomly shuffles the plan, not what a trial is called."""
    make_suite(pytester)
    done = pytester.runpytest_inprocess(*SHUFFLING, *arguments.split())
    assert done.ret == pytest.ExitCode.OK
    assert_each_trial_once(pytester)
    plan = [(case, trial) for _, case, trial in support.plan(pytester)]
    assert plan[::2] != plan[1::2]  # the arms of a case stand apart


def test_each_runs_every_trial_on_every_worker(pytester: pytest.Pytester) -> None:
    """With --dist=each doubles are meant: a worker's cases are its own."""
    make_suite(pytester)
    done = support.run(pytester, "--tx=2*popen", "--dist=each")
    assert done.ret == pytest.ExitCode.OK
    trials = list(support.only(pytester).trials)
    for worker in ("gw0", "gw1"):
        own = [each for each in trials if each.case.endswith(f"@{worker}")]
        assert {attempt.node[1] for each in own for attempt in each.attempts} == {worker}
        plain = Counter((c, case[: case.index("]") + 1], t) for c, case, t in keys(own).elements())
        assert plain == KEYS
    assert len(trials) == 2 * KEYS.total()


def test_arms_stand_side_by_side_in_the_plan(pytester: pytest.Pytester) -> None:
    """In any stretch of the plan both arms appear equally, and neither always goes first."""
    make_suite(pytester)
    assert support.run(pytester, "-p", "no:xdist").ret == pytest.ExitCode.OK
    arms = [condition for condition, _, _ in support.plan(pytester)]
    lead = list(accumulate((1 if arm == "control" else -1 for arm in arms), initial=0))
    assert lead[::2] == [0] * (len(arms) // 2 + 1)
    assert set(lead) == {-1, 0, 1}


@pytest.mark.parametrize("arguments", ["-p no:xdist -x", "-n2 --maxfail=1"])
def test_a_session_that_stops_early_accounts_for_every_trial(
    pytester: pytest.Pytester, arguments: str
) -> None:
    """What never ran is in the books as missing, and the run is marked incomplete."""
    make_suite(pytester, failing=0)
    done = support.run(pytester, *arguments.split())
    assert done.ret not in (pytest.ExitCode.OK, pytest.ExitCode.INTERNAL_ERROR)
    trials = list(support.only(pytester).trials)
    assert keys(trials) == KEYS
    missing = [each for each in trials if each.outcome == MISSING]
    ran = [each for each in trials if each.outcome != MISSING]
    assert missing
    assert "failed" in {each.outcome for each in ran}
    assert keys(ran) == event_keys(pytester)
    done.stdout.fnmatch_lines(
        [f"*recorded {len(ran)}/{len(trials)} trials*{len(missing)} missing*", "incomplete: *"]
    )


def test_two_sessions_at_once_do_not_touch(pytester: pytest.Pytester) -> None:
    """Concurrent sessions in one folder are two runs, each with its own events only."""
    pytester.makepyfile(
        """
        import os, pathlib, time
        import pytest

        ME, OTHER = os.environ["ME"], os.environ["OTHER"]

        @pytest.mark.experiment("together")
        @pytest.mark.parametrize("n", range(4))
        def test_n(n, experiment):
            experiment.execute("work.start", {}, {"me": ME})
            pathlib.Path(ME).touch()
            deadline = time.monotonic() + 60
            while not pathlib.Path(OTHER).exists() and time.monotonic() < deadline:
                time.sleep(0.01)
            assert pathlib.Path(OTHER).exists()
            experiment.execute("work.stop", {}, {"me": ME})
        """
    )
    sessions = []
    for me, other, mode in (("a", "b", "no:xdist"), ("b", "a", "xdist")):
        environment = {**clean_environment(), "ME": me, "OTHER": other}
        workers = ["-n2"] if mode == "xdist" else ["-p", mode]
        command = [sys.executable, "-m", "pytest", *support.ARGUMENTS, *workers]
        pipe = subprocess.PIPE
        sessions.append(
            subprocess.Popen(command, cwd=pytester.path, env=environment, stdout=pipe, text=True)
        )
    texts = [session.communicate(timeout=120)[0] for session in sessions]
    assert [session.returncode for session in sessions] == [0, 0], texts
    runs = [
        open_folder(path) for path in (pytester.path / support.OUTPUT).iterdir() if path.is_dir()
    ]
    assert len(runs) == 2
    owners = []
    for run in runs:
        events = [event for event in run.events if not event.internal]
        (owner,) = {str(event.metadata["me"]) for event in events}
        owners.append(owner)
        assert len(events) == 2 * 4
        assert {trial.outcome for each in analyse(run).experiments for trial in each.trials} == {
            "passed"
        }
    assert sorted(owners) == ["a", "b"]


def test_two_sessions_in_turn_are_two_runs(pytester: pytest.Pytester) -> None:
    """The second run adds a folder and leaves the first as it was."""
    make_suite(pytester)
    output = pytester.path / support.OUTPUT
    assert support.run(pytester, "-p", "no:xdist").ret == pytest.ExitCode.OK
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert support.run(pytester, "-p", "no:xdist").ret == pytest.ExitCode.OK
    assert {path: path.read_bytes() for path in before} == before
    assert len([path for path in output.iterdir() if path.is_dir()]) == 2
    assert_each_trial_once(pytester)


def test_a_crashing_trial_that_is_run_again_is_one_trial(pytester: pytest.Pytester) -> None:
    """loadscope gives a crashed test to the replacement: attempts of one trial, on two nodes."""
    pytester.makepyfile(
        """
        import os, pathlib
        import pytest

        @pytest.mark.experiment("again")
        @pytest.mark.parametrize("n", range(3))
        def test_n(n, experiment):
            experiment.execute("work.done")
            if n == 1 and not pathlib.Path("crashed").exists():
                pathlib.Path("crashed").touch()
                os._exit(1)
        """
    )
    done = support.run(pytester, "-n2", "--dist=loadscope")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    experiment = support.only(pytester)
    (trial,) = [each for each in experiment.trials if each.case.endswith("[1]")]
    assert [each.outcome for each in trial.attempts] == ["crashed", "passed"]
    assert len({each.node for each in trial.attempts}) == 2
    tests = experiment.metrics["default"].tests
    assert (tests.trials, tests.passed, tests.crashed, tests.attempts) == (3, 3, 0, 4)
    assert tests.pass_rate == 1
    assert tests.first_pass_rate == pytest.approx(2 / 3)
    assert len(support.events(pytester)) == 4
    done.stdout.fnmatch_lines(["*recorded 3/3 trials · 1 crashed attempt replaced by later ones*"])
    assert "incomplete" not in done.stdout.str()  # the replacement has made up for it
