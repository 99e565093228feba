"""The command line: exit codes, one-line errors, and output that can be piped."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

from pytest_crucible.cli.main import main
from pytest_crucible.runs.manifest import write_manifest
from tests.cli.support import CRUCIBLE, failure
from tests.made_events import event, write_run

# --- export ------------------------------------------------------------------------------------


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


# --- as a process ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [CRUCIBLE, [str(Path(sys.executable).with_name("crucible"))]], ids=["-m", "script"]
)
def test_version_is_that_of_the_distribution(command: list[str]) -> None:
    """``crucible --version`` and ``python -m pytest_crucible --version`` say the same."""
    done = subprocess.run([*command, "--version"], capture_output=True, text=True)
    told = f"pytest-crucible {importlib.metadata.version('pytest-crucible')}\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, told, "")


def test_module_and_script_are_one_command() -> None:
    """``python -m pytest_crucible`` names itself as the script does."""
    done = subprocess.run([*CRUCIBLE, "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: crucible [-h] [--version] COMMAND")


def test_command_exits_with_the_code_of_main(run: Path, tmp_path: Path) -> None:
    """As a process: 0 and a summary, or 2 and one line; never a traceback."""
    good = subprocess.run([*CRUCIBLE, "show", run], capture_output=True, text=True)
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.endswith("run: run-1\n")
    bad = subprocess.run([*CRUCIBLE, "show", tmp_path / "x"], capture_output=True, text=True)
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr == f"crucible: {tmp_path / 'x'}: no such file or folder\n"
