"""Workers that do not see the controller's folder send what they record."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_crucible.analysis.run import open_run
from pytest_crucible.capture.frames import FooterFrame, NoteFrame, encode
from pytest_crucible.experiments.recording import NodeRecording
from pytest_crucible.record.spool_reader import SpoolReader
from pytest_crucible.session.transport import PIECE, Inbox, Shipper, place, same_place
from tests.session.dying import (
    FATAL,
    IN_FLIGHT,
    TRIALS,
    events_of_fatal_trial,
    results_of,
    run_suite,
)


class Pipe:
    """A channel whose other end is in the same process."""

    def __init__(self) -> None:
        self.other: Inbox | None = None
        self.answers: list[object] = []
        self.sent: list[tuple[str, str, int, bytes]] = []

    def send(self, item: object, /) -> None:
        assert isinstance(item, tuple)
        self.sent.append(item)

    def receive(self, timeout: float | None = None) -> object:
        return self.answers.pop(0)

    def setcallback(self, callback: object, /) -> None:
        pass

    def isclosed(self) -> bool:
        return False


def node_in(folder: Path) -> NodeRecording:
    (folder / "nodes").mkdir(parents=True)
    return NodeRecording(folder, "run", "gw0")


def copied(tmp_path: Path, pieces: list[tuple[str, str, int, bytes]]) -> Path:
    inbox = Inbox(tmp_path / "there", "run", Pipe())
    for piece in pieces:
        inbox.receive(piece)
    assert inbox.problems == []
    return tmp_path / "there" / "run" / "nodes" / "gw0.spool"


def test_a_shipped_spool_arrives_byte_for_byte(tmp_path: Path) -> None:
    """Small frames, frames that end in zeros, frames larger than a piece."""
    node, pipe = node_in(tmp_path / "here"), Pipe()
    shipper = Shipper(node.folder, pipe)
    for size in (1, 10, PIECE * 5, 3):
        node.store.append(encode(NoteFrame("x" * size)))
        node.store.append(encode((6, 0)))  # a footer whose last bytes are zero
        shipper.ship()
    node.close()
    shipper.finish()
    assert copied(tmp_path, pipe.sent).read_bytes() == node.store.path.read_bytes()
    assert all(len(piece[3]) <= PIECE for piece in pipe.sent)


def test_pieces_may_come_twice_and_in_any_order(tmp_path: Path) -> None:
    """Writing a piece again where it belongs changes nothing."""
    node, pipe = node_in(tmp_path / "here"), Pipe()
    shipper = Shipper(node.folder, pipe)
    for number in range(50):
        node.store.append(encode(NoteFrame(str(number))))
        shipper.ship()
    node.close()
    shipper.finish()
    *pieces, size = pipe.sent
    shuffled = [*reversed(pieces), *pieces, size]
    assert copied(tmp_path, shuffled).read_bytes() == node.store.path.read_bytes()


def test_what_has_arrived_so_far_can_be_read(tmp_path: Path) -> None:
    """Before the end is known, the frames that came are whole."""
    node, pipe = node_in(tmp_path / "here"), Pipe()
    shipper = Shipper(node.folder, pipe)
    node.store.append(encode(FooterFrame(0)))
    shipper.ship()
    node.store.append(encode(NoteFrame("not sent yet")))
    frames = [frame for _, frame in SpoolReader(copied(tmp_path, pipe.sent))]
    assert frames[-1] == FooterFrame(0)


def test_a_problem_of_the_inbox_is_told_not_raised(tmp_path: Path) -> None:
    """An exception in execnet's callback would close the channel."""
    inbox = Inbox(tmp_path, "run", Pipe())
    inbox.receive("nonsense")
    inbox.receive("nonsense")
    assert len(inbox.problems) == 1


def test_names_from_a_worker_stay_inside_the_folder(tmp_path: Path) -> None:
    """A worker's word is data."""
    inbox = Inbox(tmp_path / "out", "run", Pipe())
    inbox.receive(("piece", "../../../escaped.spool", 0, b"x"))
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".gitignore"]
    assert [path.parent for path in written] == [tmp_path / "out" / "run" / "nodes"]


def test_a_folder_is_the_same_only_if_it_really_is(tmp_path: Path) -> None:
    """Same path is not enough: another root may have a folder of that name."""
    told = place(tmp_path / "not" / "there" / "yet")
    assert told["existing"] == str(tmp_path)
    assert same_place(told)
    assert not same_place({**told, "inode": -1})
    assert not same_place({**told, "host": "elsewhere"})
    assert not same_place({**told, "existing": str(tmp_path / "gone")})


def _can_unshare() -> bool:
    return (
        os.geteuid() == 0
        and shutil.which("unshare") is not None
        and subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode
        == 0
    )


@pytest.fixture
def blind_python(pytester: pytest.Pytester, tmp_path: Path) -> Path:
    """A Python in another mount namespace, to which the run folder is hidden."""
    if not _can_unshare():
        pytest.skip("needs root and mount namespaces")
    hidden = pytester.path / "crucible-results"
    hidden.mkdir()
    script = tmp_path / "blind-python"
    script.write_text(
        f"#!/bin/sh\nexec unshare -m sh -c 'mount -t tmpfs none {hidden} && "
        f'exec {sys.executable} "$@"\' sh "$@"\n'
    )
    script.chmod(0o755)
    return script


def test_blind_workers_record_everything(pytester: pytest.Pytester, blind_python: Path) -> None:
    """Events, trials and completeness are the same as with workers that see the folder."""
    gateway = f"--tx=2*popen//python={blind_python}"
    done = run_suite(pytester, "pass", "--dist=load", gateway)
    assert f"recorded {TRIALS}/{TRIALS} trials" in done.stdout, done.stdout + done.stderr
    assert "incomplete" not in done.stdout
    assert done.returncode == 0
    names = {path.name for path in open_nodes(pytester)}
    assert names == {"gw0.spool", "gw1.spool"}
    events = list(open_run(pytester.path / "crucible-results").events)
    assert sum(event.name == "work.done" for event in events) == TRIALS * IN_FLIGHT


def open_nodes(pytester: pytest.Pytester) -> list[Path]:
    return list((pytester.path / "crucible-results").glob("*/nodes/*.spool"))


def test_a_blind_worker_that_dies_keeps_what_it_sent(
    pytester: pytest.Pytester, blind_python: Path
) -> None:
    """Its finished trials are there, and the one in flight is a crash, not missing."""
    gateway = f"--tx=2*popen//python={blind_python}"
    done = run_suite(pytester, "os._exit(1)", "--dist=load", gateway)
    assert done.returncode != 0
    assert f"recorded {TRIALS - 1}/{TRIALS} trials · 1 crashed (gw" in done.stdout
    [experiment] = results_of(pytester.path).experiments
    assert experiment.metrics["default"].tests.passed == TRIALS - 1
    # What the dead process had not sent went with it: documented.
    assert events_of_fatal_trial(pytester.path) in range(IN_FLIGHT + 1)
    assert FATAL < TRIALS
