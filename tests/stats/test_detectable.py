"""What rows find, and what twice the margin needs, held against the verdicts themselves."""

import math

import numpy as np
import pytest

from pytest_crucible.stats.comparison import (
    EQUIVALENT,
    INCONCLUSIVE,
    REGRESSED,
    Comparison,
    with_verdict,
)
from pytest_crucible.stats.comparison_options import Options
from pytest_crucible.stats.detectable import Measured, detectable, found_rate, needs
from pytest_crucible.stats.metric_changes import ROW, Question, change_of
from pytest_crucible.stats.power import Aim, means_power, of_logs
from pytest_crucible.stats.rate_power import exact_power
from pytest_crucible.stats.samples import RATE
from tests.stats.support import Floats, compare_groups, events, group, lognormal, sample

ALPHA = 0.05


def row_of(metric: str, rows: list[Comparison]) -> Comparison:
    return next(row for row in rows if row.metric == metric)


def success(before: str, after: str, *, mark: str = "c", margin: float = 0.05) -> Comparison:
    """The row of two arms, a letter per case: p passed, f failed."""
    sides = [
        group(events({f"{name}{i}": letter for i, letter in enumerate(letters)}))
        for name, letters in (("c", before), (mark, after))
    ]
    return row_of("success_rate", compare_groups(sides[0], sides[1], Options(margin=margin)))


def letters(failed: int, n: int) -> str:
    return "f" * failed + "p" * (n - failed)


# --- success rates ----------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["c", "other"], ids=["paired", "unpaired"])
@pytest.mark.parametrize("n", [8, 20, 50])
@pytest.mark.parametrize("margin", [0.05, 0.1])
def test_a_rate_regresses_just_where_its_row_says(mark: str, n: int, margin: float) -> None:
    unchanged = success(letters(0, n), letters(0, n), mark=mark, margin=margin)
    assert unchanged.regresses_at is not None
    first = n - round(unchanged.regresses_at * n)
    assert success(letters(0, n), letters(first, n), mark=mark, margin=margin).verdict == REGRESSED
    one_less = success(letters(0, n), letters(first - 1, n), mark=mark, margin=margin)
    assert one_less.verdict == INCONCLUSIVE


def test_what_two_of_twenty_pairs_won_has_to_be_lost_first() -> None:
    won = success("ff" + "p" * 18, letters(0, 20))
    plain = success(letters(2, 20), letters(2, 20))
    assert won.mde is not None
    assert plain.mde is not None
    assert won.baseline == plain.baseline == 0.9
    assert won.regresses_at is not None
    worse = round((won.baseline - won.regresses_at) * 20) + 2
    after = "pp" + "f" * worse + "p" * (18 - worse)
    assert success("ff" + "p" * 18, after).verdict == REGRESSED


def test_the_minimal_effect_of_a_rate_has_its_power() -> None:
    row = success(letters(0, 60), letters(0, 60))
    assert row.mde is not None
    power = exact_power(60, 1.0, 1 + row.mde, 0.05, ALPHA / 2, discordant=-row.mde)
    assert power == pytest.approx(0.8, abs=0.01)


def test_of_rates_of_which_less_is_better_a_rise_is_found() -> None:
    failures = sample([0.0] * 20, range(20), kind=RATE)
    change = change_of(failures, failures, ALPHA)
    row = Comparison(
        metric="wrong", baseline=0.0, candidate=0.0, verdict=INCONCLUSIVE, scale=change.scale,
        change=0.0, better="lower", absolute=True,
    )  # fmt: skip
    measured = Measured(row, (failures, failures), ROW, change, ALPHA)
    found = detectable(measured)
    assert found is not None
    same = success(letters(0, 20), letters(0, 20))
    assert same.mde is not None
    assert found == pytest.approx(-same.mde)
    assert found_rate(measured) is None  # it is no success rate


def test_two_pairs_find_nothing() -> None:
    row = success("pp", "pp")
    assert row.mde is None
    assert row.regresses_at is None


# --- ratios and means -------------------------------------------------------------------------


def measured_ratio(n: int, sigma: float, *, paired: bool = True, margin: float = 0.05) -> Measured:
    """Latencies of ``n`` cases that have not changed, with a typical log ratio of 0."""
    rng = np.random.default_rng(n)
    noise = rng.normal(size=n)
    noise = sigma * (noise - noise.mean()) / noise.std(ddof=1)
    before = lognormal(n, 1) if paired else [100.0] * n
    after = [value * math.exp(each) for value, each in zip(before, noise, strict=True)]
    cases = range(n) if paired else None
    sides = sample(before, cases), sample(after, cases)
    change = change_of(*sides, ALPHA, Question(typical=True))
    row = Comparison(
        metric="latency", baseline=1.0, candidate=1.0, verdict=INCONCLUSIVE, better="lower",
        change=change.estimate, scale=change.scale, margin=margin, n=change.n,
    )  # fmt: skip
    return Measured(row, sides, Question(typical=True), change, ALPHA)


@pytest.mark.parametrize(("n", "sigma"), [(10, 0.1), (30, 0.2), (100, 0.5)])
def test_the_minimal_effect_of_a_latency_has_its_power(n: int, sigma: float) -> None:
    found = detectable(measured_ratio(n, sigma))
    assert found is not None
    assert found > 1.05
    power = means_power(n, math.log(found), sigma, of_logs(Aim()), ranks=True)
    assert power == pytest.approx(0.8, abs=0.08)


@pytest.mark.parametrize("n", [30, 100])
@pytest.mark.parametrize("paired", [True, False])
def test_the_minimal_effect_of_a_cost_grows_with_it(n: int, paired: bool) -> None:
    """What is twice as dear varies twice as much: found in about 80 %, where t of Fieller says."""
    rng, found, runs = np.random.default_rng(n), 0, 300
    for _ in range(runs):
        before, after, later, last = np.exp(0.8 * rng.normal(size=(4, n)))
        row = measured_cost(before, after, paired=paired)
        effect = detectable(row)
        if effect is None:  # of few pilots of 30
            runs -= 1
            continue
        found += measured_cost(later, effect * last, paired=paired).change.low > 1.05
    assert runs > 270
    assert 0.7 < found / runs < 0.9


def measured_cost(
    before: Floats, after: Floats, *, paired: bool, better: str = "lower"
) -> Measured:
    cases = range(before.size)
    sides = sample(before, cases), sample(after, cases, names=[f"{i - paired}" for i in cases])
    sides = sides if not paired else (sides[0], sample(after, cases))
    change = change_of(*sides, ALPHA)
    row = Comparison(
        metric="cost", baseline=1.0, candidate=1.0, verdict=INCONCLUSIVE, better=better,
        change=change.estimate, scale=change.scale, n=change.n,
    )  # fmt: skip
    return Measured(row, sides, ROW, change, ALPHA)


def test_the_minimal_effect_of_what_should_grow_is_a_fall() -> None:
    """And where ten values vary wildly, no ratio would be found."""
    before, after = np.exp(0.3 * np.random.default_rng(1).normal(size=(2, 40)))
    fall = detectable(measured_cost(before, after, paired=False, better="higher"))
    rise = detectable(measured_cost(after, before, paired=False))
    assert fall is not None
    assert rise is not None
    assert rise * fall == pytest.approx(1)
    wild = np.array([1.0] * 7 + [12.0] * 3)
    assert detectable(measured_cost(wild, wild[::-1], paired=False)) is None


def test_more_is_better_turns_the_effect_around() -> None:
    slower = measured_ratio(30, 0.2)
    fewer = Measured(
        Comparison(
            metric="throughput", baseline=1.0, candidate=1.0, verdict=INCONCLUSIVE, better="higher"
        ),
        slower.samples, slower.question, slower.change, ALPHA,
    )  # fmt: skip
    up, down = detectable(slower), detectable(fewer)
    assert up is not None
    assert down is not None
    assert up * down == pytest.approx(1)


def test_identical_latencies_tell_nothing_of_what_could_be_found() -> None:
    same = sample([5.0] * 20, range(20))
    change = change_of(same, same, ALPHA, Question(typical=True))
    row = Comparison(metric="latency", baseline=5.0, candidate=5.0, verdict=INCONCLUSIVE)
    measured = Measured(row, (same, same), Question(typical=True), change, ALPHA)
    assert detectable(measured) is None
    assert needs(measured) is None


# --- what twice the margin needs --------------------------------------------------------------


def test_the_cases_for_twice_the_margin_reach_it() -> None:
    measured = measured_ratio(40, 0.3)
    found = needs(measured)
    assert found is not None
    assert found.effect == pytest.approx(1.1)
    assert found.cases is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.cases < found.high
    assert means_power(found.cases, math.log(1.1), 0.3, of_logs(Aim()), ranks=False) > 0.8


def test_what_takes_more_than_twenty_times_the_cases_is_not_told() -> None:
    found = needs(measured_ratio(10, 2.0))
    assert found is not None
    assert found.cases is None


def test_without_a_margin_nothing_is_named() -> None:
    assert needs(measured_ratio(20, 0.3, margin=0.0)) is None


def test_a_rate_that_cannot_fall_so_far_needs_nothing() -> None:
    row = success(letters(19, 20), letters(19, 20))
    assert row.needs is None


def test_the_cases_of_a_rate_make_its_row_decide() -> None:
    row = success(letters(0, 20), letters(0, 20))
    assert row.needs is not None
    assert row.needs.effect == pytest.approx(-0.1)
    assert row.needs.cases is not None
    n = row.needs.cases
    power = exact_power(n, 1.0, 0.9, 0.05, ALPHA / 2, discordant=0.1)
    assert power == pytest.approx(0.8, abs=0.06)


def test_rows_with_a_verdict_need_nothing() -> None:
    row = success(letters(0, 100), letters(0, 100))
    assert row.verdict == EQUIVALENT
    assert row.needs is None


def test_unpaired_cases_count_per_side() -> None:
    rng = np.random.default_rng(3)
    sides = [sample(np.exp(rng.normal(0, 0.4, n))) for n in (80, 160)]
    change = change_of(sides[0], sides[1], ALPHA, Question(typical=True))
    row = Comparison(
        metric="latency", baseline=1.0, candidate=1.0, verdict=INCONCLUSIVE, better="lower",
        change=change.estimate, n=change.n,
    )  # fmt: skip
    measured = Measured(row, (sides[0], sides[1]), Question(typical=True), change, ALPHA)
    found = needs(measured)
    assert found is not None
    assert found.cases is not None
    reached = means_power(found.cases, math.log(1.1), 0.4, of_logs(Aim()), paired=False, ranks=True)
    assert 0.7 < reached < 0.95
    assert with_verdict(row, change, ALPHA).verdict in (INCONCLUSIVE, REGRESSED, EQUIVALENT)
