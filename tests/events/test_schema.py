"""The schema of events: a column that stands there is everywhere, and nowhere else by hand."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest

import pytest_crucible
from pytest_crucible.analysis.run import open_run
from pytest_crucible.events.enrichment import Enriched, enrich
from pytest_crucible.events.enrichment_batch import Same
from pytest_crucible.events.event import Event
from pytest_crucible.events.schema import (
    COLUMNS,
    ENRICHMENT,
    EXPORTED,
    FROM_METADATA,
    KINDS,
    MEASURED,
    METADATA,
    NUMBERS,
    QUERIED,
    REQUIRED,
    WORKED_OUT,
    Measured,
)
from pytest_crucible.exports.batches import batches_of
from pytest_crucible.exports.export import export_events
from pytest_crucible.exports.formats import FORMATS
from pytest_crucible.exports.rows import NESTED, nested_row
from pytest_crucible.metrics.observations import observe
from pytest_crucible.queries.events import Events
from pytest_crucible.record.chunks import chunks_of
from tests.made_events import event, trial_scope

PACKAGE = Path(pytest_crucible.__file__).parent
DOCS = PACKAGE.parent / "docs" / "exports.md"
VALUES: dict[type, Any] = {str: "set", int: 7, float: 7.5, bool: False}


def full(number: int = 0) -> Event:
    """An event that tells every column that can be told."""
    return event(
        measurements={each.source.keys[0]: 3_000_000 + number for each in COLUMNS if each.source},
        metadata={name: f"{name} of it" for name in FROM_METADATA},
        scope=trial_scope(),
        at_us=number,
        sequence=number,
    )


def set_everything(event: Event, enriched: Enriched) -> None:
    """An enricher that has something to say in every column."""
    for name in (*WORKED_OUT, *FROM_METADATA):
        setattr(enriched, name, VALUES[KINDS[name]])


def header(path: Path) -> list[str]:
    """The columns of an export."""
    match path.suffix:
        case ".csv":
            return next(csv.reader(path.read_text(encoding="utf-8").splitlines()))
        case ".parquet":
            return list(pyarrow.parquet.read_schema(path).names)
        case ".json":
            return list(json.loads(path.read_text(encoding="utf-8"))[0])
    return list(json.loads(path.read_text(encoding="utf-8").splitlines()[0]))


def exported(folder: Path, format: str, events: list[Event], enrichers: Iterable[Any] = ()) -> Path:
    path = folder / f"events.{format}"
    return export_events(lambda: events, path, FORMATS[format], enrichers)


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_every_format_has_every_column(tmp_path: Path, format: str) -> None:
    """In this order, whether an event tells the column or not."""
    told, silent = full(), event("plain", scope=None, sequence=1)
    for events in ([told], [silent]):
        found = header(exported(tmp_path, format, events))
        assert tuple(found[: len(EXPORTED)]) == EXPORTED


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_what_is_not_nullable_is_there(tmp_path: Path, format: str) -> None:
    """Of an event that tells nothing, too."""
    path = exported(tmp_path, format, [event("plain", scope=None)])
    (row,) = map(nested_row, open_run(path).events)
    empty = {name for name in EXPORTED if row[name] is None}
    assert empty <= {each.name for each in COLUMNS if each.nullable}
    assert {each.name for each in COLUMNS if each.required} == set(REQUIRED)


@pytest.mark.parametrize("format", sorted(FORMATS))
def test_every_column_comes_back(tmp_path: Path, format: str) -> None:
    """What an event tells, and what an enricher says of it, is the same in the file's events."""
    events = [full(number) for number in range(3)]
    for enrichers in ((), (set_everything,)):
        path = exported(tmp_path, format, events, enrichers)
        rows = [nested_row(each, enrichers) for each in events]
        assert [nested_row(each) for each in open_run(path).events] == rows
        if enrichers:
            said = {name: VALUES[KINDS[name]] for name in (*WORKED_OUT, *FROM_METADATA)}
            assert all(said.items() <= row.items() for row in rows)


def test_parquet_has_the_types_of_the_schema(tmp_path: Path) -> None:
    """Also where no event has a value that could tell the type."""
    path = exported(tmp_path, "parquet", [event("plain", scope=None)])
    schema = pyarrow.parquet.read_schema(path)
    types = {"string": str, "int64": int, "double": float, "bool": bool}
    assert {name: types[str(schema.field(name).type)] for name in EXPORTED} == {
        name: KINDS[name] for name in EXPORTED
    }


def test_a_batch_says_what_one_event_does() -> None:
    """In every column; what events with other keys say is in the properties of exports."""
    events = [full(number) for number in range(3)]
    ((batch,), others) = batches_of(next(chunks_of(events)))
    columns = batch.columns()
    assert not others
    for position, each in enumerate(events):
        row = nested_row(each)
        found = {
            name: column.value if isinstance(column, Same) else column[position]
            for name, column in columns.items()
        }
        assert found == {name: row[name] for name in row if name not in NESTED}
        assert {name: getattr(enrich(each), name) for name in (*WORKED_OUT, *FROM_METADATA)} == {
            name: row[name] for name in (*WORKED_OUT, *FROM_METADATA)
        }


def test_queries_have_every_measured_column() -> None:
    """Arrays, columns, groups, and the search for anomalies, by name and as attributes."""
    events = [full(number) for number in range(3)]
    view = Events(lambda: events)
    (group,) = observe(events).groups.values()
    array, columns = view.to_numpy(), view.columns()
    for name in MEASURED:
        expected = [nested_row(each)[name] for each in events]
        for found in (
            array[name], columns.measured(name), getattr(columns, name),
            np.frombuffer(group.measured(name)), getattr(group, name),
        ):  # fmt: skip
            assert list(found) == expected
    for name in NUMBERS:
        assert not view.anomalies(name).reasons.keys() - {events[0].name}
    for column in QUERIED:
        expected = [nested_row(each)[column.name] for each in events]
        assert list(array[column.name]) == list(columns.texts(column.name)) == expected
        asked: Any = columns.query  # by a keyword that is not known here
        assert len(asked(**{column.name: expected[0]})) == len(events)


def test_typed_twins_have_the_columns_of_the_schema() -> None:
    """`Enriched` and `Measured` spell them out for type checkers: all of them, and no other."""
    enriched = {each.name for each in COLUMNS if each.computed_by in (ENRICHMENT, METADATA)}
    assert set(Enriched.__struct_fields__) == enriched | {"extra"}
    attributes = [name for name, what in vars(Measured).items() if isinstance(what, property)]
    assert sorted(attributes) == sorted(MEASURED)


def test_the_schema_imports_nothing_of_the_package() -> None:
    """So that everything may import it."""
    tree = ast.parse((PACKAGE / "events" / "schema.py").read_text(encoding="utf-8"))
    imported = [each.module for each in ast.walk(tree) if isinstance(each, ast.ImportFrom)]
    imported += [
        name.name for each in ast.walk(tree) if isinstance(each, ast.Import) for name in each.names
    ]
    assert not [name for name in imported if name and name.startswith("pytest_crucible")]


NOT_COLUMNS = {
    "analysis/results.py": "headings of a table for people",
    "events/schema.py": "the schema itself",
    "events/catalog.py": "what known events carry as metadata",
    "metrics/observations_batch.py": "columns of groups, which are no rows of exports",
    "metrics/part.py": "columns of groups",
    "exports/anonymise.py": "fields at any depth that tell of people, or do not",
}


def test_no_other_module_lists_columns() -> None:
    """Neither a tuple nor a list nor a set holds the names of two columns elsewhere."""
    columns = {each.name for each in COLUMNS}
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.relative_to(PACKAGE).as_posix() not in NOT_COLUMNS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Tuple, ast.List, ast.Set))
        and len(columns & {each.value for each in node.elts if isinstance(each, ast.Constant)}) > 1
    ]
    assert not found, f"write columns into events/schema.py, not into {', '.join(found)}"


def test_the_docs_list_every_column() -> None:
    """The table of columns in docs/exports.md has all of them, in order, with type and unit."""
    section = DOCS.read_text(encoding="utf-8").partition("\n## Columns\n")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \| (\w+) \| (\S+) \|", section, re.MULTILINE)
    assert listed == [
        (each.name, each.type.__name__, each.unit or "–") for each in COLUMNS if each.exported
    ]
