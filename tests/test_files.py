"""Files: names that are safe anywhere, and writing that is whole or not at all."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible import _clock
from pytest_crucible._errors import DefinitionError, OutputError
from pytest_crucible._files import (
    check_writable,
    local_path,
    make_output_folder,
    make_run_folder,
    new_run_id,
    replacing,
    replacing_path,
    slug,
)

DEVICES = ["CON", "prn", "aux.txt", "nul", "COM1", "lpt9.csv"]
NAMES = st.text() | st.sampled_from(["../../etc/x", "a/b", "a-b", "...", "-rf", *DEVICES])


@given(NAMES)
def test_slug_is_one_harmless_path_component(name: str) -> None:
    """Whatever an experiment is called, its file stays in its folder and opens no device."""
    safe = slug(name)
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", safe)
    assert len(safe) <= 70
    assert Path(safe).name == safe
    assert not re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", safe)


@given(NAMES, NAMES)
def test_distinct_names_have_distinct_slugs(first: str, second: str) -> None:
    """Two experiments never meet in one file."""
    assert (slug(first) == slug(second)) == (first == second)


@given(NAMES)
def test_name_that_is_the_slug_of_another_is_told_apart(name: str) -> None:
    """Not even an experiment that is called like another one's file shares it."""
    safe = slug(name)
    assert safe == name or slug(safe) != safe


def test_plain_names_stay_as_they_are() -> None:
    """Ordinary names are readable in the folder."""
    assert [slug(each) for each in ("gpt-4o_mini", "v1.2", "A")] == ["gpt-4o_mini", "v1.2", "A"]


def test_odd_names_stay_recognisable() -> None:
    """What can be kept of a name is kept, and a hash makes it unique."""
    assert re.fullmatch(r"etc-x-[0-9a-f]{8}", slug("../../etc/x"))
    assert re.fullmatch(r"a-b-c-[0-9a-f]{8}", slug('a/b: "c"'))
    assert re.fullmatch(r"experiment-[0-9a-f]{8}", slug("CON"))
    assert re.fullmatch(r"experiment-[0-9a-f]{8}", slug("模型"))
    assert re.fullmatch(r"x{60}-[0-9a-f]{8}", slug("x" * 300))


def test_slug_of_a_lone_surrogate() -> None:
    """A name that UTF-8 cannot hold still has a file name."""
    assert re.fullmatch(r"experiment-[0-9a-f]{8}", slug("\ud800"))


def test_run_ids_tell_the_time_and_never_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs sort by the millisecond in which they began, and two of one millisecond differ."""
    moment = int(datetime(2026, 11, 23, 17, 45, 2, tzinfo=UTC).timestamp() * 1e9)
    monkeypatch.setattr(_clock, "wall_ns", lambda: moment)
    first, second = new_run_id(), new_run_id()
    assert re.fullmatch(r"20261123T174502\d{3}-[0-9a-f]{6}", first)
    assert first != second
    monkeypatch.setattr(_clock, "wall_ns", lambda: moment + 1_000_000)
    assert new_run_id() > max(first, second)


# --- writing -----------------------------------------------------------------------------------


def test_replacing_takes_the_place_of_the_old_file(tmp_path: Path) -> None:
    """The new text is there as a whole, in UTF-8 and with the line ends it was given."""
    path = tmp_path / "events.csv"
    path.write_text("old")
    with replacing(path) as file:
        file.write("ä\r\n")
        assert path.read_text() == "old"
    assert path.read_bytes() == "ä\r\n".encode()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_replacing_leaves_the_old_file_on_errors(
    tmp_path: Path, error: type[BaseException]
) -> None:
    """Broken off half-way, writing leaves neither half a file nor a temporary one."""
    path = tmp_path / "events.csv"
    path.write_text("old")

    def write_half() -> None:
        with replacing(path) as file:
            file.write("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_replacing_path_replaces_or_leaves(tmp_path: Path) -> None:
    """Writers that open the file themselves get the same promise."""
    path = tmp_path / "events.parquet"
    with replacing_path(path) as fresh:
        fresh.write_text("new")

    def write_half() -> None:
        with replacing_path(path) as fresh:
            fresh.write_text("half")
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        write_half()
    with pytest.raises(ValueError, match="never opened"), replacing_path(path):
        raise ValueError("never opened")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


# --- folders -----------------------------------------------------------------------------------


def test_check_writable_leaves_nothing_behind(tmp_path: Path) -> None:
    """Asking whether results can be written makes neither files nor folders."""
    check_writable(tmp_path / "a" / "b")
    check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_check_writable_names_the_file_in_the_way(tmp_path: Path) -> None:
    """A file where a folder should be is told, with both paths."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"output folder '.*file/results': '.*file' is a file"):
        check_writable(tmp_path / "file" / "results")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_check_writable_names_the_folder_that_is_closed(tmp_path: Path) -> None:
    """A folder without permission is told before anything runs."""
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot write in"):
        check_writable(tmp_path / "results")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder nobody can write in")
def test_check_writable_refuses_what_the_system_refuses() -> None:
    """Not even root can make files in /proc, and the message says so."""
    with pytest.raises(OutputError, match="'/proc/results': cannot write in '/proc'"):
        check_writable(Path("/proc/results"))


def test_output_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    """Making it twice is fine: several processes may do so at once."""
    for _ in range(2):
        assert make_output_folder(tmp_path / "a" / "b").is_dir()


def test_output_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    """The error names the folder, in one line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"output folder '.*file': File exists"):
        make_output_folder(tmp_path / "file")


def test_new_output_folder_ignores_itself(tmp_path: Path) -> None:
    """A clean tree does not turn dirty because its tests ran."""
    output = tmp_path / "crucible-results"
    assert (make_run_folder(output, "run-1") / "nodes").is_dir()
    assert (output / ".gitignore").read_text() == "*\n"


def test_existing_output_folder_is_left_as_it_is(tmp_path: Path) -> None:
    """A folder that the user made keeps its files, and gets none it did not have."""
    make_run_folder(tmp_path, "run-1")
    make_run_folder(tmp_path, "run-2")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["run-1", "run-2"]


@pytest.mark.parametrize(("address", "shown"), [
    ("s3://bucket/runs/a", "s3://bucket/runs/a"),
    ("gs://bucket", "gs://bucket"),
    ("postgresql://ann:secret@host/db?password=secret", "postgresql://host/db"),
    ("file:///tmp/x", "file:///tmp/x"),
    ("az+blob://c/x", "az+blob://c/x"),
    (Path("s3://bucket/runs/a"), "s3://bucket/runs/a"),
])  # fmt: skip
def test_the_address_of_a_storage_is_no_path(address: str | Path, shown: str) -> None:
    """It would become a local folder ``s3:``; also where `Path` has made one slash of two."""
    with pytest.raises(DefinitionError) as caught:
        local_path(address)
    scheme = shown.partition(":")[0]
    reason = f"there is no storage for {scheme}:// in this version; give a local path"
    assert str(caught.value) == f"{shown}: {reason}"


@pytest.mark.parametrize("path", [
    "runs", "/tmp/x", "C:/x", "C://x", "a:b", "./s3:/x", "s3:/x", "1:/x", "a b://x", "", "-",
    Path("a:b"), Path("C:/x"), Path("/s3:/x"),
])  # fmt: skip
def test_other_paths_are_what_they_are(path: str | Path) -> None:
    """A drive, a colon, a folder that is named like a scheme."""
    assert local_path(path) == Path(path)


def test_a_pipe_is_never_replaced(tmp_path: Path) -> None:
    """By no writer: whoever reads from it would wait for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for block in (replacing(pipe), replacing_path(pipe)):
        with pytest.raises(OutputError, match="is a device or a pipe; write it elsewhere"), block:
            pass
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]
