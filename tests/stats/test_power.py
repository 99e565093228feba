"""Planning against published answers and simulation-free checks."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.stats.power import mcnemar_n, proportions_n, t_n, t_power


def test_proportions_published() -> None:
    """R's `power.prop.test(p1 = .50, p2 = .75, power = .90)`: 76.7 per arm."""
    assert proportions_n(0.5, 0.75, 0.9) == pytest.approx(76.7, abs=0.05)


def test_t_published() -> None:
    """R's `power.t.test(n = 20, delta = 1, sd = 1)`: power 0.8689528."""
    assert t_power(20, 1.0) == pytest.approx(0.8689528, abs=5e-8)


@given(st.floats(0.05, 3), st.floats(0.5, 0.99), st.booleans())
def test_t_n_is_the_smallest(effect: float, power: float, paired: bool) -> None:
    """So many cases reach the power, and one less does not."""
    n = t_n(effect, power, paired=paired)
    assert t_power(n, effect, paired=paired) >= power
    assert t_power(n - 1, effect, paired=paired) < power


@pytest.mark.parametrize("paired", [False, True])
def test_huge_effects_need_two_cases(paired: bool) -> None:
    """An effect beyond all bounds is no number that breaks the search."""
    assert t_n(1e6, paired=paired) == 2
    assert t_power(1e6, 5.0, paired=paired) == pytest.approx(1)
    assert t_power(1, 5.0, paired=paired) == 0


def test_mcnemar_by_hand() -> None:
    """Connor's formula for shares 0.1 and 0.2, at the usual 5 % and 80 %."""
    expected = (1.959964 * math.sqrt(0.3) + 0.841621 * math.sqrt(0.3 - 0.01)) ** 2 / 0.01
    assert mcnemar_n(0.1, 0.2) == pytest.approx(expected, rel=1e-5)


@given(st.floats(0.01, 0.45), st.floats(0.01, 0.45))
def test_sides_may_be_exchanged(p: float, other: float) -> None:
    """A fall needs as many cases as a rise."""
    if abs(p - other) > 1e-3:
        assert proportions_n(p, other) == pytest.approx(proportions_n(other, p))
        assert mcnemar_n(p, other) == pytest.approx(mcnemar_n(other, p))


@pytest.mark.parametrize(
    ("plan", "arguments", "reason"),
    [
        (proportions_n, (0.5, 0.5), "two different proportions"),
        (proportions_n, (0.5, 1.1), "two different proportions"),
        (proportions_n, (0.5, math.nan), "two different proportions"),
        (proportions_n, (0.5, 0.6, 1.0), "power and alpha"),
        (t_n, (0.0,), "effect other than 0"),
        (t_n, (math.nan,), "effect other than 0"),
        (t_n, (math.inf,), "effect other than 0"),
        (t_n, (1.0, 0.0), "power and alpha"),
        (t_n, (1e-9,), "too small"),
        (mcnemar_n, (0.1, 0.1), "two different shares"),
        (mcnemar_n, (-0.1, 0.1), "two different shares"),
        (mcnemar_n, (0.6, 0.5), "add up to more than 1"),
    ],
)
def test_what_cannot_be_planned_says_why(
    plan: Callable[..., float], arguments: tuple[float, ...], reason: str
) -> None:
    """No effect, or numbers that are no shares: one line each."""
    with pytest.raises(ValueError, match=reason):
        plan(*arguments)
