"""The columns that say what the author told about the experiment: its tags and its metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_crucible._text import text_of
from pytest_crucible.events.enrichment_batch import Alike, Column, Same
from pytest_crucible.events.event import Event
from pytest_crucible.events.schema import DESCRIBING
from pytest_crucible.exports.rows import Mark
from pytest_crucible.record.chunks import Chunk, Origin

Told = Mapping[str, tuple[str | None, str | None]]
"""The values of the columns `DESCRIBING`, by name of the experiment."""
_NOTHING = (None, None)


def told(
    experiments: Iterable[tuple[str, Sequence[str], Mapping[str, Any]]],
) -> dict[str, tuple[str | None, str | None]]:
    """Return what rows say of each experiment.

    Tags are joined by commas. Metadata are a JSON object; values that JSON does not know are texts.

    Args:
        experiments: name, tags and metadata of each.
    """
    return {
        name: (
            ",".join(tags) or None,
            json.dumps(dict(metadata), ensure_ascii=False, default=text_of) if metadata else None,
        )
        for name, tags, metadata in experiments
    }


def described(experiments: Told, mark: Mark | None = None) -> Mark | None:
    """Return the mark that sets the columns `DESCRIBING`, and what another mark sets.

    Args:
        experiments: what rows say of each experiment.
        mark: the other mark.
    """
    return _Described(experiments, mark) if any(map(any, experiments.values())) else mark


@dataclass(frozen=True, slots=True)
class _Described:
    experiments: Told
    other: Mark | None

    def __call__(self, event: Event, row: dict[str, Any]) -> dict[str, Any]:
        if not event.internal and event.scope is not None:
            values = self.experiments.get(event.scope.experiment, _NOTHING)
            row.update(zip(DESCRIBING, values, strict=True))
        return row if self.other is None else self.other(event, row)

    def places(self, events: Alike, origins: Sequence[Origin]) -> list[int]:
        return [] if self.other is None else self.other.places(events, origins)

    def columns(self, chunk: Chunk) -> Mapping[str, Column]:
        others = {} if self.other is None else self.other.columns(chunk)
        scopes = [origin.scope for origin in chunk.origins]
        names = [None if scope is None else scope.experiment for scope in scopes]
        told_of = {name: self.experiments.get(name or "", _NOTHING) for name in set(names)}
        if len(told_of) == 1:
            (values,) = told_of.values()
            return {**others, **dict(zip(DESCRIBING, map(Same, values), strict=True))}
        columns = map(list, zip(*(told_of[name] for name in names), strict=True))
        return {**others, **dict(zip(DESCRIBING, columns, strict=True))}
