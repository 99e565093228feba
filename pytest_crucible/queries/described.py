"""Queries by what the author told about an experiment: its tags and its metadata."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from pytest_crucible.events.event import Event

Told = Mapping[str, tuple[Sequence[str], Mapping[str, object]]]
"""Tags and metadata by name of the experiment."""


def of_experiments(
    events: Iterable[Event],
    told: Callable[[], Told],
    tag: str | None,
    metadata: Mapping[str, object],
) -> Iterator[Event]:
    """Yield the events of experiments that have a tag and these metadata.

    Args:
        events: the events.
        told: returns what was told of the experiments, as far as it has been read: a record begins
            with it, and its events come later.
        tag: the tag; None: any.
        metadata: entries that the metadata must have.
    """
    wanted: dict[str, bool] = {}
    for event in events:
        if event.scope is None:
            continue
        name = event.scope.experiment
        if name not in wanted:
            tags, entries = told().get(name, ((), {}))
            wanted[name] = (tag is None or tag in tags) and all(
                key in entries and entries[key] == value for key, value in metadata.items()
            )
        if wanted[name]:
            yield event
