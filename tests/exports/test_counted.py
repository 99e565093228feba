"""What counts, as columns of exports: their sums are the metrics."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pytest_crucible.analysis.run import open_run
from pytest_crucible.events.event import TRIAL_START, Event
from pytest_crucible.exports.export import export_as, export_events
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.exports.options import ExportOptions
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import summarise
from tests.made_events import event, trial_scope
from tests.metrics.counting.test_nesting import span

COUNTING = ("counted", "counted_cost", "counted_tokens")


def agents() -> list[Event]:
    """Three agents with two calls each; every agent reports the sum of its calls' costs."""
    events: list[Event] = []
    for _ in range(3):
        start, end = span("agent", cost=0.3)
        events += [start, *span("a", "agent", 0.1), *span("b", "agent", 0.2), end]
    events.append(event(TRIAL_START))
    scope = trial_scope()
    return [msgspec.structs.replace(e, sequence=n, scope=scope) for n, e in enumerate(events)]


def rows_of(path: Path, format: str) -> list[dict[str, Any]]:
    if format == "jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if format == "json":
        rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return rows
    if format == "parquet":
        table: Any = pytest.importorskip("pyarrow.parquet").read_table(path)
        rows = table.to_pylist()
        assert all(type(row["counted"]) in (bool, type(None)) for row in rows)
        return rows
    told = {"": None, "True": True, "False": False, "true": True, "false": False}
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {**row, **{name: told[row[name]] for name in COUNTING}} for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("enriched", [False, True], ids=["batches", "rows"])
def test_sums_of_what_counts_are_the_metrics(format: str, enriched: bool, tmp_path: Path) -> None:
    """Cost, tokens and operations of an export add up to those of the summary."""
    events = agents()
    extra = [lambda event, enriched: None] if enriched else []
    path = export_events(lambda: iter(events), tmp_path / "e", FORMATS[format], extra)
    rows = rows_of(path, format)
    (group,) = observe(events).groups.values()
    found = summarise(group)
    costs = [float(row["cost_usd"]) for row in rows if row["counted_cost"]]
    tokens = [float(row["total_tokens"]) for row in rows if row["counted_tokens"]]
    assert math.fsum(costs) == pytest.approx(found.cost.total, rel=1e-15)
    assert math.fsum(tokens) == pytest.approx(found.tokens.total, rel=1e-15)
    assert sum(row["counted"] is True for row in rows) == sum(group.counted) == 3
    everything = math.fsum(float(row["cost_usd"] or 0) for row in rows)
    assert everything == pytest.approx(2 * math.fsum(costs))
    assert [rows[-1][name] for name in COUNTING] == [None] * 3


@pytest.mark.parametrize("options", [
    ExportOptions(columns=("cost_usd", "counted_cost")), ExportOptions(anonymize="drop"),
])  # fmt: skip
def test_flags_survive_options(options: ExportOptions, tmp_path: Path) -> None:
    """Selected columns and anonymised exports have the flags, too."""
    events = agents()
    path = export_as(lambda: iter(events), tmp_path / "e.jsonl", "jsonl", options)
    rows = rows_of(path, "jsonl")
    assert math.fsum(row["cost_usd"] for row in rows if row["counted_cost"]) == pytest.approx(0.9)


@pytest.mark.parametrize("format", FORMATS)
def test_reading_back_needs_no_flags(format: str, tmp_path: Path) -> None:
    """The flags are worked out again; they are not fields that somebody set."""
    events = agents()
    path = export_events(lambda: iter(events), tmp_path / f"e.{format}", FORMATS[format])
    again = list(open_run(path).events)
    assert not any(each.enriched for each in again)
    twice = export_events(lambda: iter(again), tmp_path / f"f.{format}", FORMATS[format])
    assert path.read_bytes() == twice.read_bytes()
