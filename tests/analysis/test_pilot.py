"""Pilots: what a recorded run tells about how a metric varies, and the plan that follows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.pilot import Pilot, effect_of, pilot_of, plan_from
from pytest_crucible.analysis.results import ExperimentResult
from pytest_crucible.events.event import Event
from pytest_crucible.metrics.catalog import PLAIN, Metric
from pytest_crucible.runs.experiment_definition import define
from pytest_crucible.runs.run import open_recorded
from pytest_crucible.stats.comparison import margin_size
from pytest_crucible.stats.power import (
    FARTHEST,
    Aim,
    cases_for_means,
    cases_for_rates,
    cases_for_ratio,
)
from tests.made_events import MS, event, recorded, trial, trial_scope, write_run
from tests.stats.judging_support import compared
from tests.stats.support import group


def arm(
    values: Sequence[float],
    condition: str = "a",
    *,
    failed: int = 0,
    slower: float = 1.0,
    repeats: int = 1,
    first: int = 0,
) -> list[Event]:
    """A case per value, which it records as a score; ten times that is its latency."""
    found: list[Event] = []
    for number, value in enumerate(values, first):
        for repeat in range(1, repeats + 1):
            scope = trial_scope(f"q{number}", repeat, condition=condition)
            start, stop = trial("failed" if number < failed else "passed", scope)
            spent = {"duration": 10 * value * slower * MS, "cost_usd": value}
            found += [start, event(measurements=spent, scope=scope)]
            found += [recorded({"score": value, "shift": value - 5}, scope), stop]
    return found


def experiment(folder: Path, events: Iterable[Event]) -> ExperimentResult:
    run = write_run(folder, events, definitions=[define("exp")])
    return analyse(open_recorded(run)).experiments[0]


def spread(n: int, sigma: float, seed: int = 1) -> list[float]:
    return [float(value) for value in np.exp(np.random.default_rng(seed).normal(2, sigma, n))]


# --- what varies ------------------------------------------------------------------------------


def test_one_arm(tmp_path: Path) -> None:
    """A rate has its value; a latency the deviation of its logarithms, a mean the relative one."""
    values = spread(40, 0.3)
    of = experiment(tmp_path / "p", arm(values, failed=10))
    rate, latency, score = (
        pilot_of(of, path) for path in ("success_rate", "latency", "score.mean")
    )
    assert (rate.single, rate.ratio, rate.paired, rate.cases) == (True, False, False, 40)
    assert rate.centre == 0.75
    assert (latency.typical, latency.ratio) == (True, True)
    assert latency.deviation() == pytest.approx(np.std(np.log(values), ddof=1), rel=1e-6)
    assert (score.typical, score.ratio, score.single) == (False, True, False)
    assert score.deviation() == pytest.approx(np.std(values, ddof=1) / np.mean(values))


def test_two_arms_are_paired_by_case(tmp_path: Path) -> None:
    """Differences within cases vary less than cases do; cases of one arm only are left out."""
    before, after = spread(30, 0.5), [value * 1.1 for value in spread(30, 0.5)]
    both = arm(before) + arm([*after[1:], 5.0], "b", first=1)
    of = pilot_of(experiment(tmp_path / "p", both), "latency")
    assert (of.paired, of.cases) == (True, 29)
    assert of.after is not None
    assert np.log(of.after / of.before) == pytest.approx(math.log(1.1), abs=1e-6)
    mixed = arm(before) + arm(spread(30, 0.5, seed=2), "b")
    noisy = pilot_of(experiment(tmp_path / "q", mixed), "latency")
    ratios = np.log(spread(30, 0.5, seed=2)) - np.log(before)
    assert noisy.deviation() == pytest.approx(np.std(ratios, ddof=1), rel=1e-5)


def test_arms_without_a_case_in_common_are_one(tmp_path: Path) -> None:
    """The first: nothing tells how a case varies from arm to arm."""
    both = arm(spread(20, 0.3)) + arm(spread(30, 0.3), "b", first=100)
    of = pilot_of(experiment(tmp_path / "p", both), "latency")
    assert (of.paired, of.cases) == (False, 20)


def test_repeats_are_means_of_their_case(tmp_path: Path) -> None:
    """Planned are cases, each with as many trials as the pilot's."""
    of = pilot_of(experiment(tmp_path / "p", arm(spread(15, 0.3), repeats=3)), "score.mean")
    assert of.cases == 15


def test_numbers_of_both_signs_are_differences(tmp_path: Path) -> None:
    """Their deviation is in their unit."""
    values = spread(30, 0.5)
    of = pilot_of(experiment(tmp_path / "p", arm(values)), "shift.mean")
    assert not of.ratio
    assert of.deviation() == pytest.approx(np.std(values, ddof=1))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("latency.p95", "latency.p95 is a percentile; plan with a rate or a mean"),
        ("nothing.mean", "the pilot has no observations of nothing.mean"),
        ("tests.trials", "the pilot has no observations of tests.trials"),
    ],
)
def test_what_a_pilot_cannot_tell(path: str, reason: str, tmp_path: Path) -> None:
    """One line that names the metric."""
    with pytest.raises(ValueError, match=reason):
        pilot_of(experiment(tmp_path / "p", arm(spread(9, 0.3))), path)


def test_a_single_case_does_not_vary(tmp_path: Path) -> None:
    """It takes two; and two that are the same do not either."""
    with pytest.raises(ValueError, match=r"the pilot has a single case with score\.mean"):
        pilot_of(experiment(tmp_path / "p", arm([3.0])), "score.mean")
    same = pilot_of(experiment(tmp_path / "q", arm([3.0] * 5)), "score.mean")
    with pytest.raises(ValueError, match="the pilot's cases do not vary"):
        same.deviation()


def test_latencies_of_nothing_have_no_ratio(tmp_path: Path) -> None:
    """One line in place of a logarithm of 0."""
    with pytest.raises(ValueError, match="latency has values of 0: no ratio to plan with"):
        pilot_of(experiment(tmp_path / "p", arm([0.0, 1.0, 2.0])), "latency")


def test_equal_differences_do_not_vary(tmp_path: Path) -> None:
    """What rounding leaves of differences that are all 0.2 is no deviation to plan with."""
    values = [0.1 * number for number in range(1, 9)]
    both = arm(values) + arm([value + 0.2 for value in values], "b")
    of = pilot_of(experiment(tmp_path / "p", both), "shift.mean")
    with pytest.raises(ValueError, match="do not vary"):
        of.deviation()


# --- effects ----------------------------------------------------------------------------------


def pilot(
    path: str,
    values: Sequence[float],
    *,
    after: Sequence[float] | None = None,
    single: bool = False,
    ratio: bool = False,
) -> Pilot:
    before = np.array(values, dtype=np.float64)
    other = None if after is None else np.array(after, dtype=np.float64)
    return Pilot(PLAIN[path], before, other, float(before.mean()), single, ratio)


RATE = pilot("success_rate", [1.0] * 15 + [0.0] * 5, single=True)
LATENCY = pilot("latency", spread(40, 0.3), ratio=True)
SCORE = pilot("shift.mean", [-1.0, 2.0, 4.0, 3.0])


@pytest.mark.parametrize(
    ("of", "text", "size"),
    [
        (RATE, "-5pp", -0.05),
        (RATE, "+5 pp", 0.05),
        (RATE, "-0.05", -0.05),
        (LATENCY, "+20%", 1.2),
        (LATENCY, "-20%", 0.8),
        (SCORE, "0.5", 0.5),
        (SCORE, "-1e-1", -0.1),
        (SCORE, "+50%", 1.0),
        (SCORE, " .5 ", 0.5),
    ],
)
def test_effects(of: Pilot, text: str, size: float) -> None:
    """As points, as a percentage of the pilot's value, or in the unit of the metric."""
    assert effect_of(text, of) == pytest.approx(size)


def test_an_effect_in_the_unit_of_a_ratio() -> None:
    """+5 ms are a factor, too."""
    assert effect_of("5", LATENCY) == pytest.approx(1 + 5 / LATENCY.centre)


@pytest.mark.parametrize(
    ("of", "text", "reason"),
    [
        (RATE, "+20%", r"\+20% of a share may mean two things: write \+20pp"),
        (LATENCY, "-5pp", "-5pp: latency is no share: write"),
        (LATENCY, "-100%", "-100% of .* leaves nothing"),
        (RATE, "+30pp", r"0.75 \+0.3 is no rate"),
        (RATE, "-80pp", "0.75 -0.8 is no rate"),
        (RATE, "much", "'much' is not like"),
        (RATE, "", "'' is not like"),
        (SCORE, "1 2", "'1 2' is not like"),
    ],
)
def test_effects_that_make_no_sense(of: Pilot, text: str, reason: str) -> None:
    """One line that names the effect."""
    with pytest.raises(ValueError, match=reason):
        effect_of(text, of)


# --- plans ------------------------------------------------------------------------------------


def test_a_rate_is_planned_from_the_pilot_s(tmp_path: Path) -> None:
    """15 of 20, less 25 pp: the number of ``--rates .75 .5``, and what 15 of 20 leaves open."""
    plan = plan_from(RATE, "-25pp", Aim, None)
    assert plan.needed is not None
    assert plan.needed.cases == cases_for_rates(0.75, 0.5, Aim())
    assert plan.needed.low < plan.needed.cases <= plan.needed.high
    assert (plan.effect, plan.aim.margin) == (-0.25, 0.05)


def test_pairs_that_go_both_ways_need_more() -> None:
    """A case that flips by chance is noise that the effect has to stand out from."""
    before = [1.0] * 30 + [0.0] * 10
    steady, noisy = (
        pilot("success_rate", before, after=after, single=True)
        for after in (before, [0.0] * 4 + [1.0] * 26 + [1.0] * 4 + [0.0] * 6)
    )
    few, many = (plan_from(each, "-20pp", Aim, None).needed for each in (steady, noisy))
    assert few is not None
    assert many is not None
    assert few.cases == cases_for_rates(0.75, 0.55, Aim(), discordant=0.2)
    assert many.cases == cases_for_rates(0.75, 0.55, Aim(), discordant=0.4)
    assert few.cases < many.cases


def test_a_latency_is_planned_from_its_deviation() -> None:
    """Somewhat more than the deviation says, as a pilot's is uncertain; the range contains it."""
    plan = plan_from(LATENCY, "+30%", Aim, None)
    plain = cases_for_ratio(1.3, LATENCY.deviation(), Aim(), paired=False)
    assert plan.needed is not None
    assert plain is not None
    assert plain <= plan.needed.cases <= 1.2 * plain
    assert plan.needed.low < plain < plan.needed.high
    assert plan.effect == pytest.approx(1.3)


def test_margins_are_those_of_the_metric() -> None:
    """Relative to the pilot's value for a difference; in its unit if the metric says so."""
    relative = plan_from(SCORE, "2", Aim, None).aim.margin
    assert relative == pytest.approx(0.05 * SCORE.centre)
    assert plan_from(SCORE, "2", Aim, 0.5).aim.margin == pytest.approx(0.5 * SCORE.centre)
    for margin, expected in ((0.1, 0.1), (None, 0.05 * 4)):
        bounded = Metric("score.mean", range=(0, 4), margin=margin)
        own = Pilot(bounded, SCORE.before, None, SCORE.centre, single=False, ratio=False, width=4)
        assert plan_from(own, "0.5", Aim, None).aim.margin == pytest.approx(expected)


@pytest.mark.parametrize("values", [[0.2, 0.5, 0.9, 0.7], [0.0, 1.0, 0.5, 0.5]])
def test_a_score_is_planned_as_it_is_compared(values: list[float], tmp_path: Path) -> None:
    """Undeclared, but all between 0 and 1: the row is a difference, its margin of 5 % is 0.05."""
    of = pilot_of(experiment(tmp_path / "p", arm(values)), "score.mean")
    row = compared(group(arm(values, "a"), "a"), group(arm(values, "a"), "a"))["score.mean"]
    assert (of.ratio, of.width) == (row.scale == "ratio", row.width) == (False, 1.0)
    assert plan_from(of, "-0.1", Aim, None).aim.margin == margin_size(row) == 0.05


def test_a_waiting_time_is_planned_as_it_is_compared(tmp_path: Path) -> None:
    """Zeros among numbers without an upper end: a ratio of means, for both."""
    values = [0.0, 3.0, 9.0, 4.0]
    row = compared(group(arm(values), "a"), group(arm(values), "a"))["score.mean"]
    of = pilot_of(experiment(tmp_path / "p", arm(values)), "score.mean")
    assert (of.ratio, of.width) == (row.scale == "ratio", row.width) == (True, None)


def test_a_difference_is_planned_in_its_unit() -> None:
    """As `cases_for_means` does, with the enlarged deviation."""
    of = pilot("shift.mean", np.random.default_rng(1).normal(1, 1, 50).tolist())
    plan = plan_from(of, "1", Aim, None)
    plain = cases_for_means(1.0, of.deviation(), plan.aim, paired=False)
    assert plan.needed is not None
    assert plain is not None
    assert plain <= plan.needed.cases <= 1.1 * plain + 1


def test_what_is_too_far_is_not_told() -> None:
    """More than twenty times the pilot's cases."""
    assert plan_from(LATENCY, "+6%", Aim, None).needed is None
    assert plan_from(LATENCY, "+30%", Aim, None).needed is not None
    assert FARTHEST == 20
