"""The keys that a query can ask for, so that a misspelt key is an error and not an empty answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import fields

from pytest_crucible._text import did_you_mean
from pytest_crucible.capture.bus import matcher
from pytest_crucible.events.catalog import EventInfo, list_events
from pytest_crucible.events.enrichment import Enriched
from pytest_crucible.events.event import Event
from pytest_crucible.events.scope import Scope

FIXED = frozenset(
    {
        *Enriched.__struct_fields__,
        *(field.name for field in fields(Scope)),
        *Event.__struct_fields__,
        *(name for name, value in vars(Event).items() if isinstance(value, property)),
    }
)
"""The keys that every event has: those of enrichment, of its scope and of the event itself."""

_MOST_SHOWN = 40


def check_keys(wanted: Collection[str], events: Iterable[Event], name: str | None) -> None:
    """Refuse a key that no event has. Events are read only until every key has been seen.

    Args:
        wanted: the keys that a query asks for.
        events: the events that the query looks at.
        name: the pattern of event names that the query asks for. Keys that the catalog lists for
            such events are valid.

    Raises:
        TypeError: one line that names the key, a similar one if there is one, and the valid ones.
    """
    unknown = dict.fromkeys(key for key in wanted if key not in FIXED)
    if not unknown:
        return
    listed = _listed(None if name is None else matcher(name).match)
    seen: dict[str, None] = {}
    missing = unknown.keys() - listed
    event = None
    for event in events if missing else ():
        keys = _keys(event)
        seen.update(dict.fromkeys(keys))
        missing.difference_update(keys)
        if not missing:
            return
    if event is not None:
        key = next(key for key in unknown if key in missing)
        raise TypeError(f"query({key}=…): no event here has {key!r}; {_valid(key, seen, listed)}")


def _keys(event: Event) -> list[str]:
    from_enrichers = (event.enriched or {}).get("extra", {})
    return [*event.metadata, *event.measurements, *from_enrichers]


def _listed(matches: Callable[[str], object] | None) -> set[str]:
    """Return the keys that the catalog lists for events with such a name."""
    infos = (info for info in list_events() if matches is None or matches(info.name))
    return {key for info in infos for key in _keys_of(info)}


def _keys_of(info: EventInfo) -> list[str]:
    return [*info.metadata, *info.measurements, *info.optional]


def _valid(key: str, seen: Iterable[str], listed: Iterable[str]) -> str:
    own = sorted({str(other) for other in seen} - FIXED)
    shown = own[:_MOST_SHOWN]
    if len(own) > len(shown):
        shown.append(f"{len(own) - len(shown):,} more")
    hint = did_you_mean(key, {*own, *FIXED, *listed})
    return f"{hint}valid: {', '.join([*shown, *sorted(FIXED)])}"
