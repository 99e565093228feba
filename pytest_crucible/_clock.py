"""The one clock. All code reads the time through this module, so a test patches one place (and
`capture.bus` and `capture.span`, which import both functions by name).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

wall_ns = time.time_ns
"""Wall time in ns since the epoch: when an event happened, comparable across nodes."""

monotonic_ns = time.perf_counter_ns
"""Monotonic time in ns: how long something took."""


def iso_from_us(time_us: int) -> str:
    """Format a wall time in µs since the epoch as ISO 8601 in UTC, with six decimals."""
    moment = datetime.fromtimestamp(time_us // 1_000_000, tz=UTC)
    return moment.replace(microsecond=time_us % 1_000_000).isoformat(timespec="microseconds")
