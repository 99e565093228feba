"""Flat rows: nested rows as columns, worked out once per shape.

Nearly all rows of a run have one of a few shapes (the same keys, the same types), so the names of
columns are put together once per shape, and rows are only taken apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any

from pytest_crucible.artifact.rows import BASE_COLUMNS, NESTED, Rows, outline, to_json

Shape = tuple[tuple[Any, ...], tuple[Any, ...]]
"""The keys of a mapping; and for each either the shape of the mapping below it, or a type."""

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
        return tuple(mapping), kinds
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
    return tuple(mapping), tuple(parts)


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
        self._complete = isinstance(rows, Rows) and rows.complete
        self.kinds: dict[str, set[type]] = {}
        known: set[Any] = set()
        fixed: dict[str, None] = {}
        outlines = rows.outlines() if isinstance(rows, Rows) else map(outline, rows())
        for keys, extra, measurements, metadata in outlines:
            values: list[Any] = []
            shapes = _spread(measurements, values), _spread(metadata, values)
            usual = keys is BASE_COLUMNS  # not to be hashed for every row
            kinds = () if usual else tuple(map(type, extra.values()))
            shape = shapes if usual else (keys, kinds, shapes)
            if shape not in known:
                if len(known) >= _MAX_SHAPES:
                    known.clear()
                known.add(shape)
                fixed |= dict.fromkeys(keys)
                types = _columns(keys, shapes)
                types.update(zip(extra, kinds, strict=True))
                for column, kind in types.items():
                    if column not in BASE_COLUMNS:
                        self.kinds.setdefault(column, set()).add(kind)
        base = [column for column in BASE_COLUMNS if column in fixed or not fixed]
        self.columns = [*base, *sorted(self.kinds)]
        for kinds_of in self.kinds.values():
            kinds_of.discard(type(None))

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """One tuple of cells per row; None where a row does not have the column."""
        pickers: dict[Any, Callable[[list[Any]], tuple[Any, ...]]] = {}
        # Our own rows of this length have the keys that every row has.
        usual = len(BASE_COLUMNS) + len(NESTED) if self._complete else -1
        for row in self._rows():
            values = list(row.values())
            shapes = (
                _spread(row.get("measurements", _EMPTY), values),
                _spread(row.get("metadata", _EMPTY), values),
            )
            values.append(None)
            shape = (None if len(row) == usual else tuple(row), *shapes)
            picker = pickers.get(shape)
            if picker is None:
                if len(pickers) >= _MAX_SHAPES:
                    pickers.clear()
                picker = pickers[shape] = self._picker(tuple(row), shapes)
            yield picker(values)

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
