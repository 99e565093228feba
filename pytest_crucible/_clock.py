"""The one clock. Everything that tells time asks here, so a test patches one place
(and `_bus` and `_span`, which hold both by name).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

wall_ns = time.time_ns
"""Wall time in ns since the epoch: when an event happened, comparable across nodes."""

monotonic_ns = time.perf_counter_ns
"""Monotonic time in ns: how long something took."""


def iso_from_us(time_us: int) -> str:
    """Wall time in µs since the epoch as ISO 8601 in UTC, µs kept."""
    moment = datetime.fromtimestamp(time_us // 1_000_000, tz=UTC)
    return moment.replace(microsecond=time_us % 1_000_000).isoformat(timespec="microseconds")
