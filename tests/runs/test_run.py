"""Run: opening what was recorded, in whatever form, and refusing what is not readable."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_crucible._errors import ArtifactError
from pytest_crucible.exports.export import export_events
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.exports.rows import nested_row, to_json_lines
from pytest_crucible.runs.experiment_definition import define
from pytest_crucible.runs.manifest import write_manifest
from pytest_crucible.runs.run import RecordedRun, is_run, open_recorded
from tests.made_events import event, trial_scope, write_run

PLAN = ("exp", "default", "test_it", "case-1", 1)


def problem(path: Path) -> str:
    """What opening and reading ``path`` complains about: one line that names the file."""
    with pytest.raises(ArtifactError) as caught:
        list(open_recorded(path).events)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text.removeprefix(str(path))


# --- run folders -------------------------------------------------------------------------------


def test_run_folder_is_read_event_by_event(tmp_path: Path) -> None:
    """Names, numbers, context, time and scope are what was recorded, as often as it is read."""
    events = [event(measurements={"duration": 5}, scope=trial_scope()), event("b.stop", at_us=9)]
    run = open_recorded(write_run(tmp_path / "run-1", events))
    assert run.id == "run-1"
    for _ in range(2):
        found = list(run.events)
        assert [(each.name, each.measurements, each.scope, each.time_us) for each in found] == [
            (each.name, each.measurements, each.scope, each.time_us) for each in events
        ]
    assert (run.torn(), run.nodes[0].closed, run.nodes[0].notes) == ([], True, [])


def test_nodes_are_merged_by_time(tmp_path: Path) -> None:
    """The processes of a run become one stream, each in its own order."""
    write_run(tmp_path / "run-1", [event("a", at_us=1), event("d", at_us=4)], node="gw0")
    write_run(tmp_path / "run-1", [event("b", at_us=2), event("c", at_us=3)], node="gw1")
    found = list(open_recorded(tmp_path / "run-1").events)
    assert [(each.name, each.node) for each in found] == [
        ("a", "gw0"), ("b", "gw1"), ("c", "gw1"), ("d", "gw0"),
    ]  # fmt: skip


def test_copy_of_a_spool_is_read_once(tmp_path: Path) -> None:
    """The record of one process under two names is one record: the longer copy."""
    folder = write_run(tmp_path / "r", [event("a"), event("b", at_us=1)])
    spool = folder / "nodes" / "main.spool"
    data = spool.read_bytes()
    (folder / "nodes" / "copy.spool").write_bytes(data[: data.rindex(b"b") - 20])
    assert [each.name for each in open_recorded(folder).events] == ["a", "b"]


def test_newest_run_of_an_output_folder_is_opened(tmp_path: Path) -> None:
    """Run ids sort by time; folders that are no runs do not count."""
    for name in ("20260101T000000-aaaaaa", "20260102T000000-aaaaaa"):
        write_run(tmp_path / name, [event()])
    (tmp_path / "zzz").mkdir()
    (tmp_path / "zzz.csv").write_text("")
    assert open_recorded(tmp_path).id == "20260102T000000-aaaaaa"
    assert not is_run(tmp_path)


def test_manifest_stands_for_its_run(tmp_path: Path) -> None:
    """Who points at the manifest means the run, and its id comes from there."""
    folder = write_run(tmp_path / "renamed", [event()])
    path = write_manifest(folder, {"run": "run-7"})
    assert (open_recorded(path).id, open_recorded(folder).id) == ("run-7", "run-7")


def test_definitions_come_from_the_record(tmp_path: Path) -> None:
    """A run without a manifest still knows what its experiments claimed."""
    definition = define("exp", hypothesis="it works", tags=["h1"], expect=["success_rate > 0.9"])
    run = open_recorded(write_run(tmp_path / "r", [event()], definitions=[definition]))
    assert list(run.events)
    assert run.definitions() == {"exp": definition}


def test_definitions_of_the_manifest_come_first(tmp_path: Path) -> None:
    """What the manifest says about an experiment is not overruled."""
    folder = write_run(tmp_path / "r", [event()], definitions=[define("exp"), define("other")])
    shown = define("exp", hypothesis="from the manifest")
    write_manifest(folder, {"run": "r", "experiments": {"exp": {"definition": shown.to_dict()}}})
    run = open_recorded(folder)
    assert list(run.events)
    assert run.definitions() == {"exp": shown, "other": define("other")}


def test_plan_names_each_trial_once(tmp_path: Path) -> None:
    """Every worker plans the same trials."""
    for node in ("gw0", "gw1"):
        write_run(tmp_path / "r", [], plan=[PLAN], node=node)
    run = open_recorded(tmp_path / "r")
    assert list(run.events) == []
    assert run.plan() == [PLAN]


def test_torn_spool_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """A killed process loses nothing that it had written, and the loss is told."""
    folder = write_run(tmp_path / "r", [event("a"), event("cut.here")])
    spool = folder / "nodes" / "main.spool"
    data = spool.read_bytes()
    spool.write_bytes(data[: data.rindex(b"cut.here") + 1])
    run = open_recorded(folder)
    assert [each.name for each in run.events] == ["a"]
    (sentence,) = run.torn()
    assert sentence.startswith(f"{spool}: torn at byte ")
    assert not run.nodes[0].closed


def test_run_in_memory_has_no_file() -> None:
    """A run may be made of events alone."""
    run = RecordedRun(id="r", path=None, _events=lambda: iter([event()]))
    assert (len(list(run.events)), run.definitions(), run.plan(), run.torn()) == (1, {}, [], [])


# --- exported files ----------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_exported_file_is_a_run(format: str, tmp_path: Path) -> None:
    """An export is read like the folder it came from, and carries the run's id."""
    folder = write_run(tmp_path / "run-9", [event("a", scope=trial_scope()), event("b", at_us=2)])
    path = export_events(
        lambda: open_recorded(folder).events, tmp_path / f"e.{format}", FORMATS[format]
    )
    run = open_recorded(path)
    assert (run.id, run.path) == ("run-9", path)
    assert list(run.events) == list(open_recorded(folder).events)


@pytest.mark.parametrize("format", FORMATS)
def test_an_event_without_a_name_comes_back(format: str, tmp_path: Path) -> None:
    """CSV has no empty text, but an event always has a name."""
    path = export_events(lambda: iter([event("")]), tmp_path / f"e.{format}", FORMATS[format])
    assert [each.name for each in open_recorded(path).events] == [""]


# --- what cannot be read -----------------------------------------------------------------------


def test_missing_path_is_named(tmp_path: Path) -> None:
    """A typo in a path is told as such."""
    assert problem(tmp_path / "gone") == ": no such file or folder"


def test_folder_without_runs_is_named(tmp_path: Path) -> None:
    """An empty output folder has nothing to show."""
    assert problem(tmp_path) == ": no run in this folder"


def test_run_folder_without_events_is_named(tmp_path: Path) -> None:
    """A run folder whose spools were not copied is told, not shown as empty."""
    write_manifest(tmp_path, {"run": "r"})
    assert problem(tmp_path) == ": no recorded events (nodes/*.spool) in it"


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet"])
def test_empty_file_is_named(ending: str, tmp_path: Path) -> None:
    """A file of zero bytes is told as such."""
    path = tmp_path / f"empty{ending}"
    path.touch()
    assert problem(path) == ": empty"


def test_foreign_ending_is_named(tmp_path: Path) -> None:
    """A file of another kind is told, with the kinds there are."""
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    assert problem(path) == ": not a run folder, nor a .csv, .json, .jsonl, .parquet, .zip file"


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.csv", "name,score\r\nx,1\r\n", ":2: not written by pytest-crucible: it has no 'run'"),
        ("a.csv", "name,score\r\n", ": no events in it"),
        ("a.csv", "\r\n", ": no events in it"),
        ("a.jsonl", '{"x": 1}\n', ":1: not written by pytest-crucible: it has no 'run'"),
        ("a.jsonl", "[]\n", ":1: not a JSON object in UTF-8"),
    ],
)
def test_foreign_file_is_named(name: str, text: str, complaint: str, tmp_path: Path) -> None:
    """Somebody else's CSV or JSONL is told by file and line."""
    path = tmp_path / name
    path.write_text(text, newline="")
    assert problem(path) == complaint


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_torn_file_is_named(format: str, tmp_path: Path) -> None:
    """A file that ends in the middle of its third event is told by the line."""
    events = [event(at_us=i, sequence=i) for i in range(3)]
    path = export_events(lambda: iter(events), tmp_path / f"e.{format}", FORMATS[format])
    path.write_bytes(path.read_bytes()[:-60])
    assert problem(path).startswith({"csv": ":4: ", "jsonl": ":3: "}[format])


@pytest.mark.parametrize(
    ("good", "bad"),
    [('"time_us":', '"time_us":"x",'), ('"time_us":', '"time_us":Infinity,'),
     ('"measurements":{}', '"measurements":5'), ('"sequence":0', '"sequence":null')],
)  # fmt: skip
def test_damaged_event_is_named(good: str, bad: str, tmp_path: Path) -> None:
    """A line that is JSON but no event any more is told by its number."""
    path = export_events(lambda: iter([event()]), tmp_path / "e.jsonl", FORMATS["jsonl"])
    text = path.read_text()
    assert good in text
    tail = '"was":' if good.endswith(":") else ""
    path.write_text(text + text.replace(good, bad + tail))
    assert problem(path).startswith(":2: not an event: ")


@pytest.mark.parametrize(
    "column",
    [
        {"time_us": 10**20},
        {"time_us": -(10**17)},
        {"trial": 2**70},
        {"sequence": 2**70},
        {"latency_ms": "fast"},
        {"latency_ms": 10**400},
        {"success": "maybe"},
        {"sampling_weight": -1},
    ],
    ids=repr,
)
def test_impossible_column_is_named(column: dict[str, object], tmp_path: Path) -> None:
    """A value that no export holds is told by file and line, not met later as a traceback."""
    row = nested_row(event("a.stop", scope=trial_scope("t.py::t"))) | column
    path = tmp_path / "e.jsonl"
    path.write_bytes(to_json_lines([row]))
    with pytest.raises(ArtifactError, match=r"e\.jsonl:1: not an event: "):
        list(open_recorded(path).events)


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_half_a_character_is_named(ending: str, tmp_path: Path) -> None:
    """A lone surrogate, which CSV and Parquet could not hold; a pair is one character."""
    path = tmp_path / f"e.{ending}"
    export_events(lambda: iter([event("pair"), event("half")]), path, FORMATS[ending])
    text = path.read_text().replace("pair", r"\ud83d\ude00")
    path.write_text(text)
    assert [each.name for each in open_recorded(path).events] == ["\U0001f600", "half"]
    path.write_text(text.replace("half", r"\ud83d"))
    assert problem(path) == {
        "json": ":3: not a JSON object in UTF-8", "jsonl": ":2: not a JSON object in UTF-8"
    }[ending]  # fmt: skip
