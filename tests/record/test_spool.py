"""The spool file: what is written comes back, whatever its size and whoever writes."""

from __future__ import annotations

import errno
import os
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible._layout import SEGMENT
from pytest_crucible.capture.frames import FooterFrame, HeaderFrame, NoteFrame, encode
from pytest_crucible.record import spool, spool_reader
from pytest_crucible.record.spool import SpoolStore
from pytest_crucible.record.spool_reader import SpoolReader
from tests.record.support import (
    PREFIX,
    SMALL,
    event,
    header,
    note,
    numbers,
    positions,
    read,
    run,
    small_segments,
)


def lengths(path: Path) -> list[int]:
    return [len(frame.text) for frame in read(path) if isinstance(frame, NoteFrame)]


# --- round trips -------------------------------------------------------------------------------


def test_file_begins_with_header_and_ends_with_footer(store: SpoolStore) -> None:
    """A closed file has the header, the frames in order and the footer, and nothing after it."""
    for number in range(3):
        store.append(event(number))
    store.close()
    first, *events, last = SpoolReader(store.path)
    assert first == (0, header())
    assert numbers(events) == [0, 1, 2]
    position, footer = last
    assert isinstance(footer, FooterFrame)
    assert store.path.stat().st_size == position + PREFIX + len(encode(footer))
    assert store.notes() == []


@settings(deadline=None)
@given(st.lists(st.integers(0, 3 * SMALL) | st.integers(SMALL - 30, SMALL + 10), max_size=12))
def test_any_sizes_come_back(sizes: list[int]) -> None:
    """Frames of any sizes are read back from the open file, from the closed one, and in order."""
    with small_segments(), tempfile.TemporaryDirectory() as folder:
        store = SpoolStore(Path(folder) / "main.spool", header())
        for size in sizes:
            store.append(note(size))
        assert lengths(store.path) == sizes
        before = positions(store)
        store.close()
        assert lengths(store.path) == sizes
        assert positions(store)[:-1] == before
        assert before == sorted(set(before))


@settings(deadline=None)
@given(st.lists(st.integers(0, SMALL + 10), max_size=6), st.lists(st.integers(0, SMALL + 10)))
def test_frames_since_a_position(before: list[int], after: list[int]) -> None:
    """The frames since a position are those that were appended after it was asked for."""
    with small_segments(), tempfile.TemporaryDirectory() as folder:
        store = SpoolStore(Path(folder) / "main.spool", header())
        for size in before:
            store.append(note(size))
        position = store.position()
        assert list(store.frames(position)) == []
        for size in after:
            store.append(note(size, "y"))
        assert [frame for _, frame in store.frames(position)] == [
            NoteFrame("y" * size) for size in after
        ]
        store.close()
        assert list(store.frames(store.position())) == []


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("left", range(20))
def test_few_bytes_left_in_a_segment(store: SpoolStore, left: int) -> None:
    """Whatever is left at the end of a segment, the next frame is found."""
    room = SMALL - store.position() - left - PREFIX
    overhead = len(note(SMALL // 2)) - SMALL // 2
    store.append(note(room - overhead))
    assert store.position() == SMALL - left
    store.append(note(100))
    store.close()
    assert lengths(store.path) == [room - overhead, 100]


def test_frames_around_the_real_segment_size(store: SpoolStore) -> None:
    """Frames as large as a segment and larger come back, also with small ones between them."""
    sizes = [1, SEGMENT - 40, 2, SEGMENT, 3, 3 * SEGMENT + 5, 4]
    for size in sizes:
        store.append(note(size))
    store.close()
    assert lengths(store.path) == sizes


@pytest.mark.usefixtures("_small")
def test_blocks_are_reserved_without_fallocate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system cannot reserve blocks by a call, they are reserved by writing."""
    monkeypatch.delattr(os, "posix_fallocate")
    store = SpoolStore(tmp_path / "main.spool", header())
    for size in (SMALL, 10, 3 * SMALL):
        store.append(note(size))
    assert store.path.stat().st_blocks * 512 >= store.path.stat().st_size
    store.close()
    assert lengths(store.path) == [SMALL, 10, 3 * SMALL]


def test_a_file_is_never_overwritten(store: SpoolStore) -> None:
    """A second store on the same path is refused and leaves the first one's file alone."""
    store.append(event(1))
    with pytest.raises(FileExistsError):
        SpoolStore(store.path, header())
    assert numbers(store.frames()) == [1]


def test_closing_twice_writes_one_footer(store: SpoolStore) -> None:
    """A store may be closed twice; its file stays as the first time left it."""
    store.close()
    whole = store.path.read_bytes()
    store.close()
    assert store.path.read_bytes() == whole
    assert [type(frame) for frame in read(store.path)] == [HeaderFrame, FooterFrame]


def test_writing_after_the_end_is_noted(store: SpoolStore) -> None:
    """What arrives after the end does not raise and does not change the file, but is noted once."""
    store.append(event(1))
    store.close()
    whole = store.path.read_bytes()
    for _ in range(3):
        store.append(event(2))
    assert store.notes() == ["events arrived after the spool had been closed"]
    assert store.path.read_bytes() == whole
    assert numbers(store.frames()) == [1]


# --- threads and signals -----------------------------------------------------------------------


@pytest.mark.usefixtures("_small")
def test_threads_lose_nothing(store: SpoolStore) -> None:
    """Frames of four threads over many segments are all there, each thread's in its own order."""

    def work(thread: int) -> None:
        for number in range(2_000):
            store.append(event(thread * 2_000 + number, pad=number % 50))

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    run(threads)
    store.close()
    found = numbers(SpoolReader(store.path))
    assert sorted(found) == list(range(8_000))
    for thread in range(4):
        mine = [number for number in found if number // 2_000 == thread]
        assert mine == sorted(mine)


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("when", ["before", "after", "in vain"])
def test_append_from_a_signal_handler_while_the_file_grows(
    store: SpoolStore, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """A frame that a signal handler appends while a segment is being made costs no other frame."""
    allocate = os.posix_fallocate

    def interrupted(file: int, start: int, length: int) -> None:
        monkeypatch.undo()
        for module in (spool, spool_reader):
            monkeypatch.setattr(module, "SEGMENT", SMALL)
        if when == "before":
            store.append(note(SMALL - 50, "h"))
        allocate(file, start, length)
        if when != "before":
            store.append(note(SMALL - 50, "h"))
        if when == "in vain":
            raise OSError(errno.ENOSPC, "the handler took the last room")

    store.append(note(SMALL - 100))
    monkeypatch.setattr(os, "posix_fallocate", interrupted)
    store.append(note(200))
    store.append(note(300))
    store.close()
    found = [length for length in lengths(store.path) if length >= 200]  # without notes
    assert sorted(found) == [200, 300, SMALL - 100, SMALL - 50]
    assert isinstance(read(store.path)[-1], FooterFrame)


def test_a_store_and_its_reader_know_whether_the_file_holds_bytes(
    store: SpoolStore, tmp_path: Path
) -> None:
    """While it is written, and afterwards; an empty file holds nothing."""
    store.append(event(1))
    assert (store.holds(b"needle"), SpoolReader(store.path).holds(b"needle")) == (False, False)
    before = store.position()
    store.append(encode(NoteFrame("needle")))
    assert (store.holds(b"needle"), SpoolReader(store.path).holds(b"needle")) == (True, True)
    assert (store.holds(b"needle", before), store.holds(b"needle", store.position())) == (
        True, False,
    )  # fmt: skip
    store.close()
    assert SpoolReader(store.path).holds(b"needle")
    (tmp_path / "empty").touch()
    assert not SpoolReader(tmp_path / "empty").holds(b"needle")
