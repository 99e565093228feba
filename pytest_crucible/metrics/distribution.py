"""Distribution: what is said of a set of numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Of ``count`` numbers. Everything else is None at count 0, ``std_dev`` also at count 1."""

    count: int = 0
    total: float | None = None
    mean: float | None = None
    median: float | None = None
    std_dev: float | None = None
    min: float | None = None
    max: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
