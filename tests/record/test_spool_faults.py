"""The spool file when things go wrong: killed processes, forks, full disks, removed files."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pytest_crucible._layout import SEGMENT
from pytest_crucible.capture.frames import FooterFrame, NoteFrame
from pytest_crucible.record import spool, spool_reader
from pytest_crucible.record.spool import SpoolStore
from pytest_crucible.record.spool_reader import SpoolReader
from tests.record.support import SMALL, event, header, numbers, positions, read

SETUP = """
import os, signal, sys
from pathlib import Path
from pytest_crucible import telemetry
from pytest_crucible.capture.frames import HeaderFrame
from pytest_crucible.capture.recorder import open_scope
from pytest_crucible.capture.open_scope import current_scope
from pytest_crucible.events.scope import Scope
from pytest_crucible.record.spool import SpoolStore

def header(node):
    return HeaderFrame(1, "run", node, "uid", 1, "host", 2, 3)

folder = Path(sys.argv[1])
store = SpoolStore(folder / "main.spool", header("main"))
current_scope.set(open_scope(Scope(experiment="e"), store, 1))
def emit(number):
    telemetry.execute("x", {"n": number}, {"pad": "x" * 100})
"""


def start(code: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SETUP + code, str(folder)], stdout=subprocess.PIPE
    )


def test_nothing_is_lost_when_the_process_kills_itself(tmp_path: Path) -> None:
    """SIGKILL right after `execute` has returned loses no event."""
    code = "for n in range(20_000): emit(n)\nos.kill(os.getpid(), signal.SIGKILL)"
    with start(code, tmp_path) as process:
        assert process.wait() == -signal.SIGKILL
    assert numbers(SpoolReader(tmp_path / "main.spool")) == list(range(20_000))


def test_nothing_is_lost_by_an_immediate_exit(tmp_path: Path) -> None:
    """`os._exit`, which runs no cleanup, loses no event."""
    with start("emit(0)\nemit(1)\nos._exit(3)", tmp_path) as process:
        assert process.wait() == 3
    assert numbers(enumerate(read(tmp_path / "main.spool"))) == [0, 1]


def test_nothing_is_lost_when_killed_at_any_moment(tmp_path: Path) -> None:
    """Whenever a process is killed, every event whose `execute` has returned is in its file."""
    code = "n = 0\nwhile True:\n    emit(n)\n    os.write(1, b'.')\n    n += 1"
    with start(code, tmp_path) as process:
        assert process.stdout is not None
        returned = len(process.stdout.read(20_000))
        process.kill()
        returned += len(process.stdout.read())
    found = numbers(SpoolReader(tmp_path / "main.spool"))
    assert found == list(range(len(found)))
    assert returned <= len(found) <= returned + 1


FORK = """
emit(0)
child = os.fork()
if not child:
    store.continue_in_child(folder / "{child}.spool", header("child"))
    for n in range(1, 100): emit(n)
    store.close()
    sys.exit()
emit(1)
os.waitpid(child, 0)
emit(2)
store.close()
"""


def test_forked_child_goes_on_in_its_own_file(tmp_path: Path) -> None:
    """Parent and child write a file each, and neither has the other's events."""
    with start(FORK.format(child="child"), tmp_path) as process:
        assert process.wait() == 0
    assert numbers(enumerate(read(tmp_path / "main.spool"))) == [0, 1, 2]
    frames = read(tmp_path / "child.spool")
    assert frames[0] == header("child")
    assert numbers(enumerate(frames)) == list(range(1, 100))


def test_forked_child_without_a_file_leaves_its_parents_alone(tmp_path: Path) -> None:
    """A child that cannot make its file records nothing, rather than into its parent's file."""
    with start(FORK.format(child="no-such-folder/child"), tmp_path) as process:
        assert process.wait() == 0
    frames = read(tmp_path / "main.spool")
    assert frames[0] == header("main")
    assert numbers(enumerate(frames)) == [0, 1, 2]
    assert isinstance(frames[-1], FooterFrame)


def test_child_forked_after_the_end_makes_no_file(store: SpoolStore, tmp_path: Path) -> None:
    """A child that is forked after the record has ended leaves no file and does not write."""
    store.close()
    whole = store.path.read_bytes()
    path = store.path
    store.continue_in_child(tmp_path / "child.spool", header("child"))
    store.append(event(1))
    assert not (tmp_path / "child.spool").exists()
    assert path.read_bytes() == whole


def is_open(path: Path) -> bool:
    """Whether this process has the file open."""
    gc.collect()
    status = path.stat()
    for entry in Path("/dev/fd").iterdir():
        with suppress(OSError):  # the one that lists them has been closed
            if os.path.samestat(os.fstat(int(entry.name)), status):
                return True
    return False


# --- full disks --------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that has room for one segment, and for a second when the ballast is gone."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = f"size={2 * SEGMENT}"
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", size, "tmpfs", folder], check=True, capture_output=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk cannot be mounted here: {error}")
    (folder / "ballast").write_bytes(bytes(SEGMENT))
    yield folder
    # Lazily: a store keeps its file open for as long as it may be read.
    subprocess.run(["umount", "-l", folder], check=True)


def fill(store: SpoolStore) -> list[int]:
    """Append large and small events in turn until well beyond the first segment, not the second."""
    for number in range(1_200):
        store.append(event(number, pad=SEGMENT // 512 if number % 2 == 0 else 0))
    return list(range(1_200))


FULL = "spool main.spool: disk full; later events are in memory only"


def test_full_disk_keeps_events_in_memory(disk: Path) -> None:
    """When the disk is full nothing raises, all events can be read, in order, and it is noted."""
    store = SpoolStore(disk / "main.spool", header())
    appended = fill(store)
    assert store.notes() == [FULL]
    assert numbers(store.frames()) == appended
    assert positions(store) == sorted(set(positions(store)))
    since = store.position()
    assert list(store.frames(since)) == []
    store.append(event(-1))
    assert numbers(store.frames(since)) == [-1]


def test_disk_that_stays_full(disk: Path) -> None:
    """On a disk that stays full the file has the first events without a gap, a note, no footer."""
    store = SpoolStore(disk / "main.spool", header())
    appended = fill(store)
    store.close()
    frames = read(store.path)
    found = numbers(enumerate(frames))
    assert 0 < len(found) < len(appended)
    assert found == appended[: len(found)]
    assert frames[-1] == NoteFrame(FULL)
    assert numbers(store.frames()) == appended


def test_disk_that_has_room_again(disk: Path) -> None:
    """If there is room again at the end, the file has all events in order, and the note."""
    store = SpoolStore(disk / "main.spool", header())
    appended = fill(store)
    (disk / "ballast").unlink()
    store.close()
    frames = read(store.path)
    assert numbers(enumerate(frames)) == appended
    assert frames[-2] == NoteFrame(FULL)
    assert isinstance(frames[-1], FooterFrame)


def test_no_room_for_a_first_segment(disk: Path) -> None:
    """A store that cannot be made says so at once, as an `OSError`, and lets go of its file."""
    SpoolStore(disk / "main.spool", header())
    second = disk / "second.spool"
    with pytest.raises(OSError, match="No space left"):
        SpoolStore(second, header())
    assert not is_open(second)


# --- removed files -----------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SpoolStore:
    """A store that has an event, in a folder of its own."""
    for module in (spool, spool_reader):
        monkeypatch.setattr(module, "SEGMENT", SMALL)
    (tmp_path / "run" / "nodes").mkdir(parents=True)
    store = SpoolStore(tmp_path / "run" / "nodes" / "main.spool", header())
    store.append(event(0))
    return store


def test_removed_file_is_restored(store: SpoolStore, tmp_path: Path) -> None:
    """If a test removes the run folder, the file is whole and in its place again at the end."""
    shutil.rmtree(tmp_path / "run")
    for number in range(1, 100):
        store.append(event(number, pad=100))
    store.close()
    frames = read(store.path)
    assert numbers(enumerate(frames)) == list(range(100))
    assert isinstance(frames[-1], FooterFrame)
    assert store.notes() == []


def test_another_file_in_its_place_is_left_alone(store: SpoolStore) -> None:
    """If another file has taken its place, that one is not overwritten, and it is noted."""
    store.path.unlink()
    store.path.write_text("mine")
    store.close()
    assert store.path.read_text() == "mine"
    assert store.notes() == ["spool main.spool: another file took its place"]
    assert numbers(store.frames()) == [0]


def test_folder_that_became_a_file(store: SpoolStore, tmp_path: Path) -> None:
    """If the file cannot be restored, closing does not raise, and it is noted."""
    shutil.rmtree(tmp_path / "run")
    (tmp_path / "run").write_text("a file")
    store.close()
    assert len(store.notes()) == 1
    assert store.notes()[0].startswith("spool main.spool: removed during the run, not restored: ")
    assert numbers(store.frames()) == [0]


def test_notes_are_in_the_file(store: SpoolStore) -> None:
    """What was noted before the end is in the file, for whoever reads it elsewhere."""
    store._note("something is missing")
    store.close()
    assert NoteFrame("something is missing") in read(store.path)


@pytest.mark.parametrize("closed", [False, True])
def test_open_files_do_not_pile_up(tmp_path: Path, closed: bool) -> None:
    """A store that nobody holds any more lets go of its file, closed or not."""
    path = tmp_path / "other.spool"
    other = SpoolStore(path, header())
    if closed:
        other.close()
    assert is_open(path)
    del other
    assert not is_open(path)
