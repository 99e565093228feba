"""Reading a spool file, whole or torn: damage stays local, and is told."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_crucible.capture.frames import (
    EVENT_TAG,
    NoteFrame,
    encode,
)
from pytest_crucible.record.spool import SpoolStore
from pytest_crucible.record.spool_reader import SpoolReader
from tests.record.support import (
    PREFIX,
    SMALL,
    event,
    header,
    note,
    numbers,
    read,
    small_segments,
)


def test_torn_tail(store: SpoolStore) -> None:
    """Cut off anywhere, a file still gives every frame that is whole, and says where it is torn."""
    for number in range(4):
        store.append(event(number))
    store.close()
    whole = store.path.read_bytes()
    frames = list(SpoolReader(store.path))
    ends = [position for position, _ in frames[1:]] + [len(whole)]
    for cut in range(len(whole)):
        store.path.write_bytes(whole[:cut])
        reader = SpoolReader(store.path)
        kept = sum(end <= cut for end in ends)
        assert list(reader) == frames[:kept]
        start = ends[kept - 1] if kept else 0
        # With less than a prefix left there is nothing to say what was cut off.
        assert reader.torn == (
            f"{store.path}: torn at byte {start}" if cut - start >= PREFIX else None
        )


def spoil(path: Path, offset: int, mask: int) -> None:
    with open(path, "r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ mask]))


@settings(deadline=None)
@given(offset=st.integers(0, 3 * SMALL - 1), mask=st.integers(1, 255))
def test_a_spoiled_byte_costs_at_most_its_segment(offset: int, mask: int) -> None:
    """A changed byte is noticed and costs no frame before it and none of another segment."""
    with small_segments(), tempfile.TemporaryDirectory() as folder:
        store = SpoolStore(Path(folder) / "main.spool", header())
        number = 0
        while store.position() < 3 * SMALL:
            store.append(event(number))
            number += 1
        frames = list(store.frames())
        spoil(store.path, offset, mask)
        reader = SpoolReader(store.path)
        found = list(reader)
        written = dict(frames)
        starts = list(written)
        spoiled = max(start for start in starts if start <= offset)
        assert set(dict(found)) <= set(starts)
        assert all(written[position] == frame for position, frame in found)
        lost = sorted(set(starts) - set(dict(found)))
        assert all(spoiled <= start < (offset // SMALL + 1) * SMALL for start in lost)
        if lost:
            assert reader.torn == f"{store.path}: torn at byte {spoiled}"


def test_a_length_that_became_zero_is_no_end(store: SpoolStore) -> None:
    """A frame whose length was wiped out is torn, not the unused rest of a segment."""
    position = store.position()
    store.append(event(1))
    store.close()
    whole = bytearray(store.path.read_bytes())
    whole[position : position + 4] = bytes(4)
    store.path.write_bytes(whole)
    reader = SpoolReader(store.path)
    assert numbers(reader) == []
    assert reader.torn == f"{store.path}: torn at byte {position}"


@dataclass(frozen=True)
class Key:
    name: str


def test_a_frame_that_cannot_be_read_takes_no_other_with_it(store: SpoolStore) -> None:
    """An event that was encoded but cannot be decoded is told as a note; the others are read."""
    store.append(encode((EVENT_TAG, 0, "x", 0, {Key("a"): 1}, None)))
    store.append(event(1))
    store.close()
    frames = read(store.path)
    assert isinstance(frames[1], NoteFrame)
    assert numbers(enumerate(frames)) == [1]


@pytest.mark.parametrize("content", [b"", b"\0", bytes(100), b"PK\3\4" * 100], ids=len)
def test_a_foreign_file_has_no_frames(tmp_path: Path, content: bytes) -> None:
    """A file that is empty or not a spool is read as no frames, without an exception."""
    path = tmp_path / "main.spool"
    path.write_bytes(content)
    assert list(SpoolReader(path)) == []


@pytest.mark.usefixtures("_small")
def test_a_file_cut_off_while_it_is_read(store: SpoolStore) -> None:
    """A file that is cut off while it is read gives what had been read, without an exception."""
    for _ in range(3):
        store.append(note(SMALL - 20))
    frames = iter(SpoolReader(store.path))
    assert next(frames) == (0, header())
    os.truncate(store.path, 0)
    assert list(frames) == []


def test_a_reader_can_be_read_again(store: SpoolStore) -> None:
    """Each iteration reads the file anew and forgets what the last one found torn."""
    store.append(event(1))
    store.close()
    whole = store.path.read_bytes()
    store.path.write_bytes(whole[:-3])
    reader = SpoolReader(store.path)
    assert numbers(reader) == [1]
    assert reader.torn is not None
    store.path.write_bytes(whole)
    assert numbers(reader) == [1]
    assert reader.torn is None


@given(st.lists(st.integers(0, 400), max_size=60), st.integers(1, 500), st.integers(0, 40_000))
@settings(max_examples=50)
def test_batches_hold_the_frames_of_a_spool(sizes: list[int], size: int, cut: int) -> None:
    """However large they are to be, and wherever the file is torn."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.spool"
        store = SpoolStore(path, header("main"))
        for number, length in enumerate(sizes):
            store.append(event(number, pad=length))
        store.close()
        data = path.read_bytes()
        path.write_bytes(data[: max(0, len(data) - cut)])
        reader, again = SpoolReader(path), SpoolReader(path)
        batches = list(reader.batches(size))
        assert all(frames for _, frames in batches)
        assert [pair for batch in batches for pair in zip(*batch, strict=True)] == list(again)
        assert reader.torn == again.torn
