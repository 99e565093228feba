"""Tests of `pytest_crucible.analysis.arm_pairs`."""

from __future__ import annotations

import pytest

from pytest_crucible import DefinitionError
from pytest_crucible.analysis.arm_pairs import (
    arm_name,
    same_arms,
    same_conditions,
    these_arms,
)

BASE = [("rag", "control"), ("rag", "short"), ("old", "x.y")]
CAND = [("rag2", "control"), ("rag2", "long"), ("rag", "short")]


def test_the_same_arms_by_default() -> None:
    """Experiment and condition have to be the same; the rest is on one side only."""
    assert same_arms(BASE, CAND) == [
        (("rag", "control"), None),
        (("rag", "short"), ("rag", "short")),
        (("old", "x.y"), None),
        (None, ("rag2", "control")),
        (None, ("rag2", "long")),
    ]


def test_the_same_conditions_whatever_the_experiments_are_called() -> None:
    """So an experiment may be renamed, or two experiments compared."""
    assert same_conditions(BASE, CAND) == [
        (("rag", "control"), ("rag2", "control")),
        (("rag", "short"), ("rag", "short")),
        (("old", "x.y"), None),
        (None, ("rag2", "long")),
    ]


def test_a_condition_of_two_experiments_is_not_guessed() -> None:
    """One line says which experiments have it."""
    with pytest.raises(DefinitionError, match="'control' in 'a' and in 'b'"):
        same_conditions([("a", "control"), ("b", "control")], [("a", "control")])


def test_no_condition_in_common() -> None:
    """The message tells which conditions there are."""
    with pytest.raises(DefinitionError, match="the baseline has a, the candidate b, c"):
        same_conditions([("e", "a")], [("e", "b"), ("e", "c")])


@pytest.mark.parametrize(
    ("old", "new", "pair"),
    [
        ("rag.control", "rag2.long", (("rag", "control"), ("rag2", "long"))),
        ("old.x.y", "rag.short", (("old", "x.y"), ("rag", "short"))),
        ("old", "rag", (("old", "x.y"), ("rag", "short"))),
    ],
)
def test_two_arms_by_name(old: str, new: str, pair: object) -> None:
    """Dots in names do not matter; an experiment with one arm needs no condition."""
    assert list(these_arms(old, new)(BASE, CAND)) == [pair]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("rag", "rag", "arms of the baseline: 'rag' has several arms; valid: rag.control, "),
        ("old", "nope", "arms of the candidate: 'nope' is not in it; valid: rag2.control, "),
    ],
)
def test_an_arm_that_is_not_there(old: str, new: str, problem: str) -> None:
    """The message names the side, and what would be valid."""
    with pytest.raises(DefinitionError, match=problem):
        these_arms(old, new)(BASE, CAND)


def test_names_of_arms() -> None:
    """The only condition of an experiment is not worth a word."""
    assert (arm_name(("e", "default")), arm_name(("e", "b"))) == ("e", "e (b)")
