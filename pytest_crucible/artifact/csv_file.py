"""CSV: one row per event, one column for everything that any event has."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pytest_crucible._errors import ArtifactError
from pytest_crucible.artifact.compressed import lines, writing
from pytest_crucible.artifact.flat import Table
from pytest_crucible.artifact.rows import WEIGHT, unflatten

# A spreadsheet runs cells that start with one of these. Neutralised by an apostrophe, which
# spreadsheets hide and `read_csv` takes off again; as it does one that was there before.
_FORMULA = frozenset("=+-@\t\r'")
_BATCH = 128
_INTEGERS = frozenset({"time_us", "sequence", "trial", "attempt"})
_FLOATS = frozenset({"latency_ms", "cost_usd", "input_tokens", "output_tokens", "total_tokens"})


def write_csv(rows: Callable[[], Iterable[Mapping[str, Any]]], path: Path) -> None:
    """Write rows to a CSV file, in two passes and flat memory.

    The first pass gathers the columns: the union over all rows, not those of the first row.

    Args:
        rows: called twice; yields nested rows.
        path: the file; replaced as a whole or not at all, compressed as its ending says.
    """
    table = Table(rows)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(map(_cell, table.columns))
    batch: list[list[Any]] = []
    with writing(path) as file:
        for cells in table:
            batch.append(
                [
                    # Most texts start with a letter: that is asked first, being quicker.
                    f"'{cell}"
                    if isinstance(cell, str) and cell < "A" and cell[:1] in _FORMULA
                    else cell
                    for cell in cells
                ]
            )
            if len(batch) >= _BATCH:
                writer.writerows(batch)
                batch.clear()
                file.write(text.getvalue().encode())
                text.seek(0)
                text.truncate()
        writer.writerows(batch)
        file.write(text.getvalue().encode())


def _cell(value: Any) -> Any:
    return "'" + value if isinstance(value, str) and value[:1] in _FORMULA else value


def read_csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Nested rows of a CSV file that `write_csv` made, with their line numbers.

    Raises:
        ArtifactError: names the line.
    """
    csv.field_size_limit(1 << 30)
    # Decoded line by line: a text file is decoded in blocks, which hides where a bad byte is.
    reader = csv.reader((line.decode() for line in lines(path)), strict=True)
    try:
        columns = [_text(column) for column in next(reader, ())]
        for cells in reader:
            yield reader.line_num, unflatten(_flat(columns, cells))
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{path}:{reader.line_num + 1}: not UTF-8 text") from error
    except ArtifactError:
        raise
    except (csv.Error, ValueError) as error:
        raise ArtifactError(f"{path}:{reader.line_num}: {error}") from error


def _flat(columns: list[str], cells: list[str]) -> dict[str, Any]:
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} cells, the header has {len(columns)}")
    return {column: _value(column, cell) for column, cell in zip(columns, cells, strict=True)}


def _text(cell: str) -> str:
    return cell[1:] if cell.startswith("'") else cell


def _value(column: str, cell: str) -> Any:
    """CSV has no types: measurements are numbers, metadata are numbers where nothing is lost."""
    if cell == "":
        return None
    if column in _INTEGERS:
        return int(cell)
    if column in _FLOATS or column == WEIGHT:
        return float(cell)
    if column == "success":
        return cell == "True"
    if column.startswith(("measurements.", "metadata.")):
        if cell in ("True", "False"):
            return cell == "True"
        for kind in (int, float):
            try:
                value = kind(cell)
            except ValueError:
                continue
            # "007" and "1_000" are names, not numbers.
            return value if str(value) == cell or column.startswith("measurements.") else cell
    return _text(cell)
