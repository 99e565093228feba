"""``crucible archive``: a run folder as one file that reads equal."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_crucible.analysis.run import open_run
from pytest_crucible.cli.main import main
from tests.cli.support import failure


@pytest.mark.parametrize("level", [0, 1])
def test_archive_shows_what_the_run_did(
    level: int, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run folder, or the newest run of an output folder, goes into one file that reads equal."""
    path = tmp_path / "new" / "run.zip"
    assert main(["archive", str([run, run.parent][level]), "-o", str(path)]) == 0
    assert capsys.readouterr().out == f"{path}\n"
    assert list(open_run(str(path)).events) == list(open_run(run).events)
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
