"""Tests of `pytest_crucible.exports.described`."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import pytest_crucible as crucible
from pytest_crucible import telemetry
from pytest_crucible.exports.described import described, told
from pytest_crucible.exports.formats import FORMATS


def test_tags_and_metadata_as_text() -> None:
    """Values that JSON does not know are texts; nothing is told where nothing was said."""
    values = told([("a", ("x", "y"), {"lang": "fr", "lock": {1}}), ("b", (), {})])
    assert values["a"] == ("x,y", '{"lang": "fr", "lock": "{1}"}')
    assert values["b"] == (None, None)
    assert described({"b": (None, None)}) is None


def rows(path: Path, format: str) -> list[dict[str, Any]]:
    if format == "json":
        found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return found
    if format == "jsonl":
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    if format == "parquet":
        table: Any = pytest.importorskip("pyarrow.parquet").read_table(path)
        return list(table.to_pylist())
    with path.open(encoding="utf-8", newline="") as file:
        return [{k: v or None for k, v in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("events", [3, 300], ids=["rows", "batches"])
def test_every_format_tells_of_its_experiments(format: str, events: int, tmp_path: Path) -> None:
    """Each row what was said of its own experiment; a file alone tells what it is about."""
    with crucible.experiment("one", tags=["nightly", "fr"], metadata={"commit": "ab|c"}) as one:
        for number in range(events):
            telemetry.execute("work.done", {"n": number})
    with crucible.experiment("two") as two:
        telemetry.execute("work.done", {"n": 0})
    path = crucible.export_multiple([one, two], format, tmp_path / f"e.{format}")
    found = [
        (row["experiment"], row["tags"], row["experiment_metadata"])
        for row in rows(path, format)
        if row["event"] == "work.done"
    ]
    assert found.count(("one", "nightly,fr", '{"commit": "ab|c"}')) == events
    assert found.count(("two", None, None)) == 1
    assert len(crucible.open_run(path).events) == events + 1
