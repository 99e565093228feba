"""Tests of `pytest_crucible.analysis.arm_pairs`."""

from __future__ import annotations

import pytest

from pytest_crucible import DefinitionError
from pytest_crucible.analysis.arm_pairs import (
    ALL,
    arm_name,
    arms_within,
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


# --- arms of one run --------------------------------------------------------------------------

THREE = [("rag", "a"), ("rag", "b"), ("rag", "c"), ("alone", "default")]


def test_the_arms_of_a_run_stand_against_the_first() -> None:
    assert arms_within()(THREE, THREE) == [
        (("rag", "a"), ("rag", "b")),
        (("rag", "a"), ("rag", "c")),
    ]


def test_or_every_two_of_them() -> None:
    pairs = list(arms_within(ALL)(THREE, THREE))
    assert pairs == [
        (("rag", "a"), ("rag", "b")),
        (("rag", "a"), ("rag", "c")),
        (("rag", "b"), ("rag", "c")),
    ]


def test_or_against_the_one_that_is_named() -> None:
    assert arms_within("b")(THREE, THREE) == [
        (("rag", "b"), ("rag", "a")),
        (("rag", "b"), ("rag", "c")),
    ]


def test_an_arm_that_is_not_there_is_named_with_the_valid_ones() -> None:
    with pytest.raises(DefinitionError, match="--against: 'x' is no arm; valid: a, b, c, all"):
        arms_within("x")(THREE, THREE)


def test_one_arm_is_nothing_to_compare() -> None:
    with pytest.raises(DefinitionError, match="no experiment of the run has two arms"):
        arms_within()(THREE[-1:], THREE[-1:])
