"""The one clock. All code reads the time through this module, so a test patches one place (and
`capture.bus` and `capture.span`, which import both functions by name).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

wall_ns = time.time_ns
"""Wall time in ns since the epoch: when an event happened, comparable across nodes."""

monotonic_ns = time.perf_counter_ns
"""Monotonic time in ns: how long something took."""


def time_us_of(moment: datetime) -> int:
    """Return a moment as µs since the epoch.

    Raises:
        ValueError: the moment has no time zone.
    """
    if moment.utcoffset() is None:
        raise ValueError(f"{moment!r} has no time zone: datetime.now(timezone.utc) has one")
    seconds = int(moment.replace(microsecond=0).timestamp())
    return seconds * 1_000_000 + moment.microsecond


class _Texts(dict[int, str]):
    """Texts of numbers, made when they are first asked for; few at a time."""

    def __init__(self, text_of: Callable[[int], str]) -> None:
        self._text_of = text_of

    def __missing__(self, number: int) -> str:
        if len(self) >= 1024:
            self.clear()
        text = self[number] = self._text_of(number)
        return text


_seconds = _Texts(lambda second: datetime.fromtimestamp(second, tz=UTC).isoformat()[:19])
_millis = _Texts("{:03}".format)
_micros = _Texts("{:03}+00:00".format)


def iso_from_us(time_us: int) -> str:
    """Format a wall time in µs since the epoch as ISO 8601 in UTC, with six decimals."""
    # Put together from texts that are known: 0.25 µs, where `datetime` takes 4.
    second, millis = _seconds[time_us // 1_000_000], _millis[time_us // 1_000 % 1_000]
    return f"{second}.{millis}{_micros[time_us % 1_000]}"
