"""Parts of tests against SciPy, published answers and brute force."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from pytest_crucible.stats import tests
from pytest_crucible.stats.tests import Tails, p_of
from tests.stats.support import SLEEP_1, SLEEP_2, Floats

BH_1995 = (
    0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344,
    0.0459, 0.3240, 0.4262, 0.5719, 0.6528, 0.7590, 1.0,
)  # fmt: skip
small_tied = st.lists(st.integers(-3, 3), min_size=1, max_size=6).map(
    lambda found: np.array(found, dtype=np.float64)
)


def test_welchs_degrees_of_freedom_on_sleep() -> None:
    """R's `sleep`: 17.776."""
    variances = [float(side.var(ddof=1)) / 10 for side in (SLEEP_1, SLEEP_2)]
    df = tests.welch_df(variances[0], 9, variances[1], 9)
    assert df == pytest.approx(17.776, abs=5e-4)


def test_benjamini_hochberg_1995() -> None:
    """Of the paper's fifteen p-values its procedure rejects four, Holm's three."""
    named = {f"h{i:02}": p for i, p in enumerate(BH_1995)}
    corrected = [correct(named).values() for correct in (tests.benjamini_hochberg, tests.holm)]
    assert [sum(p <= 0.05 for p in each) for each in corrected] == [4, 3]


def tails_of(observed: float, possible: list[float]) -> Tails:
    less = sum(value <= observed + 1e-9 for value in possible) / len(possible)
    return less, sum(value >= observed - 1e-9 for value in possible) / len(possible)


@given(small_tied, small_tied)
def test_rank_sum_counts_all_arrangements(x: Floats, y: Floats) -> None:
    """With ties: the share of all ways to deal the values that are as extreme, on either side."""
    ranks = stats.rankdata(np.concatenate([x, y]))
    possible = [float(sum(each)) for each in itertools.combinations(ranks, x.size)]
    expected = tails_of(float(ranks[: x.size].sum()), possible)
    assert tests.rank_sum_exact(x, y) == pytest.approx(expected)


def test_rank_sum_is_scipys_permutation_test() -> None:
    """With ties it is what SciPy's enumeration of all permutations gives."""
    x, y = np.array([1.0, 2, 2, 3, 5]), np.array([2.0, 3, 4, 5, 5, 6])

    def statistic(one: Floats, other: Floats) -> float:
        return float(stats.rankdata(np.concatenate([one, other]))[: one.size].sum())

    found = stats.permutation_test((x, y), statistic, n_resamples=np.inf)  # type: ignore[call-overload]
    assert p_of(tests.rank_sum_exact(x, y)) == pytest.approx(float(found.pvalue))


@given(small_tied)
def test_signed_rank_counts_all_signs(values: Floats) -> None:
    """With ties: the share of all choices of signs that are as extreme, on either side."""
    nonzero = values[values != 0]
    assume(nonzero.size)
    ranks = stats.rankdata(np.abs(nonzero))
    choices = itertools.product((False, True), repeat=ranks.size)
    possible = [float(ranks[list(signs)].sum()) for signs in choices]
    expected = tails_of(float(ranks[nonzero > 0].sum()), possible)
    assert tests.signed_rank_exact(nonzero) == pytest.approx(expected)


def test_nothing_that_differs_is_no_evidence() -> None:
    """No difference but zeros: both tails are 1, and so is p."""
    assert tests.signed_rank_exact(np.empty(0)) == (1.0, 1.0)
    assert p_of((1.0, 1.0)) == p_of((1.0, 1.0), "greater") == p_of((1.0, 1.0), "less") == 1.0


@given(st.floats(0, 1), st.floats(0, 1))
def test_p_is_a_tail_or_twice_the_smaller(less: float, greater: float) -> None:
    """One-sided p are the tails; the two-sided one is at most 1."""
    assert p_of((less, greater), "less") == less
    assert p_of((less, greater), "greater") == greater
    assert p_of((less, greater)) == min(1.0, 2 * min(less, greater))


@given(small_tied, small_tied)
def test_cliffs_delta_counts_all_pairs(x: Floats, y: Floats) -> None:
    """P(y > x) − P(y < x) over all pairs."""
    signs = np.sign(np.subtract.outer(y, x))
    assert tests.cliffs_delta(x, y) == pytest.approx(signs.mean())


# --- several at once --------------------------------------------------------------------------

p_values = st.lists(st.floats(0, 1), max_size=20).map(
    lambda found: {str(i): p for i, p in enumerate(found)}
)


@given(p_values)
def test_benjamini_hochberg_is_scipys(named: dict[str, float]) -> None:
    """Corrected p-values are those of `false_discovery_control`, under their names."""
    assume(named)
    expected = stats.false_discovery_control(np.array(list(named.values())))
    found = tests.benjamini_hochberg(named)
    assert list(found) == list(named)
    assert list(found.values()) == pytest.approx(list(expected))


@given(p_values)
def test_holm_steps_down(named: dict[str, float]) -> None:
    """The k-th smallest p times the number of those not smaller, never falling, at most 1."""
    found = tests.holm(named)
    ordered = sorted(named, key=lambda name: named[name])
    for position, name in enumerate(ordered):
        reached = [named[ordered[i]] * (len(named) - i) for i in range(position + 1)]
        assert found[name] == pytest.approx(min(1.0, max(reached)))


@given(st.lists(st.integers(1, 9), max_size=8))
def test_subsets_by_their_sum(ranks: list[int]) -> None:
    """Counted one by one."""
    sums = [sum(some) for n in range(len(ranks) + 1) for some in itertools.combinations(ranks, n)]
    assert tests.subset_sums(ranks).tolist() == np.bincount(sums, minlength=1).tolist()
