"""Column selection: only what was asked for, and typos told."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from pytest_crucible._errors import ArtifactError, DefinitionError
from pytest_crucible.analysis.run import open_run
from pytest_crucible.events.event import Event
from pytest_crucible.events.schema import REQUIRED
from pytest_crucible.exports.export import export_as
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.exports.options import ExportOptions
from tests.made_events import event

EVENTS = [
    event("a.stop", {"duration": 5}, {"model": "m", "tokens": {"prompt": 3, "total": 4}}),
    event("b.stop", {}, {"model": "n", "empty": {}}),
]


def export(folder: Path, format: str, *columns: str, events: list[Event] = EVENTS) -> Path:
    options = ExportOptions(columns=columns)
    return export_as(lambda: iter(events), folder / f"e.{format}", format, options)


def test_nested_rows_hold_only_what_was_asked_for(tmp_path: Path) -> None:
    """Fixed columns, single leaves and patterns are chosen; what is left empty is left out."""
    path = export(tmp_path, "jsonl", "event", "metadata.tokens.*", "measurements")
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {
            "event": "a.stop",
            "measurements": {"duration": 5},
            "metadata": {"tokens": {"prompt": 3, "total": 4}},
        },
        {"event": "b.stop"},
    ]


def test_tables_have_only_the_columns_asked_for(tmp_path: Path) -> None:
    """In their usual order, with empty cells where an event does not have one."""
    path = export(tmp_path, "csv", "metadata.tokens.total", "event", "cost*")
    with open(path, newline="") as file:
        assert list(csv.reader(file)) == [
            ["event", "cost_usd", "metadata.tokens.total"], ["a.stop", "", "4"], ["b.stop", "", ""],
        ]  # fmt: skip


def test_one_column_is_a_table(tmp_path: Path) -> None:
    """A single column is no special case for who reads it."""
    assert export(tmp_path, "csv", "event").read_text().split() == ["event", "a.stop", "b.stop"]


@pytest.mark.parametrize("format", FORMATS)
def test_unknown_columns_are_named_with_close_ones(format: str, tmp_path: Path) -> None:
    """A typo names itself, what was meant and what there is; no file is left."""
    with pytest.raises(DefinitionError, match=r"no column 'measurements.duratoin'.*; close: meas"):
        export(tmp_path, format, "event", "measurements.duratoin")
    with pytest.raises(
        DefinitionError, match=r"close: measurements\.duration; columns: run, event"
    ):
        export(tmp_path, format, "duration")
    with pytest.raises(DefinitionError, match=r"no column 'metdata.\*'"):
        export(tmp_path, format, "metdata.*")
    assert list(tmp_path.iterdir()) == []


def test_metadata_of_a_run_without_any_is_no_typo(tmp_path: Path) -> None:
    """``metadata.*`` may be empty; so may everything of a run without events."""
    path = export(tmp_path, "csv", "event", "metadata.*", events=[event("a")])
    assert path.read_text().split() == ["event", "a"]
    assert export(tmp_path, "jsonl", "metadata.x", events=[]).read_bytes() == b""


@pytest.mark.parametrize("format", FORMATS)
def test_a_selection_with_identity_can_be_read_back(format: str, tmp_path: Path) -> None:
    """What tells events apart must be there; the numbers that were chosen are found again."""
    found = list(open_run(export(tmp_path, format, *REQUIRED, "metadata.model")).events)
    assert [each.metadata for each in found] == [{"model": "m"}, {"model": "n"}]
    with pytest.raises(ArtifactError, match="only some columns were exported: it has no 'run'"):
        open_run(export(tmp_path, format, "event", "time_us"))


def test_a_table_may_have_no_fixed_column(tmp_path: Path) -> None:
    """If only nested columns were asked for, no empty ones stand beside them."""
    path = export(tmp_path, "csv", "metadata.model")
    with open(path, newline="") as file:
        assert list(csv.reader(file)) == [["metadata.model"], ["m"], ["n"]]
    with pytest.raises(ArtifactError, match="not written by pytest-crucible: it has no 'run'"):
        list(open_run(path).events)
