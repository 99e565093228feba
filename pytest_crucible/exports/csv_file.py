"""CSV: one row per event; a column for every key that any event has."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_crucible._errors import ArtifactError
from pytest_crucible.events.enrichment_batch import NOTHING, Column, Same
from pytest_crucible.events.schema import KINDS
from pytest_crucible.exports.compressed import lines, writing
from pytest_crucible.exports.rows import unflatten
from pytest_crucible.exports.table import Table

# Spreadsheets run cells that start with one of these as formulas, so an apostrophe goes in front.
# Spreadsheets hide it, and `read_csv` removes it. Texts that start with an apostrophe get one, too.
_FORMULA = frozenset("=+-@\t\r'")
_NUMBERS = frozenset({int, float, bool})


def write_csv(rows: Callable[[], Iterable[Mapping[str, Any]]], path: Path) -> None:
    """Write rows to a CSV file, in two passes and flat memory.

    The first pass collects the columns of all rows.

    Args:
        rows: yields nested rows; called twice.
        path: the file; replaced completely or not at all, compressed if its ending says so.
    """
    table = Table(rows)
    with writing(path) as file:
        file.write(_by_csv([table.columns]).encode())
        for part in table.parts():
            if not part.batches:
                text = _by_csv(cells for _, cells in part.others)
            else:
                lines = [""] * part.size
                for positions, columns in part.batches:
                    batch_lines = _lines(table.columns, columns)
                    for position, line in zip(positions, batch_lines, strict=True):
                        lines[position] = line
                for position, cells in part.others:
                    lines[position] = _by_csv([cells])
                text = "".join(lines)
            file.write(text.encode())


def _by_csv(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(map(_cell, cells) for cells in rows)
    return text.getvalue()


def _lines(names: list[str], columns: Mapping[str, Column]) -> list[str]:
    """Return the lines of a batch as the `csv` module writes them, in a third of the time."""
    texts, varying = [], []
    for name in names:
        column = columns.get(name, NOTHING)
        if isinstance(column, Same):
            texts.append(_quoted(column.value).replace("%", "%%"))
        else:
            texts.append("%s")
            varying.append(_written(column))
    line = ",".join(texts) + "\r\n"
    return list(map(line.__mod__, zip(*varying, strict=True)))


def _written(values: Sequence[Any]) -> Sequence[Any]:
    """Return the texts of the cells, or values from which ``%s`` makes these texts."""
    kinds = set(map(type, values))
    if kinds <= _NUMBERS:
        return values
    if kinds == {str}:
        # The quick test first: most texts start with a letter.
        harmless = min(values) >= "A" or _FORMULA.isdisjoint({value[:1] for value in values})
        if harmless and not _is_special("".join(values)):
            return values
    return list(map(_quoted, values))


def _quoted(value: Any) -> str:
    if value is None:
        return ""
    text = str(_cell(value))
    if not _is_special(text):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _is_special(text: str) -> bool:
    return "," in text or '"' in text or "\r" in text or "\n" in text


def _cell(value: Any) -> Any:
    return "'" + value if isinstance(value, str) and value[:1] in _FORMULA else value


def read_csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield line number and nested row for every event of a CSV file that `write_csv` made.

    Raises:
        ArtifactError: the file cannot be read; names the line.
    """
    csv.field_size_limit(1 << 30)
    # Decoded line by line: a text file is decoded in blocks, so its errors do not name the line.
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
    """Return the value of a cell. CSV has no types: measurements become numbers; metadata do if the
    number has the same text.
    """
    if cell == "":
        return None
    kind = KINDS.get(column, str)
    if kind is bool:
        return cell == "True"
    if kind is not str:
        return kind(cell)
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
