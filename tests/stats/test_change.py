"""What all changes share: the guard of what was not seen, ends, rounding, and floors."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pytest_crucible.stats.change import (
    DIFFERENCE,
    RATIO,
    Change,
    arrangements_p,
    differences,
    guarded,
    paired_floor,
    refuse_below,
    unpaired_floor,
    unseen_share,
    within,
)
from pytest_crucible.stats.intervals import NoIntervalError, clopper_pearson
from tests.stats.support import Floats


def change(scale: str, low: float, high: float) -> Change:
    return Change(scale, (low + high) / 2, low, high, 0.5, 0.0, None, "", (10,))


# --- what was not seen ------------------------------------------------------------------------


@given(st.integers(1, 5000), st.sampled_from([0.05, 0.01, 0.001]))
def test_unseen_share_is_clopper_and_pearsons(n: int, alpha: float) -> None:
    """So many of the cases may be different although none of n was: the bound for 0 of n."""
    assert unseen_share(n, alpha) == pytest.approx(clopper_pearson(0, n, alpha)[1])


@pytest.mark.parametrize(("n", "share"), [(6, 0.459), (10, 0.308), (20, 0.168), (72, 0.0499)])
def test_unseen_share_published(n: int, share: float) -> None:
    """Recipes 5: 20 cases alike leave 17 %; below 5 %, which is equivalence, it takes 72."""
    assert unseen_share(n, 0.05) == pytest.approx(share, abs=5e-4)
    assert unseen_share(71, 0.05) > 0.05 > unseen_share(72, 0.05)


@given(
    st.sampled_from([RATIO, DIFFERENCE]),
    st.floats(0.01, 3),
    st.floats(0, 2),
    st.integers(1, 500),
    st.floats(0.1, 10),
)
def test_the_guard_moves_far_bounds_only(
    scale: str, low: float, width: float, units: int, size: float
) -> None:
    """What excludes no change still does, by as much; the other bound is never too near."""
    if scale == DIFFERENCE:
        low -= 1.5
    found = guarded(change(scale, low, low + width), units, 0.05, size)
    none = 1.0 if scale == RATIO else 0.0
    share = unseen_share(units, 0.05)
    reach = (1 / (1 + share), 1 + share) if scale == RATIO else (-share * size, share * size)
    assert found.low <= low
    assert found.high >= low + width
    if low > none:
        assert found.low == low
        assert found.high >= reach[1]
    elif low + width < none:
        assert found.high == low + width
        assert found.low <= reach[0]
    else:
        assert found.low <= reach[0]
        assert found.high >= reach[1]


def test_wide_intervals_need_no_guard() -> None:
    """The guard is a floor of the width, and adds nothing to it."""
    wide = change(DIFFERENCE, -2, 2)
    assert guarded(wide, 20, 0.05) == wide


def test_within_cuts_at_the_ends() -> None:
    """Never outside, and never low above high."""
    assert (within(change(DIFFERENCE, -3, 0.5), -1, 1).low) == -1
    cut = within(change(DIFFERENCE, 2, 3), -1, 1)
    assert (cut.low, cut.high) == (1, 1)


# --- rounding ---------------------------------------------------------------------------------


@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6)))
def test_rounding_is_no_difference(values: Floats) -> None:
    """The sum of a case's trials in another order is the same number."""
    assert not differences(values, values * (1 + 4e-16)).any()


@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(0.5, 2)))
def test_rounding_of_logarithms_is_no_difference(values: Floats) -> None:
    """Near 1 the logarithm is small, and the rounding of the value is not."""
    logs = np.log(values), np.log(values * (1 + 4e-16))
    assert not differences(*logs, logs=True).any()


def test_small_differences_are_differences() -> None:
    """A billionth of the value counts."""
    values = np.array([1.0, 2.0])
    assert differences(values, values * (1 + 1e-9)) == pytest.approx(values * 1e-9)


# --- floors -----------------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(1, 60))
def test_floors_of_two_sides(n: int, m: int) -> None:
    """One arrangement of C(n + m, n) is the most extreme; t may claim what two values allow."""
    ways = math.comb(n + m, n)
    assert arrangements_p(n, m) == pytest.approx(1 / ways)
    split = n / (n + m)  # all n low and all m high, where that is the share of low ones
    assert unpaired_floor(n, m) == pytest.approx(split**n * (1 - split) ** m)
    assert paired_floor(n) == 4.0**-n


def test_floors_of_many_are_numbers() -> None:
    """They neither vanish nor overflow."""
    assert 0 < paired_floor(10**6) < 1e-300
    assert 0 < arrangements_p(10**6, 10**6) < 1e-300


def test_too_few_are_refused() -> None:
    """A floor above the level of one side is a reason; at the level it is not."""
    refuse_below(0.025, 0.05, "3 pairs")
    with pytest.raises(NoIntervalError, match=r"^too few: 3 pairs$"):
        refuse_below(0.026, 0.05, "3 pairs")
