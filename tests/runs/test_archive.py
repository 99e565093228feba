"""Archives: what comes out is what went in, or an error."""

from __future__ import annotations

import gc
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pytest_crucible as crucible
from pytest_crucible import telemetry
from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.runs.archive import SUMS, pack
from pytest_crucible.runs.run import open_recorded, run_files
from tests.made_events import event, reference_events, trial, trial_scope, write_run


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """No experiment comes from another test, of any file that ran before in this process."""
    for each in crucible.list_experiments():
        crucible.cleanup(each)
    yield
    for each in crucible.list_experiments():
        crucible.cleanup(each)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text()
    | st.floats(allow_nan=False) | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=40)
@given(st.lists(st.dictionaries(st.text(), values, max_size=3), max_size=5))
def test_archived_experiment_reads_back_equal(metadata: list[dict[str, object]]) -> None:
    """Every event, with its identity, its time and values that JSON could not hold."""
    with crucible.experiment("exp", condition="c") as handle:
        for each in metadata:
            telemetry.execute("x", {"duration": 5}, each)
        telemetry.execute("y")
        handle.record(score=0.5)
    before = list(handle.events)
    with tempfile.TemporaryDirectory() as folder:
        path = crucible.archive(handle, Path(folder) / "e.zip")
        run = open_recorded(path)
        events = list(run.events)
    assert [each for each in events if not each.internal] == before
    assert len(events) == len(before) + 1
    assert (run.id, run.path) == (handle.id, path)
    crucible.cleanup(handle)


def test_archive_tells_what_the_experiment_was(tmp_path: Path) -> None:
    """Definition and course are in it; numbers worked out from it are the same."""
    with crucible.experiment(
        "exp", hypothesis="it works", condition="treatment", tags=["t"], metadata={"seed": 3},
        sample_size=2,
    ) as handle:  # fmt: skip
        handle.execute("llm.stop", {"duration": 5_000_000}, {"cost": 0.5, "at": datetime.now(UTC)})
        handle.record(score=0.5)
        handle.pause()
        handle.resume()
    path = crucible.archive(handle.id, tmp_path / "new" / "e.zip")
    assert (handle.status, handle.archived_to) == ("archived", path)
    assert crucible.list_experiments("archived") == [handle]
    run = open_recorded(path)
    assert run.definitions() == {"exp": handle.definition}
    (result,) = analyse(run).experiments
    assert result.metrics["treatment"] == handle.metrics()
    assert run.manifest is not None
    lifecycle = run.manifest["experiments"]["exp"]["lifecycle"]
    assert lifecycle["pause_count"] == 1
    assert lifecycle["duration_s"] == handle.duration_s
    assert lifecycle["started_at"] == handle.started_at.isoformat()


def test_only_what_is_over_can_be_archived(tmp_path: Path) -> None:
    """A running experiment, and another kind of file, are one line each; nothing is written."""
    handle = crucible.start("exp")
    with pytest.raises(crucible.LifecycleError, match="cannot be archived: it is running"):
        crucible.archive(handle, tmp_path / "e.zip")
    crucible.stop(handle)
    with pytest.raises(crucible.DefinitionError, match=r"an archive is a \.zip file"):
        crucible.archive(handle, tmp_path / "e.tar")
    assert handle.status == "stopped"
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(crucible.LifecycleError, match="stopped already"):
        crucible.stop(handle)


def test_archive_goes_to_a_safe_name_in_the_results_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the experiment is called, its archive stays in the folder for results."""
    monkeypatch.chdir(tmp_path)
    with crucible.experiment("../../etc/x") as handle:
        telemetry.execute("x")
    path = crucible.archive(handle)
    assert path.parent == Path("crucible-results")
    assert path.name.startswith("etc-x-")
    assert len(list(open_recorded(path).events)) == 1


# --- archives of run folders -------------------------------------------------------------------


def a_run(folder: Path) -> Path:
    """A run folder with two nodes."""
    write_run(folder, [event("late.stop", at_us=5), event("x")], node="gw1", closed=False)
    return write_run(folder, [*reference_events(), *trial("passed", trial_scope())])


def packed(folder: Path, path: Path) -> Path:
    return pack(folder, run_files(folder), path)


def test_archived_run_reads_back_equal(tmp_path: Path) -> None:
    """Events, nodes and what is incomplete about them are those of the folder."""
    folder = a_run(tmp_path / "run-1")
    run = open_recorded(packed(folder, tmp_path / "r.zip"))
    assert list(run.events) == list(open_recorded(folder).events)
    assert analyse(run).nodes == analyse(open_recorded(folder)).nodes


def test_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    """When and where it was packed leaves no trace."""
    folder = a_run(tmp_path / "run-1")
    first = packed(folder, tmp_path / "a.zip").read_bytes()
    assert packed(folder, tmp_path / "b.zip").read_bytes() == first


def test_events_outlive_the_run_they_were_asked_of(tmp_path: Path) -> None:
    """The unpacked files are there until the last event has been read, and gone afterwards."""
    path = packed(a_run(tmp_path / "run-1"), tmp_path / "r.zip")
    run = open_recorded(path)
    unpacked = Path(run.nodes[0].source).parent.parent
    events = run.events
    del run
    gc.collect()
    assert len(list(events)) == 16
    del events
    gc.collect()
    assert not unpacked.exists()


def damaged(path: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """The archive with other contents, as somebody with a ZIP tool would make it."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def relisted(files: dict[str, bytes], **changes: object) -> None:
    files[SUMS] = json.dumps({**json.loads(files[SUMS]), **changes}).encode()


SPOOL = "nodes/main.spool"


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda files: files.update({SPOOL: files[SPOOL][:-1]}), f"{SPOOL} is not what was"),
        (lambda files: files.pop(SPOOL), "torn, or no ZIP file"),
        (lambda files: files.pop(SUMS), "not an archive of pytest-crucible"),
        (
            lambda files: relisted(files, crucible_archive=2),
            "archive version 2, this version reads",
        ),
        (lambda files: relisted(files, sha256={"../x": "0"}), "'../x' would be unpacked outside"),
        (lambda files: relisted(files, sha256={"/x": "0"}), "'/x' would be unpacked outside"),
        (lambda files: relisted(files, sha256=3), "not an archive of pytest-crucible"),
    ],
)
def test_archive_that_is_not_what_was_packed_is_refused(
    change: Callable[[dict[str, bytes]], object], problem: str, tmp_path: Path
) -> None:
    """Damage and tampering are told, and nothing is written outside."""
    path = damaged(packed(a_run(tmp_path / "in" / "run-1"), tmp_path / "in" / "r.zip"), change)
    with pytest.raises(crucible.ArtifactError, match=problem):
        open_recorded(path)
    assert [each.name for each in tmp_path.iterdir()] == ["in"]


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_no_flipped_byte_goes_unseen(place: float, flip: int) -> None:
    """An archive with one changed byte is refused, or reads as it was."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = write_run(Path(temporary) / "run-1", [event("x", at_us=i) for i in range(3)])
        path = packed(folder, Path(temporary) / "r.zip")
        whole, before = bytearray(path.read_bytes()), list(open_recorded(path).events)
        whole[int(place * len(whole))] ^= flip
        path.write_bytes(whole)
        try:
            after = list(open_recorded(path).events)
        except crucible.ArtifactError:
            return
        assert after == before


def test_export_is_no_run_folder(tmp_path: Path) -> None:
    """A folder without a record cannot be packed, and says so."""
    with pytest.raises(crucible.ArtifactError, match="no run folder with recorded events"):
        run_files(tmp_path)
