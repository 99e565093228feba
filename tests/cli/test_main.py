"""The command line: exit codes, one-line errors, and output that can be piped."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_crucible.cli.main import main
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.runs.definition import define
from pytest_crucible.runs.manifest import write_manifest
from pytest_crucible.runs.run import open_run
from tests.made_events import event, reference_events, write_run

CRUCIBLE = [sys.executable, "-m", "pytest_crucible"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run whose only expectation is not met."""
    definition = define("exp", hypothesis="it works", expect=["reliability.failed < 1"])
    return write_run(tmp_path / "results" / "run-1", reference_events(), definitions=[definition])


def failure(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The one line that a failing command prints."""
    assert main([str(each) for each in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("crucible: ")
    assert err.count("\n") == 1
    return err.removeprefix("crucible: ").rstrip()


# --- show --------------------------------------------------------------------------------------


def test_show_prints_the_summary(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run folder, or the folder of all runs, is shown; a rejected claim is no usage error."""
    for path in (run, run.parent):
        assert main(["show", str(path)]) == 0
        out, err = capsys.readouterr()
        assert out.startswith("REJECTED  exp: it works\n  12 events\n")
        assert out.endswith("\nrun: run-1\n")
        assert "\033" not in out
        assert err == ""


@pytest.mark.parametrize("format", FORMATS)
def test_show_reads_what_export_writes(
    format: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exported file shows the same numbers as the folder it came from."""
    path = tmp_path / "new" / f"events.{format}"
    assert main(["export", str(run), "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert list(open_run(path).events()) == list(open_run(run).events())
    assert main(["show", str(path)]) == 0
    assert "550 ms" in capsys.readouterr().out


@pytest.mark.parametrize("level", [0, 1])
def test_archive_shows_what_the_run_did(
    level: int, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run folder, or the newest run of an output folder, goes into one file that reads equal."""
    path = tmp_path / "new" / "run.zip"
    assert main(["archive", str([run, run.parent][level]), "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert list(open_run(str(path)).events()) == list(open_run(run).events())
    assert main(["show", str(path)]) == 0
    shown = capsys.readouterr().out
    assert main(["show", str(run)]) == 0
    assert shown == capsys.readouterr().out


def test_archive_takes_a_run_and_makes_a_zip(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be archived, and another ending, are one line each, and nothing is written."""
    target, empty = tmp_path / "r.zip", tmp_path / "empty"
    empty.mkdir()
    assert "a.tar: an archive is a .zip file" in failure(capsys, "archive", run, "-o", "a.tar")
    assert "not a run folder" in failure(capsys, "archive", tmp_path / "x", "-o", target)
    assert "no run in this folder" in failure(capsys, "archive", empty, "-o", target)
    assert not target.exists()


def test_export_format_may_differ_from_the_ending(run: Path, tmp_path: Path) -> None:
    """``--format`` decides where it is given."""
    path = tmp_path / "events.txt"
    assert main(["export", str(run), "--format", "jsonl", "--output", str(path)]) == 0
    assert path.read_text().startswith('{"run":"run-1"')


def test_export_onto_its_own_source(tmp_path: Path) -> None:
    """A file can be converted in place: it is read to the end before it is replaced."""
    run = write_run(tmp_path / "r", [event()])
    path = tmp_path / "e.jsonl"
    assert main(["export", str(run), "-o", str(path)]) == 0
    before = path.read_bytes()
    assert main(["export", str(path), "-o", str(path), "--force"]) == 0
    assert path.read_bytes() == before


# --- errors ------------------------------------------------------------------------------------


def test_paths_that_cannot_be_read_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing, empty, foreign and torn input: exit code 2, the file, the line, no traceback."""
    contents = {
        "empty.csv": b"", "binary.csv": b"\x00\xff\xfe", "foreign.csv": b"a,trial\r\n1,x\r\n",
        "torn.jsonl": b'{"run": "r"', "binary.jsonl": b"\x00\xff", "torn.parquet": b"PAR1\x00",
        "notes.md": b"# hi",
    }  # fmt: skip
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert failure(capsys, "show", path).startswith(f"{path}:")
        out = tmp_path / "out.csv"
        assert failure(capsys, "export", path, "-o", out).startswith(f"{path}:")
    assert failure(capsys, "show", tmp_path / "gone").endswith("gone: no such file or folder")
    assert failure(capsys, "show", tmp_path).endswith("no run in this folder")
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b'{"schema": 1}', b'{"schema": 2}'])
def test_unreadable_manifest_is_one_line(
    text: bytes, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run whose manifest is torn, foreign or newer is not read as if it had none."""
    write_manifest(run, {"run": "r"}).write_bytes(text)
    assert failure(capsys, "show", run).startswith(f"{run / 'manifest.json'}:")


def test_torn_file_is_one_line_after_what_was_read(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that breaks off late is told by its line, and no half export is left."""
    path = tmp_path / "e.jsonl"
    assert main(["export", str(run), "-o", str(path)]) == 0
    path.write_bytes(path.read_bytes()[:-40])
    capsys.readouterr()
    assert failure(capsys, "show", path) == f"{path}:12: not a JSON object in UTF-8"
    failure(capsys, "export", path, "-o", tmp_path / "e.csv")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["e.jsonl", "results"]


def test_unknown_format_is_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A format that nobody knows is named with the valid ones, before anything is written."""
    problems = {
        "events.xlsx": "unknown export format 'xlsx'",
        "events": "no ending that tells the format",
    }
    for output, problem in problems.items():
        line = failure(capsys, "export", run, "-o", tmp_path / "new" / output)
        assert line == f"{problem}; valid: csv, json, jsonl, parquet"
    assert not (tmp_path / "new").exists()


def test_output_that_cannot_be_written_is_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file where a folder should be, and a folder where a file should be."""
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    assert "output folder" in failure(capsys, "export", run, "-o", tmp_path / "file" / "e.csv")
    assert "folder.csv" in failure(capsys, "export", run, "-o", tmp_path / "folder.csv")


@pytest.mark.parametrize("arguments", [[], ["shwo"], ["show"], ["export", "x"], ["show", "--no"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """The parser tells the usage and the mistake."""
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: crucible")


# --- traces ------------------------------------------------------------------------------------


def test_show_prints_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One trace as a tree; an id that nobody has is one line and exit code 2."""
    events = [
        event("outer.stop", metadata={"span_id": "1", "correlation_id": "job"}),
        event("inner.stop", metadata={"span_id": "2", "parent_span_id": "1"}),
    ]
    folder = write_run(tmp_path / "run-1", events)
    assert main(["show", str(folder), "--trace", "job"]) == 0
    assert capsys.readouterr().out == "trace job\n  outer\n    inner\n"
    told = failure(capsys, "show", folder, "--trace", "nope")
    assert told == f"{folder}: no event has the correlation, trace or span id 'nope'"


# --- as a process ------------------------------------------------------------------------------


def test_command_exits_with_the_code_of_main(run: Path, tmp_path: Path) -> None:
    """As a process: 0 and a summary, or 2 and one line; never a traceback."""
    good = subprocess.run([*CRUCIBLE, "show", run], capture_output=True, text=True)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.endswith("run: run-1\n")
    bad = subprocess.run([*CRUCIBLE, "show", tmp_path / "x"], capture_output=True, text=True)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == f"crucible: {tmp_path / 'x'}: no such file or folder\n"


def test_reader_that_leaves_early_is_no_error(run: Path) -> None:
    """``crucible show … | head -0`` ends quietly."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        done = subprocess.run([*CRUCIBLE, "show", run], stdout=write_end, stderr=subprocess.PIPE)
    finally:
        os.close(write_end)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("plain", [False, True])
def test_colours_are_for_terminals_that_want_them(plain: bool, run: Path) -> None:
    """A terminal gets verdicts in colour, unless NO_COLOR is set."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"NO_COLOR": "1"} if plain else {}
    try:
        subprocess.run([*CRUCIBLE, "show", run], stdout=theirs, env=environment, check=True)
        shown = os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    verdict = "REJECTED  exp: it works"
    assert shown.startswith(f"{verdict}\r\n" if plain else f"\033[31m{verdict}\033[0m\r\n")
