"""All experiments of a run are judged together: claims and rows share what may go wrong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta

from pytest_crucible.analysis.analyse import analyse
from pytest_crucible.analysis.judging import comparison_options, decisions_of, judged, primary_of
from pytest_crucible.analysis.results import ExperimentResult, Results
from pytest_crucible.analysis.run import Run
from pytest_crucible.events.event import Event
from pytest_crucible.runs.experiment_definition import Definition, define
from pytest_crucible.stats.comparison import Comparison
from pytest_crucible.stats.comparison_options import Options
from pytest_crucible.stats.family import CLAIM, OTHER, SUCCESS, Decision
from pytest_crucible.stats.verdict import (
    CONFIRMED,
    ERRORED,
    INCONCLUSIVE,
    NOT_RUN,
    REJECTED,
    Verdict,
)
from tests.analysis.support import arm
from tests.made_events import event
from tests.report.support import observed


def results(
    events: Iterable[Event], *definitions: Definition, **more: Any
) -> tuple[ExperimentResult, ...]:
    """The experiments of a run, judged."""
    return analysed(events, *definitions, **more).experiments


def analysed(events: Iterable[Event], *definitions: Definition, **more: Any) -> Results:
    found = list(events)
    manifest = {"experiments": {each.name: {"definition": each.to_dict()} for each in definitions}}
    run = Run(id="r", path=None, manifest=manifest, _events=lambda: iter(found))
    return analyse(run, **more)


def claims(found: ExperimentResult) -> dict[str, Verdict]:
    return {verdict.expectation: verdict for verdict in found.verdicts}


def rows(found: ExperimentResult, condition: str) -> dict[str, Comparison]:
    return {row.metric: row for row in found.comparisons[condition]}


# --- what an author asks about -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, ()),
        (
            {"expect": ["success_rate > 0.5", "cost.mean < 1", "cost.mean < 2"]},
            ("success_rate", "cost.mean"),
        ),
        ({"conditions": ["a", "b"], "expect": ["b.score.mean > a"]}, ("score.mean",)),
        ({"condition": "only", "expect": ["only.tokens.total < 9"]}, ("tokens.total",)),
        (
            {"expect": ["cost.mean < 1"], "primary": ["latency", "score"]},
            ("latency", "score", "cost.mean"),
        ),
        ({"primary": "latency"}, ("latency",)),
    ],
)
def test_primary_metrics_are_named_or_claimed(
    keywords: dict[str, Any], expected: tuple[str, ...]
) -> None:
    """``primary=``, and each metric of ``expect``, once."""
    assert primary_of(define("exp", **keywords)) == expected
    assert comparison_options(define("exp", **keywords)).primary == expected


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("scroe", "primary='scroe' was not recorded; did you mean 'score'? "),
        ("latancy", "primary='latancy' was not recorded; did you mean 'latency'? "),
        ("score", None), ("score.mean", None), ("latency.p50", None), ("cost", None),
        ("cost.mean", None), ("tokens", None), ("success_rate", None),
    ],
)  # fmt: skip
def test_a_primary_metric_that_nothing_recorded_is_a_problem(name: str, said: str | None) -> None:
    """It fails the session: a comparison without its row would always be green."""
    found = analysed(observed(range(6)), define("exp", primary=[name]))
    assert len(found.problems) == (said is not None)
    for problem in found.problems:
        assert problem.startswith(f"experiment 'exp': {said}")
        assert "valid: success_rate, score.mean, latency, " in problem


def test_what_did_not_run_recorded_nothing() -> None:
    """Skipped trials, or none: NOT RUN is the verdict, and the name may be right."""
    assert analysed(arm("default", "sss"), define("exp", primary=["score"])).problems == ()
    assert analysed([event()], define("exp", primary=["score"])).problems == ()


def test_margins_of_the_marker_are_those_of_the_comparison() -> None:
    """One for all, or one for each."""
    assert comparison_options(define("exp")) == Options()
    assert comparison_options(define("exp", margin=0.2)) == Options(margin=0.2)
    each = {"latency": 0.1}
    assert comparison_options(define("exp", margin=each)) == Options(margins=each)


# --- one family --------------------------------------------------------------------------------


def test_claims_on_numbers_are_rejected_at_their_share() -> None:
    """One may err in 5 %, ten in 0.5 % each; confirming needs no correction."""
    events = list(arm("default", "p" * 40 + "f" * 10))
    for count in (1, 10, 100):
        expect = [f"success_rate > 0.{700 + i}" for i in range(count)]
        (found,) = results(events, define("exp", expect=expect))
        assert [verdict.level for verdict in found.verdicts] == pytest.approx(
            [0.05 / count] * count
        )
        assert {verdict.decisions for verdict in found.verdicts} == {count}
        assert {verdict.low for verdict in found.verdicts} == {found.verdicts[0].low}
        # The upper limits of Clopper and Pearson for 40 of 50 at 5, 0.5 and 0.05 %.
        expected = float(beta.isf(0.05 / count, 41, 10))
        assert [verdict.high for verdict in found.verdicts] == pytest.approx([expected] * count)


def test_claims_that_nothing_could_reject_take_nothing() -> None:
    """Three cases cannot refute a claim on a rate of 1 %."""
    events = list(arm("default", "p" * 30 + "f" * 10))
    beside = [f"success_rate > 0.00{i}" for i in range(1, 10)]
    (found,) = results(events, define("exp", expect=["success_rate > 0.7", *beside]))
    assert claims(found)["success_rate > 0.7"].level == 0.05
    assert {claims(found)[each].verdict for each in beside} == {CONFIRMED}


def test_experiments_of_a_run_share_their_false_alarms() -> None:
    """Thirty experiments with a claim each: a thirtieth of 5 % for each."""
    events = [each for number in range(30) for each in observed(range(20), experiment=f"e{number}")]
    definitions = [define(f"e{number}", expect=["success_rate > 0.5"]) for number in range(30)]
    found = results(events, *definitions)
    levels = [verdict.level for each in found for verdict in each.verdicts]
    assert levels == pytest.approx([0.05 / 30] * 30)


def test_kinds_have_equal_parts() -> None:
    """Claims on numbers, success rates and other rows; each is divided among its own."""
    events = [*observed(range(40), condition="a", noise=1),
              *observed(range(40), condition="b", noise=2)]  # fmt: skip
    definition = define(
        "exp", conditions=["a", "b"], expect=["success_rate > 0.5"], primary=["latency", "cost"]
    )
    (found,) = results(events, definition)
    part = 0.05 / 3
    assert [verdict.level for verdict in found.verdicts] == pytest.approx([part / 2] * 2)
    table = rows(found, "b")
    assert 1 - table["success_rate"].level == pytest.approx(2 * part)
    for metric in ("latency", "cost"):
        assert 1 - table[metric].level == pytest.approx(2 * part / 2)
    shown = [row for row in table.values() if not row.primary]
    assert {row.metric for row in shown} == {"score.mean", "latency.p95", "tokens"}
    assert max(row.level for row in shown) < 1


@pytest.mark.parametrize("count", [2, 3, 6])
def test_each_arm_is_a_decision(count: int) -> None:
    """Each against the first: with six arms the five rows share their part."""
    names = [f"arm{number}" for number in range(count)]
    events = [
        each
        for number, name in enumerate(names)
        for each in observed(range(40), condition=name, noise=number)
    ]
    (found,) = results(events, define("exp", conditions=names, primary=["latency"]))
    for name in names[1:]:
        row = rows(found, name)["latency"]
        assert 1 - row.level == pytest.approx(0.05 / (count - 1))
        assert row.decisions == count - 1


def test_what_else_decides_is_given() -> None:
    """The comparison with a baseline of the same session: both take their part of one family."""
    found = results(arm("default", "p" * 20), define("exp", expect=["success_rate > 0.5"]))
    decisions = decisions_of(found)
    assert [decision.kind for decision in decisions] == [CLAIM]
    beside = judged(found, [Decision(SUCCESS, 0.0), Decision(OTHER, 0.0)])
    assert found[0].verdicts[0].level == 0.05
    assert beside[0].verdicts[0].level == pytest.approx(0.05 / 3)
    assert judged(beside) == found


def test_decisions_are_claims_and_rows_that_decide() -> None:
    """A claim between arms whose row is there is no decision of its own."""
    events = [*arm("a", "p" * 20), *arm("b", "p" * 15 + "f" * 5)]
    texts = ["b.success_rate > a", "success_rate > 0.1"]
    found = results(events, define("exp", conditions=["a", "b"], expect=texts))
    kinds = sorted(decision.kind for decision in decisions_of(found))
    assert kinds == [CLAIM, CLAIM, SUCCESS]
    both = ["b.success_rate > a", "a.success_rate > b - 0.2"]
    found = results(events, define("exp", conditions=["a", "b"], expect=both))
    assert [decision.kind for decision in decisions_of(found)] == [SUCCESS]
    third = [*events, *arm("c", "p" * 20)]
    aside = define("exp", conditions=["a", "b", "c"], expect=["c.success_rate > b"])
    # Two rows against the first arm, and a claim that has no row.
    assert [d.kind for d in decisions_of(results(third, aside))] == [SUCCESS] * 3


# --- claims and rows agree ---------------------------------------------------------------------

OUTCOMES = st.lists(st.sampled_from("pf"), min_size=6, max_size=30)


@settings(max_examples=25, deadline=None)
@given(before=OUTCOMES, after=OUTCOMES)
def test_a_claim_between_arms_never_contradicts_its_row(
    before: list[str], after: list[str]
) -> None:
    """The same change, interval and level: CONFIRMED is where the row excludes "no change"."""
    n = min(len(before), len(after))
    events = [*arm("a", "".join(before[:n])), *arm("b", "".join(after[:n]))]
    texts = ["b.success_rate > a", "b.success_rate < a"]
    (found,) = results(events, define("exp", conditions=["a", "b"], expect=texts))
    row = rows(found, "b")["success_rate"]
    assert row.low is not None
    assert row.high is not None
    more, less = (claims(found)[text] for text in texts)
    for claim in (more, less):
        assert (claim.change, claim.low, claim.high) == (row.change, row.low, row.high)
        assert 1 - 2 * claim.level == pytest.approx(row.level)
    assert (more.verdict == CONFIRMED) == (row.low > 0)
    assert (less.verdict == CONFIRMED) == (row.high < 0)
    assert not more.verdict == less.verdict == CONFIRMED


def test_seven_against_ten_of_ten_is_open_in_both() -> None:
    """Claim and row were two tests once: CONFIRMED beside INCONCLUSIVE for the same numbers."""
    events = [*arm("control", "p" * 7 + "fff"), *arm("treatment", "p" * 10)]
    definition = define(
        "exp", conditions=["control", "treatment"], expect=["treatment.success_rate > control"]
    )
    (found,) = results(events, definition)
    assert [verdict.verdict for verdict in found.verdicts] == [INCONCLUSIVE]
    assert rows(found, "treatment")["success_rate"].verdict == INCONCLUSIVE


# --- what decides ------------------------------------------------------------------------------


def test_only_the_metrics_that_were_asked_for_decide() -> None:
    """The others are judged and shown, at no cost for those that do."""
    texts = ["success_rate > 0.99", "latency.p50 < 1", "score > 0.1"]
    events = list(observed(range(40), noise=1))
    (every,) = results(events, define("exp", expect=texts))
    assert every.verdict == REJECTED
    (found,) = results(events, define("exp", expect=texts), only=["score"])
    assert {text: verdict.primary for text, verdict in claims(found).items()} == {
        "success_rate > 0.99": False, "latency.p50 < 1": False, "score > 0.1": True,
    }  # fmt: skip
    assert claims(found)["latency.p50 < 1"].verdict == REJECTED
    assert found.verdict == CONFIRMED
    assert claims(found)["score > 0.1"].level == 0.05
    assert claims(every)["score > 0.1"].level == pytest.approx(0.05 / 3)


@pytest.mark.parametrize("name", ["latency", "latency.p50"])
def test_a_metric_is_asked_for_by_any_of_its_names(name: str) -> None:
    """``latency`` is the row that ``latency.p50`` is about."""
    texts = ["success_rate > 0.99", "latency.p50 < 1"]
    (found,) = results(observed(), define("exp", expect=texts), only=[name])
    assert [verdict.primary for verdict in found.verdicts] == [False, True]


def test_rows_between_arms_follow_what_was_asked() -> None:
    """The metric and the success rate."""
    events = [each for name in "ab" for each in observed(condition=name)]
    definition = define("exp", conditions=["a", "b"], primary=["cost"])
    deciding: Mapping[tuple[str, ...], set[str]] = {
        (): {"success_rate", "cost"},
        ("tokens",): {"success_rate", "tokens"},
        ("score",): {"success_rate", "score.mean"},
    }
    for only, expected in deciding.items():
        (found,) = results(events, definition, only=only)
        assert {row.metric for row in found.comparisons["b"] if row.primary} == expected


# --- verdicts on trials ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ("pppp", {"pass_if 1/1": CONFIRMED, "tests.failed < 1": CONFIRMED}),
        ("pppf", {"pass_if 1/1": REJECTED, "tests.failed < 1": REJECTED}),
        ("cppp", {"max_errors 5%": ERRORED, "pass_if 1/1": REJECTED, "tests.failed < 1": None}),
        ("ssss", {"pass_if 1/1": NOT_RUN, "tests.failed < 1": NOT_RUN}),
    ],
)
def test_verdicts_on_trials_stand_beside_the_claims(
    outcomes: str, expected: dict[str, str | None]
) -> None:
    """They are facts about the run: no level, and they take no part of the false alarms."""
    definition = define("exp", pass_if="1/1", expect=["tests.failed < 1"])
    (found,) = results(arm("default", outcomes), definition)
    assert list(claims(found)) == sorted(claims(found), key=lambda text: not text.startswith("max"))
    for text, verdict in expected.items():
        assert verdict in (None, claims(found)[text].verdict)
    assert set(claims(found)) == set(expected)
    assert [decision for decision in decisions_of([found]) if decision.floor < 1] == []
