"""Distribution: the statistics that describe a set of numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """Statistics of ``count`` numbers, in the unit of the numbers.

    With no numbers all others are None; ``std_dev`` (divided by n − 1) needs two.
    """

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
