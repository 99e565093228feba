"""The controller of xdist: what it tells its workers, and what it makes of their answers."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_crucible.session import controller as module
from pytest_crucible.session.controller import (
    NOTES,
    RESCUED,
    WORKERINPUT,
    WORKEROUTPUT,
    Controller,
    rescue,
)
from pytest_crucible.session.outcome import TRIAL
from pytest_crucible.session.transport import same_place
from tests.session import support


@pytest.fixture
def controller(pytester: pytest.Pytester) -> Controller:
    return Controller(pytester.parseconfigure("-p", "no:xdist", *support.ARGUMENTS))


def node(**output: object) -> Any:
    """A worker that has ended with this output."""
    channel = SimpleNamespace(setcallback=lambda *_, **__: None)
    return SimpleNamespace(
        gateway=SimpleNamespace(newchannel=lambda: channel), workerinput={}, workeroutput=output
    )


def test_workers_are_told_of_one_run(controller: Controller, pytester: pytest.Pytester) -> None:
    """The same run and folder for all, as plain data but for the channel; and how to know it."""
    told = []
    for _ in range(2):
        worker = node()
        controller.greet(worker)
        told.append(worker.workerinput[WORKERINPUT])
    assert told[0]["run"] == told[1]["run"]
    assert told[0]["output"] == str(pytester.path / support.OUTPUT)
    assert same_place(told[0]["place"])
    assert told[0]["each"] is False


def test_notes_are_told_once(controller: Controller) -> None:
    """Xdist may report twice that a worker is down."""
    worker = node(**{NOTES: ["gw0: no room", "gw0: no room for more"], RESCUED: "/tmp/gw0.spool"})
    for _ in range(2):
        controller.pytest_testnodedown(worker, None)
    assert controller._notes == ["gw0: no room", "gw0: no room for more"]
    assert controller._rescued == [Path("/tmp/gw0.spool")]


def test_a_worker_that_died_has_no_answer(controller: Controller) -> None:
    """It may not even have an output."""
    controller.pytest_testnodedown(SimpleNamespace(), "crashed")
    controller.pytest_testnodedown(node(**{RESCUED: ""}), None)
    assert (controller._notes, controller._rescued) == ([], [])


def test_what_a_worker_refused_ends_the_session(controller: Controller) -> None:
    """As the one line that it could not raise itself."""
    with pytest.raises(pytest.UsageError, match="two markers on one test"):
        controller.pytest_testnodedown(node(**{WORKEROUTPUT: "two markers on one test"}), None)


def test_attempts_of_trials_are_counted_once(controller: Controller) -> None:
    """By their setup: an attempt has three reports, and other tests are none of ours."""
    for when in ("setup", "call", "teardown"):
        trial = SimpleNamespace(when=when, **{TRIAL: True})
        controller.pytest_runtest_logreport(trial)  # type: ignore[arg-type]
        controller.pytest_runtest_logreport(SimpleNamespace(when=when))  # type: ignore[arg-type]
    assert controller._reported == 1


def test_attempts_that_are_not_in_the_record_are_loss(pytester: pytest.Pytester) -> None:
    """Pytest reported more than the spools hold: the session is not green, and says so."""
    pytester.makepyfile(
        """
        import pathlib
        import pytest

        @pytest.mark.experiment("e")
        @pytest.mark.parametrize("n", range(3))
        def test_it(n):
            pass

        def test_last():
            for spool in pathlib.Path("crucible-results").glob("*/nodes/*.spool"):
                with open(spool, "rb+") as file:
                    file.truncate(400)
        """
    )
    result = support.run(pytester, "-n1")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*3 attempts were reported, * are in the record*"])


# --- a full disk -------------------------------------------------------------------------------


def test_without_anything_to_rescue_the_folder_stays(tmp_path: Path) -> None:
    """The usual end of a session: no note, the same folder."""
    assert rescue(tmp_path, []) == (tmp_path, [])


def test_what_was_rescued_moves_the_run(tmp_path: Path) -> None:
    """To where there is room, with what the folder had, and a note that says where."""
    run, spool = tmp_path / "run-1", tmp_path / "elsewhere" / "gw0.spool"
    (run / "nodes").mkdir(parents=True)
    (run / "nodes" / "gw1.spool").write_bytes(b"one")
    spool.parent.mkdir()
    spool.write_bytes(b"zero")
    roomy, (note,) = rescue(run, [spool])
    assert roomy != run
    assert note == f"the disk was full: the whole record is in {roomy}"
    found = {path.name: path.read_bytes() for path in (roomy / "nodes").iterdir()}
    assert found == {"gw0.spool": b"zero", "gw1.spool": b"one"}


def test_without_room_anywhere_the_reason_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there is finished where it is."""

    def full(*_: object) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "move_to_room", full)
    assert rescue(tmp_path, [tmp_path / "x"]) == (
        tmp_path,
        ["the record could not be kept elsewhere either: No space left on device"],
    )
