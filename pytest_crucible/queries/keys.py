"""The keys that events can be asked for, so that a misspelt one is told and not just unanswered."""

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
        *(each.name for each in fields(Scope)),
        *Event.__struct_fields__,
        *(name for name, value in vars(Event).items() if isinstance(value, property)),
    }
)
"""What every event can be asked for: what is worked out about it, its scope, and what it is."""

_MOST_SHOWN = 40


def check_keys(wanted: Collection[str], events: Iterable[Event], name: str | None) -> None:
    """Refuse a key that none of the events knows. They are read as far as the first that does.

    Args:
        wanted: the keys that a query asks for.
        events: those that it asks.
        name: the pattern of names that it asks for: what the catalog says of such events is known.

    Raises:
        TypeError: one line that names the key, one that was meant, and the valid ones.
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
    set_by_enrichers = (event.enriched or {}).get("extra", {})
    return [*event.metadata, *event.measurements, *set_by_enrichers]


def _listed(matches: Callable[[str], object] | None) -> set[str]:
    """The keys that the catalog knows of events with such a name."""
    found = (each for each in list_events() if matches is None or matches(each.name))
    return {key for each in found for key in _carried(each)}


def _carried(info: EventInfo) -> list[str]:
    return [*info.metadata, *info.measurements, *info.optional]


def _valid(key: str, seen: Iterable[str], listed: Iterable[str]) -> str:
    own = sorted({str(each) for each in seen} - FIXED)
    shown = own[:_MOST_SHOWN]
    if len(own) > len(shown):
        shown.append(f"{len(own) - len(shown):,} more")
    hint = did_you_mean(key, {*own, *FIXED, *listed})
    return f"{hint}valid: {', '.join([*shown, *sorted(FIXED)])}"
