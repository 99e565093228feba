"""Parquet, with the ``parquet`` extra: the columns of the CSV file, typed, in row groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_crucible._errors import ArtifactError, MissingExtraError
from pytest_crucible.artifact.files import replacing_path
from pytest_crucible.artifact.rows import BASE_COLUMNS, flat_row, unflatten

ROW_GROUP = 20_000

_BASE_KINDS = {
    "trial": "int", "attempt": "int", "sequence": "int", "time_us": "int",
    "latency_ms": "float", "cost_usd": "float", "success": "bool",
    "input_tokens": "float", "output_tokens": "float", "total_tokens": "float",
}  # fmt: skip


def _pyarrow(feature: str = "Parquet") -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(feature, "parquet") from error
    return pyarrow


def write_parquet(rows: Callable[[], Iterable[Mapping[str, Any]]], path: Path) -> None:
    """Write rows to a Parquet file, in two passes, holding one row group at a time.

    No dictionary columns in the Arrow schema: several engines fail on them.

    Args:
        rows: called twice; yields nested rows.
        path: the file; replaced as a whole or not at all.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow = _pyarrow()
    kinds = _column_kinds(rows())
    schema = _schema(pyarrow, kinds)
    with (
        replacing_path(path) as fresh,
        pyarrow.parquet.ParquetWriter(fresh, schema, compression="zstd") as writer,
    ):
        group: list[dict[str, Any]] = []
        for row in rows():
            flat = flat_row(row)
            group.append({column: _fit(flat.get(column), kind) for column, kind in kinds.items()})
            if len(group) >= ROW_GROUP:
                writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))
                group.clear()
        writer.write_table(pyarrow.Table.from_pylist(group, schema=schema))


def arrow_table(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Nested rows as a ``pyarrow.Table``, typed as in a Parquet file.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow = _pyarrow("to_arrow")
    return pyarrow.table(fitted_columns(rows), schema=_schema(pyarrow, _column_kinds(rows)))


def fitted_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Nested rows as flat columns, each of one type (or None)."""
    flat = [flat_row(row) for row in rows]
    return {
        column: [_fit(row.get(column), kind) for row in flat]
        for column, kind in _column_kinds(rows).items()
    }


def _schema(pyarrow: Any, kinds: Mapping[str, str]) -> Any:
    types = {
        "int": pyarrow.int64(),
        "float": pyarrow.float64(),
        "bool": pyarrow.bool_(),
        "text": pyarrow.string(),
    }
    return pyarrow.schema([(column, types[kind]) for column, kind in kinds.items()])


def _column_kinds(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    kinds: dict[str, str] = {}
    for row in rows:
        for column, value in flat_row(row).items():
            if value is not None and column not in BASE_COLUMNS:
                kind = _kind(value)
                known = kinds.setdefault(column, kind)
                if known != kind:
                    kinds[column] = "float" if {known, kind} == {"int", "float"} else "text"
    base = {column: _BASE_KINDS.get(column, "text") for column in BASE_COLUMNS}
    return {**base, **dict(sorted(kinds.items()))}


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -(2**63) <= value < 2**63 else "text"
    return "float" if isinstance(value, float) else "text"


def _fit(value: Any, kind: str) -> Any:
    if value is None or kind in ("int", "bool"):
        return value
    if kind == "float":
        return float(value)
    return value if isinstance(value, str) else str(value)


def read_parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Nested rows of a Parquet file, with their row numbers from 1.

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
