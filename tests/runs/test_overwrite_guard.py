"""What commands write never takes the place of a record: refused before anything is read."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from pytest_crucible.analysis.run import open_run
from tests.cli.support import failure, run
from tests.made_events import event, write_run
from tests.report.support import made, observed


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return made(tmp_path / "runs" / "base", observed(range(8)))


def everything(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- compare and gate --------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["markdown", "json", "junit"])
@pytest.mark.parametrize("place", ["manifest.json", "nodes/main.spool", "nodes/new.md", "new.md"])
def test_a_run_folder_is_left_alone(
    option: str, place: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That of the input and any other; nothing is read before, not even an input that is gone."""
    other = made(tmp_path / "runs" / "other", observed(range(2)))
    before = everything(tmp_path)
    for folder in (base, other):
        target = folder / place
        line = f"--{option}: {str(target)!r} is in the run folder {str(folder)!r}; "
        line += "write it elsewhere"
        assert failure(capsys, "gate", base, f"--{option}={target}") == line
        assert failure(capsys, "compare", "gone", base, f"--{option}={target}") == line
    assert everything(tmp_path) == before


def test_a_link_to_an_input_is_left_alone(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also a hard link, whose ending is that of a report."""
    record = tmp_path / "e.csv"
    assert run("export", base, "-o", record) == 0
    capsys.readouterr()
    os.link(record, tmp_path / "hard.md")
    (tmp_path / "soft.md").symlink_to(record)
    before = everything(tmp_path)
    for name in ("hard.md", "soft.md"):
        target = tmp_path / name
        assert "is an artifact" in failure(capsys, "gate", record, f"--markdown={target}")
        assert "is an artifact" in failure(capsys, "compare", base, record, f"--junit={target}")
    assert everything(tmp_path) == before


def test_a_json_record_is_told_from_a_json_report(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A report goes over an old report, never over a record with the same ending."""
    record, report = tmp_path / "j.json", tmp_path / "report.json"
    assert run("export", base, "-o", record) == 0
    assert run("gate", base, "--expect=success_rate >= 0", f"--json={report}") == 0
    old = report.read_bytes()
    capsys.readouterr()
    before = record.read_bytes()
    for option in ("json", "markdown", "junit"):
        assert "is an artifact" in failure(capsys, "compare", base, base, f"--{option}={record}")
    assert record.read_bytes() == before
    assert run("compare", base, base, f"--json={report}") == 0
    assert report.read_bytes() != old


def test_a_file_that_follows_its_option_is_no_output(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``compare --markdown a.csv.gz base head`` names a record by mistake, there or not."""
    before = everything(tmp_path)
    for name in ("a.csv.gz", "a.parquet", "a.jsonl.zst", "a.zip", "a.json.gz"):
        line = failure(capsys, "compare", "--markdown", tmp_path / name, base, base)
        said = "is an artifact, not a file to write; put --markdown last"
        assert line == f"--markdown: {str(tmp_path / name)!r} {said}"
    assert everything(tmp_path) == before


def test_two_outputs_need_two_files(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second would take the place of the first, by whichever name."""
    target, link = tmp_path / "report", tmp_path / "link"
    link.symlink_to(target)
    for other in (target, tmp_path / "runs" / ".." / "report", link):
        line = failure(capsys, "gate", base, f"--markdown={target}", f"--junit={other}")
        assert line == f"--markdown and --junit would both write {str(other)!r}"
    assert not target.exists()
    assert run("gate", base, "--expect=success_rate >= 0", "--markdown", "--json") == 0


def test_the_summary_of_a_job_is_no_record_either(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is added to the file of GITHUB_STEP_SUMMARY would spoil a record, too."""
    record = tmp_path / "e.jsonl"
    assert run("export", base, "-o", record) == 0
    capsys.readouterr()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(record))
    before = record.read_bytes()
    assert "GITHUB_STEP_SUMMARY: " in failure(capsys, "gate", base, "--markdown")
    assert record.read_bytes() == before
    assert run("gate", base, "--expect=success_rate >= 0", "--json") == 0


# --- export ------------------------------------------------------------------------------------


def test_export_leaves_run_folders_alone(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also by force, which is for files."""
    before = everything(tmp_path)
    for target in (base / "manifest.json", base / "e.csv", base / "nodes" / "e.jsonl"):
        for options in ([], ["--force"]):
            line = failure(capsys, "export", base, "-f", "csv", "-o", target, *options)
            assert line == f"{target} is in the run folder {str(base)!r}; write it elsewhere"
    folder = tmp_path / "f.csv"
    folder.mkdir()
    line = failure(capsys, "export", base, "-o", folder, "--force")
    assert line == f"{folder} is a folder; write it elsewhere"
    assert everything(tmp_path) == before


def test_export_replaces_what_is_no_record(base: Path, tmp_path: Path) -> None:
    """An old report, or JSON of somebody else's, makes room as ever."""
    report = tmp_path / "e.json"
    report.write_text("{}")
    assert run("export", base, "-o", report) == 0
    assert len(open_run(report).events) > 0


def test_a_forced_export_may_read_what_it_replaces(base: Path, tmp_path: Path) -> None:
    """Also through a link, which becomes the file."""
    record, link = tmp_path / "e.jsonl", tmp_path / "link.jsonl"
    assert run("export", base, "-o", record) == 0
    link.symlink_to(record)
    before = record.read_bytes()
    assert run("export", record, "-o", link, "--columns=event", "--force") == 0
    assert record.read_bytes() == before
    assert link.read_text().startswith('{"event":')


# --- archive and merge -------------------------------------------------------------------------


def test_an_archive_replaces_only_one_of_the_same_run(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another run's, torn or foreign: it may be the only one."""
    other = write_run(tmp_path / "runs" / "other", [event()])
    target = tmp_path / "a.zip"
    assert run("archive", base, "-o", target) == 0
    archive = target.read_bytes()
    assert run("archive", base, "-o", target) == 0
    assert target.read_bytes() == archive
    capsys.readouterr()
    for content in (archive, archive[:100], b"foreign", b""):
        target.write_bytes(content)
        line = failure(capsys, "archive", other, "-o", target)
        assert line == f"{target}: exists and is no archive of run other; nothing was written"
        assert target.read_bytes() == content


def test_an_archive_stays_out_of_run_folders(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What lies among the spools would be archived the next time."""
    before = everything(tmp_path)
    for target in (base / "nodes" / "a.zip", base / "a.zip"):
        line = failure(capsys, "archive", base, "-o", target)
        assert line == f"{target} is in the run folder {str(base)!r}; write it elsewhere"
    (tmp_path / "f.zip").mkdir()
    assert "is a folder" in failure(capsys, "archive", base, "-o", tmp_path / "f.zip")
    assert everything(tmp_path) == before


def test_a_merge_replaces_nothing_but_a_merge(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a run, not a folder with files of somebody else's, not a place within a run."""
    target = tmp_path / "merged"
    assert run("merge", base, "-o", target) == 0
    assert run("merge", base, "-o", target) == 0
    (target / "notes.txt").write_text("mine")
    other = tmp_path / "other"
    shutil.copytree(base, other)
    capsys.readouterr()
    before = everything(tmp_path)
    line = failure(capsys, "merge", base, "-o", target)
    assert line == f"{target}: holds 'notes.txt', which no merge made; nothing was written"
    line = failure(capsys, "merge", base, "-o", other)
    assert line == f"{other}: exists and is no earlier merge; nothing was written"
    line = failure(capsys, "merge", base, "-o", base / "merged")
    assert line == f"{base / 'merged'} is in the run folder {str(base)!r}; write it elsewhere"
    assert everything(tmp_path) == before


# --- what is not ours at all -------------------------------------------------------------------


@pytest.mark.parametrize("option", ["markdown", "json", "junit"])
def test_a_pipe_is_not_replaced(
    option: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A rename onto ``/dev/stdout`` or ``/dev/null`` would take it away from the whole machine."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    line = f"--{option}: {str(pipe)!r} is a device or a pipe; write it elsewhere"
    assert failure(capsys, "gate", base, f"--{option}={pipe}") == line
    line = f"{pipe} is a device or a pipe; write it elsewhere"
    for more in ([], ["--force"]):
        assert failure(capsys, "export", base, "-f", "jsonl", "-o", pipe, *more) == line
    assert pipe.is_fifo()


def test_the_summary_of_a_job_may_be_a_device(
    base: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is added to, never replaced."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", os.devnull)
    assert run("gate", base, "--expect=success_rate >= 0", "--markdown") == 0


@pytest.mark.parametrize("name", ["E.CSV", "E.Jsonl.GZ", "E.ZIP", "E.Parquet", "E.JSON"])
def test_an_ending_in_upper_case_guards_as_well(
    name: str, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A record that somebody renamed is not lost, by a report nor by an export."""
    record = tmp_path / name
    assert run("export", base, "-f", "json", "-o", tmp_path / "e.json") == 0
    capsys.readouterr()
    (tmp_path / "e.json").rename(record)
    before = record.read_bytes()
    assert "is an artifact" in failure(capsys, "gate", base, f"--json={record}")
    assert "--force" in failure(capsys, "export", base, "-f", "jsonl", "-o", record)
    assert record.read_bytes() == before


@pytest.mark.parametrize("options", [[], ["--pretty"], ["--flatten"]])
@pytest.mark.parametrize("kept", [40, 100, None])
def test_half_a_json_record_is_still_one(
    kept: int | None, options: list[str], base: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """However much of it is left; a report of ours is none, and is replaced."""
    target = tmp_path / "e.json"
    assert run("export", base, "-o", target, *options) == 0
    target.write_bytes(target.read_bytes()[:kept])
    before = target.read_bytes()
    capsys.readouterr()
    assert "is an artifact, not a file to write" in failure(capsys, "gate", base, "--json", target)
    assert target.read_bytes() == before
    for _ in range(2):
        assert run("gate", base, "--expect=latency.p50 < 1e9", "--json", tmp_path / "r.json") in (
            0,
            1,
        )
