"""Families: at which level each decision of one exit code is made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.stats.family import (
    ALPHA,
    CLAIM,
    KINDS,
    OTHER,
    SIDE,
    SUCCESS,
    Decision,
    Levels,
    levels_of,
    reachable,
)

floors = st.sampled_from([0.0, 1e-6, 0.001, 0.0101, 0.02, 0.03, 0.2, 1.0])
families = st.lists(st.builds(Decision, st.sampled_from(KINDS), floors), max_size=60)


def test_a_decision_alone_has_the_usual_level() -> None:
    """A claim 5 % on its one side, a row 2.5 % on each: its interval is one of 95 %."""
    assert levels_of([Decision(CLAIM, 0.0)]).of(CLAIM) == 0.05
    assert levels_of([Decision(SUCCESS, 0.0)]).of(SUCCESS) == 0.025
    assert levels_of([Decision(OTHER, 0.0)]).of(OTHER) == 0.025
    assert levels_of([]) == Levels()


@pytest.mark.parametrize("number", [1, 2, 10, 100])
def test_kinds_share_equally_and_each_within_itself(number: int) -> None:
    """A hundred latencies leave the success rate as much as one latency does."""
    family = [Decision(SUCCESS, 0.0), *[Decision(OTHER, 0.0)] * number]
    levels = levels_of(family)
    assert levels.of(SUCCESS) == 0.025
    assert levels.of(OTHER) == pytest.approx(0.025 / number)
    assert (levels.count(SUCCESS), levels.count(OTHER)) == (1, number)
    three = levels_of([*family, Decision(CLAIM, 0.0)])
    assert [three.of(kind) for kind in KINDS] == pytest.approx(
        [0.05 / 3, 0.05 / 3, 0.05 / 3 / number]
    )


@given(families)
def test_what_a_family_spends(family: list[Decision]) -> None:
    """What its decisions can spend is 5 % in all; a row spends 2.5 % at most.

    A decision spends its level if it can reach it, else nothing.
    """
    levels = levels_of(family)
    spent = [levels.of(each.kind) for each in family if each.floor <= levels.of(each.kind)]
    assert sum(spent) <= ALPHA * (1 + 1e-12)
    assert max(levels.success, levels.other) <= SIDE
    for kind, count in zip(KINDS, levels.counts, strict=True):
        assert 1 <= count <= max(1, sum(each.kind == kind for each in family))


@given(families, st.sampled_from(KINDS))
def test_what_cannot_be_reached_costs_nothing(family: list[Decision], kind: str) -> None:
    """A metric that is there with far too few values leaves all others their level."""
    assert levels_of([*family, Decision(kind, 1.0)]) == levels_of(family)


def test_a_success_rate_of_three_cases_spends_nothing() -> None:
    """Its smallest p is .0498: ten such rows leave the level to the one that can reach it."""
    small, large = Decision(SUCCESS, 0.0498), Decision(SUCCESS, 1e-6)
    assert levels_of([*[small] * 10, large]).of(SUCCESS) == 0.025
    assert levels_of([*[small] * 10, large, large]).of(SUCCESS) == 0.0125


@pytest.mark.parametrize(
    ("pairs", "most"), [(4, 6), (5, 25), (6, 102), (7, 409), (8, 1638)]
)  # fmt: skip
def test_how_many_latencies_so_few_pairs_bear(pairs: int, most: int) -> None:
    """t on n pairs never claims less than 4⁻ⁿ: with one decision more, none can be reached."""
    floor = 4.0**-pairs
    assert levels_of([Decision(OTHER, floor)] * most).of(OTHER) >= floor
    assert levels_of([Decision(OTHER, floor)] * (most + 1)).of(OTHER) < floor


@given(st.lists(floors, min_size=1, max_size=60), st.sampled_from([0.05, 0.025]))
def test_the_number_is_tarone_s(found: list[float], part: float) -> None:
    """The smallest k of which at most k can reach part / k, and never more than there are."""
    count = reachable(found, part)

    def able(k: int) -> int:
        return sum(floor <= part / k for floor in found)

    assert able(count) <= count <= len(found)
    assert all(able(k) > k for k in range(1, count))


def test_slices_share_a_level() -> None:
    """Each decision once per slice: the slices divide its level among themselves."""
    levels = levels_of([Decision(CLAIM, 0.0), Decision(OTHER, 0.0)])
    shared = levels.shared(4)
    assert [shared.of(kind) for kind in KINDS] == [levels.of(kind) / 4 for kind in KINDS]
    assert shared.counts == levels.counts


def test_a_family_is_red_in_five_percent_of_sessions() -> None:
    """Any number of true hypotheses with uniform p: false alarms stay at 5 %, some below."""
    rng = np.random.default_rng(1)
    for counts in ((1, 0, 0), (1, 1, 1), (10, 3, 50), (0, 100, 100)):
        kinds = [kind for kind, count in zip(KINDS, counts, strict=True) for _ in range(count)]
        floor = np.exp(-rng.exponential(4, len(kinds)))
        levels = levels_of(map(Decision, kinds, floor.tolist()))
        p = rng.random((20_000, len(kinds)))
        p = np.where(p < floor, 1.0, p)  # what a p of so few values can be: never below its floor
        alarm = (p <= np.array([levels.of(kind) for kind in kinds])).any(axis=1)
        assert alarm.mean() <= 0.05 + 0.005
