"""Two sessions in lockstep: collect on both sides, run case by case in turns, end both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pytest_crucible.turns.messages import Ready
from pytest_crucible.turns.schedule import BASE, HEAD, Pair, Step, match, schedule
from pytest_crucible.turns.sides import Side

Tell = Callable[[Step, str, int, int], None]
"""Called before each run, with the test, how many came before, and how many there are."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What both sides have collected.

    Attributes:
        sides: what each said, base and head.
        pairs: the cases, matched.
    """

    sides: tuple[Ready, Ready]
    pairs: Sequence[Pair]

    @property
    def matched(self) -> int:
        """Number of cases that both sides have."""
        return sum(pair.base is not None and pair.head is not None for pair in self.pairs)

    def alone(self) -> tuple[list[str], list[str]]:
        """Return the tests that only the base has, and those that only the head has."""
        base, head = (ready.cases for ready in self.sides)
        return (
            [base[p.base].test for p in self.pairs if p.base is not None and p.head is None],
            [head[p.head].test for p in self.pairs if p.head is not None and p.base is None],
        )


@contextmanager
def started(make: Sequence[Callable[[], Side]], sides: list[Side]) -> Iterator[None]:
    """Start the sides; whatever happens, none of their processes outlives the block.

    What still runs at the end of the block is told to stop, and may write its record.

    Args:
        make: starts a side.
        sides: gets them.
    """
    try:
        for each in make:
            side = each()
            sides.append(side)
        yield
    finally:
        for side in sides:
            side.stop()
        for side in sides:
            side.close()


def collect(sides: Sequence[Side]) -> Collected:
    """Wait until both sides have collected their tests; they do that at the same time.

    Raises:
        SideError: one of them could not.
    """
    base, head = (side.ready() for side in sides)
    return Collected((base, head), match(base.cases, head.cases))


def run_in_turns(sides: Sequence[Side], collected: Collected, rounds: int, tell: Tell) -> None:
    """Run everything, one test at a time.

    Args:
        sides: base and head.
        collected: what they have collected.
        rounds: how often each case runs.
        tell: see `Tell`.

    Raises:
        SideError: a side ended before its last test.
    """
    cases = [ready.cases for ready in collected.sides]
    steps = schedule(cases[BASE], cases[HEAD], collected.pairs, rounds)
    for number, step in enumerate(steps):
        tell(step, cases[step.side][step.run.index].test, number, len(steps))
        sides[step.side].run(step.run)


def end(sides: Sequence[Side]) -> list[dict[str, str]]:
    """Wait until both sides have written their records.

    Returns:
        Where the modules are that each side has imported.

    Raises:
        SideError: one of them could not.
    """
    for side in sides:
        side.finish()
    imported = [side.over().imported for side in sides]
    for side in sides:
        side.wait()
    return imported
