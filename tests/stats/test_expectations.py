"""Judging expectations: certain, refuted or open, and why."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from pytest_crucible.metrics.catalog import Metric
from pytest_crucible.metrics.trials import Trial
from pytest_crucible.stats.expectations import Claim, claims_of, judge_claim
from pytest_crucible.stats.expression import parse
from pytest_crucible.stats.family import CLAIM, Decision, Levels
from pytest_crucible.stats.judged_rows import RowLevels
from pytest_crucible.stats.subject import Subject
from pytest_crucible.stats.verdict import CONFIRMED, INCONCLUSIVE, REJECTED, Verdict
from tests.stats.judging_support import described, scoring
from tests.stats.support import cases, events, group, judge, lognormal, rate_subject, subject


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


# --- against a number -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("score.mean > 0.8", CONFIRMED),
        ("score.mean < 0.8", REJECTED),
        ("score.mean >= 1", INCONCLUSIVE),
        ("score.mean < 1.3", CONFIRMED),
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
    ("text", "n", "verdict"),
    [
        ("score.mean > 4.5", 50, CONFIRMED),
        ("score.mean >= 5", 50, INCONCLUSIVE),
        ("score.mean > 5", 5_000, INCONCLUSIVE),
        ("score.mean < 9", 60, CONFIRMED),
        ("score.mean < 9", 59, INCONCLUSIVE),
        ("score.mean < 4", 60, REJECTED),
        ("score.mean > 0", 9, INCONCLUSIVE),
        ("score.mean > 0", 10, CONFIRMED),
    ],
)
def test_values_that_never_vary(text: str, n: int, verdict: str) -> None:
    """Scores of exactly 5 are no mean of exactly 5: a case that was not tried may differ."""
    assert judged(text, x=scores([5.0] * n)).verdict == verdict


def test_a_missing_bound_says_why() -> None:
    """Nothing is known above so few values without an upper limit; what helps is said."""
    found = judged("score.mean < 9", x=scores([5.0] * 59))
    assert found.high is None
    assert found.low == pytest.approx(4.75, abs=0.02)
    assert found.reason == (
        "too few for a mean that may have large values (60 needed, 59 seen); "
        "ask for the median, or declare range="
    )
    few = judged("score.mean > 0", x=scores([5.0] * 9))
    assert few.reason is not None
    assert few.reason.startswith("too few for a mean")


def test_what_a_bound_assumes_stands_beside_it() -> None:
    """An upper bound without a range rests on the largest value seen; with one on nothing."""
    values = lognormal(80, 1)
    found = judged("score.mean < 9", x=scores(values))
    assert (found.verdict, found.basis) == (CONFIRMED, "Gaffke's bound")
    assert (
        found.note
        == "assumes that no value exceeds twice the largest seen; declare range= to be sure"
    )
    declared = described(scoring(values), Metric("score", range=(0, 10)))
    sure = judged("score.mean < 9", x=declared)
    assert (sure.verdict, sure.note) == (CONFIRMED, None)
    assert sure.high is not None
    assert found.high is not None
    assert sure.high > found.high


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
    """300 trials of ten cases do not confirm what 299 cases do."""
    found = judged("success_rate > 0.99", x=subject(group(events(cases(10, "p" * 30)))))
    assert found.verdict == INCONCLUSIVE
    assert found.basis == "Gaffke's bound, trials clustered by case"
    assert found.low == pytest.approx(0.05 ** (1 / 10))


@given(st.integers(1, 400), st.integers(0, 400), st.sampled_from(["<", "<=", ">", ">="]),
       st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.sampled_from([1, 2, 20]))  # fmt: skip
def test_a_rate_against_a_number(
    n: int, failed: int, operator: str, bound: float, decisions: int
) -> None:
    """Clopper and Pearson's bounds: 5 % confirm, the level of the family rejects."""
    passed = n - min(n, failed)
    expectation = parse(f"success_rate {operator} {bound}")
    (claim,) = claims_of(expectation, {"x": rate_subject(passed, n)})
    own = Levels(claims=0.05 / decisions, counts=(decisions, 1, 1))
    found = judge_claim(claim, RowLevels(own, own))
    below, above = (0.05, own.claims) if operator.startswith(">") else (own.claims, 0.05)
    low = float(beta.ppf(below, passed, n - passed + 1)) if passed else 0.0
    high = float(beta.isf(above, passed + 1, n - passed)) if passed < n else 1.0
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-6)
    holds = {expectation.holds(end, bound) for end in (found.low or 0.0, found.high or 0.0)}
    expected = {frozenset({True}): CONFIRMED, frozenset({False}): REJECTED}
    assert found.verdict == expected.get(frozenset(holds), INCONCLUSIVE)
    assert (found.level, found.decisions) == (own.claims, decisions)


# --- what a claim adds to its family ----------------------------------------------------------


def claimed(text: str, x: Subject) -> Claim:
    (found,) = claims_of(parse(text), {"x": x})
    return found


NEGATIVE = described(scoring([-1.0, 2.0, -3.0]), Metric("score", range=(None, None)))
UNBOUNDED = [5.0, 7.0, 900.0]


@pytest.mark.parametrize(
    ("text", "arm", "floor"),
    [
        ("success_rate > 0.9", rate_subject(3, 3), 0.1**3),
        ("success_rate < 0.9", rate_subject(3, 3), 0.9**3),
        ("success_rate > 0", rate_subject(3, 3), 1.0),
        ("success_rate > 0.9", subject(group(events(cases(3, "pp")))), 0.1**3),
        ("latency.p95 < 9", subject(group(events(cases(3), latency_ms=[1, 2, 3]))), 0.05**3),
        ("latency.p95 > 9", subject(group(events(cases(3), latency_ms=[1, 2, 3]))), 0.95**3),
        ("latency.p50 < 9", subject(group(events(cases(3), latency_ms=[1, 2, 3]))), 0.5**3),
        ("score.mean < 9", subject(scoring(UNBOUNDED * 3)), 1.0),
        ("score.mean < 9", subject(scoring(UNBOUNDED * 4)), 0.0),
        ("score.mean > 9", subject(scoring(UNBOUNDED * 19)), 1.0),
        ("score.mean > 9", subject(scoring(UNBOUNDED * 20)), 0.0),
        ("score.mean > 9", NEGATIVE, 0.0),
        ("tests.trials > 9", rate_subject(3, 3), 1.0),
    ],
)
def test_how_little_p_can_be(text: str, arm: Subject, floor: float) -> None:
    """What so many values could say at most; a plain fact is no test and spends nothing."""
    found = claimed(text, arm).decision
    assert found.kind == CLAIM
    assert found.floor == pytest.approx(floor)


@pytest.mark.parametrize("n", [2, 3, 5, 9])
@pytest.mark.parametrize(
    ("text", "worst"),
    [
        ("success_rate > 0.9", "f"),
        ("success_rate < 0.2", "p"),
        ("latency.p50 < 9", 10.0),
        ("latency.p50 > 9", 8.0),
        ("latency.p95 < 9", 10.0),
        ("score.mean > 0.5", 0.0),
    ],
)
def test_no_claim_is_rejected_below_its_floor(n: int, text: str, worst: str | float) -> None:
    """The worst there is: REJECTED just at levels from the floor on."""
    if isinstance(worst, str):
        arm = subject(group(events(cases(n, worst))))
    else:
        arm = subject(group(events(cases(n), {"score": [worst] * n}, latency_ms=[worst] * n)))
    claim = claimed(text, arm)
    floor = claim.decision.floor
    assert 0 < floor < 1
    for level in (floor * 0.99, floor * 1.01):
        own = Levels(claims=level)
        found = judge_claim(claim, RowLevels(own, own))
        assert (found.verdict == REJECTED) == (level > floor)


def test_ten_claims_share_the_rejections_not_the_confirmations() -> None:
    """A right claim is CONFIRMED at 5 % however many there are; REJECTED takes more for each."""
    arm = rate_subject(29, 29)
    for count in (1, 10, 100):
        levels = RowLevels.of((), [Decision(CLAIM, 0.0)] * count)
        found = judge_claim(claimed("success_rate > 0.9", arm), levels)
        assert (found.verdict, found.decisions) == (CONFIRMED, count)
        assert found.level == pytest.approx(0.05 / count)
    wrong = claimed("success_rate > 0.9", rate_subject(20, 27))
    one, ten = (RowLevels.of((), [Decision(CLAIM, 0.0)] * count) for count in (1, 10))
    assert judge_claim(wrong, one).verdict == REJECTED
    assert judge_claim(wrong, ten).verdict == INCONCLUSIVE


def test_a_hundred_true_claims_are_rejected_in_five_percent_of_sessions() -> None:
    """And as many false ones are all confirmed in less: each on its threshold, 12 to 40 cases."""
    rng = np.random.default_rng(5)
    arms = {(n, k): rate_subject(k, n) for n in (12, 20, 40) for k in range(n + 1)}
    judged_at = {}
    red = green = 0
    for _ in range(200):
        found = []
        for _ in range(100):
            n = int(rng.choice([12, 20, 40]))
            key = n, int(rng.binomial(n, 0.8))
            if key not in judged_at:
                claim = claimed("success_rate > 0.8", arms[key])
                levels = RowLevels.of((), [Decision(CLAIM, 0.0)] * 100)
                judged_at[key] = judge_claim(claim, levels).verdict
            found.append(judged_at[key])
        red += REJECTED in found
        green += set(found) == {CONFIRMED}
    assert red <= 20  # of 200: with a chance of 5 % more come in 0.1 % of all seeds
    assert green == 0


def test_a_claim_set_aside_spends_nothing() -> None:
    """It is judged and shown, and decides nothing."""
    claim = claimed("success_rate > 0.9", rate_subject(5, 5)).aside()
    assert claim.decision == Decision(CLAIM, 1.0)
    levels = RowLevels.of((), [claim.decision, Decision(CLAIM, 0.0)])
    found = judge_claim(claim, levels)
    assert (found.primary, found.verdict, found.level) == (False, INCONCLUSIVE, 0.05)


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


def test_a_trial_that_never_ran_is_missing_data() -> None:
    """It might have failed."""
    of = group(events({"a": "p"}))
    of.trials.append(Trial("exp", "default", "b", 1, "test"))
    found = judged("success_rate > 0", x=subject(of))
    assert (found.verdict, found.reason) == (REJECTED, "1 of 2 trials never ran")


def test_data_that_contradict_their_range_allow_no_verdict() -> None:
    """The author is wrong about the number, or the number is wrong."""
    x = described(scoring([0.5] * 29 + [1.5]), Metric("score", range=(0, 1)))
    found = judged("score.mean > 0.1", x=x)
    assert found.verdict == INCONCLUSIVE
    assert "outside its range 0 to 1" in (found.reason or "")


def test_an_arm_without_the_metric_is_no_measure() -> None:
    """An arm that recorded nothing cannot be compared with: rejected, by name."""
    control, treatment = rate_subject(5, 5), scores([1.0, 2.0, 3.0])
    found = judged("score.mean > control", control=control, treatment=treatment)
    assert (found.verdict, found.reason) == (REJECTED, "control has no score.mean to compare with")


def test_each_condition_is_judged_once() -> None:
    """Without a condition all are judged; a relative claim not for its own measure."""
    arms = {name: rate_subject(5, 5) for name in ("control", "a", "b")}
    texts = ("success_rate > 0", "success_rate >= control", "a.success_rate > 0")
    found = [[each.condition for each in judge(parse(text, tuple(arms)), arms)] for text in texts]
    assert found == [["control", "a", "b"], ["a", "b"], ["a"]]
