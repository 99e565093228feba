"""Sampling: which operations are kept, and how many operations each of them stands for.

A strategy decides once about each operation. The decision depends only on the operations it has
seen, kept or not, and on its own random numbers. So an operation that is kept with probability π
stands for 1/π operations, and weighted sums over the kept ones are unbiased (Horvitz and Thompson
1952).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Generic, Protocol, TypeVar

from pytest_crucible._errors import DefinitionError
from pytest_crucible.capture.sketch import Sketch

T = TypeVar("T")

DROPPED = 0.0
NO_SLOT = -1

Decision = tuple[float, int]
"""How many operations this one stands for (`DROPPED` if it is not kept), and its index in a
reservoir (`NO_SLOT` outside reservoirs)."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """A strategy and its number: the share of operations to keep, or the size of a reservoir."""

    strategy: str
    number: float

    @property
    def text(self) -> str:
        """The text for the summary, e.g. ``uniform 10 %``."""
        if self.strategy == RESERVOIR:
            return f"reservoir of {int(self.number):,}"
        return f"{self.strategy} {self.number * 100:g} %"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an operation went.

    Attributes:
        name: of the event that ended it; strategies compare operations of the same name.
        latency_ms, cost_usd: latency in ms and cost in USD; None if the event does not tell.
        failed: whether the operation, or anything inside it, failed.
    """

    name: str
    latency_ms: float | None = None
    cost_usd: float | None = None
    failed: bool = False


class Strategy(Protocol):
    """Decides which operations are kept.

    Attributes:
        needs_outcome: whether it must know how an operation went. If not, it decides at the start.
    """

    needs_outcome: bool

    def decide(self, outcome: Outcome) -> Decision:
        """Decide about one operation; called once for each, in order."""
        ...


class Uniform:
    """Keeps each operation with the same probability."""

    needs_outcome = False

    def __init__(self, share: float, random: Random) -> None:
        self._share = share
        self._random = random.random

    def decide(self, outcome: Outcome) -> Decision:
        return (1 / self._share if self._random() < self._share else DROPPED), NO_SLOT


class Reservoir:
    """Keeps exactly ``size`` operations, each with the same probability (Vitter 1985, algorithm R).

    The n-th operation enters with probability size/n and stands for n/size, until a later one
    replaces it. The operations that remain at the end all stand for the same number.
    """

    needs_outcome = False

    def __init__(self, size: float, random: Random) -> None:
        self._size = int(size)
        self._random = random
        self._seen = 0

    def decide(self, outcome: Outcome) -> Decision:
        self._seen += 1
        if self._seen <= self._size:
            return 1.0, self._seen - 1
        slot = self._random.randrange(self._seen)
        return (self._seen / self._size, slot) if slot < self._size else (DROPPED, NO_SLOT)


class Stratified:
    """Keeps all operations that failed, and a share of the others."""

    needs_outcome = True

    def __init__(self, share: float, random: Random) -> None:
        self._rest = Uniform(share, random)

    def decide(self, outcome: Outcome) -> Decision:
        return (1.0, NO_SLOT) if outcome.failed else self._rest.decide(outcome)


class Chart:
    """An EWMA control chart (Roberts 1959) that learns mean and deviation from its first values.

    Args:
        least: the smallest standard deviation to assume, so that values that hardly vary raise no
            false alarm.
    """

    LEARNING = 50
    SMOOTHING = 0.2
    WIDTH = 3.0
    NEW_NORMAL = 500
    """After this many values in a row that are out of control, the chart learns anew."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._learn()

    def _learn(self) -> None:
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._deviation = 0.0
        self._smoothed, self._age, self._out = 0.0, 1.0, 0

    def add(self, value: float) -> bool:
        """Add a value; return True if the process is out of control, or the chart still learns."""
        if self._count < self.LEARNING:
            self._count += 1
            step = value - self._mean
            self._mean += step / self._count
            self._squares += step * (value - self._mean)
            if self._count == self.LEARNING:
                self._deviation = max(self._least, math.sqrt(self._squares / (self.LEARNING - 1)))
                self._smoothed = self._mean
            return True
        keep = 1 - self.SMOOTHING
        self._smoothed = self.SMOOTHING * value + keep * self._smoothed
        self._age *= keep * keep
        width = self.SMOOTHING / (2 - self.SMOOTHING) * (1 - self._age)
        limit = self.WIDTH * self._deviation * math.sqrt(width)
        if abs(self._smoothed - self._mean) <= limit:
            self._out = 0
            return False
        self._out += 1
        if self._out >= self.NEW_NORMAL:
            self._learn()
        return True


class Adaptive:
    """Keeps a share of the operations while nothing changes, and all of them while something does.

    For each name there are two charts: one of the logarithm of the latency, one of failures. They
    see every operation, kept or not, so the probability of keeping one never depends on earlier
    draws.
    """

    needs_outcome = True

    def __init__(self, share: float, random: Random) -> None:
        self._rest = Uniform(share, random)
        # The smallest deviations: 1 % of the latency, and what 1 failure in 100 gives (√0.01).
        self._latency = _ByName(lambda: Chart(least=0.01))
        self._failures = _ByName(lambda: Chart(least=0.1))

    def decide(self, outcome: Outcome) -> Decision:
        alarm = self._failures.of(outcome.name).add(float(outcome.failed))
        if outcome.latency_ms is not None and outcome.latency_ms > 0:
            alarm |= self._latency.of(outcome.name).add(math.log(outcome.latency_ms))
        return (1.0, NO_SLOT) if alarm else self._rest.decide(outcome)


class Tail:
    """Finds numbers that are clearly above the 95th percentile of the numbers before them."""

    SHARE = 0.95
    FIRST = 20  # numbers to see before anything can be called a tail
    CLEARLY = 1.02  # a factor above the error of the sketch

    def __init__(self) -> None:
        self._sketch = Sketch()
        self._limit = 0.0
        self._again = float(self.FIRST)

    def add(self, value: float) -> bool:
        """Add a number; return True if it lies in the tail, or if no tail is known yet."""
        beyond = value > self._limit
        self._sketch.add(value)
        if self._sketch.count >= self._again:
            self._limit = self._sketch.quantiles([self.SHARE])[0] * self.CLEARLY
            self._again = self._sketch.count * 1.1
        return beyond or self._sketch.count <= self.FIRST


class Importance:
    """Keeps operations much slower or dearer than others of their name, and a share of the rest."""

    needs_outcome = True

    def __init__(self, share: float, random: Random) -> None:
        self._rest = Uniform(share, random)
        self._latency, self._cost = _ByName(Tail), _ByName(Tail)

    def decide(self, outcome: Outcome) -> Decision:
        tail = False
        for value, tails in ((outcome.latency_ms, self._latency), (outcome.cost_usd, self._cost)):
            if value is not None and value >= 0:
                tail |= tails.of(outcome.name).add(value)
        return (1.0, NO_SLOT) if tail else self._rest.decide(outcome)


class _ByName(Generic[T]):
    """Makes one object for each name; names beyond the first few hundred share one object."""

    MOST = 256

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[str, T] = {}

    def of(self, name: str) -> T:
        if name not in self._made and len(self._made) >= self.MOST:
            name = ""
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make()
        return made


RESERVOIR = "reservoir"
_STRATEGIES: dict[str, Callable[[float, Random], Strategy]] = {
    "adaptive": Adaptive,
    "importance": Importance,
    RESERVOIR: Reservoir,
    "stratified": Stratified,
    "uniform": Uniform,
}
_LEAST_SHARE = 1e-6
_MOST_DIGITS = 9


def parse_sampling(text: object) -> Sampling:
    """Parse the value of ``sampling=``, e.g. ``"uniform:0.1"``.

    Raises:
        DefinitionError: it is not valid; the line says what would be.
    """
    name, colon, number = text.partition(":") if isinstance(text, str) else ("", "", "")
    if name not in _STRATEGIES or not colon:
        forms = ", ".join(f"{strategy}:{_example(strategy)}" for strategy in _STRATEGIES)
        raise DefinitionError(f"sampling={text!r} is not one of {forms}")
    if name == RESERVOIR:
        digits = number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS
        if not digits or not int(number):
            raise DefinitionError(
                f"sampling={text!r}: a reservoir's size is a whole number of at least 1"
            )
        return Sampling(name, int(number))
    try:
        share = float(number)
    except ValueError:
        share = math.nan
    if not _LEAST_SHARE <= share <= 1:
        raise DefinitionError(
            f"sampling={text!r}: the share that is kept is a number above 0, up to 1 (0.1 is 10 %)"
        )
    return Sampling(name, share)


def _example(strategy: str) -> str:
    return "SIZE" if strategy == RESERVOIR else "SHARE"


def strategy_of(sampling: Sampling, seed: int) -> Strategy:
    """Make a strategy whose random numbers start from ``seed``."""
    return _STRATEGIES[sampling.strategy](sampling.number, Random(seed))  # noqa: S311  (no secret)
