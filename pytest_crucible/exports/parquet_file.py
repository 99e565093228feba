"""Parquet, with the extra ``parquet``: the columns of CSV with types, in row groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_crucible._errors import ArtifactError, MissingExtraError
from pytest_crucible._files import replacing_path
from pytest_crucible.events.enrichment_batch import NOTHING, Column, Same
from pytest_crucible.events.schema import KINDS
from pytest_crucible.exports.rows import unflatten
from pytest_crucible.exports.table import Part, Table

ROW_GROUP = 20_000
BATCH = 1_000
_LEAST, _MOST = -(2**63), 2**63 - 1
_KINDS = {int: "int", float: "float", bool: "bool", str: "text"}


def _pyarrow(feature: str = "Parquet") -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(feature, "parquet") from error
    return pyarrow


def write_parquet(rows: Callable[[], Iterable[Mapping[str, Any]]], path: Path) -> None:
    """Write rows to a Parquet file in two passes, with one row group in memory at a time.

    The Arrow schema has no dictionary columns, because several engines fail on them.

    Args:
        rows: yields nested rows; called twice, and again after every column of integers that turns
            out too large for 64 bits.
        path: the file; replaced completely or not at all.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow = _pyarrow()
    table = Table(rows)
    kinds = _column_kinds(table)
    while True:
        try:
            _write(pyarrow, table, kinds, path)
            return
        except _TooLargeError as error:  # rare, so it is cheaper to try than to check first
            kinds[error.column] = "text"


class _TooLargeError(Exception):
    """A column has an integer that does not fit into 64 bits."""

    def __init__(self, column: str) -> None:
        self.column = column


def _write(pyarrow: Any, table: Table, kinds: Mapping[str, str], path: Path) -> None:
    schema = _schema(pyarrow, kinds)
    with (
        replacing_path(path) as fresh,
        pyarrow.parquet.ParquetWriter(fresh, schema, compression="zstd") as writer,
    ):
        tables: list[Any] = []
        for size, columns in _gathered(table):
            # Converted early: columns of Arrow take a tenth of the memory of Python's objects.
            tables.append(_arrow(pyarrow, size, columns, kinds, schema))
            if sum(map(len, tables)) >= ROW_GROUP:
                joined = pyarrow.concat_tables(tables)
                while len(joined) >= ROW_GROUP:
                    writer.write_table(joined.slice(0, ROW_GROUP))
                    joined = joined.slice(ROW_GROUP)
                tables = [joined]
        if sum(map(len, tables)):
            writer.write_table(pyarrow.concat_tables(tables))


def _gathered(table: Table) -> Iterator[tuple[int, list[Column]]]:
    """Yield the number and the columns of at least `BATCH` rows at a time (fewer at the end)."""
    parts: list[list[Column]] = []
    sizes: list[int] = []
    for part in table.parts():
        parts.append(_in_order(part, table.columns))
        sizes.append(part.size)
        if sum(sizes) >= BATCH:
            yield sum(sizes), [_joined(sizes, columns) for columns in zip(*parts, strict=True)]
            parts, sizes = [], []
    if sizes:
        yield sum(sizes), [_joined(sizes, columns) for columns in zip(*parts, strict=True)]


def _in_order(part: Part, names: Sequence[str]) -> list[Column]:
    """Return the columns of a part: its batches and other rows joined, in the order of rows."""
    sizes = [len(rows) for rows, _ in part.batches]
    rows = [row for rows, _ in part.batches for row in rows] + [row for row, _ in part.others]
    order = sorted(range(part.size), key=rows.__getitem__)
    single = list(zip(*(cells for _, cells in part.others), strict=True))
    if single:
        sizes.append(len(part.others))
    joined: list[Column] = []
    for position, name in enumerate(names):
        pieces = [columns.get(name, NOTHING) for _, columns in part.batches]
        if single:
            pieces.append(single[position])
        column = _joined(sizes, pieces)
        if not isinstance(column, Same) and len(pieces) > 1:
            column = [column[index] for index in order]
        joined.append(column)
    return joined


def _joined(sizes: Sequence[int], pieces: Sequence[Column]) -> Column:
    """Return pieces of a column, which have these sizes, as one column."""
    first = pieces[0]
    if len(pieces) == 1:
        return first
    if isinstance(first, Same) and all(
        isinstance(piece, Same) and piece.value is first.value for piece in pieces
    ):
        return first
    values: list[Any] = []
    for size, piece in zip(sizes, pieces, strict=True):
        values += [piece.value] * size if isinstance(piece, Same) else piece
    return values


def arrow_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return nested rows as a ``pyarrow.Table`` with the types of a Parquet file.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow = _pyarrow("to_arrow")
    table = Table(lambda: rows)
    columns = _fitted(table)
    kinds = {column: kind for column, (kind, _) in columns.items()}
    return pyarrow.table({c: v for c, (_, v) in columns.items()}, schema=_schema(pyarrow, kinds))


def fitted_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return nested rows as flat columns; the values of a column have one type, or are None."""
    return {column: values for column, (_, values) in _fitted(Table(lambda: rows)).items()}


def _fitted(table: Table) -> dict[str, tuple[str, list[Any]]]:
    """Return the columns of a table with their kinds; values are converted to the kind."""
    kinds = _column_kinds(table)
    cells = list(table)
    columns: Iterable[Iterable[Any]] = zip(*cells, strict=True) if cells else ((),) * len(kinds)
    fitted = {}
    for (column, kind), given in zip(kinds.items(), columns, strict=True):
        values = list(given)
        if kind == "int" and not all(v is None or _LEAST <= v <= _MOST for v in values):
            kind = "text"
        try:
            fitted[column] = kind, [_fit(value, kind) for value in values]
        except OverflowError:  # an int too large for a float
            fitted[column] = "text", [_fit(value, "text") for value in values]
    return fitted


def _schema(pyarrow: Any, kinds: Mapping[str, str]) -> Any:
    types = {
        "int": pyarrow.int64(),
        "float": pyarrow.float64(),
        "bool": pyarrow.bool_(),
        "text": pyarrow.string(),
    }
    return pyarrow.schema([(column, types[kind]) for column, kind in kinds.items()])


def _arrow(
    pyarrow: Any, size: int, columns: Iterable[Column], kinds: Mapping[str, str], schema: Any
) -> Any:
    arrays = [
        _array(pyarrow, column, size, name, kind, field.type)
        for (name, kind), column, field in zip(kinds.items(), columns, schema, strict=True)
    ]
    return pyarrow.Table.from_arrays(arrays, schema=schema)


def _array(pyarrow: Any, column: Column, size: int, name: str, kind: str, type: Any) -> Any:
    if isinstance(column, Same):
        if column.value is None:
            return pyarrow.nulls(size, type)
        return pyarrow.repeat(_array(pyarrow, [column.value], 1, name, kind, type)[0], size)
    try:
        return pyarrow.array(column, type)
    except (pyarrow.ArrowException, OverflowError):
        if kind == "int":
            raise _TooLargeError(name) from None
        try:
            return pyarrow.array([_fit(value, kind) for value in column], type)
        except OverflowError:
            raise _TooLargeError(name) from None


def _column_kinds(table: Table) -> dict[str, str]:
    return {
        column: _kind(table.kinds[column])
        if column in table.kinds
        else _KINDS[KINDS.get(column, str)]
        for column in table.columns
    }


def _kind(types: set[type]) -> str:
    """Return the narrowest kind that can hold values of all these types."""
    for kind, fitting in (("bool", (bool,)), ("int", (int,)), ("float", (int, float))):
        if types and all(
            issubclass(type_, fitting) and (kind == "bool" or type_ is not bool) for type_ in types
        ):
            return kind
    return "text"


def _fit(value: Any, kind: str) -> Any:
    if value is None or kind in ("int", "bool"):
        return value
    if kind == "float":
        return float(value)
    return value if isinstance(value, str) else str(value)


def read_parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield row number (from 1) and nested row for every event of a Parquet file.

    Raises:
        ArtifactError: the file cannot be read.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow = _pyarrow()
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=ROW_GROUP):
                for flat in batch.to_pylist():
                    number += 1
                    yield number, unflatten(flat)
    except (pyarrow.ArrowException, OSError) as error:  # a torn page is an OSError
        problem = " ".join(str(error).split())
        raise ArtifactError(f"{path}: torn or foreign after row {number}: {problem}") from error
