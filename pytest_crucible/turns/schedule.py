"""Who runs what, in which order: the same case on both sides, one side after the other.

Machines become slower and faster while tests run. Two runs of a case that follow each other at once
see the same machine, so its speed falls out of their ratio. The order is A B B A over each pair of
rounds, and every second case begins with B, so that neither side is always the first to run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pytest_crucible.turns.messages import Case, Run

BASE, HEAD = 0, 1
"""The two sides, as indices."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The same case on both sides, as indices into their cases; None where a side lacks it."""

    base: int | None
    head: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """One run of a case.

    Attributes:
        side: `BASE` or `HEAD`.
        run: what to tell the side.
        round: number of the round of this case, from 1.
    """

    side: int
    run: Run
    round: int


def match(base: Sequence[Case], head: Sequence[Case]) -> list[Pair]:
    """Match the cases of two sides, by id, and by content where ids have changed.

    Returns:
        The pairs in the order of the head; what only the base has comes after its predecessor.
    """
    of_base: dict[int, int] = {}
    for key in (_by_id, _by_content):
        left = _indices(base, set(of_base), key)
        right = _indices(head, set(of_base.values()), key)
        for shared in left.keys() & right.keys():
            of_base.update(zip(left[shared], right[shared], strict=False))
    of_head = {there: here for here, there in of_base.items()}
    alone: defaultdict[int | None, list[int]] = defaultdict(list)
    before: int | None = None
    for index in range(len(base)):
        if index in of_base:
            before = index
        else:
            alone[before].append(index)
    pairs = [Pair(index, None) for index in alone[None]]
    for index in range(len(head)):
        partner = of_head.get(index)
        pairs.append(Pair(partner, index))
        if partner is not None:
            pairs += [Pair(other, None) for other in alone[partner]]
    return pairs


def _by_id(case: Case) -> object:
    return case.experiment, case.condition, case.case, case.trial


def _by_content(case: Case) -> object:
    if case.content is None:
        return None
    return case.experiment, case.condition, case.test.partition("[")[0], case.content, case.trial


def _indices(
    cases: Sequence[Case], done: set[int], key: Callable[[Case], object]
) -> dict[object, list[int]]:
    """Return the indices of the cases that are not done, by key; those without a key left out."""
    found: dict[object, list[int]] = {}
    for index, case in enumerate(cases):
        if index not in done and (of_case := key(case)) is not None:
            found.setdefault(of_case, []).append(index)
    return found


def schedule(
    base: Sequence[Case], head: Sequence[Case], pairs: Sequence[Pair], rounds: int
) -> list[Step]:
    """Return all runs in their order; a warm-up runs once."""
    turns = list(_turns(base, head, pairs, rounds))
    following: list[int | None] = [None, None]
    steps = []
    for side, index, number in reversed(turns):
        steps.append(Step(side, Run(index, following[side]), number))
        following[side] = index
    return steps[::-1]


def _turns(
    base: Sequence[Case], head: Sequence[Case], pairs: Sequence[Pair], rounds: int
) -> Iterator[tuple[int, int, int]]:
    matched = 0
    for pair in pairs:
        sides = [(BASE, pair.base), (HEAD, pair.head)]
        here = [(side, index) for side, index in sides if index is not None]
        cases = (base, head)[here[0][0]]
        for number in range(1, rounds + 1 if cases[here[0][1]].trial > 0 else 2):
            swapped = (matched + number) % 2 == 0
            for side, index in reversed(here) if swapped else here:
                yield side, index, number
        matched += len(here) == 2
