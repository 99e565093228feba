"""Rounds: each way of doing something takes its turn in each: the machine's mood hits all alike."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

ROUNDS = 7


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured in every round, in the order of the rounds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def spread(self) -> float:
        """Half the distance of the quartiles, relative to the median."""
        ordered, count = sorted(self.values), len(self.values)
        low, high = ordered[count // 4], ordered[-1 - count // 4]
        return (high - low) / 2 / self.median if self.median else 0.0

    def over(self, other: Figure) -> float:
        """The median of the ratios of each round: what both suffered from drops out."""
        return median(a / b for a, b in zip(self.values, other.values, strict=True))


def interleaved(jobs: Mapping[str, Callable[[], float]], rounds: int = ROUNDS) -> dict[str, Figure]:
    """Measure each job once per round, in an order that changes.

    Args:
        jobs: each returns what it measured; a first time, that does not count, warms up.
        rounds: how many.
    """
    found: dict[str, list[float]] = {name: [] for name in jobs}
    order = list(jobs)
    shuffle = random.Random(1).shuffle
    for number in range(rounds + 1):
        shuffle(order)
        for name in order:
            gc.collect()
            value = jobs[name]()
            if number:
                found[name].append(value)
    return {name: Figure(tuple(values)) for name, values in found.items()}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: what was done, what came out, what must be reached, and whether it was.

    ``met`` is None for figures that are there to compare with.
    """

    work: str
    found: str
    must: str = ""
    met: bool | None = None
