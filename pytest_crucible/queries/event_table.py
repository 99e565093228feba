"""Events as a table in a notebook: the first and the last ones, a line each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_crucible._clock import iso_from_us
from pytest_crucible._html import table
from pytest_crucible._text import one_line, plural
from pytest_crucible.events.event import Event

SHOWN = 10
_WIDTH = 80  # characters of a cell


def event_table(events: Sequence[Event]) -> str:
    """Return HTML with time, name, measurements and metadata of at most `SHOWN` events."""
    few = len(events) <= SHOWN
    shown = events if few else [*events[: SHOWN // 2], *events[-SHOWN // 2 :]]
    caption = plural(len(events), "event") + ("" if few else f", {SHOWN} of them shown")
    rows = (
        (iso_from_us(e.time_us)[11:23], e.name, _cell(e.measurements), _cell(e.metadata))
        for e in shown
    )
    return table(caption, ("time, UTC", "event", "measurements", "metadata"), rows)


def _cell(values: Mapping[str, Any]) -> str:
    """``model=gpt-4o · tokens=12``, cut off where it gets long."""
    text = one_line(" · ".join(f"{key}={value!s:.80}" for key, value in values.items()))
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
