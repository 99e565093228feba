"""``crucible show``: the summary of a run, or one of its traces."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_crucible.analysis.run import open_run
from pytest_crucible.cli.main import main
from pytest_crucible.exports.formats import FORMATS
from tests.cli.support import failure
from tests.made_events import event, write_run


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
    assert list(open_run(path).events) == list(open_run(run).events)
    assert main(["show", str(path)]) == 0
    assert "550 ms" in capsys.readouterr().out


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
