"""A side is a live session that does what it is told, and says how it ended if it ends early."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pytest_crucible._errors import DefinitionError
from pytest_crucible.turns import sides
from pytest_crucible.turns.messages import Run
from pytest_crucible.turns.sides import Side, SideError, ended_with, tail_of
from tests.turns.support import ARGUMENTS, place, write

Make = Callable[..., Side]

TESTS = """
    import os, time
    import pytest

    @pytest.mark.experiment("e")
    @pytest.mark.parametrize("case", ["a", "b"])
    def test_it(case):
        {body}
"""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Start a side in a folder with two cases; it is gone when the test is."""
    made = []

    def start(body: str = "pass", *arguments: str) -> Side:
        write(tmp_path / "tree", test_it=TESTS.format(body=body))
        output = f"--crucible-output={tmp_path / 'runs'}"
        made.append(Side(place(tmp_path / "tree"), [*ARGUMENTS, output, *arguments], 2, "token"))
        return made[-1]

    yield start
    for side in made:
        side.stop()
        side.close()


def test_it_runs_what_it_is_told(make: Make) -> None:
    """In any order, and writes its record in the end."""
    side = make()
    ready = side.ready()
    assert [case.case for case in ready.cases] == [
        "test_it.py::test_it[a]",
        "test_it.py::test_it[b]",
    ]
    assert not side.busy
    for run in (Run(1, 1), Run(1, 0), Run(0, None)):
        side.run(run)
    side.finish()
    assert side.over().imported["test_it"] == str(side.place.tree / "test_it.py")
    side.wait()
    assert side.ran == 3
    assert side.folder is not None
    assert (side.folder / "manifest.json").exists()


def test_a_broken_collection_is_told(make: Make) -> None:
    side = make("pass", "test_none.py")
    with pytest.raises(SideError, match=r"^base: collection failed, exit code 4$") as caught:
        side.ready()
    assert any("not found: test_none.py" in line for line in caught.value.tail)


def test_without_the_plugin_that_is_the_reason(make: Make) -> None:
    side = make("pass", "-p", "no:crucible")
    with pytest.raises(SideError, match="exit code 4: its environment has no pytest-crucible"):
        side.ready()


def test_one_that_was_killed_says_by_what(make: Make) -> None:
    side = make("os.kill(os.getpid(), 9)")
    side.ready()
    with pytest.raises(SideError, match=r"^base: its session ended early, killed by SIGKILL$"):
        side.run(Run(0, 1))
    with pytest.raises(SideError, match="killed by SIGKILL"):
        side.run(Run(1, None))


def test_one_that_stops_by_itself_says_why(make: Make) -> None:
    side = make("assert 0", "-x")
    side.ready()
    with pytest.raises(SideError, match="ended early: stopping after 1 failures"):
        side.run(Run(0, 1))


def test_a_session_that_fails_at_its_end_is_told(tmp_path: Path, make: Make) -> None:
    write(tmp_path / "tree", conftest="def pytest_sessionfinish():\n    raise OSError('a disk')\n")
    side = make()
    side.ready()
    side.finish()
    side.over()
    with pytest.raises(SideError, match=r"^base: its session failed, "):
        side.wait()


@pytest.mark.parametrize("busy", [True, False])
def test_stopped_it_writes_its_record(make: Make, busy: bool) -> None:
    """Between two tests, and in one."""
    side = make("time.sleep(60)" if busy else "pass")
    side.ready()
    if busy:
        side._tell(Run(0, 1))
        time.sleep(0.3)
    else:
        side.run(Run(0, 1))
    side.stop()
    side.close()
    assert not side.running
    assert side.folder is not None
    assert (side.folder / "manifest.json").exists()


def test_one_that_does_not_stop_is_killed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that it has started."""
    monkeypatch.setattr(sides, "_GRACE", 0.2)
    child = "import subprocess; child = subprocess.Popen(['sleep', '60'])"
    note = "open('child.pid', 'w').write(str(child.pid))"
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(60)"
    side = make(f"{child}; {note}; {deaf}")
    side.ready()
    side._tell(Run(0, 1))
    pid = side.place.tree / "child.pid"
    until = time.monotonic() + 10
    while not (pid.exists() and pid.read_text(encoding="utf-8")) and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.1)
    side.stop()
    side.close()
    assert not side.running
    assert not _alive(int(pid.read_text(encoding="utf-8")))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process")
def test_it_is_pinned(tmp_path: Path) -> None:
    cpu = min(os.sched_getaffinity(0))
    write(tmp_path / "tree", test_it=TESTS.format(body="pass"))
    side = Side(place(tmp_path / "tree"), [*ARGUMENTS, "--version"], 2, "token", {cpu})
    try:
        assert os.sched_getaffinity(side._process.pid) == {cpu}
    finally:
        side.close()


def test_an_interpreter_is_a_path_or_a_name(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    own = tree / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)
    assert place(tree, python="bin/python").interpreter() == (str(own), True)
    assert place(tree).interpreter() == (sys.executable, False)
    name, is_own = place(tree, python="sh").interpreter()
    assert Path(name).name == "sh"
    assert not is_own
    for wrong in ("bin/nothing", "bin/", "no-python-of-that-name"):
        with pytest.raises(DefinitionError, match=f"--python: '{wrong}' is no interpreter of base"):
            place(tree, python=wrong).interpreter()


def test_the_worktree_comes_first_on_the_path() -> None:
    """But for an environment of its own, which has it installed."""
    tree = Path("/tree")
    made = sides._environment({"PYTHONPATH": "/mine", "A": "b"}, tree, False)
    assert made == {"PYTHONPATH": "/tree:/tree/src:/mine", "A": "b", "PYTHONHASHSEED": "0"}
    assert sides._environment({}, tree, False)["PYTHONPATH"] == "/tree:/tree/src"
    assert sides._environment({"PYTHONHASHSEED": "7"}, tree, True) == {"PYTHONHASHSEED": "7"}


def test_setup_runs_in_the_worktree(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    side = place(tmp_path / "tree")
    side.set_up('pwd > where; echo "$CRUCIBLE_CHECKOUT" >> where', tmp_path / "checkout")
    said = (tmp_path / "tree" / "where").read_text(encoding="utf-8").splitlines()
    assert said == [str(tmp_path / "tree"), str(tmp_path / "checkout")]
    with pytest.raises(SideError, match="base: --setup failed, exit code 3") as caught:
        side.set_up("echo one; echo two >&2; exit 3", tmp_path)
    assert caught.value.tail == ("one", "two")


def test_an_interrupted_setup_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all that it has started."""
    (tmp_path / "tree").mkdir()

    def interrupted(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupted)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(KeyboardInterrupt):
            place(tmp_path / "tree").set_up("echo $$ > pid; sleep 60", tmp_path)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not _alive(int((tmp_path / "tree" / "pid").read_text(encoding="utf-8")))


def test_the_tail_is_short(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"\xff first\n" + b"".join(b"\n%d \n" % number for number in range(99)))
    assert tail_of(log) == [str(number) for number in range(99 - sides.TAIL, 99)]
    assert ended_with(-15) == "killed by SIGTERM"
