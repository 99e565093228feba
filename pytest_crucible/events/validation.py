"""Validation: check recorded events against the catalog of known events.

It runs when a trial or an experiment has ended, over events that were read back. It does not slow
down ``execute()``.
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

_MOST_KINDS = 50  # the code under test may make up names
_CLOSE = 0.9  # difflib's ratio: one letter in ten differs
_STAND_INS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "duration": LATENCY_WAYS[1:],  # other measurements from which enrichment knows a latency
}


def problems_of(events: Iterable[Event]) -> dict[str, int]:
    """Return the problems of events of the code under test, as phrases, and how often they occur.

    A required number may also be in the metadata, because enrichment looks there, too. Names that
    are not in the catalog are fine, unless they look like a misspelt name of the catalog. The most
    frequent problems come first; beyond 50 kinds they are only counted.
    """
    problems: Counter[str] = Counter()
    names = frozenset(info.name for info in list_events())
    for event in events:
        info = event_info(event.name)
        if info is None:
            meant = _meant(event.name, names)
            if meant is not None:
                problems[f"{event.name} is not known; {meant} was meant?"] += 1
            continue
        for problem in _problems(info, event):
            problems[problem] += 1
    worst = dict(problems.most_common(_MOST_KINDS))
    if len(problems) > len(worst):
        worst["further kinds of problems"] = problems.total() - sum(worst.values())
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
    """Return what a measurement is instead of a finite number; None if it is one."""
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
    """Return the known name that an unknown name looks like; None if there is none."""
    base, dot, last = name.rpartition(".")
    if dot + last in SPAN_ENDS and any(base + ending in names for ending in SPAN_ENDS):
        return None  # every span has these ends, whether or not the catalog lists them
    close = get_close_matches(name.lower(), names, 1, _CLOSE)
    return close[0] if close else None
