"""Sums: what streaming metrics add up, for all counted events and for every event name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pytest_crucible._clock import iso_from_us
from pytest_crucible.events.enrichment import Enriched, number
from pytest_crucible.events.event import Event
from pytest_crucible.metrics.distribution import Distribution
from pytest_crucible.metrics.latencies import Busy
from pytest_crucible.metrics.running import Numbers
from pytest_crucible.metrics.summary import cost_of, distribution, reliability_of, tokens_of
from pytest_crucible.metrics.values import (
    Cost,
    EventMetrics,
    Metrics,
    Recording,
    Reliability,
    Tokens,
)


@dataclass(slots=True)
class Row:
    """The values of one event that are added up; ``trial`` is its case and number."""

    name: str
    weight: float | None
    time_us: int
    enriched: Enriched
    counted: int
    counted_cost: int
    counted_tokens: int
    cancelled: bool
    judge: bool = False
    trial: tuple[str, int] | None = None


class Part:
    """Sums over some events: all that count, or all with the same name.

    Args:
        exact: see `Numbers`.
        error: see `Numbers`.
    """

    def __init__(self, exact: int, error: float) -> None:
        self.count = self.successful = self.failed = self.cancelled = 0.0
        self.latency, self.cost = Numbers(exact, error), Numbers(exact, error)
        self.tokens = tuple(Numbers(exact, error) for _ in range(3))  # input, output, total

    def add_operation(self, row: Row, weight: float, timed: bool = True) -> None:
        enriched = row.enriched
        if timed and enriched.latency_ms is not None:
            self.latency.add(enriched.latency_ms, weight)
        if enriched.success is not None:
            if enriched.success:
                self.successful += weight
            else:
                self.failed += weight

    def add_cost(self, row: Row, weight: float) -> None:
        if row.enriched.cost_usd is not None:
            self.cost.add(row.enriched.cost_usd, weight)

    def add_tokens(self, row: Row, weight: float) -> None:
        enriched = row.enriched
        values = enriched.input_tokens, enriched.output_tokens, enriched.total_tokens
        for numbers, value in zip(self.tokens, values, strict=True):
            if value is not None:
                numbers.add(value, weight)

    def merge(self, other: Part) -> None:
        """Add the sums of other events."""
        self.count += other.count
        self.successful += other.successful
        self.failed += other.failed
        self.cancelled += other.cancelled
        mine, theirs = ((part.latency, part.cost, *part.tokens) for part in (self, other))
        for numbers, more in zip(mine, theirs, strict=True):
            numbers.merge(more)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold, for `merge_dict`."""
        return {
            "counts": [self.count, self.successful, self.failed, self.cancelled],
            "latency": self.latency.to_dict(),
            "cost": self.cost.to_dict(),
            "tokens": [numbers.to_dict() for numbers in self.tokens],
        }

    def merge_dict(self, data: Mapping[str, Any]) -> None:
        """Add the sums that `to_dict` returned elsewhere."""
        counts = [float(count) for count in data["counts"]]
        self.count += counts[0]
        self.successful += counts[1]
        self.failed += counts[2]
        self.cancelled += counts[3]
        theirs = (data["latency"], data["cost"], *data["tokens"])
        for numbers, more in zip((self.latency, self.cost, *self.tokens), theirs, strict=True):
            numbers.merge_dict(more)

    def cost_metrics(self) -> Cost:
        return cost_of(self.cost.describe())

    def token_metrics(self) -> Tokens:
        return tokens_of(*(numbers.describe() for numbers in self.tokens))

    def reliability(self) -> Reliability:
        return reliability_of(round(self.successful), round(self.failed), round(self.cancelled))


class Sums:
    """All sums of one experiment under one condition.

    Args:
        exact: see `Numbers`.
        error: see `Numbers`.
    """

    def __init__(self, exact: int, error: float) -> None:
        self._precision = exact, error
        self._overall = Part(exact, error)
        self._by_name: dict[str, Part] = {}
        self._recorded: dict[str, Numbers] = {}
        self._trials: dict[tuple[str, int], Busy] = {}
        self._kept = 0
        self._sampled = False
        self._first_us: int | None = None
        self._last_us = 0

    def add(self, row: Row) -> None:
        """Add an event of the code under test."""
        weight = 1.0 if row.weight is None else row.weight
        self._sampled = self._sampled or row.weight is not None
        self._kept += 1
        self._seen(row.time_us, row.time_us)
        overall = self._overall
        overall.count += weight
        if row.counted:
            overall.add_operation(row, weight, timed=not row.judge)
            if row.trial is not None and not row.judge and row.enriched.latency_ms is not None:
                self._trial(row.trial).add(row.time_us, row.enriched.latency_ms)
        if row.cancelled:
            overall.cancelled += weight
        if row.counted_cost:
            overall.add_cost(row, weight)
        if row.counted_tokens:
            overall.add_tokens(row, weight)
        part = self._named(row.name)
        part.count += weight
        part.add_operation(row, weight)
        part.add_cost(row, weight)
        part.add_tokens(row, weight)

    def _trial(self, trial: tuple[str, int]) -> Busy:
        busy = self._trials.get(trial)
        if busy is None:
            busy = self._trials[trial] = Busy()
        return busy

    def begin_trial(self, trial: tuple[str, int], time_us: int) -> None:
        """Note that an attempt of a trial began."""
        busy = self._trial(trial)
        busy.began_us = min(busy.began_us, time_us)

    def _seen(self, first_us: int, last_us: int) -> None:
        earliest = self._first_us
        self._first_us = first_us if earliest is None else min(earliest, first_us)
        self._last_us = max(self._last_us, last_us)

    def _named(self, name: str) -> Part:
        part = self._by_name.get(name)
        if part is None:
            part = self._by_name[name] = Part(*self._precision)
        return part

    def add_recorded(self, event: Event) -> None:
        """Add the numbers of a ``record`` event; true counts as 1 and false as 0."""
        for name, value in event.measurements.items():
            numbers = self._numbers(name)
            numeric = float(value) if isinstance(value, bool) else number(value)
            if numeric is not None:
                numbers.add(numeric)

    def _numbers(self, name: str) -> Numbers:
        numbers = self._recorded.get(name)
        if numbers is None:
            numbers = self._recorded[name] = Numbers(*self._precision)
        return numbers

    def merge(self, other: Sums) -> None:
        """Add the sums of other events; ``other`` stays as it is."""
        self._overall.merge(other._overall)
        for name, part in other._by_name.items():
            self._named(name).merge(part)
        for name, numbers in other._recorded.items():
            self._numbers(name).merge(numbers)
        for trial, busy in other._trials.items():
            self._trial(trial).merge(busy)
        self._kept += other._kept
        self._sampled = self._sampled or other._sampled
        if other._first_us is not None:
            self._seen(other._first_us, other._last_us)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that JSON can hold, for `merge_dict`."""
        return {
            "overall": self._overall.to_dict(),
            "by_name": {name: part.to_dict() for name, part in self._by_name.items()},
            "recorded": {name: numbers.to_dict() for name, numbers in self._recorded.items()},
            "trials": [[*trial, busy.to_dict()] for trial, busy in self._trials.items()],
            "kept": self._kept,
            "sampled": self._sampled,
            "time_us": None if self._first_us is None else [self._first_us, self._last_us],
        }

    def merge_dict(self, data: Mapping[str, Any]) -> None:
        """Add the sums that `to_dict` returned elsewhere."""
        self._overall.merge_dict(data["overall"])
        for name, part in data["by_name"].items():
            self._named(name).merge_dict(part)
        for name, numbers in data["recorded"].items():
            self._numbers(name).merge_dict(numbers)
        for case, trial, busy in data["trials"]:
            self._trial((str(case), int(trial))).merge_dict(busy)
        self._kept += int(data["kept"])
        self._sampled = self._sampled or bool(data["sampled"])
        if data["time_us"] is not None:
            self._seen(*data["time_us"])

    def metrics(self, experiment: str, condition: str) -> Metrics:
        """Return the metrics of all events so far, under these names."""
        overall = self._overall
        return Metrics(
            experiment=experiment,
            condition=condition,
            summary=self._recording(),
            latency=self._latency(),
            cost=overall.cost_metrics(),
            reliability=overall.reliability(),
            tokens=overall.token_metrics(),
            recorded={name: numbers.describe() for name, numbers in sorted(self._recorded.items())},
            by_event={name: _event_metrics(part) for name, part in sorted(self._by_name.items())},
        )

    def _latency(self) -> Distribution:
        spent = [ms for busy in self._trials.values() if (ms := busy.ms()) is not None]
        if not spent or self._sampled:
            return self._overall.latency.describe()
        return distribution(np.array(spent, dtype=np.float64))

    def _recording(self) -> Recording:
        if self._first_us is None:
            return Recording()
        return Recording(
            total_events=round(self._overall.count),
            kept_events=self._kept if self._sampled else None,
            start=iso_from_us(self._first_us),
            end=iso_from_us(self._last_us),
            duration_s=(self._last_us - self._first_us) / 1_000_000,
            event_types={name: round(part.count) for name, part in sorted(self._by_name.items())},
        )


def _event_metrics(part: Part) -> EventMetrics:
    return EventMetrics(
        count=round(part.count),
        latency=part.latency.describe(),
        cost=part.cost_metrics(),
        reliability=part.reliability(),
        tokens=part.token_metrics(),
    )
