"""Tables: nested rows as flat rows of cells.

Nearly all rows of a run have one of a few shapes (the same keys, the same types), so the names of
columns are worked out once per shape, and rows only give their values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter
from typing import Any

from pytest_crucible.events.enrichment_batch import Column, by_key
from pytest_crucible.events.schema import EXPORTED
from pytest_crucible.exports.batches import Batch, batches_of
from pytest_crucible.exports.rows import NESTED, Mark, Rows, nested_rows, to_json
from pytest_crucible.record.chunks import CHUNK, Chunk

Shape = tuple[tuple[str, ...], tuple[Any, ...]]
"""The keys of a mapping, as texts; and for every key the type of its value, or its shape if it is a
mapping."""

_SCALARS = frozenset({str, int, float, bool, type(None)})
_EMPTY: Mapping[str, Any] = {}
_MAX_SHAPES = 4096
_plain: dict[tuple[type, ...], bool] = {}


def _spread(mapping: Mapping[Any, Any], values: list[Any]) -> Shape:
    """Return the shape of a mapping; add its leaves to ``values``, lists and the like as JSON."""
    items = mapping.values()
    kinds = tuple(map(type, items))
    plain = _plain.get(kinds)
    if plain is None:
        if len(_plain) >= _MAX_SHAPES:
            _plain.clear()
        plain = _plain[kinds] = _SCALARS.issuperset(kinds)
    if plain:
        values += items
        return _keys(mapping), kinds
    parts: list[Any] = []
    for item in items:
        if isinstance(item, Mapping):
            parts.append(_spread(item, values))
        elif isinstance(item, (str, int, float, bool)) or item is None:
            parts.append(type(item))
            values.append(item)
        else:
            parts.append(str)
            values.append(to_json(item).decode())
    return _keys(mapping), tuple(parts)


def _keys(mapping: Mapping[Any, Any]) -> tuple[str, ...]:
    keys = tuple(mapping)
    # True, 1 and 1.0 are one key to Python, but not the same column.
    return keys if {str}.issuperset(map(type, keys)) else tuple(map(str, keys))


def _leaves(prefix: str, shape: Shape) -> Iterator[tuple[str, type]]:
    """Yield the columns of a shape and their types, in the order of `_spread`."""
    for key, part in zip(*shape, strict=True):
        if isinstance(part, tuple):
            yield from _leaves(f"{prefix}.{key}", part)
        else:
            yield f"{prefix}.{key}", part


def _columns(keys: Iterable[str], shapes: Iterable[Shape]) -> dict[str, type]:
    """Return the flat columns of a row; with types for those that were nested, ``object`` else."""
    columns: dict[str, type] = dict.fromkeys(keys, object)
    for prefix, shape in zip(NESTED, shapes, strict=True):
        for column, kind in _leaves(prefix, shape):
            while column in columns:  # {"a.b": 1, "a": {"b": 2}}: both are kept
                column += "'"
            columns[column] = kind
    return columns


def flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a nested row with the columns ``measurements.…`` and ``metadata.…`` instead."""
    fixed = {key: value for key, value in row.items() if key not in NESTED}
    values = list(fixed.values())
    shapes = [_spread(row.get(prefix, _EMPTY), values) for prefix in NESTED]
    return dict(zip(_columns(fixed, shapes), values, strict=True))


def _flat_batches(
    chunk: Chunk, mark: Mark | None
) -> tuple[list[tuple[Batch, dict[str, list[Any]]]], list[int]]:
    """Return the batches of a chunk with their flat columns, and the positions of other events."""
    batches, others = batches_of(chunk, mark)
    flat = []
    for batch in batches:
        columns = _flat_columns(batch)
        if columns is None:
            others += batch.rows
        else:
            flat.append((batch, columns))
    return flat, sorted(others)


def _flat_columns(batch: Batch) -> dict[str, list[Any]] | None:
    """Return the flat columns of measurements and metadata; None if they differ between rows."""
    flat: dict[str, list[Any]] = {}
    alike = _spread_columns(NESTED[0], batch.events.numbers, flat)
    return flat if alike and _spread_columns(NESTED[1], batch.events.context, flat) else None


def _spread_columns(
    prefix: str, columns: Mapping[str, list[Any]], flat: dict[str, list[Any]]
) -> bool:
    """Add flat columns to ``flat``; return whether all rows have the same ones."""
    for key, values in columns.items():
        column = f"{prefix}.{key}"
        if not _SCALARS.issuperset(map(type, values)):
            if any(isinstance(value, Mapping) for value in values):
                inner = (
                    by_key(values) if all(isinstance(value, Mapping) for value in values) else None
                )
                if inner is None or not _spread_columns(column, inner, flat):
                    return False
                continue
            values = [_leaf(value) for value in values]
        if column in flat:  # see `_columns`
            return False
        flat[column] = values
    return True


def _leaf(value: Any) -> Any:
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    return to_json(value).decode()


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a table.

    Attributes:
        size: number of rows.
        batches: for every batch the positions of its rows in the part, and its columns by name.
        others: positions of the other rows, and their cells, one per column of the table.
    """

    size: int
    batches: Sequence[tuple[Sequence[int], Mapping[str, Column]]]
    others: list[tuple[int, tuple[Any, ...]]]


class Table:
    """Rows as a table, whose columns are those of all rows.

    Args:
        rows: yields nested rows; called here to find the columns, and again for the cells.

    Attributes:
        columns: those of `EXPORTED` first, then the others by name.
        kinds: the types of the values in every column that is not in `EXPORTED`, without None.
    """

    def __init__(self, rows: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        self._rows = rows
        self.kinds: dict[str, set[type]] = {}
        self._fixed: dict[str, None] = {}
        self._outlined: set[Any] = set()
        self._pickers: dict[Any, Callable[[list[Any]], tuple[Any, ...]]] = {}
        if isinstance(rows, Rows) and rows.plain:
            self._find_columns(rows)
        else:
            for row in rows():
                self._outline(row)
        fixed = self._fixed
        empty = not (fixed or self.kinds)  # a table without rows has all columns of `EXPORTED`
        base = [column for column in EXPORTED if column in fixed or empty]
        self.columns = [*base, *sorted(self.kinds)]
        for kinds in self.kinds.values():
            kinds.discard(type(None))

    def _find_columns(self, rows: Rows) -> None:
        for chunk in rows.chunks():
            batches, others = _flat_batches(chunk, rows.mark)
            for batch, columns in batches:
                for column, values in (*batch.category().items(), *columns.items()):
                    self.kinds.setdefault(column, set()).update(map(type, values))
            if batches:
                self._fixed.update(dict.fromkeys(EXPORTED))
            for row in nested_rows(chunk.rows(others).events(), mark=rows.mark):
                self._outline(row)

    def _outline(self, row: Mapping[str, Any]) -> None:
        """Add the columns of a row, and the types of its values."""
        values: list[Any] = []
        keys = tuple(key for key in row if key not in NESTED)
        extra = {key: row[key] for key in keys if key not in EXPORTED}
        kinds = tuple(map(type, extra.values()))
        shapes = [_spread(row.get(prefix, _EMPTY), values) for prefix in NESTED]
        shape = (keys, kinds, *shapes)
        if shape in self._outlined:
            return
        if len(self._outlined) >= _MAX_SHAPES:
            self._outlined.clear()
        self._outlined.add(shape)
        self._fixed |= dict.fromkeys(keys)
        types = _columns(keys, shapes)
        types.update(zip(extra, kinds, strict=True))
        for column, kind in types.items():
            if column not in EXPORTED:
                self.kinds.setdefault(column, set()).add(kind)

    def parts(self) -> Iterator[Part]:
        """Yield all rows, in parts of a few hundred."""
        rows = self._rows
        if not (isinstance(rows, Rows) and rows.plain):
            rest = iter(self)
            while cells := list(islice(rest, CHUNK)):
                yield Part(len(cells), [], list(enumerate(cells)))
            return
        for chunk in rows.chunks():
            flat, others = _flat_batches(chunk, rows.mark)
            batches = [(batch.rows, {**batch.columns(), **columns}) for batch, columns in flat]
            single = map(self._cells, nested_rows(chunk.rows(others).events(), mark=rows.mark))
            yield Part(len(chunk), batches, list(zip(others, single, strict=True)))

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """Yield the cells of every row, one per column; None if the row lacks the column."""
        return map(self._cells, self._rows())

    def _cells(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        values = list(row.values())
        shapes = [_spread(row.get(prefix, _EMPTY), values) for prefix in NESTED]
        values.append(None)
        shape = (tuple(row), *shapes)
        picker = self._pickers.get(shape)
        if picker is None:
            if len(self._pickers) >= _MAX_SHAPES:
                self._pickers.clear()
            picker = self._pickers[shape] = self._picker(tuple(row), shapes)
        return picker(values)

    def _picker(
        self, keys: tuple[str, ...], shapes: Iterable[Shape]
    ) -> Callable[[list[Any]], tuple[Any, ...]]:
        """Return a function from the values of such a row, and None after them, to its cells."""
        fixed = [key for key in keys if key not in NESTED]
        positions = {key: position for position, key in enumerate(keys)}
        nested = list(_columns(fixed, shapes))[len(fixed) :]
        positions.update(zip(nested, range(len(keys), len(keys) + len(nested)), strict=True))
        absent = len(keys) + len(nested)
        wanted = [positions.get(column, absent) for column in self.columns]
        if len(wanted) == 1:  # `itemgetter` of one index returns no tuple
            return lambda values: (values[wanted[0]],)
        return itemgetter(*wanted)
