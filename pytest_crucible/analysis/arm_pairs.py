"""Which arms of two runs are compared with which."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import combinations

from pytest_crucible._errors import DefinitionError

Key = tuple[str, str]
"""experiment, condition"""
Pair = Callable[[Collection[Key], Collection[Key]], Iterable[tuple[Key | None, Key | None]]]
"""From the arms of baseline and candidate to those that are compared; None: only one run has it."""


def arm_name(arm: Key) -> str:
    """``exp`` or ``exp (short)``."""
    experiment, condition = arm
    return experiment if condition == "default" else f"{experiment} ({condition})"


def same_arms(
    before: Collection[Key], after: Collection[Key]
) -> list[tuple[Key | None, Key | None]]:
    """Pair the arms with the same experiment and the same condition."""
    return [
        (arm if arm in before else None, arm if arm in after else None)
        for arm in dict.fromkeys([*before, *after])
    ]


def same_conditions(
    before: Collection[Key], after: Collection[Key]
) -> list[tuple[Key | None, Key | None]]:
    """Pair the arms with the same condition, whatever their experiments are called.

    Raises:
        DefinitionError: several experiments of a run have a condition, or no condition is in both.
    """
    sides = [
        _by_condition(side, arms) for side, arms in (("baseline", before), ("candidate", after))
    ]
    shared = [condition for condition in sides[1] if condition in sides[0]]
    if not shared:
        known = [", ".join(side) or "none" for side in sides]
        raise DefinitionError(
            f"no condition is in both runs: the baseline has {known[0]}, the candidate {known[1]}"
        )
    alone = [(arm, None) for c, arm in sides[0].items() if c not in sides[1]]
    new = [(None, arm) for c, arm in sides[1].items() if c not in sides[0]]
    return [*((sides[0][c], sides[1][c]) for c in shared), *alone, *new]


def _by_condition(side: str, arms: Collection[Key]) -> dict[str, Key]:
    found: dict[str, Key] = {}
    for arm in arms:
        other = found.setdefault(arm[1], arm)
        if other != arm:
            raise DefinitionError(
                f"the {side} has the condition {arm[1]!r} in {other[0]!r} and in {arm[0]!r}: "
                "name the arms to compare, with --arms"
            )
    return found


def these_arms(old: str, new: str) -> Pair:
    """Return a function that pairs two arms, given as ``EXPERIMENT.CONDITION``.

    An experiment with one condition needs no condition.
    """

    def pair(before: Collection[Key], after: Collection[Key]) -> list[tuple[Key, Key]]:
        return [(_named_arm(old, "baseline", before), _named_arm(new, "candidate", after))]

    return pair


def _named_arm(name: str, side: str, arms: Collection[Key]) -> Key:
    exact = [arm for arm in arms if f"{arm[0]}.{arm[1]}" == name]
    found = exact or [arm for arm in arms if arm[0] == name]
    if len(found) == 1:
        return found[0]
    valid = ", ".join(f"{experiment}.{condition}" for experiment, condition in arms)
    problem = "has several arms" if found else "is not in it"
    raise DefinitionError(f"arms of the {side}: {name!r} {problem}; valid: {valid}")


ALL = "all"
"""For ``--against``: every pair of arms of an experiment."""


def arms_within(against: str | None = None) -> Pair:
    """Return a function that pairs the arms of every experiment of one run.

    Args:
        against: the condition that the others are compared with; `ALL` for every two of them; None
            for the first one.
    """

    def pair(before: Collection[Key], _: Collection[Key]) -> list[tuple[Key, Key]]:
        arms: dict[str, list[Key]] = {}
        for arm in before:
            arms.setdefault(arm[0], []).append(arm)
        several = {name: each for name, each in arms.items() if len(each) > 1}
        if not several:
            raise DefinitionError("no experiment of the run has two arms; name a second run")
        if against in (None, ALL):
            return [
                two
                for each in several.values()
                for two in combinations(each, 2)
                if against == ALL or two[0] == each[0]
            ]
        found = [each for each in several.values() if any(arm[1] == against for arm in each)]
        if not found:
            known = dict.fromkeys(arm[1] for each in several.values() for arm in each)
            raise DefinitionError(
                f"--against: {against!r} is no arm; valid: {', '.join(known)}, {ALL}"
            )
        return [((each[0][0], against), arm) for each in found for arm in each if arm[1] != against]

    return pair
