"""The guard of records: every place where nothing may be written, and its harmless neighbours."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pytest_crucible.exports.export import export_as
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.exports.options import ExportOptions
from pytest_crucible.runs.guard import has_record_ending, obstacle_at, run_folder_around
from pytest_crucible.runs.manifest import write_manifest
from tests.made_events import event, write_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "runs" / "run-1", [event()])


def told(target: Path, *inputs: Path) -> str | None:
    obstacle = obstacle_at(target, FORMATS, inputs)
    return None if obstacle is None else obstacle.what


def test_a_folder_is_no_file_to_write(folder: Path) -> None:
    """Neither that of a run nor any other, whatever it is called, also behind a link."""
    link = folder.parent / "link.md"
    link.symlink_to(folder)
    other = folder.parent / "x.md"
    other.mkdir()
    assert told(folder) == told(folder.parent) == told(link) == told(other) == "a folder"


@pytest.mark.parametrize(
    "name", ["manifest.json", "nodes/main.spool", "nodes/new", "a.md", "b/c.md"]
)
def test_nothing_is_written_into_a_run_folder(name: str, folder: Path, tmp_path: Path) -> None:
    """Neither in place of its parts nor beside them, by its own name or through links."""
    within = f"in the run folder {str(folder)!r}"
    assert told(folder / name) == within
    by_folder, by_file = tmp_path / "by-folder", tmp_path / "by-file"
    by_folder.symlink_to(folder)
    by_file.symlink_to(folder / name)
    assert told(by_folder / name) == told(by_file) == within
    away = folder / "link.md"
    away.symlink_to(tmp_path / "elsewhere.md")
    assert told(away) == within
    obstacle = obstacle_at(folder / name, FORMATS)
    assert obstacle is not None
    assert not obstacle.replaceable


def test_a_finished_run_is_one_without_its_spools(tmp_path: Path) -> None:
    """A manifest alone still tells what came of a run."""
    (tmp_path / "run").mkdir()
    write_manifest(tmp_path / "run", {"run": "r"})
    assert run_folder_around(tmp_path / "run" / "a.md") == tmp_path / "run"


def test_the_folders_of_others_are_no_run_folders(folder: Path, tmp_path: Path) -> None:
    """A web page has a ``manifest.json``, a graph may have ``nodes``; reports go beside runs."""
    (tmp_path / "manifest.json").write_text('{"name": "app"}')
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "a.txt").touch()
    assert told(tmp_path / "report.md") is None
    assert told(folder.parent / "report.md") is None


@pytest.mark.parametrize("format", [
    "csv", "csv.gz", "csv.zst", "json", "json.gz", "json.zst", "jsonl", "jsonl.gz", "jsonl.zst",
    "parquet",
])  # fmt: skip
def test_a_record_is_one_in_every_form(format: str, tmp_path: Path) -> None:
    """By its ending, torn or empty, under its own name or another that is a link to it."""
    path = export_as(lambda: iter([event()]), tmp_path / f"e.{format}", format)
    for each in (path, tmp_path / f"new.{format}"):
        assert has_record_ending(each, FORMATS) is (format != "json")
    assert told(path) == "a record"
    link = tmp_path / "report.md"
    link.symlink_to(path)
    assert told(link) == "a record"
    if format != "json":
        path.write_bytes(path.read_bytes()[:9])
        assert told(path) == "a record"


@pytest.mark.parametrize(
    "options", [ExportOptions(), ExportOptions(pretty=True), ExportOptions(flatten=True)]
)
def test_json_is_told_by_what_it_holds(options: ExportOptions, tmp_path: Path) -> None:
    """Reports are JSON, too: only a file that begins as an export does is a record."""
    path = tmp_path / "e.json"
    export_as(lambda: iter([event(), event()]), path, "json", options)
    assert told(path) == "a record"
    path.write_bytes(path.read_bytes()[:-9])  # torn, but the first event can be had
    assert told(path) == "a record"


@pytest.mark.parametrize("text", [
    "", "{}\n", "[]\n", "[\n]\n", "[\n{}\n]\n", "[1]", "[\n1\n]\n", '[\n{"run": "r"}\n]\n',
    "\x00\n", json.dumps({"schema": 1, "experiments": {}}, indent=2),
])  # fmt: skip
def test_other_json_is_no_record(text: str, tmp_path: Path) -> None:
    """An old report, or anything else that is JSON, may be replaced."""
    path = tmp_path / "e.json"
    path.write_text(text)
    assert told(path) is None
    assert not has_record_ending(path, FORMATS)


def test_what_is_read_is_not_written(folder: Path, tmp_path: Path) -> None:
    """Also under another name: as a hard link, which has an ending of its own."""
    path = export_as(lambda: iter([event()]), tmp_path / "e.csv", "csv")
    link = tmp_path / "report.md"
    os.link(path, link)
    assert told(link) is None
    assert told(link, folder, path) == "what is to be read"


@pytest.mark.parametrize("name", ["a.md", "a.xml", "a.csv.bak", "csv", ".csv", "a.CSV", "a.gz"])
def test_neighbours_are_let_through(name: str, tmp_path: Path) -> None:
    """What no reader takes is no record, whether it is there or not."""
    assert told(tmp_path / name) is None
    assert not has_record_ending(tmp_path / name, FORMATS)
    (tmp_path / name).write_text("old")
    assert told(tmp_path / name) is None


def test_archives_are_records(tmp_path: Path) -> None:
    """By their ending: what is in a ZIP file that is no archive is somebody else's."""
    path = tmp_path / "a.zip"
    assert has_record_ending(path, FORMATS)
    assert told(path) is None
    path.write_bytes(b"PK")
    assert told(path) == "a record"


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    """To look into a pipe would wait for its writer."""
    os.mkfifo(tmp_path / "p.json")
    assert told(tmp_path / "p.json") is None
