"""What enrichers set: kept beside the spools, and found again by every reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.events.enrichment import Enriched, enrich
from pytest_crucible.events.event import Event
from pytest_crucible.exports.export import export_events
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.runs.enriched import enriched_path, keep_enriched
from pytest_crucible.runs.run import open_folder, open_recorded
from tests.report.support import made, observed


def price(event: Event, enriched: Enriched) -> None:
    """Half a dollar each, only the first ones succeed, and one event has no latency."""
    assert not event.internal
    enriched.cost_usd = 0.5
    enriched.success = event.sequence < 3000
    enriched.extra["region"] = "eu"
    if ((event.scope and event.scope.case) or "").endswith("[0]"):
        enriched.latency_ms = None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = made(tmp_path / "run-1", observed(range(20)))
    for node in open_folder(folder).nodes:
        keep_enriched(node, [price])
    return folder


def numbers(path: Path) -> Any:
    return analyse(open_recorded(path)).to_dict()["experiments"]["exp"]["conditions"]["default"]


def test_later_readers_see_what_enrichers_set(folder: Path, tmp_path: Path) -> None:
    """Metrics are those that the session had, corrections to "none" included."""
    bare = made(tmp_path / "bare", observed(range(20)))
    expected = analyse(open_recorded(bare), [price]).to_dict()["experiments"]["exp"]["conditions"]
    found = numbers(folder)
    assert found == expected["default"]
    assert found["cost"]["total"] == 10.0
    assert found["latency"]["count"] == 19
    assert 0 < found["reliability"]["failed"] < 20


@pytest.mark.parametrize("format", FORMATS)
def test_exports_carry_what_enrichers_set(format: str, folder: Path, tmp_path: Path) -> None:
    """A file tells the numbers of the folder it came from, and its columns survive conversion."""
    path = export_events(
        lambda: open_recorded(folder).events, tmp_path / f"e.{format}", FORMATS[format]
    )
    assert numbers(path) == numbers(folder)
    again = export_events(
        lambda: open_recorded(path).events, tmp_path / "again.jsonl", FORMATS["jsonl"]
    )
    assert numbers(again) == numbers(folder)
    assert again.read_text().count('"region":"eu"') == 20


def test_without_enrichers_there_is_no_file(tmp_path: Path) -> None:
    """Only what was set is written: events that an enricher leaves alone take no room."""
    folder = made(tmp_path / "run-1", observed(range(20)))
    (node,) = open_folder(folder).nodes
    keep_enriched(node, [lambda event, enriched: None])
    assert enriched_path(Path(node.source)).read_text() == ""
    assert [event.enriched for event in open_folder(folder).events if event.enriched] == []


def test_a_torn_file_is_told(folder: Path) -> None:
    """What was written whole counts, and the run is incomplete from there on."""
    path = enriched_path(folder / "nodes" / "main.spool")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:10]) + lines[10][:9])
    found = analyse(open_folder(folder))
    assert found.lost
    assert f"{path}: torn at line 11" in found.incomplete
    costs = [enrich(each).cost_usd for each in open_folder(folder).events if not each.internal]
    assert costs.count(0.5) == 10


def test_events_that_are_gone_do_not_shift_the_rest(folder: Path) -> None:
    """Each line names its event: one for an event that is no longer there is passed over."""
    path = enriched_path(folder / "nodes" / "main.spool")
    path.write_text('[1,{"cost_usd":9}]\n' + path.read_text())
    assert numbers(folder)["cost"]["total"] == 10.0


def test_a_spoiled_byte_is_told(folder: Path) -> None:
    """One that makes the text no UTF-8 any more is told like a torn line."""
    path = enriched_path(folder / "nodes" / "main.spool")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[10] = lines[10].replace(b"eu", b"e\xff")
    path.write_bytes(b"".join(lines))
    assert f"{path}: torn at line 11" in analyse(open_folder(folder)).incomplete
