"""CSV: columns of all events, cells that no spreadsheet runs, and errors that name the line."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible._errors import ArtifactError
from pytest_crucible.events.event import Event
from pytest_crucible.events.schema import EXPORTED
from pytest_crucible.exports.csv_file import read_csv, write_csv
from pytest_crucible.exports.rows import nested_row
from pytest_crucible.exports.table import Table
from tests.made_events import MS, event

dangerous = st.tuples(st.sampled_from("=+-@\t\r'"), st.text()).map("".join)


def write(path: Path, *events: Event) -> Path:
    write_csv(lambda: map(nested_row, events), path)
    return path


def cells(path: Path) -> list[dict[str, str]]:
    """What a spreadsheet would show."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_columns_are_the_union_over_all_events(tmp_path: Path) -> None:
    """What only the last event has is a column too, and absent cells are empty."""
    path = write(
        tmp_path / "e.csv",
        event(measurements={"duration": 5 * MS}),
        event(metadata={"tokens": {"prompt": 3}}),
        event(measurements={"duration": 6 * MS}, metadata={"last": "x"}),
    )
    first, second, third = cells(path)
    assert list(first) == [
        *EXPORTED, "measurements.duration", "metadata.last", "metadata.tokens.prompt",
    ]  # fmt: skip
    assert (first["measurements.duration"], first["metadata.last"]) == ("5000000", "")
    assert second["metadata.tokens.prompt"] == "3"
    assert third["metadata.last"] == "x"


def test_fixed_columns_come_first_and_others_by_name() -> None:
    """The order of columns depends on no event."""
    rows = [nested_row(event(metadata={"b": 1})), nested_row(event(metadata={"a": 1}))]
    expected = [*EXPORTED, "metadata.a", "metadata.b"]
    assert Table(lambda: rows).columns == Table(lambda: rows[::-1]).columns == expected


def test_keys_that_python_takes_for_one_have_columns_of_their_own(tmp_path: Path) -> None:
    """``True``, ``1`` and ``1.0`` are equal, and stay apart all the same."""
    keys = (1, True, 1.0)
    path = write(tmp_path / "e.csv", *(event(metadata={"a": {key: 7}}) for key in keys))
    columns = [f"metadata.a.{key}" for key in keys]
    assert [[column for column in columns if row[column]] for row in cells(path)] == [
        [column] for column in columns
    ]


@given(dangerous, dangerous)
def test_formula_cells_are_neutralised_and_read_back(key: str, text: str) -> None:
    """No cell starts with what a spreadsheet would run, and reading takes the apostrophe off."""
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "e.csv", event(text, metadata={key.replace(".", ""): text}))
        (row,) = cells(path)
        ((_, read),) = read_csv(path)
    assert not any((key + text).startswith(tuple("=+-@\t\r")) for key, text in row.items() if key)
    assert not any(text.startswith(tuple("=+-@\t\r")) for text in row.values())
    assert (read["event"], read["metadata"]) == (text, {key.replace(".", ""): text})


def test_negative_numbers_stay_numbers(tmp_path: Path) -> None:
    """Only text is neutralised."""
    path = write(tmp_path / "e.csv", event(measurements={"change": -1.5}, metadata={"n": -2}))
    assert cells(path)[0]["measurements.change"] == "-1.5"
    ((_, row),) = read_csv(path)
    assert (row["measurements"], row["metadata"]) == ({"change": -1.5}, {"n": -2})


def test_numbers_and_booleans_are_read_as_such(tmp_path: Path) -> None:
    """Whole numbers, fractions, truth values and names that look like numbers are told apart."""
    metadata = {"i": 3, "f": 0.5, "t": True, "n": False, "zip": "007", "big": "1_000", "e": "1e5"}
    ((_, row),) = read_csv(write(tmp_path / "e.csv", event(metadata=metadata)))
    assert row["metadata"] == metadata
    assert [type(value) for value in row["metadata"].values()] == [
        type(metadata[key]) for key in row["metadata"]
    ]


def test_measured_text_is_read_as_text(tmp_path: Path) -> None:
    """A measurement that is no number is kept as it was."""
    ((_, row),) = read_csv(write(tmp_path / "e.csv", event(measurements={"m": "fast", "n": "=x"})))
    assert row["measurements"] == {"m": "fast", "n": "=x"}


def test_enriched_numbers_are_read_as_numbers(tmp_path: Path) -> None:
    """Latency and cost are numbers in every spelling that Python writes."""
    measurements = {"duration": 5 * MS, "cost": 1e-7}
    ((_, row),) = read_csv(write(tmp_path / "e.csv", event(measurements=measurements)))
    assert (row["latency_ms"], row["cost_usd"], row["time_us"]) == (5.0, 1e-7, event().time_us)


def test_lines_are_told_where_cells_span_several(tmp_path: Path) -> None:
    """A line number is that of the file, as an editor shows it."""
    path = write(tmp_path / "e.csv", event(metadata={"a": "x\ny\r\nz"}), event())
    assert [line for line, _ in read_csv(path)] == [4, 5]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"run,trial\r\nr,1\r\nr\r\n", "3: 1 cells, the header has 2"),
        (b"run,trial\nr,1,2\n", "2: 3 cells, the header has 2"),
        (b"run,trial\r\nr,first\r\n", "2: invalid literal"),
        (b"run,cost_usd\r\nr,1\r\nr,cheap\r\n", "3: could not convert"),
        (b'run,trial\r\nr,1\r\n"torn', "3: unexpected end of data"),
        (b"run,trial\r\nr,1\r\nr,\xff\r\n", "3: not UTF-8 text"),
        (b"\xff\xfe\x00\x01", "1: not UTF-8 text"),
    ],
)
def test_bad_line_is_named(text: bytes, problem: str, tmp_path: Path) -> None:
    """Torn, foreign and binary files are told by file and line."""
    path = tmp_path / "bad.csv"
    path.write_bytes(text)
    with pytest.raises(ArtifactError) as caught:
        list(read_csv(path))
    assert str(caught.value).startswith(f"{path}:{problem}")
    assert "\n" not in str(caught.value)


def test_lines_before_a_bad_one_are_read(tmp_path: Path) -> None:
    """Reading streams: what comes first is delivered before the error."""
    path = tmp_path / "torn.csv"
    path.write_bytes(b"run,trial\r\nr,1\r\nr,2\r\nr")
    found: list[dict[str, Any]] = []
    with pytest.raises(ArtifactError, match=":4:"):
        found.extend(row for _, row in read_csv(path))
    assert [line for line, _ in zip((2, 3), read_csv(path), strict=False)] == [2, 3]


def test_cells_may_be_as_long_as_answers_are(tmp_path: Path) -> None:
    """Python's limit of 131,072 characters for a cell does not apply."""
    ((_, row),) = read_csv(write(tmp_path / "e.csv", event(metadata={"text": "x" * 200_000})))
    assert len(row["metadata"]["text"]) == 200_000
