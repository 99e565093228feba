"""Verdicts on claims: does it hold at both bounds, at one, at none?"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.stats.expression import parse
from pytest_crucible.stats.verdict import (
    ALPHA,
    CONFIRMED,
    ERRORED,
    FATAL,
    INCONCLUSIVE,
    NOT_RUN,
    REJECTED,
    WORST_FIRST,
    Verdict,
    verdict_of,
)


@pytest.mark.parametrize(
    ("claim", "interval", "verdict"),
    [
        ("> 0.9", (0.91, 0.99), CONFIRMED),
        ("> 0.9", (0.9, 0.99), INCONCLUSIVE),
        (">= 0.9", (0.9, 0.99), CONFIRMED),
        ("> 0.9", (0.5, 0.9), REJECTED),
        (">= 0.9", (0.5, 0.9), INCONCLUSIVE),
        ("< 0.9", (0.5, 0.89), CONFIRMED),
        ("< 0.9", (0.5, 0.9), INCONCLUSIVE),
        ("<= 0.9", (0.5, 0.9), CONFIRMED),
        ("< 0.9", (0.9, 0.99), REJECTED),
        ("> 0.9", (-math.inf, 0.95), INCONCLUSIVE),
        ("> 0.9", (0.95, math.inf), CONFIRMED),
        ("< 0.9", (0.95, math.inf), REJECTED),
    ],
)
def test_bounds_decide(claim: str, interval: tuple[float, float], verdict: str) -> None:
    """The near bound confirms, the far one rejects; a missing bound does neither."""
    expectation = parse(f"success_rate {claim}")
    assert verdict_of(expectation, interval, expectation.bound.offset) == verdict


@given(
    st.sampled_from(["<", "<=", ">", ">="]),
    st.floats(-5, 5),
    st.tuples(st.floats(-5, 5), st.floats(-5, 5)).map(sorted),
)
def test_a_verdict_follows_its_bounds(operator: str, bound: float, ends: list[float]) -> None:
    """CONFIRMED if the claim holds at both bounds, REJECTED if at none, else INCONCLUSIVE."""
    expectation = parse(f"success_rate {operator} 0")
    holds = {expectation.holds(end, bound) for end in ends}
    expected = {frozenset({True}): CONFIRMED, frozenset({False}): REJECTED}
    low, high = ends
    found = verdict_of(expectation, (low, high), bound)
    assert found == expected.get(frozenset(holds), INCONCLUSIVE)


def test_the_words_are_in_order() -> None:
    """What fails a session comes first; a claim alone has 5 % on each side."""
    assert WORST_FIRST == (ERRORED, REJECTED, INCONCLUSIVE, CONFIRMED, NOT_RUN)
    assert set(WORST_FIRST[:2]) == FATAL
    claim = Verdict(expectation="m > 1", condition="x", metric="m", verdict=CONFIRMED)
    assert (claim.level, claim.decisions, claim.primary) == (ALPHA, 1, True)
