"""Sliding windows: metrics over time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from pytest_crucible.metrics.observations import Group
from pytest_crucible.metrics.weighted import mean, row_weights

Number = TypeVar("Number", np.int8, np.int64, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The events from ``start_us`` (included) to ``end_us`` (excluded), µs since the epoch.

    Attributes:
        count: number of events.
        mean_latency_ms: mean latency of operations; None if no operation has a latency.
        total_cost_usd: None if no event has a cost.
        successes, failures: number of operations that succeeded and failed.
    """

    start_us: int
    end_us: int
    count: int
    mean_latency_ms: float | None
    total_cost_usd: float | None
    successes: int
    failures: int


def slide(groups: Iterable[Group], size_us: int, step_us: int) -> list[Window]:
    """Return the windows that contain events, in order; the first starts at the first event.

    Args:
        groups: the groups whose events are put together.
        size_us: length of a window in µs, above zero.
        step_us: time from the start of one window to the start of the next in µs, above zero.
    """
    members = list(groups)
    time_us = _column(members, "time_us", np.int64)
    order = np.argsort(time_us, kind="stable")
    time_us = time_us[order]
    counted = _column(members, "counted", np.int8)[order] == 1
    latency = np.where(counted, _column(members, "latency_ms", np.float64)[order], np.nan)
    success = np.where(counted, _column(members, "success", np.float64)[order], np.nan)
    weight = np.concatenate(
        [np.empty(0), *(row_weights(group.weight, len(group.name)) for group in members)]
    )[order]
    spent = _column(members, "counted_cost", np.int8)[order] == 1
    cost = np.where(spent, _column(members, "cost_usd", np.float64)[order], np.nan)
    windows = []
    for start, end in _spans(time_us, size_us, step_us):
        rows = slice(*np.searchsorted(time_us, (start, end)))
        timed = ~np.isnan(latency[rows])
        latencies, weights = latency[rows][timed], weight[rows][timed]
        costs = _numbers(cost[rows] * weight[rows])
        windows.append(
            Window(
                start_us=start,
                end_us=end,
                count=round(weight[rows].sum()),
                mean_latency_ms=mean(latencies, weights) if latencies.size else None,
                total_cost_usd=float(costs.sum()) if costs.size else None,
                successes=round(weight[rows][success[rows] == 1].sum()),
                failures=round(weight[rows][success[rows] == 0].sum()),
            )
        )
    return windows


def _spans(time_us: NDArray[np.int64], size_us: int, step_us: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of the windows that contain an event; long gaps cost no time."""
    if not time_us.size:
        return
    first, last = int(time_us[0]), int(time_us[-1])
    number = 0
    while (start := first + number * step_us) <= last:
        following = int(time_us[np.searchsorted(time_us, start)])
        if following < start + size_us:
            yield start, start + size_us
            number += 1
        else:  # skip to the first window that ends after the next event
            number = max(number + 1, (following - first - size_us) // step_us + 1)


def _column(groups: list[Group], name: str, kind: type[Number]) -> NDArray[Number]:
    columns: list[NDArray[Number]] = [
        np.frombuffer(getattr(group, name), dtype=kind) for group in groups
    ]
    return np.concatenate([np.empty(0, dtype=kind), *columns])


def _numbers(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[~np.isnan(values)]
