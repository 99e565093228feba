"""Sampling: which operations are kept, and how many each of them stands for.

A strategy is asked once for each operation. Its answer depends on what it has seen, all of it kept
or not, and on its own random numbers; so an operation that is kept with probability π stands for
1/π operations, and sums over what was kept are unbiased (Horvitz and Thompson 1952).
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
"""How many operations it stands for, `DROPPED` if it is not kept; and its place in a reservoir."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """A strategy and its one number: the share that is kept, or the size of a reservoir."""

    strategy: str
    number: float

    @property
    def text(self) -> str:
        """As in the summary: ``uniform 10 %``."""
        if self.strategy == RESERVOIR:
            return f"reservoir of {int(self.number):,}"
        return f"{self.strategy} {self.number * 100:g} %"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an operation went.

    Attributes:
        name: of the event that ended it; operations with one name are alike.
        latency_ms, cost_usd: None where it does not tell.
        failed: whether it, or anything inside it, failed.
    """

    name: str
    latency_ms: float | None = None
    cost_usd: float | None = None
    failed: bool = False


class Strategy(Protocol):
    """Decides about operations.

    ``needs_outcome``: whether it has to know how an operation went.
    """

    needs_outcome: bool

    def decide(self, outcome: Outcome) -> Decision: ...


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

    The n-th is taken with probability size/n and then stands for n/size until it is replaced by a
    later one in its place. Those that are left at the end all stand for the same number.
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
    """Keeps all that failed, and a share of the rest."""

    needs_outcome = True

    def __init__(self, share: float, random: Random) -> None:
        self._rest = Uniform(share, random)

    def decide(self, outcome: Outcome) -> Decision:
        return (1.0, NO_SLOT) if outcome.failed else self._rest.decide(outcome)


class Chart:
    """An EWMA control chart (Roberts 1959) that learns what is normal from its first values.

    Args:
        least: the smallest standard deviation to assume: values that hardly vary must not raise an
            alarm for nothing.
    """

    LEARNING = 50
    SMOOTHING = 0.2
    WIDTH = 3.0
    NEW_NORMAL = 500
    """After so many values in a row that are out of control, what is normal is learnt anew."""

    def __init__(self, least: float) -> None:
        self._least = least
        self._learn()

    def _learn(self) -> None:
        self._count, self._mean, self._squares = 0, 0.0, 0.0
        self._deviation = 0.0
        self._smoothed, self._age, self._out = 0.0, 1.0, 0

    def add(self, value: float) -> bool:
        """Whether with this value the process is out of control, or not known yet."""
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
    """Keeps a share while nothing changes, and all operations while something does.

    Two charts for each name, of the logarithm of the latency and of failures, see every operation,
    kept or not; so the probability of keeping one never depends on what was drawn before.
    """

    needs_outcome = True

    def __init__(self, share: float, random: Random) -> None:
        self._rest = Uniform(share, random)
        # A change of latency of 1 %; and 1 failure in 100.
        self._latency = _ByName(lambda: Chart(least=0.01))
        self._failures = _ByName(lambda: Chart(least=0.1))

    def decide(self, outcome: Outcome) -> Decision:
        alarm = self._failures.of(outcome.name).add(float(outcome.failed))
        if outcome.latency_ms is not None and outcome.latency_ms > 0:
            alarm |= self._latency.of(outcome.name).add(math.log(outcome.latency_ms))
        return (1.0, NO_SLOT) if alarm else self._rest.decide(outcome)


class Tail:
    """Tells which numbers are clearly above the 95th percentile of those before."""

    SHARE = 0.95
    FIRST = 20
    CLEARLY = 1.02  # beyond what the sketch may be wrong by

    def __init__(self) -> None:
        self._sketch = Sketch()
        self._limit = 0.0
        self._again = float(self.FIRST)

    def add(self, value: float) -> bool:
        """Whether it lies in the tail, or no tail is known yet."""
        found = value > self._limit
        self._sketch.add(value)
        if self._sketch.count >= self._again:
            self._limit = self._sketch.quantiles([self.SHARE])[0] * self.CLEARLY
            self._again = self._sketch.count * 1.1
        return found or self._sketch.count <= self.FIRST


class Importance:
    """Keeps what took or cost much more than operations of its name do, and a share of the rest."""

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
    """One of something for each name; names beyond the first few hundred share one."""

    MOST = 256

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[str, T] = {}

    def of(self, name: str) -> T:
        if name not in self._made and len(self._made) >= self.MOST:
            name = ""
        found = self._made.get(name)
        if found is None:
            found = self._made[name] = self._make()
        return found


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
    """What ``sampling="uniform:0.1"`` means.

    Raises:
        DefinitionError: nothing; one line that says what would be valid.
    """
    name, colon, number = text.partition(":") if isinstance(text, str) else ("", "", "")
    if name not in _STRATEGIES or not colon:
        forms = ", ".join(f"{each}:{_example(each)}" for each in _STRATEGIES)
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
    """A strategy with random numbers of its own."""
    return _STRATEGIES[sampling.strategy](sampling.number, Random(seed))  # noqa: S311  (no secret)
