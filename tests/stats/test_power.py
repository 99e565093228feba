"""Planning: published answers, the verdicts of comparisons, and simulation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import t as student

from pytest_crucible.stats.comparison import EQUIVALENT, REGRESSED, Comparison, with_verdict
from pytest_crucible.stats.metric_changes import Question, change_of
from pytest_crucible.stats.power import (
    FARTHEST,
    MOST,
    Aim,
    cases_for_guard,
    cases_for_means,
    cases_for_rates,
    cases_for_ratio,
    discordant_shares,
    means_power,
    minimal_effect,
    needed,
    of_logs,
    rates_n,
    smallest,
)
from tests.stats.support import sample

PLAIN = Aim(margin=0.0)
"""No margin, one decision: the classical test."""


# --- published --------------------------------------------------------------------------------


def test_power_of_t_published() -> None:
    """R's ``power.t.test(n = 20, delta = 1, sd = 1)``: power = 0.8689528."""
    assert means_power(20, 1, 1, PLAIN, paired=False) == pytest.approx(0.8689528, abs=5e-8)


@pytest.mark.parametrize(
    ("alpha", "n"), [(0.05, 22.02110), (0.1, 17.84713)], ids=["two.sided", "one.sided"]
)
def test_cases_for_t_published(alpha: float, n: float) -> None:
    """R's ``power.t.test(power = .90, delta = 1)``, and the same with one side."""
    aim = Aim(0.0, power=0.9, alpha=alpha)
    assert cases_for_means(1, 1, aim, paired=False) == math.ceil(n)
    assert means_power(n, 1, 1, aim, paired=False) == pytest.approx(0.9, abs=1e-6)


def test_proportions_published() -> None:
    """R's ``power.prop.test(p1 = .50, p2 = .75, power = .90)``: n = 76.7; n = 50: .7401659."""
    assert rates_n(0.5, 0.75, Aim(0.0, power=0.9)) == pytest.approx(76.7, abs=0.05)
    assert rates_n(0.5, 0.75, Aim(0.0, power=0.7401659)) == pytest.approx(50, abs=1e-4)


def test_pairs_by_hand() -> None:
    """Connor's formula (1987) for shares of 0.1 and 0.2 that change, at 5 % and 80 %."""
    expected = (1.959964 * math.sqrt(0.3) + 0.841621 * math.sqrt(0.3 - 0.01)) ** 2 / 0.01
    assert rates_n(0.6, 0.7, PLAIN, discordant=0.3) == pytest.approx(expected, rel=1e-5)


def test_eighty_against_ninety_percent_with_the_margin() -> None:
    """About 794 where the classical test would say 199; at 199 the verdict is found in 34 %."""
    cases = cases_for_rates(0.8, 0.9, Aim())
    assert cases == pytest.approx(794, rel=0.02)
    assert rates_n(0.8, 0.9, PLAIN) == pytest.approx(199, abs=0.6)


@pytest.mark.parametrize(("decisions", "n"), [(1, 72), (10, 117), (100, 162)])
def test_pairs_without_which_nothing_is_equivalent(decisions: int, n: int) -> None:
    """The smallest n of which 1 − levelⁿ⁻¹ lies below 5 %: the rule of three."""
    aim = Aim(decisions=decisions)
    assert cases_for_guard(aim) == n
    assert 1 - aim.level ** (1 / n) < 0.05 <= 1 - aim.level ** (1 / (n - 1))
    assert cases_for_rates(1.0, 1.0, aim) == n


def test_guards_at_the_ends() -> None:
    """With a margin of 0 nothing is EQUIVALENT; with one of all, two pairs."""
    assert cases_for_guard(Aim(0.0)) > MOST
    assert cases_for_guard(Aim(1.0)) == cases_for_guard(Aim(0.9999)) == 2


# --- the verdict that comparisons make --------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "sigma", "verdict"),
    [(1.2, 0.3, REGRESSED), (10.0, 0.3, REGRESSED), (1.0, 0.05, EQUIVALENT)],
)
def test_the_cases_for_a_latency_reach_its_verdict(
    ratio: float, sigma: float, verdict: str
) -> None:
    """Of paired log-normal times: 75 % to 90 % of runs, where 80 % were asked for."""
    n = cases_for_ratio(ratio, sigma, Aim())
    assert n is not None
    rng, found = np.random.default_rng(1), 0
    row = Comparison(metric="m", baseline=1.0, candidate=1.0, verdict="", better="lower")
    for _ in range(300):
        before = np.exp(rng.normal(0, 1, n))
        after = before * ratio * np.exp(rng.normal(0, sigma, n))
        sides = sample(before, range(n)), sample(after, range(n))
        change = change_of(*sides, 0.05, Question(typical=True))
        found += with_verdict(row, change, 0.05).verdict == verdict
    if verdict == REGRESSED and ratio < 2:
        assert 0.74 <= found / 300 <= 0.88
    else:  # so few or, for EQUIVALENT, the rule of three decide: more than was asked
        assert found / 300 >= 0.8


def test_tenfold_needs_six_pairs_among_a_hundred_decisions() -> None:
    """t below 4⁻ⁿ is not believed, so five pairs could not."""
    assert cases_for_ratio(10, 0.3, Aim(decisions=100)) == 6
    assert means_power(5, math.log(10), 0.3, of_logs(Aim(decisions=100))) == 0


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(
    ("effect", "aim"), [(0.6, Aim(0.1)), (0.0, Aim(0.5)), (0.2, Aim(0.5, decisions=5))]
)
def test_the_power_of_means_by_simulation(effect: float, aim: Aim, paired: bool) -> None:
    """Of t intervals against a margin: beyond it, or within it on both sides."""
    n = cases_for_means(effect, 1.0, aim, paired=paired)
    assert n is not None
    rng = np.random.default_rng(3)
    draws = effect + rng.normal(0, 1, (4_000, n))
    means, variances, df = draws.mean(axis=1), draws.var(axis=1, ddof=1) / n, n - 1
    if not paired:
        others = rng.normal(0, 1, (4_000, n))
        means, df = means - others.mean(axis=1), 2 * (n - 1)
        variances = variances + others.var(axis=1, ddof=1) / n
    half = student.isf(aim.level, df) * np.sqrt(variances)
    if aim.finds(effect):
        found = means - half > aim.margin
    else:
        found = (means - half > -aim.margin) & (means + half < aim.margin)
    guard = cases_for_guard(aim) if not aim.finds(effect) else 2
    assert found.mean() >= 0.78
    if n > guard:
        assert found.mean() <= 0.83


@pytest.mark.parametrize("paired", [True, False])
def test_known_ends_take_some_cases_more(paired: bool) -> None:
    """Half a case at the far end moves the bound: far / gap more pairs, twice that per side."""
    plain = cases_for_means(0.15, 0.3, Aim(0.05), paired=paired)
    known = cases_for_means(0.15, 0.3, Aim(0.05), paired=paired, width=1.0)
    assert plain is not None
    assert known == plain + (11 if paired else 22)
    inside = [cases_for_means(0.0, 0.3, Aim(0.05), width=width) for width in (None, 1.0)]
    assert inside[0] == inside[1]


# --- properties -------------------------------------------------------------------------------


@given(
    st.floats(-3, 3), st.floats(0.1, 3), st.floats(0, 1), st.integers(1, 50),
    st.floats(0.5, 0.99), st.booleans(), st.booleans(),
)  # fmt: skip
def test_the_number_of_cases_is_the_smallest(
    effect: float, sd: float, margin: float, decisions: int, power: float, paired: bool, ranks: bool
) -> None:
    """So many reach the power, and one less does not."""
    aim = Aim(margin, decisions, power)
    assume(aim.gap(effect) > 0.01)
    n = cases_for_means(effect, sd, aim, paired=paired, ranks=ranks)
    assert n is not None
    assert means_power(n, effect, sd, aim, paired=paired, ranks=ranks) >= power
    least = 2 if aim.finds(effect) else cases_for_guard(aim)
    if n > least:
        assert means_power(n - 1, effect, sd, aim, paired=paired, ranks=ranks) < power + 1e-9


@given(st.floats(0.02, 0.98), st.floats(0.02, 0.98), st.floats(0, 0.1), st.integers(1, 20))
@settings(max_examples=40)
def test_a_fall_needs_as_many_as_a_rise(p: float, other: float, margin: float, k: int) -> None:
    """And failures as many as successes; more decisions never need fewer."""
    aim = Aim(margin, k)
    assume(aim.gap(other - p) > 0.02)
    cases = rates_n(p, other, aim)
    assert rates_n(other, p, aim) == pytest.approx(cases)
    assert rates_n(1 - p, 1 - other, aim) == pytest.approx(cases)
    assert rates_n(p, other, Aim(margin, k + 1)) > cases
    low, high = discordant_shares(p, other)
    assert low <= high + 1e-12
    assert rates_n(p, other, aim, discordant=low) <= rates_n(p, other, aim, discordant=high)


@pytest.mark.parametrize("effect", [0.05, -0.05])
def test_an_effect_at_the_margin_is_never_found(effect: float) -> None:
    """−5 pp at a margin of 5 pp: no number of cases, and none within rounding of it."""
    aim = Aim(0.05)
    assert cases_for_rates(0.9, 0.9 + effect, aim) is None
    assert cases_for_means(effect, 1.0, aim) is None
    assert rates_n(0.9, 0.85, aim) == math.inf
    assert aim.gap(0.9 - 0.85) == 0
    assert cases_for_ratio(1.05, 0.3, aim) is None


@pytest.mark.parametrize(("before", "after"), [(0.5, 0.5000001), (0.5, 0.5500001)])
def test_what_is_out_of_reach(before: float, after: float) -> None:
    """More than ten million cases are none."""
    assert cases_for_rates(before, after, Aim(0.0 if after < 0.51 else 0.05)) is None
    assert cases_for_means(1e-6, 1.0, PLAIN) is None


def test_effects_within_the_margin_are_equivalent() -> None:
    """−3 pp at a margin of 5 pp: planned is the verdict that it brings, and with some more."""
    aim = Aim(0.05)
    assert not aim.finds(-0.03)
    inside, none = cases_for_rates(0.9, 0.87, aim), cases_for_rates(0.9, 0.9, aim)
    assert inside is not None
    assert none is not None
    assert inside > none > cases_for_guard(aim)


@pytest.mark.parametrize("paired", [False, True])
def test_huge_effects_need_a_few_cases(paired: bool) -> None:
    """An effect beyond all bounds is no number that breaks the search: 4⁻³ is below 2.5 %."""
    assert cases_for_means(1e6, 1.0, PLAIN, paired=paired) == 3
    assert means_power(1e6, 5.0, 1.0, PLAIN, paired=paired) == 1
    assert means_power(2, 1e6, 1.0, PLAIN, paired=paired) == 0


@given(st.floats(0.01, 1), st.integers(3, 200), st.integers(1, 50), st.floats(0, 0.5))
def test_the_minimal_effect_has_the_power(sd: float, n: int, decisions: int, margin: float) -> None:
    """δ + (t + t) · standard error is found in about 80 % of runs; by hand with z for t."""
    aim = Aim(margin, decisions)
    assume(4.0**-n <= aim.level)
    effect = minimal_effect(sd / math.sqrt(n), n - 1, aim)
    assert effect > margin
    power = means_power(n, effect, sd, aim)
    assert 0.7 <= power <= 0.85
    if n > 20 and decisions == 1:
        assert power == pytest.approx(0.8, abs=0.01)
    normal = minimal_effect(sd / math.sqrt(n), None, Aim(margin))
    assert normal == pytest.approx(margin + (1.959964 + 0.841621) * sd / math.sqrt(n), rel=1e-6)


# --- from a pilot -----------------------------------------------------------------------------


@pytest.mark.parametrize("pilot", [6, 10, 30])
@pytest.mark.parametrize("paired", [True, False])
def test_a_pilot_s_number_keeps_the_power_on_average(pilot: int, paired: bool) -> None:
    """Over pilots whose deviations scatter by χ²: 78 % to 84 % where 80 % are asked for."""
    rng, aim, effect = np.random.default_rng(4), Aim(0.1), 1.0
    df = pilot - 1 if paired else 2 * (pilot - 1)
    powers, inside = [], 0

    def plan(sd: float) -> int | None:
        return cases_for_means(effect, sd, aim, paired=paired)

    true = plan(1.0)
    assert true is not None
    for sd in np.sqrt(rng.chisquare(df, 150) / df):
        found = needed(float(sd), pilot, plan, aim, paired=paired)
        assert found is not None
        assert found.low <= found.cases <= found.high
        inside += found.low <= true <= found.high
        powers.append(means_power(found.cases, effect, 1.0, aim, paired=paired))
    assert 0.77 <= np.mean(powers) <= 0.85
    assert 0.7 <= inside / 150 <= 0.95


def test_a_pilot_does_not_tell_of_twenty_times_its_cases() -> None:
    """More than that depends on the deviation so much that no number is given."""
    assert needed(1.0, 10, lambda _: FARTHEST * 10, Aim()) is not None
    assert needed(1.0, 10, lambda _: FARTHEST * 10 + 1, Aim()) is None
    assert needed(1.0, 10, lambda _: None, Aim()) is None
    far = needed(1.0, 10, lambda sd: 100 if sd < 1.5 else None, Aim())
    assert far is not None
    assert (far.low, far.high) == (100, MOST) or far.high == 100


@given(st.integers(2, 5_000), st.integers(2, 50), st.none() | st.integers(1, 9_000))
def test_the_search_finds_the_first(first: int, least: int, guess: int | None) -> None:
    """Wherever it starts."""
    assert smallest(lambda n: n >= first, least, guess) == max(first, least)


def test_the_search_ends() -> None:
    """What is never enough is not searched for beyond ten million."""
    assert smallest(lambda _: False, 2) is None


# --- what cannot be planned -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (lambda: Aim(power=1.0), "power and alpha must lie between 0 and 1"),
        (lambda: Aim(alpha=0.0), "power and alpha must lie between 0 and 1"),
        (lambda: Aim(margin=-0.1), "the margin -0.1 is not a number of at least 0"),
        (lambda: Aim(margin=math.nan), "the margin nan is not a number"),
        (lambda: Aim(decisions=0), "0 decisions: needs at least 1"),
        (lambda: Aim(alpha=1e-9, decisions=10**6), "alpha is too small for so many decisions"),
        (lambda: cases_for_means(math.nan, 1.0, PLAIN), "the effect nan is not a number"),
        (lambda: cases_for_means(1.0, 0.0, PLAIN), "a deviation of 0 plans nothing"),
        (lambda: cases_for_means(1.0, math.inf, PLAIN), "a deviation of inf plans nothing"),
        (lambda: cases_for_ratio(0.0, 1.0, PLAIN), "the ratio 0 is not above 0"),
        (lambda: cases_for_rates(0.5, 1.1, PLAIN), "0.5 and 1.1 are no two rates between 0 and 1"),
        (lambda: cases_for_rates(0.5, math.nan, PLAIN), "0.5 and nan are no two rates"),
        (lambda: cases_for_rates(0.5, 0.6, PLAIN, discordant=0.05),
         "with rates of 0.5 and 0.6 the share of discordant pairs lies between 0.1 and 0.9, not"),
    ],
)  # fmt: skip
def test_what_cannot_be_planned_says_why(plan: Callable[[], object], reason: str) -> None:
    """One line that names the value."""
    with pytest.raises(ValueError, match=reason):
        plan()
