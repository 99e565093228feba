"""A session that takes turns records every round as a trial of its case."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pytest_crucible.turns.messages import (
    Began,
    Channel,
    Done,
    End,
    FromSession,
    Over,
    Ready,
    Run,
    ToSession,
)
from tests.session import support


class Command:
    """The other end: it says what to run, and keeps what it hears."""

    def __init__(self) -> None:
        ours, self._theirs = socket.socketpair()
        self.channel: Channel[FromSession] = Channel(ours, FromSession)  # type: ignore[arg-type]
        self.heard: list[FromSession] = []
        self.folder = ""

    def option(self, rounds: int) -> str:
        return f"--crucible-turns={os.dup(self._theirs.fileno())}:{rounds}:token"

    def start(self, orders: Sequence[ToSession]) -> threading.Thread:
        def work() -> None:
            began = self.channel.receive(30)
            assert isinstance(began, Began)
            self.folder = began.folder
            self.heard.append(self.channel.receive(30))
            for order in orders:
                self.channel.send(order)
                self.heard.append(self.channel.receive(30))
            self.channel.finish()

        thread = threading.Thread(target=work)
        thread.start()
        return thread

    def close(self) -> None:
        self.channel.close()
        self._theirs.close()


@pytest.fixture
def command() -> Iterator[Command]:
    made = Command()
    yield made
    made.close()


def take_turns(
    pytester: pytest.Pytester,
    command: Command,
    orders: Sequence[ToSession],
    *arguments: str,
    rounds: int = 2,
) -> pytest.RunResult:
    thread = command.start(orders)
    result = support.run(pytester, command.option(rounds), *arguments)
    thread.join()
    return result


def test_each_round_is_a_trial(pytester: pytest.Pytester, command: Command) -> None:
    """Of its own, next to the marker's trials and those of blocks; unmarked tests do not run."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.experiment("e", trials=2)
        def test_it(experiment):
            for _ in range(2):
                with experiment.case("q1"):
                    pass

        @pytest.mark.experiment("e")
        def test_other():
            pass

        def test_plain():
            assert 0
        """
    )
    orders: list[ToSession] = [
        Run(0, 0),
        Run(2, 1),
        Run(0, 1),
        Run(1, 1),
        Run(1, 2),
        Run(2, None),
        End(),
    ]
    result = take_turns(pytester, command, orders)
    assert result.ret == pytest.ExitCode.OK
    ready, *done, over = command.heard
    assert isinstance(ready, Ready)
    assert [(case.case, case.trial) for case in ready.cases] == [
        ("test_each_round_is_a_trial.py::test_it", 1),
        ("test_each_round_is_a_trial.py::test_it", 2),
        ("test_each_round_is_a_trial.py::test_other", 1),
    ]
    assert ready.unmarked == 1
    assert Path(command.folder).is_dir()
    assert isinstance(over, Over)
    assert done == [Done()] * 6
    experiment = support.only(pytester)
    trials = [(trial.case.rpartition("::")[2], trial.trial) for trial in experiment.trials]
    assert sorted(trials) == [
        *(("q1", number) for number in range(1, 9)), ("test_other", 1), ("test_other", 2),
    ]  # fmt: skip
    assert all(len(trial.attempts) == 1 for trial in experiment.trials)
    manifest = support.newest(pytester).manifest
    assert manifest is not None
    assert manifest["turns"] == "token"


def test_taking_turns_nothing_stops_early(pytester: pytest.Pytester, command: Command) -> None:
    """The other side may not be decided: all cases run, in the order in which they are written."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.experiment("e", expect=["success_rate > 0.5"], stop="decided")
        @pytest.mark.parametrize("row", range(20))
        def test_it(row):
            pass
        """
    )
    orders: list[ToSession] = [*(Run(at, at + 1) for at in range(19)), Run(19, None), End()]
    take_turns(pytester, command, orders, rounds=1)
    ready = command.heard[0]
    assert isinstance(ready, Ready)
    assert [case.case.rpartition("[")[2] for case in ready.cases] == [f"{at}]" for at in range(20)]
    experiment = support.only(pytester)
    assert experiment.recorded == 20
    assert experiment.decided is None


def test_what_never_ran_is_missing(pytester: pytest.Pytester, command: Command) -> None:
    """The plan has every round, so a session that ended early has an incomplete record."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.experiment("e", warmup=1, pass_if="1/2", trials=2)
        def test_it():
            pass
        """
    )
    result = take_turns(pytester, command, [Run(0, 1), Run(1, 1)], rounds=3)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*crucible ab has ended*"])
    ready = command.heard[0]
    assert isinstance(ready, Ready)
    assert [case.trial for case in ready.cases] == [-1, 1, 2]
    experiment = support.only(pytester)
    outcomes = {trial.trial: trial.outcome for trial in experiment.trials}
    assert outcomes == {1: "passed", **dict.fromkeys(range(2, 7), "missing")}
    assert experiment.definition.trials == 6
    assert experiment.definition.pass_if == "3/6"


def test_nothing_stops_early(pytester: pytest.Pytester, command: Command) -> None:
    """The other side would have run its pairs for nothing."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.experiment("e", expect=["success_rate > 0.1"], stop="decided")
        @pytest.mark.parametrize("case", range(9))
        def test_it(case):
            pass
        """
    )
    orders: list[ToSession] = [Run(i, i if n == 1 else i + 1) for i in range(9) for n in (1, 2)]
    orders[-1:] = [Run(8, None), End()]
    take_turns(pytester, command, orders)
    assert {trial.outcome for trial in support.only(pytester).trials} == {"passed"}


def test_a_unittest_takes_turns(pytester: pytest.Pytester, command: Command) -> None:
    """What pytest cannot parametrize runs several times all the same."""
    pytester.makepyfile(
        """
        import unittest
        import pytest

        @pytest.mark.experiment("e")
        class TestIt(unittest.TestCase):
            ups = 0

            @classmethod
            def setUpClass(cls):
                TestIt.ups += 1

            def setUp(self):
                self.fresh = True

            def test_it(self):
                assert self.fresh
                assert TestIt.ups == 1
                self.fresh = False
        """
    )
    result = take_turns(pytester, command, [Run(0, 0), Run(0, None), End()])
    assert result.ret == pytest.ExitCode.OK
    assert [trial.outcome for trial in support.only(pytester).trials] == ["passed"] * 2


@pytest.mark.parametrize("name", ["shouldfail", "shouldstop"])
def test_a_session_that_stops_says_why(
    pytester: pytest.Pytester, command: Command, name: str
) -> None:
    """Its command must not wait for more."""
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.experiment("e")
        def test_it(request):
            request.session.{name} = "enough"
        """
    )
    result = take_turns(pytester, command, [Run(0, 0)])
    codes = {"shouldfail": pytest.ExitCode.TESTS_FAILED, "shouldstop": pytest.ExitCode.INTERRUPTED}
    assert result.ret == codes[name]
    assert command.heard[1:] == [Done("enough")]


@pytest.mark.parametrize("arguments", ["-n1", "-d --tx=popen"])
def test_workers_take_no_turns(pytester: pytest.Pytester, command: Command, arguments: str) -> None:
    """Whether from the command line or from the project's addopts."""
    pytester.makeini(f"[pytest]\naddopts = {arguments}\n")
    pytester.makepyfile("def test_it(): pass")
    refused = support.refused(support.run(pytester, command.option(2)))
    assert refused.startswith("crucible ab: tests cannot take turns under pytest-xdist")


def test_a_collection_that_failed_runs_nothing(pytester: pytest.Pytester, command: Command) -> None:
    """As in any session; `--continue-on-collection-errors` runs the rest."""
    pytester.makepyfile(
        test_bad="import nothing_of_that_name",
        test_good="""
        import pytest

        @pytest.mark.experiment("e")
        def test_it():
            pass
        """,
    )
    result = support.run(pytester, command.option(2))
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*1 error during collection*"])
    assert isinstance(command.channel.receive(1), Began)
    result = support.run(pytester, command.option(2), "--collect-only", "test_good.py")
    assert result.ret == pytest.ExitCode.OK
    orders: list[ToSession] = [Run(0, 0), Run(0, None), End()]
    take_turns(pytester, command, orders, "--continue-on-collection-errors")
    assert [trial.outcome for trial in support.only(pytester).trials] == ["passed"] * 2


def test_a_rerun_is_an_attempt_of_its_round(pytester: pytest.Pytester, command: Command) -> None:
    """Of pytest-rerunfailures."""
    pytester.makepyfile(
        """
        import pytest

        runs = []

        @pytest.mark.flaky(reruns=1)
        @pytest.mark.experiment("e")
        def test_it():
            runs.append(1)
            assert len(runs) != 1
        """
    )
    take_turns(pytester, command, [Run(0, 0), Run(0, None), End()])
    trials = support.only(pytester).trials
    assert [[each.outcome for each in trial.attempts] for trial in trials] == [
        ["failed", "passed"], ["passed"],
    ]  # fmt: skip
