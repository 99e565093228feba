"""Column selection: keep only the wanted columns of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pytest_crucible._errors import DefinitionError
from pytest_crucible.capture.bus import matcher
from pytest_crucible.events.schema import EXPORTED
from pytest_crucible.exports.rows import NESTED


class Selection:
    """Chooses columns of nested rows.

    Args:
        wanted: names of columns, or patterns in which ``*`` stands for any characters. ``metadata``
            means all columns of metadata.
    """

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted = {name: f"{name}.*" if name in NESTED else name for name in wanted}
        self._matches = [matcher(pattern).match for pattern in self._wanted.values()]
        # Every column seen so far, and whether it is wanted.
        self._seen: dict[str, bool] = {column: self._matches_any(column) for column in EXPORTED}

    def _matches_any(self, column: str) -> bool:
        return any(match(column) for match in self._matches)

    def _has(self, column: str) -> bool:
        wanted = self._seen.get(column)
        if wanted is None:
            wanted = self._seen[column] = self._matches_any(column)
        return wanted

    def of(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the rows with the wanted columns only.

        Raises:
            DefinitionError: after the last row, if no row has a wanted column.
        """
        empty = True
        for row in rows:
            empty = False
            chosen = {}
            for key, value in row.items():
                if key in NESTED:
                    inner = self._below(key, value)
                    if inner:
                        chosen[key] = inner
                elif self._has(key):
                    chosen[key] = value
            yield chosen
        for name, pattern in self._wanted.items():
            match = matcher(pattern).match
            if not any(map(match, self._seen)) and not (empty or self._may_be_none(name)):
                raise DefinitionError(f"no column {name!r} in this run{self._instead(name)}")

    def _below(self, prefix: str, mapping: Mapping[Any, Any]) -> dict[Any, Any]:
        chosen = {}
        for key, value in mapping.items():
            column = f"{prefix}.{key}"
            if isinstance(value, Mapping) and value:
                inner = self._below(column, value)
                if inner:
                    chosen[key] = inner
            elif self._has(column):
                chosen[key] = value
        return chosen

    @staticmethod
    def _may_be_none(name: str) -> bool:
        """Whether rows may lack it without a mistake: ``metadata.*`` in a run without metadata."""
        return name.removesuffix(".*") in NESTED

    def _instead(self, name: str) -> str:
        last = name.rpartition(".")[2]
        close = [column for column in self._seen if column.rpartition(".")[2] == last]
        close += [
            column for column in get_close_matches(name, self._seen, 3) if column not in close
        ]
        hint = f"; close: {', '.join(close[:3])}" if close else ""
        return f"{hint}; columns: {', '.join(self._seen)}"
