"""``crucible recover``: runs whose pytest was killed get their manifest."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_crucible.cli.main import main
from pytest_crucible.runs.manifest import read_manifest
from tests.made_events import event, trial, trial_scope, write_run


def broken(folder: Path) -> Path:
    """A run folder that a killed session left: a trial in flight, no end, no manifest."""
    events = [*trial("passed", trial_scope("a")), *trial(None, trial_scope("b")), event()]
    return write_run(folder, events, closed=False)


@pytest.mark.parametrize("level", [0, 1])
def test_a_run_is_finished_and_shown(
    level: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run folder, or all runs of an output folder: summary, manifest, and where it was."""
    run = broken(tmp_path / "results" / "run-1")
    assert main(["recover", str([run, run.parent][level])]) == 0
    out = capsys.readouterr().out
    assert "  recorded 1/2 trials · 1 crashed (main)" in out
    assert out.endswith(f"\nrecovered: {run}\n")
    manifest = read_manifest(run)
    assert manifest is not None
    assert manifest["experiments"]["exp"]["recorded"] == 1


def test_every_unfinished_run_is_recovered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those that have their manifest are left as they are."""
    runs = [broken(tmp_path / f"run-{number}") for number in range(3)]
    assert main(["recover", str(runs[0])]) == 0
    before = (runs[0] / "manifest.json").read_bytes()
    capsys.readouterr()
    assert main(["recover", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if line.startswith("recovered: ")] == [
        f"recovered: {run}" for run in runs[1:]
    ]
    assert (runs[0] / "manifest.json").read_bytes() == before


def test_nothing_to_recover_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And is fine: a script may always ask."""
    run = broken(tmp_path / "run-1")
    assert main(["recover", str(run)]) == 0
    capsys.readouterr()
    assert main(["recover", str(tmp_path)]) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path}: nothing to recover, every run has its manifest\n"
    )


def test_a_folder_without_runs_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and the folder that was meant."""
    assert main(["recover", str(tmp_path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"crucible: {tmp_path}: no run in this folder\n")


PRICES = """
["m1"]
input = 2.0
output = 4.0
"""


def unpriced(folder: Path) -> Path:
    """A killed session with ten calls of a model that nobody but the user knows a price of."""
    events = []
    for number in range(10):
        scope = trial_scope(f"c{number}")
        start, stop = trial("passed", scope)
        usage = {"duration": 1_000, "input_tokens": 1_000, "output_tokens": 500}
        call = event("req_llm.request.stop", usage, {"model": "m1"}, scope=scope)
        events += [start, call, stop]
    return write_run(folder, events, closed=False)


def test_calls_are_priced_as_the_session_would_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With ``--prices``, and `show` then knows the cost; without, the calls stay unpriced."""
    prices = tmp_path / "prices.toml"
    prices.write_text(PRICES)
    run = unpriced(tmp_path / "run-1")
    assert main(["recover", str(run), "--prices", str(prices)]) == 0
    assert "cost.total" in capsys.readouterr().out
    assert main(["show", str(run)]) == 0
    out = capsys.readouterr().out
    assert "10 calls $0.04" in out
    assert "unpriced" not in out
    other = unpriced(tmp_path / "run-2")
    assert main(["recover", str(other)]) == 0
    assert "10 of 10 calls unpriced" in capsys.readouterr().out
    assert main(["show", str(other), "--prices", str(prices)]) == 0
    assert "10 calls $0.04" in capsys.readouterr().out
