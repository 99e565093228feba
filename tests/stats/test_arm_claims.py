"""Claims between two arms: what the row of their comparison says, in other words."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_crucible.events.event import Event
from pytest_crucible.metrics.catalog import HIGHER
from pytest_crucible.stats.change import RATIO
from pytest_crucible.stats.comparison import EQUIVALENT, IMPROVED, REGRESSED, Comparison
from pytest_crucible.stats.comparison_options import Options
from pytest_crucible.stats.expectations import Claim, claims_of, judge_claim
from pytest_crucible.stats.expression import parse
from pytest_crucible.stats.family import OTHER, SUCCESS, Levels
from pytest_crucible.stats.judged_rows import RowLevels, judge_rows
from pytest_crucible.stats.row_drafts import draft_rows
from pytest_crucible.stats.subject import Subject
from pytest_crucible.stats.verdict import CONFIRMED, INCONCLUSIVE, REJECTED, Verdict
from tests.made_events import MS, event, recorded, trial, trial_scope
from tests.stats.judging_support import passing, random_arms, scoring
from tests.stats.support import cases, events, group, judge, lognormal, rate_subject, subject


def judged(text: str, **arms: Subject) -> Verdict:
    (found,) = judge(parse(text, tuple(arms)), arms)
    return found


def claimed(text: str, arms: Mapping[str, Subject]) -> Claim:
    (found,) = claims_of(parse(text, tuple(arms)), arms)
    return found


def together(
    texts: list[str], arms: Mapping[str, Subject]
) -> tuple[list[Verdict], list[Comparison]]:
    """Claims and rows of one session: judged at the levels of one family."""
    claims = [claimed(text, arms) for text in texts]
    metrics = tuple(claim.verdict.metric for claim in claims)
    control, treatment = arms.values()
    drafts = draft_rows(control, treatment, Options(primary=metrics))
    rows = {(draft.row.metric, *arms) for draft in drafts if draft.row.primary}
    own = [claim.decision for claim in claims if claim.arms is None or claim.arms.row not in rows]
    levels = RowLevels.of(drafts, own)
    return [judge_claim(claim, levels) for claim in claims], judge_rows(drafts, levels)


# --- a claim cannot contradict its row --------------------------------------------------------

ROWS = {
    "success_rate": "success_rate",
    "score.mean": "score.mean",
    "waited.mean": "waited.mean",
    "shift.mean": "shift.mean",
    "steps.mean": "steps.mean",
    "latency.p50": "latency",
    "latency.median": "latency",
    "latency.p95": "latency.p95",
}
"""Metrics of claims, and the rows that ask the same."""


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from(sorted(ROWS)), st.booleans(), st.integers(0, 3))
def test_claim_and_row_are_one(seed: int, metric: str, flipped: bool, others: int) -> None:
    """The same test, interval, n and level; so REGRESSED confirms that it is worse.

    Whichever arm the claim is about, and whatever else is decided with it.
    """
    base, cand = random_arms(seed)
    arms = {"control": subject(base), "treatment": subject(cand)}
    assume(all(metric in each.numbers or metric == "success_rate" for each in arms.values()))
    own, other = ("control", "treatment") if flipped else ("treatment", "control")
    more = ["treatment.latency.p90 < control", "score.mean > 0.5", "success_rate > 0.3"][:others]
    texts = [f"{own}.{metric} {sign} {other}" for sign in (">", "<")]
    (up, down), rows = _first_two(texts, more, arms)
    row = next(each for each in rows if each.metric == ROWS[metric])
    assert (up.low, up.high, up.level) == (down.low, down.high, down.level)
    if row.low is None or row.high is None:
        assert (up.verdict, down.verdict, up.low) == (INCONCLUSIVE, INCONCLUSIVE, None)
        return
    assert 1 - 2 * up.level == pytest.approx(row.level)
    if flipped and row.scale == RATIO and row.low == 0:
        assert up.verdict == INCONCLUSIVE
        assert up.reason == "the ratio has no upper bound"
        return
    assert up.scale == row.scale
    low, high, same = row.low, row.high, 1.0 if row.scale == RATIO else 0.0
    if flipped:
        low, high = (1 / high, 1 / low) if row.scale == RATIO else (-high, -low)
    assert (up.low, up.high) == pytest.approx((low, high))
    assert (up.basis, up.decisions) == (row.method, row.decisions)
    assert (up.verdict, down.verdict) == (
        CONFIRMED if low > same else REJECTED if high <= same else INCONCLUSIVE,
        CONFIRMED if high < same else REJECTED if low >= same else INCONCLUSIVE,
    )
    if row.verdict in (REGRESSED, IMPROVED):
        rose = (row.verdict == IMPROVED) == (row.better == HIGHER)
        assert (up.verdict == CONFIRMED) == (rose != flipped)
        assert {up.verdict, down.verdict} == {CONFIRMED, REJECTED}
    if CONFIRMED in (up.verdict, down.verdict):
        assert row.p is not None
        assert row.p <= 0.05


def _first_two(
    texts: list[str], more: list[str], arms: Mapping[str, Subject]
) -> tuple[tuple[Verdict, Verdict], list[Comparison]]:
    up, down = (claimed(text, arms) for text in texts)
    control, treatment = arms.values()
    drafts = draft_rows(control, treatment, Options(primary=(up.verdict.metric,)))
    others = [
        claim.decision for text in more for claim in claims_of(parse(text, tuple(arms)), arms)
    ]
    levels = RowLevels.of(drafts, others)
    return (judge_claim(up, levels), judge_claim(down, levels)), judge_rows(drafts, levels)


def test_seven_against_ten_of_ten_is_not_confirmed() -> None:
    """p is 0.1 of the same cases: the row says INCONCLUSIVE, so the claim does, too."""
    arms = {"control": subject(passing("pppppppfff")), "treatment": subject(passing("p" * 10))}
    (claim,), rows = together(["treatment.success_rate > control"], arms)
    row = next(each for each in rows if each.metric == "success_rate")
    assert (claim.verdict, row.verdict) == (INCONCLUSIVE, "INCONCLUSIVE")
    assert row.p is not None
    assert row.p > 0.05
    assert (claim.low, claim.high) == (row.low, row.high)


@pytest.mark.parametrize(("failed", "verdict"), [(3, INCONCLUSIVE), (5, CONFIRMED)])
def test_pairs_are_judged_as_pairs(failed: int, verdict: str) -> None:
    """Three of 20 that got better and none that got worse are chance, five are not (McNemar)."""
    before = passing("f" * failed + "p" * (20 - failed))
    arms = {"control": subject(before), "treatment": subject(passing("p" * 20))}
    assert judged("treatment.success_rate > control", **arms).verdict == verdict


def test_identical_arms_reject_nothing() -> None:
    """Six pairs that are all alike: ``> control`` is open, not REJECTED, and no row is certain."""
    six = subject(scoring([3.0] * 6))
    arms = {"control": six, "treatment": six}
    for metric in ("score.mean", "success_rate"):
        (more, less), rows = together(
            [f"treatment.{metric} > control", f"treatment.{metric} >= 0.95 * control"], arms
        )
        assert (more.verdict, less.verdict) == (INCONCLUSIVE, INCONCLUSIVE)
        assert EQUIVALENT not in {row.verdict for row in rows}


# --- what a claim adds to its family ----------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "asks"),
    [
        ("latency.p50 < control", "latency"),
        ("latency.median < 1.2 * control", "latency"),
        ("latency.p95 < control", "latency.p95"),
        ("latency.p90 < control", "latency.p90"),
        ("latency.mean < control", "latency.mean"),
        ("latency.total < control", "latency.total"),
        ("success_rate > control", "success_rate"),
        ("success_rate > control - 5pp", "success_rate"),
        ("score.mean > control", "score.mean"),
        ("cost.total < control", "cost"),
        ("cost.total < 2 * control", "cost"),
        ("cost.total < control - 1", "cost.total"),
    ],
)
def test_which_row_asks_the_same(claim: str, asks: str) -> None:
    """With it the claim shares its decision; another statistic is one more."""
    arms = {name: subject(group(dear(name, 1.0), name)) for name in ("control", "treatment")}
    found = claimed(f"treatment.{claim}", arms).arms
    assert found is not None
    assert found.row == (asks, "control", "treatment")
    assert found.decision.kind == (SUCCESS if asks == "success_rate" else OTHER)


def test_a_share_of_the_other_rate_is_a_question_of_its_own() -> None:
    """0.95 times the rate is no difference, so it is one more decision."""
    arms = {name: rate_subject(18, 20) for name in ("control", "treatment")}
    found = claimed("treatment.success_rate > 0.95 * control", arms).arms
    assert found is not None
    assert found.question.factor == 0.95
    assert found.decision.kind == SUCCESS


def test_totals_of_other_numbers_of_trials_are_not_the_row() -> None:
    """The row is about the mean of trials; a case with more of them weighs more in the total."""
    base = {name: group([*dear(name, 1.0), *dear(name, 2.0, 19, 2)], name) for name in ("a", "b")}
    found = claimed("b.cost.total < a", {name: subject(each) for name, each in base.items()}).arms
    assert found is not None
    assert found.row[0] == "cost.total"


@pytest.mark.parametrize("text", ["> control", "> control - 5pp"])
@pytest.mark.parametrize("n", [3, 4, 5, 8])
def test_no_claim_reaches_a_level_below_its_floor(text: str, n: int) -> None:
    """All of control pass and none of treatment: REJECTED just at levels above the floor."""
    arms = {"control": subject(passing("p" * n)), "treatment": subject(passing("f" * n))}
    claim = claimed(f"treatment.success_rate {text}", arms)
    floor = claim.decision.floor
    for level in (floor * 0.99, floor * 1.01):
        own = Levels(success=level)
        rejected = judge_claim(claim, RowLevels(own, own)).verdict == REJECTED
        assert not rejected or level > floor
        if text == "> control":
            assert rejected == (level > floor)


# --- ratios, differences, and what has none ---------------------------------------------------


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("latency.p50 < 1.5 * control", CONFIRMED),
        ("latency.p50 < 0.9 * control", REJECTED),
        ("latency.p50 < control", INCONCLUSIVE),
        ("score.mean < control + 1", CONFIRMED),
        ("score.mean < 0.5 * control", REJECTED),
        ("score.mean > control", INCONCLUSIVE),
        ("success_rate > control - 10%", CONFIRMED),
        ("success_rate > 0.9 * control", CONFIRMED),
        ("success_rate > control + 10%", REJECTED),
        ("success_rate > control", INCONCLUSIVE),
        ("latency.total < 2 * control", CONFIRMED),
    ],
)
def test_ratios_and_differences(text: str, verdict: str) -> None:
    """The uncertainty of both arms counts."""
    control, treatment = (
        subject(group(events(
            cases(200), {"score": lognormal(200, seed)}, latency_ms=lognormal(200, seed)
        )))
        for seed in (1, 2)
    )  # fmt: skip
    assert judged(text, control=control, treatment=treatment).verdict == verdict


@pytest.mark.parametrize("metric", ["latency.p50", "latency.p95"])
def test_an_offset_to_a_percentile_is_refused(metric: str) -> None:
    """Its change is a ratio."""
    control = subject(group(events(cases(20), latency_ms=lognormal(20, 1))))
    found = judged(f"{metric} < control + 5", control=control, treatment=control)
    assert (found.verdict, found.reason) == (
        INCONCLUSIVE, "its bound is a multiple of a condition: no + or -",
    )  # fmt: skip


def test_a_negative_share_of_other_cases_is_refused() -> None:
    """There is no melded bound for it."""
    arms = {"control": subject(passing("p" * 20)), "x": subject(passing("p" * 20, mark="d"))}
    found = judged("x.success_rate > -1 * control", **arms)
    assert (found.verdict, found.reason) == (
        INCONCLUSIVE, "a share can only be compared with a multiple of at least 0",
    )  # fmt: skip


def test_few_perfect_cases_do_not_confirm_a_share_of_the_baseline() -> None:
    """Six of six in both arms leave open whether the rates are within 5 %."""
    six = rate_subject(6, 6)
    found = judged("success_rate >= 0.95 * control", control=six, treatment=six)
    assert found.verdict == INCONCLUSIVE


def test_no_case_in_common_is_said() -> None:
    """The number was recorded for other cases on each side."""
    control = subject(group(events({"a": "p"}, {"score": [0.1]}) + events({"b": "p"})))
    treatment = subject(group(events({"b": "p"}, {"score": [0.1]}) + events({"a": "p"})))
    claims = claims_of(
        parse("treatment.score.mean > control", ("control", "treatment")),
        {"control": control, "treatment": treatment},
    )
    assert [each.verdict.reason for each in claims] == ["score is missing in 1 of 2 trials"]


# --- totals -----------------------------------------------------------------------------------


def dear(condition: str, factor: float, first: int = 1, number: int = 1) -> list[Event]:
    """Cases up to 20, each of which costs and takes about its number, times a factor."""
    found: list[Event] = []
    for case in range(first, 21):
        scope = trial_scope(f"c{case}", number, condition=condition)
        start, stop = trial("passed", scope)
        spent = case * factor * (1 + 0.01 * (case % 3) * (factor != 1))
        measured = {"cost_usd": spent, "duration": spent * MS}
        found += [start, event(measurements=measured, scope=scope)]
        found += [recorded({"score": case / 20}, scope), stop]
    return found


@pytest.mark.parametrize(
    ("text", "verdict", "bounds"),
    [
        ("cost.total < control", CONFIRMED, True),
        ("cost.total < 0.5 * control", REJECTED, True),
        ("cost.total > control - 100", CONFIRMED, True),
        ("tests.passed >= control", INCONCLUSIVE, False),
    ],
)
def test_totals_of_two_arms_differ_by_chance(text: str, verdict: str, bounds: bool) -> None:
    """So the change of each case decides; an offset is meant per run."""
    control, treatment = (
        subject(group(dear(name, factor), name))
        for name, factor in (("control", 1.0), ("treatment", 0.93))
    )
    found = judged(text, control=control, treatment=treatment)
    assert found.verdict == verdict
    assert (found.low is not None) == bounds
    if bounds:
        assert found.against == pytest.approx(210)


def test_other_cases_have_another_total() -> None:
    """The claim is about the same cases."""
    control, treatment = (
        subject(group(dear(name, 1.0, first), name))
        for name, first in (("control", 4), ("treatment", 1))
    )
    found = judged("cost.total < control", control=control, treatment=treatment)
    assert found.verdict == INCONCLUSIVE
    assert "the same cases" in (found.reason or "")


def test_a_total_outside_trials_has_no_cases() -> None:
    """Nothing tells how much it varies."""
    arms = {
        name: subject(group([event(measurements={"cost_usd": 1.0}, scope=None)], name))
        for name in ("control", "treatment")
    }
    found = judged("treatment.cost.total < control", **arms)
    assert found.verdict in (INCONCLUSIVE, REJECTED)
    assert found.reason
