"""Flat rows: nested rows as columns, worked out once per shape.

Nearly all rows of a run have one of a few shapes (the same keys, the same types), so the names of
columns are put together once per shape, and rows are only taken apart.
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
"""The keys of a mapping, as texts; for each either the shape of the mapping below it, or a type."""

_SCALARS = frozenset({str, int, float, bool, type(None)})
_EMPTY: Mapping[str, Any] = {}
_MAX_SHAPES = 4096
_plain: dict[tuple[type, ...], bool] = {}


def _spread(mapping: Mapping[Any, Any], values: list[Any]) -> Shape:
    """The shape of a mapping; its leaves are added to ``values``, lists and the like as JSON."""
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
    """The columns of a shape and their types, in the order of `_spread`."""
    for key, part in zip(*shape, strict=True):
        if isinstance(part, tuple):
            yield from _leaves(f"{prefix}.{key}", part)
        else:
            yield f"{prefix}.{key}", part


def _columns(keys: Iterable[str], shapes: Iterable[Shape]) -> dict[str, type]:
    """The flat columns of a row, with the types of those that were nested."""
    found: dict[str, type] = dict.fromkeys(keys, object)
    for prefix, shape in zip(NESTED, shapes, strict=True):
        for column, kind in _leaves(prefix, shape):
            while column in found:  # {"a.b": 1, "a": {"b": 2}}: both are kept
                column += "'"
            found[column] = kind
    return found


def flat_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """A nested row with ``measurements.…`` and ``metadata.…`` as columns of their own."""
    fixed = {key: value for key, value in row.items() if key not in NESTED}
    values = list(fixed.values())
    shapes = [_spread(row.get(prefix, _EMPTY), values) for prefix in NESTED]
    return dict(zip(_columns(fixed, shapes), values, strict=True))


def _flat_batches(
    chunk: Chunk, mark: Mark | None
) -> tuple[list[tuple[Batch, dict[str, list[Any]]]], list[int]]:
    """The batches of a chunk with what is nested in them, and the places of the other events."""
    batches, others = batches_of(chunk, mark)
    found = []
    for batch in batches:
        columns = _flat_columns(batch)
        if columns is None:
            others += batch.rows
        else:
            found.append((batch, columns))
    return found, sorted(others)


def _flat_columns(batch: Batch) -> dict[str, list[Any]] | None:
    """The columns of what is nested in a batch; None if its rows do not all have the same ones."""
    found: dict[str, list[Any]] = {}
    alike = _spread_columns(NESTED[0], batch.events.numbers, found)
    return found if alike and _spread_columns(NESTED[1], batch.events.context, found) else None


def _spread_columns(
    prefix: str, columns: Mapping[str, list[Any]], found: dict[str, list[Any]]
) -> bool:
    for key, values in columns.items():
        column = f"{prefix}.{key}"
        if not _SCALARS.issuperset(map(type, values)):
            if any(isinstance(value, Mapping) for value in values):
                inner = (
                    by_key(values) if all(isinstance(each, Mapping) for each in values) else None
                )
                if inner is None or not _spread_columns(column, inner, found):
                    return False
                continue
            values = [_leaf(value) for value in values]
        if column in found:  # see `_columns`
            return False
        found[column] = values
    return True


def _leaf(value: Any) -> Any:
    if isinstance(value, (str, int, float, bool)) or value is None:
        return value
    return to_json(value).decode()


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a table.

    Attributes:
        size: how many.
        batches: places of rows, and what these have in the columns that any of them has.
        others: places of the other rows, and their cells, one per column of the table.
    """

    size: int
    batches: Sequence[tuple[Sequence[int], Mapping[str, Column]]]
    others: list[tuple[int, tuple[Any, ...]]]


class Table:
    """Rows as cells of the columns that any of them has.

    Args:
        rows: called twice: to find the columns, and for the cells.

    Attributes:
        columns: the fixed ones first, the others by name.
        kinds: the types that occur in each column that is not a fixed one.
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
        empty = not (fixed or self.kinds)  # no rows: the columns that they would have
        base = [column for column in EXPORTED if column in fixed or empty]
        self.columns = [*base, *sorted(self.kinds)]
        for kinds in self.kinds.values():
            kinds.discard(type(None))

    def _find_columns(self, rows: Rows) -> None:
        for chunk in rows.chunks():
            found, others = _flat_batches(chunk, rows.mark)
            for batch, columns in found:
                for column, values in (*batch.category().items(), *columns.items()):
                    self.kinds.setdefault(column, set()).update(map(type, values))
            if found:
                self._fixed.update(dict.fromkeys(EXPORTED))
            for row in nested_rows(chunk.rows(others).events(), mark=rows.mark):
                self._outline(row)

    def _outline(self, row: Mapping[str, Any]) -> None:
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
        """All rows, in parts of a few hundred."""
        rows = self._rows
        if not (isinstance(rows, Rows) and rows.plain):
            rest = iter(self)
            while some := list(islice(rest, CHUNK)):
                yield Part(len(some), [], list(enumerate(some)))
            return
        for chunk in rows.chunks():
            found, others = _flat_batches(chunk, rows.mark)
            parts = [(batch.rows, {**batch.columns(), **columns}) for batch, columns in found]
            single = map(self._cells, nested_rows(chunk.rows(others).events(), mark=rows.mark))
            yield Part(len(chunk), parts, list(zip(others, single, strict=True)))

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """One tuple of cells per row; None where a row does not have the column."""
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
        fixed = [key for key in keys if key not in NESTED]
        places = {key: place for place, key in enumerate(keys)}
        nested = list(_columns(fixed, shapes))[len(fixed) :]
        places.update(zip(nested, range(len(keys), len(keys) + len(nested)), strict=True))
        absent = len(keys) + len(nested)
        wanted = [places.get(column, absent) for column in self.columns]
        if len(wanted) == 1:  # for which `itemgetter` would give no tuple
            return lambda values: (values[wanted[0]],)
        return itemgetter(*wanted)
