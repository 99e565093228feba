"""The columns that say what of an event counts in the metrics of its condition."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_crucible.events.enrichment_batch import Alike, Column
from pytest_crucible.events.event import Event
from pytest_crucible.events.schema import COUNTING
from pytest_crucible.exports.rows import Mark
from pytest_crucible.metrics.counting.flags import Flags, flags_of
from pytest_crucible.record.chunks import Chunk, Origin


def counted(
    events: Callable[[], Iterable[Event]], enrichers: Iterable[Any] = (), mark: Mark | None = None
) -> Mark:
    """Return the mark that sets the columns `COUNTING`, and what another mark sets.

    Args:
        events: as for `flags_of`.
        enrichers: as for `observe`.
        mark: the other mark.
    """
    return _Counted(flags_of(events, enrichers), mark)


@dataclass(frozen=True, slots=True)
class _Counted:
    flags: Flags
    other: Mark | None

    def __call__(self, event: Event, row: dict[str, Any]) -> dict[str, Any]:
        if not event.internal:
            (values,) = self.flags.of(event.run, event.node, (event.sequence,))
            row.update(zip(COUNTING, values, strict=True))
        return row if self.other is None else self.other(event, row)

    def places(self, events: Alike, origins: Sequence[Origin]) -> list[int]:
        return [] if self.other is None else self.other.places(events, origins)

    def columns(self, chunk: Chunk) -> Mapping[str, Column]:
        origins, sequences = chunk.origins, chunk.sequences
        of = self.flags.of
        others = {} if self.other is None else self.other.columns(chunk)
        if not origins:
            return others
        if origins.count(origins[0]) == len(origins):
            values = of(origins[0].run, origins[0].node, sequences)
        else:
            values = [
                of(origin.run, origin.node, (sequence,))[0]
                for origin, sequence in zip(origins, sequences, strict=True)
            ]
        own = zip(COUNTING, map(list, zip(*values, strict=True)), strict=True)
        return {**others, **dict(own)}
