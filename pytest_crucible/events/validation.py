"""Validation: what was recorded, held against the catalog of known events.

It runs when a trial or an experiment has ended, over events as they were read back: nothing of it
is on the way from ``execute()`` to the record.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from pytest_crucible.events.catalog import SPAN_ENDS, EventInfo, event_info, list_events
from pytest_crucible.events.enrichment import LATENCY_WAYS
from pytest_crucible.events.event import Event

_MOST_KINDS = 50  # names may be made up on the fly
_CLOSE = 0.9  # difflib's ratio: one letter in ten
_STAND_INS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "duration": LATENCY_WAYS[1:],  # whatever enrichment takes for one
}


def problems_of(events: Iterable[Event]) -> dict[str, int]:
    """What is wrong with events of the code under test, a phrase each, and how often.

    A number that every such event should have may also stand in its metadata, where enrichment
    finds it, too. Names that are not in the catalog are fine, unless they look like a slip of one
    that is. The most frequent problems come first; beyond 50 kinds they are only counted.
    """
    found: Counter[str] = Counter()
    names = frozenset(info.name for info in list_events())
    for event in events:
        info = event_info(event.name)
        if info is None:
            meant = _meant(event.name, names)
            if meant is not None:
                found[f"{event.name} is not known; {meant} was meant?"] += 1
            continue
        for problem in _problems(info, event):
            found[problem] += 1
    worst = dict(found.most_common(_MOST_KINDS))
    if len(found) > len(worst):
        worst["further kinds of problems"] = found.total() - sum(worst.values())
    return worst


def _problems(info: EventInfo, event: Event) -> Iterable[str]:
    numbers, context = event.measurements, event.metadata
    for name in (*info.measurements, *info.optional):
        if name in numbers:
            what = _not_a_number(numbers[name])
            if what:
                yield f"{info.name}: {name} is {what}, not a number"
        elif name in info.measurements and not _stands_elsewhere(name, numbers, context):
            yield f"{info.name} without {name}"


def _not_a_number(value: object) -> str | None:
    """What a measurement is, if it is no finite number."""
    if isinstance(value, bool):
        return "a bool"
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "infinite"
    if isinstance(value, (int, float)):
        return None
    return "None" if value is None else f"a {type(value).__name__}"


def _stands_elsewhere(name: str, numbers: Mapping[str, Any], context: Mapping[str, Any]) -> bool:
    if name in context:
        return _not_a_number(context[name]) is None
    return any(all(key in numbers for key in keys) for keys in _STAND_INS.get(name, ()))


@lru_cache(maxsize=1024)
def _meant(name: str, names: frozenset[str]) -> str | None:
    """The known name that an unknown one looks like a slip of."""
    base, dot, end = name.rpartition(".")
    if dot + end in SPAN_ENDS and any(base + each in names for each in SPAN_ENDS):
        return None  # every span has these ends, whether or not the catalog lists them
    close = get_close_matches(name.lower(), names, 1, _CLOSE)
    return close[0] if close else None
