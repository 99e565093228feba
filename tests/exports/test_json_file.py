"""JSON: one array, for whoever reads JSON, and read back line by line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_crucible._errors import ArtifactError, DefinitionError
from pytest_crucible.exports.export import export_as
from pytest_crucible.exports.json_file import read_json
from pytest_crucible.exports.options import ExportOptions
from tests.made_events import event

EVENTS = [event(metadata={"t": "a\nb}", "d": {"x": [1, {}]}}), event(metadata={"e": {}})]


@pytest.mark.parametrize("pretty", [False, True])
def test_the_file_is_one_array(pretty: bool, tmp_path: Path) -> None:
    """Any JSON reader gets the list of events; indented, people can read it, too."""
    path = tmp_path / "e.json"
    export_as(lambda: iter(EVENTS), path, "json", ExportOptions(pretty=pretty))
    found = json.loads(path.read_text())
    assert [each["metadata"] for each in found] == [each.metadata for each in EVENTS]
    assert [row for _, row in read_json(path)] == found
    assert ('\n    "run": "run-1",\n' in path.read_text()) is pretty


def test_an_empty_array_is_json(tmp_path: Path) -> None:
    """No events are an empty array."""
    path = export_as(lambda: iter(()), tmp_path / "e.json", "json")
    assert json.loads(path.read_text()) == []
    assert list(read_json(path)) == []


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_pretty_is_for_json(format: str, tmp_path: Path) -> None:
    """Indented JSONL would be no JSONL."""
    with pytest.raises(DefinitionError, match="pretty is for json"):
        export_as(
            lambda: iter(EVENTS), tmp_path / f"e.{format}", format, ExportOptions(pretty=True)
        )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1}\n', "1: not an array as"),
        ('[{"a": 1}]\n', "1: not an array as"),
        ('[\n{"a": 1},\n{"a"\n]\n', "3: not a JSON object"),
        ('[\n{"a": 1},\n', "2: torn: the array does not end"),
        ('[\n  {\n    "a": 1\n', "3: torn"),
        ('[\n  {\n    "a" 1\n  }\n]\n', "2: not a JSON object"),
        ('[\n{"a": 1}\n]\n[\n', "4: not an array as"),
        ("[\n3\n]\n", "3: torn"),
    ],
)
def test_bad_lines_are_named(text: str, problem: str, tmp_path: Path) -> None:
    """Torn files, and arrays of others, are told by the line."""
    path = tmp_path / "e.json"
    path.write_text(text)
    with pytest.raises(ArtifactError) as caught:
        list(read_json(path))
    assert str(caught.value).startswith(f"{path}:{problem}")
