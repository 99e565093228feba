"""Column selection: the parts of rows that somebody asked for."""

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
        wanted: names, or patterns in which ``*`` stands for any characters. ``metadata`` means
            everything below it.
    """

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted = {name: f"{name}.*" if name in NESTED else name for name in wanted}
        self._matches = [matcher(each).match for each in self._wanted.values()]
        self._known: dict[str, bool] = dict.fromkeys(EXPORTED, False)
        for column in EXPORTED:
            self._known[column] = self._asked(column)

    def _asked(self, column: str) -> bool:
        return any(match(column) for match in self._matches)

    def _has(self, column: str) -> bool:
        found = self._known.get(column)
        if found is None:
            found = self._known[column] = self._asked(column)
        return found

    def of(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows with nothing but what was asked for.

        Raises:
            DefinitionError: after the last row, if no row has a column of that name.
        """
        empty = True
        for row in rows:
            empty = False
            chosen = {}
            for key, value in row.items():
                if key in NESTED:
                    part = self._below(key, value)
                    if part:
                        chosen[key] = part
                elif self._has(key):
                    chosen[key] = value
            yield chosen
        for name, pattern in self._wanted.items():
            match = matcher(pattern).match
            if not any(map(match, self._known)) and not (empty or self._may_be_none(name)):
                raise DefinitionError(f"no column {name!r} in this run{self._instead(name)}")

    def _below(self, prefix: str, mapping: Mapping[Any, Any]) -> dict[Any, Any]:
        chosen = {}
        for key, value in mapping.items():
            column = f"{prefix}.{key}"
            if isinstance(value, Mapping) and value:
                part = self._below(column, value)
                if part:
                    chosen[key] = part
            elif self._has(column):
                chosen[key] = value
        return chosen

    @staticmethod
    def _may_be_none(name: str) -> bool:
        """``metadata.*`` of a run without metadata is nothing, and no mistake."""
        return name.removesuffix(".*") in NESTED

    def _instead(self, name: str) -> str:
        last = name.rpartition(".")[2]
        close = [each for each in self._known if each.rpartition(".")[2] == last]
        close += [each for each in get_close_matches(name, self._known, 3) if each not in close]
        hint = f"; close: {', '.join(close[:3])}" if close else ""
        return f"{hint}; columns: {', '.join(self._known)}"
