"""Exports outside pytest: one file of one experiment, or of several."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

import pytest_crucible as crucible
from pytest_crucible import telemetry
from pytest_crucible.analysis.run import open_run
from tests.experiments.support import TWO_OPEN
from tests.made_events import set_clock


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Leaves no experiment behind."""
    yield
    for each in crucible.list_experiments():
        crucible.cleanup(each)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that moves on by a millisecond each time it is asked."""
    ticks = count(1_763_900_000_000_000_000, 1_000_000)
    set_clock(monkeypatch, lambda: next(ticks))


@TWO_OPEN
@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_export_multiple_is_in_order_of_time(format: str, tmp_path: Path, ticking: None) -> None:
    """Events of several experiments stand in the order in which they happened."""
    handles = [crucible.start(name) for name in "abc"]
    order = [0, 1, 0, 2, 2, 1, 0]
    for i, which in enumerate(order):
        handles[which].execute(f"e{i}")
    path = crucible.export_multiple(handles[::-1], format, tmp_path / "new" / f"all.{format}")
    found = list(open_run(path).events)
    assert [each.name for each in found] == [f"e{i}" for i in range(len(order))]
    assert [each.run for each in found] == [handles[which].id for which in order]


def test_export_multiple_counts_an_experiment_once(tmp_path: Path) -> None:
    """Naming one twice, by handle and by id, does not double its events."""
    handle = crucible.start("a")
    handle.execute("e")
    path = crucible.export_multiple([handle, handle.id], "jsonl", tmp_path / "all.jsonl")
    assert len(open_run(path).events) == 1


def test_export_goes_to_a_safe_name_in_the_results_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the experiment is called, its file stays in the folder for results."""
    monkeypatch.chdir(tmp_path)
    with crucible.experiment("../../etc/x") as handle:
        telemetry.execute("x")
    path = crucible.export(handle)
    assert path.parent == Path("crucible-results")
    assert path.name.startswith("etc-x-")
    assert path.name.endswith(f"-{handle.id}.csv")
    assert [each.name for each in open_run(path).events] == ["x"]


def test_export_takes_options_and_compresses(tmp_path: Path) -> None:
    """The options are those of the command line; the format may say how to compress."""
    with crucible.experiment("x") as handle:
        handle.execute("a.stop", {"n": 1}, {"user_id": "ann"})
    options = crucible.ExportOptions(columns=["event", "metadata.*"], anonymize="drop")
    path = crucible.export(handle, "jsonl", tmp_path / "x.jsonl", options)
    assert path.read_text() == '{"event":"a.stop"}\n'
    packed = crucible.export(handle, "csv.gz", tmp_path / "x.csv.gz")
    assert list(crucible.open_run(packed).events) == list(handle.events)
    with pytest.raises(crucible.DefinitionError, match=r"a csv\.gz file ends with \.gz"):
        crucible.export(handle, "csv.gz", tmp_path / "x.csv")


def test_export_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    """An unknown format, and a file where the folder should be, are one line each."""
    handle = crucible.start("exp")
    with pytest.raises(crucible.DefinitionError, match="unknown export format 'xlsx'"):
        crucible.export(handle, "xlsx")
    (tmp_path / "file").touch()
    with pytest.raises(crucible.OutputError, match="output folder"):
        crucible.export(handle, "csv", tmp_path / "file" / "x.csv")


ADDRESS = "s3://bucket/e"


@pytest.mark.parametrize("path", [ADDRESS, Path(ADDRESS)])
def test_the_address_of_a_storage_is_refused(
    path: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that says so from whatever takes a path, and no folder named like it."""
    monkeypatch.chdir(tmp_path)
    with crucible.experiment("e") as handle:
        handle.execute("a")
    for refused in (
        lambda: crucible.export(handle, "csv", path),
        lambda: crucible.export_multiple([handle], "csv", path),
        lambda: crucible.archive(handle, f"{path}.zip" if isinstance(path, str) else path),
        lambda: crucible.open_run(path),
        lambda: crucible.JSONLMetrics(path),
    ):
        with pytest.raises(crucible.DefinitionError, match="there is no storage for s3://"):
            refused()
    assert list(tmp_path.iterdir()) == []
    crucible.cleanup(handle)
