"""`crucible ab` on real repositories: two revisions, one verdict, nothing left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_crucible.analysis.run import open_run
from pytest_crucible.cli import ab
from tests.cli.support import CRUCIBLE, failure, run
from tests.turns.support import ARGUMENTS, commit, git, repository, write

SHOP = """
    import time

    def work():
        time.sleep({seconds})
"""
TESTS = """
    import pytest
    import shop

    @pytest.mark.experiment("shop", expect=["latency.p50 < 1000"])
    @pytest.mark.parametrize("case", {cases!r})
    def test_work(case, experiment):
        with experiment.span("work"):
            shop.work()

    def test_plain():
        pass
"""
SLOW = """
    import os, time
    import pytest

    @pytest.mark.experiment("shop")
    @pytest.mark.parametrize("case", range(99))
    def test_work(case):
        with open(os.environ["RUNNING"], "a") as file:
            file.write(f"{os.getpid()}\\n")
        time.sleep(.1)
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A repository, as the working directory; in the end it has its own worktree alone."""
    folder = repository(
        tmp_path / "shop",
        src__shop=SHOP.format(seconds=0.002),
        tests__test_shop=TESTS.format(cases=list(range(8))),
    )
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "200")
    above = tmp_path / "temporary"
    above.mkdir()
    monkeypatch.setenv("TMPDIR", str(above))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield folder
    assert git(folder, "worktree", "list").count("\n") == 1
    assert list(above.iterdir()) == []


def against(*arguments: str) -> int:
    return run("ab", *arguments, "--", "tests", *ARGUMENTS)


def recorded(folder: Path) -> list[Path]:
    """The runs on record, of the base and of the head."""
    return sorted(path for path in (folder / "crucible-results").glob("*/2*") if path.is_dir())


def test_a_slowdown_is_found(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of the working tree as it is, which stays as it is."""
    write(shop, src__shop=SHOP.format(seconds=0.012))  # so much, for this machine may be busy
    before = git(shop, "status", "--porcelain"), git(shop, "rev-parse", "HEAD")
    assert against("HEAD", "--json=verdict.json") == 1
    out, err = capsys.readouterr()
    assert re.search(r"REGRESSED +latency +\d+\.\d+ ms +\d+\.\d+ ms +\+\d", out)
    assert "2 % (latency)" in out
    lines = err.splitlines()
    assert re.fullmatch(r"base: HEAD \(\w{10}\)", lines[0])
    assert re.fullmatch(r"head: the working tree \(\w{10}, 1 file changed\)", lines[1])
    assert lines[2:4] == [
        "8 cases on both sides, 5 rounds in turns",
        "1 test without an experiment marker: not run",
    ]
    (comparison,) = json.loads(Path("verdict.json").read_bytes())["comparisons"]
    Path("verdict.json").unlink()
    assert (git(shop, "status", "--porcelain"), git(shop, "rev-parse", "HEAD")) == before
    # Both runs are ordinary ones, which compare and gate read.
    folders = [f"crucible-results/{side}" for side in ("base", "head")]
    assert [path.name for path in recorded(shop)] == [
        comparison["baseline"],
        comparison["candidate"],
    ]
    assert run("compare", *folders, "--margin", "0.02") == 1
    assert run("gate", folders[1]) == 0
    for folder in recorded(shop):
        assert "passed" in (folder / ab.LOG).read_text(encoding="utf-8")
    # The runs of the two sides alternate, A B B A.
    begun = []
    for side, path in zip("ab", folders, strict=True):
        (experiment,) = open_run(path).results().experiments
        assert len(experiment.trials) == 40
        begun += [(trial.attempts[0].began_us, side) for trial in experiment.trials]
    order = "".join(side for _, side in sorted(begun))
    assert order == ("abbaabbaab" + "baabbaabba") * 4


def test_the_same_code_twice_is_said(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An A/A test, in a folder of the repository; the tree's changes are left out."""
    write(shop, src__shop=SHOP.format(seconds=0.004))
    os.chdir("tests")
    code = run("ab", "main", "HEAD", "--rounds=2", "--margin=0.9", "--", "test_shop.py", *ARGUMENTS)
    assert code == 0
    out, err = capsys.readouterr()
    assert "both sides are the same code (A/A): every difference is noise" in err
    assert "1 file of the working tree changed since its commit: left out" in err
    assert "REGRESSED" not in out
    assert len(recorded(shop / "tests")) == 2


def test_cases_of_one_side_run_and_are_told(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit(shop, tests__test_shop=TESTS.format(cases=[*range(1, 8), "new"]))
    assert against("HEAD~1", "HEAD", "--rounds=1", "--fail-on=missing", "--markdown=-") == 1
    out, err = capsys.readouterr()
    assert "7 cases on both sides, 1 round in turns" in err
    assert "only in base: tests/test_shop.py::test_work[0]\n" in err
    assert "only in head: tests/test_shop.py::test_work[new]\n" in err
    assert "REMOVED" in out
    assert "ADDED" in out


def test_without_a_case_in_common_nothing_runs(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit(shop, tests__test_shop="def test_plain(): pass")
    assert against("HEAD~1", "HEAD") == 3
    err = capsys.readouterr().err
    assert "nothing to compare: no case with an experiment on both sides" in err
    assert recorded(shop) == []


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["nonsense"], r"'nonsense' is no revision of .*"),
        (["HEAD", "nonsense"], r"'nonsense' is no revision of .*"),
        (["HEAD", "--rounds=0"], r"--rounds: 0 is not a number from 1 on"),
        (["HEAD", "--margin=x"], r"--margin: 'x' is not a share .*"),
        (["HEAD", "--fail-on=x"], r"--fail-on: 'x' is not one of .*"),
        (["HEAD", *["--python=x"] * 3], r"--python: one for both sides, or two: .*"),
        (["HEAD", "--cpus=x"], r"--cpus: 'x' is not of the form 2 or 4-7, of .*"),
        (["HEAD", "--cpus=0-4096"], r"--cpus: '0-4096' is not of the form .*"),
        (["HEAD", "--output=shop/x"], r"output folder '.*shop/x': '.*shop' is a file"),
        (["HEAD", "--", "tests", "-n", "2"], r"-n 2: tests cannot take turns under pytest-xdist.*"),
        (["HEAD", "--", "-nauto"], r"-nauto: tests cannot take turns under pytest-xdist.*"),
        (["HEAD", "--", "--numprocesses=2"], r"--numprocesses=2: tests cannot take turns .*"),
        (["HEAD", "--", "{shop}/tests::x"], r".*/tests::x: both sides would run the tests of .*"),
    ],
)
def test_bad_input_is_one_line(
    shop: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
) -> None:
    """Before anything is checked out."""
    Path("shop").touch()
    line = failure(capsys, "ab", *(each.format(shop=shop) for each in arguments))
    assert re.fullmatch(problem, line)


def test_without_workers_xdist_may_be_named(shop: Path) -> None:
    for arguments in (["-n0"], ["-n", "0"], ["--numprocesses=0"], ["-k", "not-n2"]):
        ab._check_arguments(arguments, shop)


def test_outside_a_repository_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "is in no git repository" in failure(capsys, "ab", "HEAD")


def test_other_systems_are_refused(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sockets and signals are passed on as POSIX does."""
    monkeypatch.setattr(ab, "os", SimpleNamespace(name="nt"))
    assert failure(capsys, "ab", "HEAD") == "ab needs Linux, macOS or another POSIX system"


def test_cpus_are_listed(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As Linux writes them."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None, raising=False)
    assert ab._cpus("0, 2,4-6") == {0, 2, 4, 5, 6}
    monkeypatch.delattr(os, "sched_setaffinity")
    assert failure(capsys, "ab", "HEAD", "--cpus=1") == (
        "--cpus: this system pins no processes to CPUs"
    )


def test_what_follows_the_dashes_is_pytest_s() -> None:
    """Of this command alone."""
    assert ab.split(["ab", "main", "--", "-k", "x", "--", "y"]) == (
        ["ab", "main"], ["-k", "x", "--", "y"],
    )  # fmt: skip
    assert ab.split(["ab", "main"]) == (["ab", "main"], [])
    assert ab.split(["show", "--", "x"]) == (["show", "--", "x"], [])


def test_a_failing_setup_ends_it(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert against("HEAD", "--setup", "echo no wheels; exit 3") == 2
    err = capsys.readouterr().err.splitlines()
    assert err[-3:] == [
        "base: echo no wheels; exit 3", "| no wheels", "crucible: base: --setup failed, exit code 3"
    ]  # fmt: skip


def test_each_side_may_have_an_environment_of_its_own(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Made by the setup; nothing is added to its path."""
    lines = rf"#!/bin/sh\nPYTHONPATH=$PWD/src:$PYTHONPATH exec {sys.executable} \"\$@\"\n"
    setup = f'mkdir bin && printf "{lines}" > bin/python && chmod +x bin/python'
    arguments = ("HEAD", "--rounds=1", "--fail-on=none", "--setup", setup, "--python=bin/python")
    assert against(*arguments) == 0
    err = capsys.readouterr().err
    assert "8 cases on both sides" in err
    assert "warning" not in err
    assert against("HEAD", "--python=bin/python") == 2
    assert "--python: 'bin/python' is no interpreter of base" in capsys.readouterr().err
    (shop / "new").mkdir()
    os.chdir("new")
    assert run("ab", "HEAD") == 2
    assert capsys.readouterr().err.endswith("crucible: base has no folder 'new'\n")


def test_code_from_elsewhere_is_a_warning(
    shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an editable install of the checkout may bring it."""
    (shop / "lib").mkdir()
    git(shop, "mv", "src/shop.py", "lib/shop.py")
    commit(shop)
    monkeypatch.setenv("PYTHONPATH", str(shop / "lib"))
    assert against("HEAD", "HEAD", "--rounds=1", "--fail-on=none") == 0
    err = capsys.readouterr().err
    for side in ("base", "head"):
        assert err.count(f"warning: {side} imports shop from {shop}/lib/shop.py, not from") == 1


def test_a_broken_side_is_told(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Which side, and what it printed; the other one is stopped, and leaves no record."""
    write(shop, src__shop="import nothing_of_that_name")
    assert against("HEAD") == 2
    err = capsys.readouterr().err.splitlines()
    assert err[-1] == "crucible: head: collection failed, exit code 2"
    assert any(re.match(r"\| .*No module named 'nothing_of_that_name'", line) for line in err)
    assert recorded(shop) == []


def test_the_worktrees_can_be_kept(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    commit(shop, tests__test_shop="def test_plain(): pass")
    assert against("HEAD", "--keep") == 3
    (line,) = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("worktrees: ")
    ]
    for folder in map(Path, line.removeprefix("worktrees: ").split(", ")):
        assert (folder / "tests" / "test_shop.py").exists()
        git(shop, "worktree", "remove", "--force", str(folder))
    for log in folder.parent.iterdir():
        log.unlink()
    folder.parent.rmdir()


Start = Callable[[], tuple[subprocess.Popen[str], set[int]]]


@pytest.fixture
def start(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start the command in a group of its own; returns it and the processes of its sides."""
    commit(shop, tests__test_shop=SLOW)
    running = tmp_path / "running"
    monkeypatch.setenv("RUNNING", str(running))
    processes = []

    def begin() -> tuple[subprocess.Popen[str], set[int]]:
        process = subprocess.Popen(
            [*CRUCIBLE, "ab", "HEAD", "--rounds=4", "--", "tests", *ARGUMENTS],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        processes.append(process)
        until = time.monotonic() + 60
        pids: set[int] = set()
        while len(pids) < 2 and time.monotonic() < until:
            time.sleep(0.05)
            pids = set(map(int, running.read_text().split())) if running.exists() else set()
        assert len(pids) == 2
        return process, pids

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def gone(pids: set[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_both_sides(shop: Path, start: Start, number: signal.Signals) -> None:
    """Ctrl-C goes to the whole group; both records are kept and named."""
    process, pids = start()
    if number == signal.SIGINT:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert out == ""
    assert gone(pids)
    lines = err.splitlines()
    assert lines[-1] == f"crucible: stopped by {number.name}"
    for name, line in zip(("base", "head"), lines[-3:-1], strict=True):
        match = re.fullmatch(rf"{name}: \d+ runs? on record in (crucible-results/\S+)", line)
        assert match
        assert (shop / match[1] / "manifest.json").exists()
    assert len(recorded(shop)) == 2


def test_a_killed_side_is_told(shop: Path, start: Start) -> None:
    """Its record can be recovered; the other side writes its own."""
    process, pids = start()
    os.kill(min(pids), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert gone(pids)
    lines = err.splitlines()
    assert re.fullmatch(
        r"crucible: (base|head): its session ended early, killed by SIGKILL", lines[-1]
    )
    (killed,) = (line for line in lines if "crucible recover" in line)
    folder = re.search(r"`crucible recover (\S+)` completes it", killed)
    assert folder
    assert run("recover", folder[1]) == 0
    assert len(recorded(shop)) == 2
