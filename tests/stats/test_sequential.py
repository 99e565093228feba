"""Always-valid judging of samples: rates, scores, percentiles, paired arms, and what is refused."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from pytest_crucible.metrics.catalog import Catalog, Metric
from pytest_crucible.metrics.groups import Group
from pytest_crucible.metrics.observations import observe
from pytest_crucible.metrics.summary import flatten, summarise
from pytest_crucible.metrics.trials import Attempt, Trial, begun
from pytest_crucible.stats import betting, sequential
from pytest_crucible.stats.bounds import bounds_of
from pytest_crucible.stats.expression import parse
from pytest_crucible.stats.intervals import NoIntervalError
from pytest_crucible.stats.metric_changes import change_of, floor_of
from pytest_crucible.stats.samples import MEAN, QUANTILE, RATE, Sample
from pytest_crucible.stats.subject import Subject
from pytest_crucible.stats.verdict import CONFIRMED, INCONCLUSIVE, REJECTED
from tests.made_events import event, recorded, trial, trial_scope
from tests.stats.support import compare_subjects, judge


def rates(values: Sequence[float], began: Sequence[float] | None = None, **more: Any) -> Sample:
    """One trial per case, which began in this order."""
    n = len(values)
    times = np.arange(n, dtype=float) if began is None else np.array(began, dtype=float)
    sample = Sample(np.array(values), np.arange(n), tuple(f"c{i}" for i in range(n)), RATE)
    return replace(sample, began=times, **more)


def test_bounds_are_those_of_the_bets() -> None:
    values = [1.0] * 40 + [0.0] * 3
    found = bounds_of(rates(values), 0.05, 0.01)
    assert (found.low, found.high) == betting.bounds(np.array(values), None, 0.05, 0.01)
    assert found.method == sequential.METHOD


def test_cases_count_in_the_order_in_which_they_began() -> None:
    """Whatever the order of the record is; an unknown beginning is the last."""
    values = [0.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    late = rates(values, [9, 1, 2, 3, 4, 5])
    unknown = rates(values, [math.nan, 1, 2, 3, 4, 5])
    expected = betting.bounds(np.array([1.0] * 5 + [0.0]), None, 0.05, 0.05)
    assert sequential.bounds_at_any_look(late, 0.05, 0.05) == expected
    assert sequential.bounds_at_any_look(unknown, 0.05, 0.05) == expected


def test_repeated_trials_count_as_their_case() -> None:
    """Ten cases whose five trials are alike say no more than ten trials."""
    sample = Sample(
        np.repeat([1.0, 0.0, *[1.0] * 8], 5), np.repeat(np.arange(10), 5),
        tuple("abcdefghij"), RATE, began=np.arange(10.0),
    )  # fmt: skip
    once = rates([1.0, 0.0, *[1.0] * 8])
    assert bounds_of(sample, 0.05, 0.05).low == bounds_of(once, 0.05, 0.05).low


def test_cases_of_a_cluster_count_as_one() -> None:
    clustered = replace(rates([1.0] * 8), belongs=np.array([0, 0, 1, 1, 2, 2, 3, 3]))
    assert bounds_of(clustered, 0.05, 0.05).low == bounds_of(rates([1.0] * 4), 0.05, 0.05).low


def test_scores_between_declared_ends() -> None:
    """A score from 1 to 5 has the bounds of its share of the way, in its own unit."""
    share = np.random.default_rng(1).random(50)
    sample = rates((1 + 4 * share).tolist(), kind=MEAN, limits=(1.0, 5.0), factor=10.0)
    low, high = betting.bounds(share, None, 0.05, 0.05)
    found = bounds_of(sample, 0.05, 0.05)
    assert (found.low, found.high) == pytest.approx((10 + 40 * low, 10 + 40 * high))


@pytest.mark.parametrize("value", [-0.5, 1.5])
def test_values_outside_the_range_have_no_bounds(value: float) -> None:
    with pytest.raises(NoIntervalError, match="outside its range"):
        bounds_of(rates([0.5, value], kind=MEAN, limits=(0.0, 1.0)), 0.05, 0.05)


def test_early_and_late_cases_that_contradict_each_other() -> None:
    """All pass, then all fail: no rate explains both, so there is no verdict."""
    with pytest.raises(NoIntervalError, match="early cases differ from late ones"):
        bounds_of(rates([1.0] * 200 + [0.0] * 2000), 0.05, 0.05)


# --- percentiles ------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.sampled_from([0.5, 0.9]))
def test_bounds_of_a_percentile_are_bets_on_shares(values: list[int], q: float) -> None:
    """``p90 <= v`` is decided exactly where bets on the share of values up to v win."""
    sample = rates([float(v) for v in values], kind=QUANTILE, q=q)
    try:
        low, high = sequential.bounds_at_any_look(sample, 0.05, 0.05)
    except NoIntervalError:
        return
    for at in range(10):
        up_to = (sample.values <= at).astype(float)
        assert (high <= at) == (betting.log_evidence(up_to, None, q) >= math.log(20))
        from_there = (sample.values >= at).astype(float)
        assert (low >= at) == (betting.log_evidence(from_there, None, 1 - q) >= math.log(20))


def test_too_few_for_a_percentile() -> None:
    sample = rates([float(i) for i in range(20)], kind=QUANTILE, q=0.95)
    found = bounds_of(sample, 0.05, 0.05)
    assert found.high == math.inf
    assert found.why_no_high == "too few for p95 at any look: 20"


# --- paired arms ------------------------------------------------------------------------------


def test_pairs_bet_half_of_their_difference() -> None:
    """(d + 1) / 2 against 1/2, and interval and p are one."""
    base, cand = [1.0, 0.0] * 20, [1.0, 1.0] * 20
    change = change_of(rates(base), rates(cand), 0.05)
    halves = (np.array(cand) - np.array(base) + 1) / 2
    low, high = betting.bounds(halves, None, 0.025, 0.025)
    assert (change.low, change.high) == pytest.approx((2 * low - 1, 2 * high - 1))
    money = betting.log_evidence(halves, None, 0.5)
    assert change.p == pytest.approx(2 * math.exp(-money))
    assert (change.p <= 0.05) == (change.low > 0)
    assert change.estimate == 0.5
    assert "always valid" in change.method


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40),
    st.sampled_from([0.05, 0.01]),
    st.sampled_from([1.0, 0.9]),
)
def test_interval_and_p_of_pairs_agree(
    outcomes: list[tuple[bool, bool]], alpha: float, factor: float
) -> None:
    base, cand = (np.array(side, dtype=float) for side in zip(*outcomes, strict=True))
    began = np.arange(len(outcomes), dtype=float)
    try:
        change = sequential.paired_at_any_look(base, cand, began, None, alpha, (0, 1), factor)
    except NoIntervalError:
        return
    assert -factor <= change.low <= change.high <= 1
    near = min(abs(change.low), abs(change.high)) < 1e-7
    assert near or (change.p <= alpha) == (not change.low <= 0 <= change.high)


def test_pairs_count_in_the_order_in_which_they_began() -> None:
    base, cand = [0.0] * 12, [1.0] * 10 + [0.0] * 2
    in_order = change_of(rates(base), rates(cand), 0.05)
    turned = change_of(rates(base[::-1]), rates(cand[::-1], list(range(12))[::-1]), 0.05)
    assert (turned.low, turned.high) != (in_order.low, in_order.high)
    known = replace(rates(base), began=None)
    assert change_of(known, rates(cand), 0.05).low == in_order.low


def test_arms_without_common_cases_are_refused() -> None:
    other = replace(rates([1.0] * 5), names=tuple("vwxyz"))
    with pytest.raises(NoIntervalError, match="only in pairs"):
        change_of(rates([1.0] * 5), other, 0.05)


def test_sequential_decisions_always_take_their_part() -> None:
    """How many cases there will be is not known: a level that grew with them would not hold."""
    assert floor_of(rates([1.0] * 3), rates([1.0] * 3)) == 0.0


# --- when cases begin -------------------------------------------------------------------------


def made(case: str, *began: tuple[str, int], cluster: str | None = None) -> Trial:
    attempts = [Attempt(("run", node), 1, "passed", 1.0, None, at) for node, at in began]
    return Trial("e", "a", case, 1, case, attempts, cluster=cluster)


def test_a_case_begins_with_its_first_trial() -> None:
    trials = [
        made("x", ("n1", 5)),
        made("x", ("n1", 3), ("n1", 9)),
        made("y", ("n1", 1)),
        made("z"),
    ]
    assert begun(trials) == {"x": 3, "y": 1}


def test_a_case_that_two_processes_share_begins_with_its_last_part() -> None:
    trials = [made("x", ("n1", 5)), made("x", ("n2", 30)), made("x", ("n2", 20))]
    assert begun(trials) == {"x": 20}


def test_cases_of_a_cluster_begin_together() -> None:
    trials = [made("x", ("n1", 5), cluster="k"), made("y", ("n1", 8), cluster="k")]
    assert begun(trials) == {"x": 5, "y": 5}


# --- claims -----------------------------------------------------------------------------------


def arm(
    outcomes: str, condition: str = "default", metrics: tuple[Metric, ...] = (), **numbers: float
) -> Subject:
    """One trial per case, each a second after the other; judged at any look."""
    found = []
    for at, letter in enumerate(outcomes):
        scope = trial_scope(f"c{at}", condition=condition)
        start, *stop = trial("passed" if letter == "p" else "failed", scope)
        inside = [event(measurements={"duration": 1e6 * (1 + at % 7)}, scope=scope)]
        if numbers:
            inside.append(recorded(numbers, scope))
        later = (start, *inside, *stop)
        found += [structs.replace(each, time_us=each.time_us + at * 10**6) for each in later]
    group: Group = observe(found).group("exp", condition)
    group.began = begun(group.trials)
    return Subject(group, dict(flatten(summarise(group))), Catalog(metrics))


def verdict(text: str, *arms: Subject) -> tuple[str, str | None]:
    subjects = {each.group.condition: each for each in arms}
    (found,) = judge(parse(text, list(subjects)), subjects)
    return found.verdict, found.reason


def test_claims_are_judged_by_bets() -> None:
    subject = arm("p" * 58 + "ff")
    assert verdict("success_rate > 0.8", subject)[0] == CONFIRMED
    assert verdict("success_rate < 0.8", subject)[0] == REJECTED
    assert verdict("success_rate > 0.95", subject)[0] == INCONCLUSIVE
    assert verdict("latency.p50 < 100", subject)[0] == CONFIRMED
    (found,) = judge(parse("success_rate > 0.8"), {"default": subject})
    assert found.basis == sequential.METHOD


def test_what_has_no_always_valid_bounds_is_open_and_says_what_to_do() -> None:
    subject = arm("p" * 60, words=17.0)
    assert verdict("words.mean < 1000", subject) == (INCONCLUSIVE, sequential.UNFIT)
    bounded = arm("p" * 60, metrics=(Metric("words", range=(0, 100)),), words=17.0)
    assert verdict("words.mean < 50", bounded)[0] == CONFIRMED


def test_claims_between_arms_are_those_of_their_row() -> None:
    control, treatment = arm("pf" * 40, "control"), arm("pp" * 40, "treatment")
    assert verdict("treatment.success_rate > control", control, treatment)[0] == CONFIRMED
    rows = {row.metric: row for row in compare_subjects(control, treatment)}
    row = rows["success_rate"]
    assert row.method is not None
    assert "always valid" in row.method
    found = verdict("treatment.latency.p95 < control", control, treatment)
    assert found == (INCONCLUSIVE, sequential.UNFIT_ARMS)


def test_a_formula_is_open() -> None:
    metric = Metric("f1", formula="tp / (tp + fp)")
    subject = arm("p" * 40, metrics=(metric,), tp=3.0, fp=1.0)
    assert verdict("f1 > 0.5", subject) == (INCONCLUSIVE, sequential.UNFIT)
