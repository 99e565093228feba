"""Judging expectations: certain, refuted or open, and why."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_crucible.events.event import Event
from pytest_crucible.stats.expectations import CONFIRMED, INCONCLUSIVE, REJECTED, Verdict, judge
from pytest_crucible.stats.expression import parse
from pytest_crucible.stats.subject import Subject
from tests.made_events import event, trial, trial_scope
from tests.stats.support import cases, events, group, lognormal, rate_subject, subject


def judged(text: str, **subjects: Subject) -> Verdict:
    (found,) = judge(parse(text, tuple(subjects)), subjects)
    return found


def scores(values: list[float], letters: str = "p", **more: list[float]) -> Subject:
    n = math.ceil(len(values) / len(letters))
    return subject(group(events(cases(n, letters), {"score": values}, **more)))


# --- published answers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("passed", "n", "verdict"),
    [
        (298, 298, INCONCLUSIVE),
        (299, 299, CONFIRMED),
        (990, 1000, INCONCLUSIVE),
        (998, 1000, CONFIRMED),
        (980, 1000, REJECTED),
    ],
)
def test_gate_published(passed: int, n: int, verdict: str) -> None:
    """``success_rate > 0.99`` on the published counts."""
    assert judged("success_rate > 0.99", control=rate_subject(passed, n)).verdict == verdict


def test_needs_the_rule_of_three() -> None:
    """From ten successes of ten: 299 without a failure confirm 99 %."""
    found = judged("success_rate > 0.99", control=rate_subject(10, 10))
    assert (found.verdict, found.needs) == (INCONCLUSIVE, 299)


# --- against a number -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("score.mean > 0.8", CONFIRMED),
        ("score.mean < 0.8", REJECTED),
        ("score.mean >= 1", INCONCLUSIVE),
        ("score.p50 > 0.8", CONFIRMED),
        ("score.p95 < 1.1", REJECTED),
        ("latency.p50 < 2", CONFIRMED),
        ("latency.p99 < 2", INCONCLUSIVE),
        ("latency.total < 1e6", CONFIRMED),
        ("latency.count >= 101", REJECTED),
        ("success_rate > 0.9", CONFIRMED),
        ("tests.trials >= 100", CONFIRMED),
    ],
)
def test_each_kind_of_metric(text: str, verdict: str) -> None:
    """Means, percentiles, rates and plain facts, each by its own interval."""
    values = lognormal(100, 3)
    assert judged(text, x=scores(values, latency_ms=values)).verdict == verdict


@pytest.mark.parametrize(
    ("text", "verdict"),
    [("score.mean >= 5", CONFIRMED), ("score.mean > 5", REJECTED), ("score.mean < 9", CONFIRMED)],
)
def test_values_that_never_vary(text: str, verdict: str) -> None:
    """Fifty scores of exactly 5 are a mean of 5; two are too few to know."""
    assert judged(text, x=scores([5.0] * 50)).verdict == verdict
    few = judged(text, x=scores([5.0] * 2))
    assert (few.verdict, few.reason) == (INCONCLUSIVE, "all 2 values are the same")


def test_a_rate_on_its_threshold() -> None:
    """No number of cases settles a claim that is exactly true; it says so."""
    found = judged("success_rate > 0.9", x=rate_subject(90, 100))
    assert found.verdict == INCONCLUSIVE
    assert found.reason == "it lies on the threshold: no number of cases settles that"


def test_perfect_pass_rates_can_be_confirmed() -> None:
    """All of many cases pass all their trials: pass^3 and the flip rate are judged like rates."""
    x = subject(group(events(cases(100, "ppp"))))
    assert judged("pass_hat_3 > 0.95", x=x).verdict == CONFIRMED
    assert judged("pass_at_1 > 0.95", x=x).verdict == CONFIRMED
    assert judged("flip_rate < 0.05", x=x).verdict == CONFIRMED
    assert judged("flip_rate < 0.01", x=x).verdict == INCONCLUSIVE


def test_trials_of_a_case_are_no_cases() -> None:
    """299 trials of ten cases do not confirm what 299 cases do, and cases are asked for."""
    x = subject(group(events(cases(10, "p" * 30))))
    found = judged("success_rate > 0.99", x=x)
    assert (found.verdict, found.needs) == (INCONCLUSIVE, 299)
    assert found.basis == "Clopper-Pearson, trials clustered by case"


@given(st.integers(1, 400), st.integers(0, 400), st.sampled_from(["<", "<=", ">", ">="]),
       st.sampled_from([0.0, 0.5, 0.9, 1.0]))  # fmt: skip
def test_verdicts_follow_their_bounds(n: int, failed: int, operator: str, bound: float) -> None:
    """CONFIRMED if both bounds hold, REJECTED if none does, else INCONCLUSIVE, needing more."""
    x = rate_subject(n - min(n, failed), n)
    expectation = parse(f"success_rate {operator} {bound}")
    (found,) = judge(expectation, {"x": x})
    assert found.low is not None
    assert found.high is not None
    holds = {expectation.holds(end, bound) for end in (found.low, found.high)}
    expected = {frozenset({True}): CONFIRMED, frozenset({False}): REJECTED}
    assert found.verdict == expected.get(frozenset(holds), INCONCLUSIVE)
    assert found.needs is None or (found.verdict == INCONCLUSIVE and found.needs > n)


def test_needs_falls_with_the_distance() -> None:
    """The further the rate lies from the threshold, the fewer cases settle it."""
    needs = []
    for passed in (91, 92, 94):
        found = judged("success_rate > 0.9", x=rate_subject(passed, 100)).needs
        assert found is not None
        needs.append(found)
    assert needs == sorted(needs, reverse=True)


def test_needs_is_enough() -> None:
    """With as many cases as asked for at the same rate there is a verdict."""
    found = judged("success_rate > 0.9", x=rate_subject(95, 100)).needs
    assert found is not None
    enough = judged("success_rate > 0.9", x=rate_subject(math.ceil(0.95 * found), found))
    assert enough.verdict == CONFIRMED


# --- what is missing --------------------------------------------------------------------------


def test_a_number_without_statistic_is_its_mean() -> None:
    """Claim and table show the metric that was judged."""
    numbers: dict[str, list[float]] = {"score": [1, 2, 3]}
    found = judged("score > 0", x=subject(group(events(cases(3), numbers))))
    assert (found.metric, found.observed) == ("score.mean", 2)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("sore > 0", "no metric sore was recorded"),
        ("nothing.mean > 0", "no metric nothing.mean was recorded"),
        ("latency.p95 > 0", "no latency.p95: nothing was recorded for it"),
        ("text.mean > 0", "no metric text.mean was recorded"),
        ("some.mean > 0", "some is missing in 1 of 3 trials"),
        ("bad.mean > 0", "bad has values that are not finite numbers (1)"),
    ],
)
def test_missing_data_are_rejected_by_name(text: str, reason: str) -> None:
    """Missing data are never a pass, and are named."""
    numbers: dict[str, list[float]] = {"score": [1, 2, 3], "some": [1, 2], "bad": [1, 2, math.nan]}
    found = judged(text, x=subject(group(events(cases(3), numbers))))
    assert (found.verdict, found.reason) == (REJECTED, reason)


def test_a_skipped_trial_does_not_stand_in_for_a_missing_number() -> None:
    """What a skipped trial recorded before it was skipped does not hide the gap of another."""
    outcomes = {"a": "p", "b": "s", "c": "p"}
    found = judged("score.mean > 0", x=subject(group(events(outcomes, {"score": [1, 2]}))))
    assert found.reason == "score is missing in 1 of 2 trials"


# --- against another condition ----------------------------------------------------------------


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
def test_relative_claims(text: str, verdict: str) -> None:
    """Ratios and differences, in which the baseline's own uncertainty counts."""
    control, treatment = (
        scores(lognormal(200, seed), latency_ms=lognormal(200, seed)) for seed in (1, 2)
    )
    assert judged(text, control=control, treatment=treatment).verdict == verdict


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("latency.p50 < control + 5", "a percentile's bound is a multiple of a condition"),
        ("success_rate > -1 * control", "a multiple of at least 0"),
    ],
)
def test_relative_claims_that_cannot_be_judged_say_why(text: str, reason: str) -> None:
    """A reason in place of a verdict."""
    control = scores(lognormal(20, 1), latency_ms=lognormal(20, 1))
    found = judged(text, control=control, treatment=control)
    assert found.verdict == INCONCLUSIVE
    assert found.reason is not None
    assert reason in found.reason


def test_few_perfect_cases_do_not_confirm_a_share_of_the_baseline() -> None:
    """Six of six in both arms leave open whether the rates are within 5 %."""
    six = rate_subject(6, 6)
    found = judged("success_rate >= 0.95 * control", control=six, treatment=six)
    assert found.verdict == INCONCLUSIVE


def test_baseline_without_the_metric() -> None:
    """An arm that recorded nothing cannot be the measure: rejected, by name."""
    control, treatment = rate_subject(5, 5), scores([1.0, 2.0, 3.0])
    found = judged("score.mean > control", control=control, treatment=treatment)
    assert (found.verdict, found.reason) == (REJECTED, "control has no score.mean to compare with")


def test_each_condition_is_judged_once() -> None:
    """Without a condition all are judged; a relative claim not for its own measure."""
    arms = {name: rate_subject(5, 5) for name in ("control", "a", "b")}
    texts = ("success_rate > 0", "success_rate >= control", "a.success_rate > 0")
    found = [[each.condition for each in judge(parse(text, tuple(arms)), arms)] for text in texts]
    assert found == [["control", "a", "b"], ["a", "b"], ["a"]]


def test_relative_claims_say_what_would_settle_them() -> None:
    """An open claim about a change asks for more cases than there are."""
    control, treatment = (scores(lognormal(20, seed)) for seed in (1, 2))
    found = judged("score.mean > 0.95 * control", control=control, treatment=treatment)
    assert found.verdict == INCONCLUSIVE
    assert found.needs is not None
    assert found.needs > 20


@pytest.mark.parametrize(
    ("text", "verdict", "bounds"),
    [
        ("cost.total < control", CONFIRMED, True),
        ("cost.total < 0.9 * control", REJECTED, True),
        ("cost.total < control - 19", REJECTED, True),
        ("tests.passed >= control", INCONCLUSIVE, False),
    ],
)
def test_totals_of_two_conditions_differ_by_chance(text: str, verdict: str, bounds: bool) -> None:
    """So the change of each case decides; an offset is meant per run."""
    control, treatment = (
        subject(group(dear(name, factor), name))
        for name, factor in (("control", 1.0), ("treatment", 0.95))
    )
    found = judged(text, control=control, treatment=treatment)
    assert found.verdict == verdict
    assert (found.low is not None) == bounds
    assert found.basis.endswith(", difference") == bounds


def dear(condition: str, factor: float, first: int = 1) -> list[Event]:
    """Cases up to 20, of which each costs its number in dollars, times a factor."""
    return [
        each
        for number in range(first, 21)
        for scope in [trial_scope(f"c{number}", condition=condition)]
        for start, stop in [trial("passed", scope)]
        for each in (start, event(measurements={"cost_usd": number * factor}, scope=scope), stop)
    ]


def test_other_cases_have_another_total() -> None:
    """The claim is about the same cases."""
    control, treatment = (
        subject(group(dear(name, 1.0, first), name))
        for name, first in (("control", 4), ("treatment", 1))
    )
    found = judged("cost.total < control", control=control, treatment=treatment)
    assert found.verdict == INCONCLUSIVE
    assert "the same cases" in (found.reason or "")
