"""``crucible events``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_crucible.cli.main import main
from pytest_crucible.events import catalog as _catalog
from pytest_crucible.events.catalog import EVENTS


@pytest.fixture(autouse=True)
def catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test loads is gone after it."""
    monkeypatch.setattr(_catalog, "_known", {event.name: event for event in EVENTS})


def test_every_event_has_an_aligned_row(capsys: pytest.CaptureFixture[str]) -> None:
    """Name, category, description and fields stand below one another; optional ones in brackets."""
    assert main(["events"]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == [event.name for event in EVENTS]
    column = head.index("category")
    assert all(row[column - 1] == " " and row[column] != " " for row in rows)
    (hedge,) = [row for row in rows if row.startswith("hedging.request.stop")]
    assert "duration (ns), [primary_latency (ms)]" in hedge
    assert hedge.endswith("· request_id, primary_model, backup_model, winner")
    (duplicated,) = [row for row in rows if "duplicated" in row]
    assert " delay_ms · " in duplicated  # the name says the unit


def test_pattern_and_category_narrow_it(capsys: pytest.CaptureFixture[str]) -> None:
    """A pattern is one of names, a category is exact; as JSON with all their fields."""
    assert main(["events", "*.stop", "--category", "training", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [event["name"].split(".")[1] for event in found] == ["training", "epoch", "batch"]
    assert found[2]["measurements"] == {"batch": "batch", "loss": ""}


def test_events_of_ones_own_can_be_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """``--load`` runs a conftest, and its events are listed, too."""
    conftest = tmp_path / "conftest.py"
    conftest.write_text(
        "import pytest_crucible as crucible\n"
        "crucible.define_event('cache.hit', category='cache', description='Found')\n"
    )
    assert main(["events", "--load", str(conftest), "--category", "cache"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == ["cache.hit", "cache", "Found", "–"]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (None, "there is no file"),
        ("1 / 0", "raised ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", "raised SystemExit: 0"),
        ("import pytest_crucible as c; c.define_event('x')", "an event's name is dotted"),
    ],
)
def test_file_that_cannot_be_loaded_is_one_line(
    code: str | None, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong with the file is said in one line."""
    path = tmp_path / "conftest.py"
    if code:
        path.write_text(code)
    assert main(["events", "--load", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert problem in line


def test_nothing_found_names_the_categories(capsys: pytest.CaptureFixture[str]) -> None:
    """A category that does not exist is answered with those that do."""
    assert main(["events", "--category", "llms"]) == 2
    assert "categories: llm, ensemble, hedging" in capsys.readouterr().err
