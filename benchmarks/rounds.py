"""Rounds: every way of doing something runs once per round, so that a slow machine slows all."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement per round, in the order of the rounds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The median over the rounds."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """Half the interquartile range, relative to the median."""
        ordered, count = sorted(self.values), len(self.values)
        low, high = ordered[count // 4], ordered[-1 - count // 4]
        return (high - low) / 2 / self.median if self.median else 0.0

    def over(self, other: Figure) -> float:
        """Return the median of the ratios self / other per round: a slow round slows both."""
        return median(a / b for a, b in zip(self.values, other.values, strict=True))


def interleaved(jobs: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, Figure]:
    """Run every job once per round, in changing order, after a first round that only warms up.

    Args:
        jobs: functions that return a measurement, by name.
        rounds: number of rounds that count.
    """
    measured: dict[str, list[float]] = {name: [] for name in jobs}
    order = list(jobs)
    shuffle = random.Random(1).shuffle
    for number in range(rounds + 1):
        shuffle(order)
        for name in order:
            gc.collect()
            value = jobs[name]()
            if number:
                measured[name].append(value)
    return {name: Figure(tuple(values)) for name, values in measured.items()}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table.

    Attributes:
        work: what was done.
        found: the measured figure, as text.
        must: the limit, as text.
        met: whether the figure keeps the limit; None for figures that only serve as a comparison.
    """

    work: str
    found: str
    must: str = ""
    met: bool | None = None
