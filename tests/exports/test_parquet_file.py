"""Parquet: typed columns, row groups, and errors in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from pytest_crucible._errors import ArtifactError, MissingExtraError
from pytest_crucible.events.event import Event
from pytest_crucible.events.schema import EXPORTED
from pytest_crucible.exports import parquet_file
from pytest_crucible.exports.parquet_file import read_parquet, write_parquet
from pytest_crucible.exports.rows import nested_row
from tests.made_events import event, trial_scope


def write(path: Path, *events: Event) -> Path:
    write_parquet(lambda: map(nested_row, events), path)
    return path


def metadata(path: Path) -> list[dict[str, Any]]:
    return [row["metadata"] for _, row in read_parquet(path)]


def test_columns_are_typed_and_plain(tmp_path: Path) -> None:
    """Numbers, truth values and text have types of their own; none is dictionary-encoded."""
    path = write(
        tmp_path / "e.parquet",
        event(measurements={"i": 1, "f": 0.5, "mixed": 1}, metadata={"ok": True, "text": "x"}),
        event(measurements={"mixed": 0.5}, metadata={"only_here": "y"}, scope=trial_scope()),
    )
    schema = pyarrow.parquet.read_schema(path)
    types = {field.name: str(field.type) for field in schema}
    assert list(types)[: len(EXPORTED)] == list(EXPORTED)
    assert {name: types[name] for name in list(types)[len(EXPORTED) :]} == {
        "measurements.f": "double", "measurements.i": "int64", "measurements.mixed": "double",
        "metadata.ok": "bool", "metadata.only_here": "string", "metadata.text": "string",
    }  # fmt: skip
    assert (types["time_us"], types["success"], types["latency_ms"]) == ("int64", "bool", "double")


def test_columns_of_mixed_types_become_text(tmp_path: Path) -> None:
    """Where no type fits all values, every value is kept as text."""
    values: list[object] = [1, "a", True, 2**63, None]
    path = write(tmp_path / "e.parquet", *(event(metadata={"x": value}) for value in values))
    assert metadata(path) == [{"x": "1"}, {"x": "a"}, {"x": "True"}, {"x": str(2**63)}, {}]


def test_contexts_that_are_no_text_are_kept_as_text(tmp_path: Path) -> None:
    """A number as a session id, or a list as a model, breaks no column."""
    path = write(tmp_path / "e.parquet", event(metadata={"session_id": 7, "model": ["a", "b"]}))
    ((_, row),) = read_parquet(path)
    assert (row["session_id"], row["model"]) == ("7", "['a', 'b']")


@pytest.mark.parametrize("count", [1, 4, 5])
def test_row_groups_keep_the_order(
    count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events are written group by group, and none is lost at a border."""
    monkeypatch.setattr(parquet_file, "ROW_GROUP", 2)
    path = write(tmp_path / "e.parquet", *(event(metadata={"i": i}) for i in range(count)))
    assert metadata(path) == [{"i": i} for i in range(count)]
    assert [number for number, _ in read_parquet(path)] == list(range(1, count + 1))


@pytest.mark.parametrize("content", [b"PAR1", b"not parquet at all", b"PAR1" * 10])
def test_foreign_file_is_one_line(content: bytes, tmp_path: Path) -> None:
    """What is no Parquet file is told by name, in one line."""
    path = tmp_path / "foreign.parquet"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="torn or foreign after row 0") as caught:
        list(read_parquet(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_torn_page_is_an_artifact_error(tmp_path: Path) -> None:
    """A file whose footer is whole and whose data is not is told like any other."""
    events = (event(metadata={"text": f"{i * i}"}) for i in range(1000))
    path = write(tmp_path / "torn.parquet", *events)
    data = bytearray(path.read_bytes())
    data[4 : len(data) // 2] = bytes(len(data) // 2 - 4)
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"torn\.parquet: torn or foreign after row 0"):
        list(read_parquet(path))


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has not installed pyarrow is told how, for writing and for reading."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'pytest-crucible\[parquet\]'"):
        write(tmp_path / "e.parquet", event())
    with pytest.raises(MissingExtraError, match=r"pip install 'pytest-crucible\[parquet\]'"):
        list(read_parquet(tmp_path / "e.parquet"))
    assert list(tmp_path.iterdir()) == []


def test_integers_beyond_every_float_become_text(tmp_path: Path) -> None:
    """Beside a float they fit no column of numbers; in `arrow_table` neither."""
    events = [event(metadata={"x": 0.5}), event(metadata={"x": 10**400})]
    found = [{"x": "0.5"}, {"x": str(10**400)}]
    assert metadata(write(tmp_path / "e.parquet", *events)) == found
    table = parquet_file.arrow_table(list(map(nested_row, events)))
    assert table["metadata.x"].to_pylist() == ["0.5", str(10**400)]
